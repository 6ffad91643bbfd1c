"""Run an experiment: find what is asked for, check it, do what has to be done, and return the results.

The order in which an image is treated: v0 → + δ, clip → + v_def → denoise, clip → standardise → classify. All after the
attack is done by the ART classifier itself, through its `preprocessing_defences`, as a user would do it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from art_denoise._files import READ_ONLY
from art_denoise.data.sets import ImageSet
from art_denoise.evaluation.assembly import Assembly
from art_denoise.evaluation.engines import local
from art_denoise.evaluation.engines.starting import end_if_read_again
from art_denoise.evaluation.experiment import Cell, Experiment
from art_denoise.evaluation.finished import mark, stamp_of, unmark
from art_denoise.evaluation.from_options import Study, remarks_on, table1
from art_denoise.evaluation.graph import Task
from art_denoise.evaluation.options import Machine, Options
from art_denoise.evaluation.prepared import Prepared, changes, holds_results
from art_denoise.evaluation.report.names import cell_names, longer
from art_denoise.evaluation.report.table import Name
from art_denoise.evaluation.results import Examples, Results
from art_denoise.evaluation.results import Images as TestImages
from art_denoise.evaluation.run_folder import keep_choices, keep_listing
from art_denoise.evaluation.shown import Shown
from art_denoise.evaluation.statistics import accuracy
from art_denoise.evaluation.store import Lock
from art_denoise.evaluation.tasks.check import CheckNetwork
from art_denoise.evaluation.workplace import Workplace

#: What a record is of.
Of = TypeVar("Of")


def run(
    folder: str | os.PathLike[str],
    options: Options,
    machine: Machine | None = None,
    study: Study = table1,
    *,
    change: bool = False,
    opened: Callable[[], object] = lambda: None,
) -> Results:
    """Run an experiment, using again what the folder and the cache already hold.

    :param folder: Run folder; made if there is none.
    :param options: Every choice that figures depend on.
    :param machine: Where and with what it is computed.
    :param study: Makes the experiment: Table 1 by default. With several processes, a function that can be imported.
    :param change: Whether a folder that holds a run with other choices goes on with these. What does not depend on the
        change is used again, and what was there stays.
    :param opened: Is called once the folder is this run's and says of what, before anything takes long.
    :return: The results; what failed on the way is in `missing` and `failures`, everything else is there.
    :raises ValueError: If the folder holds a run with other choices and `change` is False, another process is at work
        in it, a pre-flight check fails, or something asked for is not there or does not fit.
    :raises OSError: If something cannot be read, downloaded or written.
    """
    end_if_read_again()
    stamp = stamp_of(options, machine or Machine(), f"{study.__module__}.{study.__qualname__}")
    prepared = Prepared.of(folder, options, machine, study)
    # Runs users' code: before anything takes long, and not between a result and its file.
    remarks = remarks_on(prepared.drawing, prepared.options.draws)
    with ExitStack() as stack:
        _open(prepared, change, stack)
        opened()
        progress = prepared.machine.progress
        prepared.setting.fetch(progress)
        images = prepared.load(progress)
        assembly = prepared.assembly(images)
        checks = prepared.checks(assembly)
        do = partial(
            local.run,
            stores=prepared.stores,
            make_workplace=partial(_workplace, prepared.folder, prepared.options, prepared.machine, study),
            jobs=prepared.jobs,
            threads=torch.get_num_threads(),
            progress=progress,
        )
        # In this process: what a network does not do right is told before others are started.
        failed = do(list(checks.values()), jobs=1).failures
        if failed:
            raise ValueError(next(iter(failed.values())).error)
        outcome = do(assembly.wanted(), found=_told(prepared, assembly, images))
        results = _collected(prepared, assembly, images, outcome, checks, remarks)
        if not results.failures:
            with _as_far_as_writable():
                mark(prepared.folder, stamp)
        return results


@contextmanager
def _as_far_as_writable() -> Iterator[None]:
    """Do without what cannot be written to a read-only place: had anything been computed, it could."""
    try:
        yield
    except OSError as error:
        if error.errno not in READ_ONLY:
            raise


def _workplace(folder: Path, options: Options, machine: Machine, study: Study) -> Workplace:
    """Return a workplace in a process of its own, which finds everything for itself."""
    prepared = Prepared.of(folder, options, replace(machine, progress=False), study, check=False)
    return prepared.workplace(prepared.load(False))


def _open(prepared: Prepared, change: bool, stack: ExitStack) -> None:
    """Take the run folder for this process and say in it what it is of."""
    folder = prepared.folder
    differences = changes(folder, prepared.config)
    if differences and not change and holds_results(folder):
        raise ValueError(
            f"{folder} holds a run with other choices ({'; '.join(differences)}): choose another folder, or allow the "
            "`change`, which computes anew what depends on it"
        )
    try:
        stack.enter_context(Lock(folder))
    except OSError as error:
        # A finished run in an archive can be shown; what has to be written there says itself that it cannot.
        if error.errno not in READ_ONLY or not holds_results(folder):
            raise
        return
    unmark(folder)
    prepared.stores.run.clean()
    keep_choices(folder, prepared.config)
    listing = prepared.setting.source.listing()
    if listing:
        keep_listing(folder, listing)


def _told(prepared: Prepared, assembly: Assembly, images: ImageSet) -> Callable[[Task], str | None]:
    """Return what says which share of the images is right in a cell, when it is done."""
    experiment, store = prepared.experiment, prepared.stores.run
    names = {score.key: name.text for name, score in _with_names(experiment, assembly)}
    truth = images.splits[experiment.scored_on].labels

    def told(task: Task) -> str | None:
        artefact = store.read(task) if task.key in names else None
        if artefact is None or artefact.why_absent is not None:
            return None
        share = accuracy(artefact.arrays["labels"], truth)
        return f"{names[task.key]}: {100 * share.value:.1f} % of {share.n} {images.noun}s right"

    return told


def _with_names(experiment: Experiment, assembly: Assembly) -> Iterator[tuple[Name, Task]]:
    """Yield the names of cells with their tasks; of cells of other networks than the target, with the network."""
    scores = assembly.scores()
    networks = {network.key: network for network in (*experiment.networks, experiment.target)}
    for key in dict.fromkeys(cell.target for cell in scores):
        # What an attacker knows depends on who is attacked.
        of_network = replace(experiment, target=networks[key])
        other = "" if key == experiment.target.key else f" on {networks[key].title or key}"
        for cell, name in cell_names(of_network, [cell for cell in scores if cell.target == key]).items():
            yield longer(name, other), scores[cell]


def _collected(
    prepared: Prepared,
    assembly: Assembly,
    images: ImageSet,
    outcome: local.Outcome,
    checks: dict[str, CheckNetwork],
    remarks: tuple[str, ...],
) -> Results:
    """Return what a run has found, and write it down."""
    stores, scores = prepared.stores, assembly.scores()
    labels, drawn, missing, keys, absent = {}, {}, {}, {}, set()
    passes: dict[Cell, dict[str, int]] = {}
    for cell, score in scores.items():
        artefact = stores.of(score).read(score)
        if artefact is None:
            missing[cell] = outcome.why(score) or "it was not computed"
        elif artefact.why_absent is not None:
            missing[cell] = artefact.why_absent
            absent.add(cell)
        else:
            labels[cell], keys[cell] = artefact.arrays["labels"], score.key
            if "drawn" in artefact.arrays:
                drawn[cell] = artefact.arrays["drawn"]
            if isinstance(score.added, tuple):
                parts = [part.record["passes"] for task in score.added if (part := stores.of(task).read(task))]
                if len(parts) == len(score.added):
                    passes[cell] = {name: sum(part[name] for part in parts) for name in parts[0]}
    made = []
    for value, task in assembly.made():
        artefact = stores.of(task).read(task)
        if artefact is None:
            continue
        record = _untimed(artefact.record)
        if artefact.why_absent is None:
            array = artefact.arrays["perturbation"]
            record["linf"] = float(np.abs(array).max())
        made.append(replace(value, record=record))

    def recorded(tasks: Mapping[Of, Task]) -> dict[Of, dict[str, Any]]:
        return {key: found.record for key, task in tasks.items() if (found := stores.run.read(task)) is not None}

    # Rows that cannot be, as no draw made a noise, are no rows of the table.
    gone = [
        row
        for row in prepared.experiment.conditions
        if all(cell in absent for cell in prepared.experiment.cells_of(row))
    ]
    examples_task = assembly.examples()
    shown = None if examples_task is None else stores.run.read(examples_task)
    there = shown is not None and shown.why_absent is None
    strengths = [
        Shown.of(found, task.key, *of)
        for of, task in assembly.strengths().items()
        if (found := stores.run.read(task)) is not None and found.why_absent is None
    ]
    experiment = prepared.experiment.without(gone)
    told = set(experiment.cells())
    results = Results(
        experiment=experiment,
        images=_test_images(prepared, images, remarks),
        labels=labels,
        drawn=drawn,
        missing={cell: why for cell, why in missing.items() if cell in told},
        made=tuple(made),
        checks=recorded(checks),
        config=prepared.config,
        examples=Examples.of(shown) if shown is not None and there else None,
        shown=tuple(strengths),
        audits=recorded(assembly.audits()),
        tried=recorded(assembly.tries()),
        passes=passes,
        costs=recorded(assembly.measures()),
        failures=tuple(f"{failure.task.title}: {failure.error}" for failure in outcome.failures.values()),
    )
    with _as_far_as_writable():
        results.save(prepared.folder, keys, examples_task.key if examples_task is not None and there else None)
    return results


def _untimed(value: Any) -> Any:
    """Return a record without how long anything took: results are the same however often a run was interrupted."""
    if isinstance(value, dict):
        return {name: _untimed(part) for name, part in value.items() if name != "seconds"}
    return [_untimed(part) for part in value] if isinstance(value, list) else value


def _test_images(prepared: Prepared, images: ImageSet, remarks: tuple[str, ...]) -> TestImages:
    record = prepared.setting.source.record()
    facts = {name: value for name, value in record.items() if name != "fingerprints"}
    scored = images.splits[prepared.experiment.scored_on]
    return TestImages(
        images.title,
        images.noun,
        scored.names or tuple(map(str, range(len(scored)))),
        scored.labels,
        images.names,
        {purpose: len(split) for purpose, split in images.splits.items()},
        {**facts, "remarks": [*images.remarks, *remarks]},
        # Each class of the photographs is one of them.
        scored.labels if prepared.options.on_photographs else None,
    )
