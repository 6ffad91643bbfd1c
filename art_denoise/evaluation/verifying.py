"""Whether a run folder holds what was written, and whether its labels come out again. Nothing in it is changed."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from art_denoise._documents import read_document
from art_denoise.evaluation import finished, results, run_folder
from art_denoise.evaluation.artefact import Artefact
from art_denoise.evaluation.report import check_report
from art_denoise.evaluation.store import CHECKPOINT, Kept, Store, check_checkpoint, read_artefact, write_artefact

if TYPE_CHECKING:
    from art_denoise.evaluation.prepared import Prepared
    from art_denoise.evaluation.tasks.score import Score

#: Documents of a run folder, with their schemas.
_DOCUMENTS = {
    run_folder.CHOICES: run_folder.SCHEMA,
    run_folder.LISTING: run_folder.SCHEMA,
    results.FILE: results.SCHEMA,
    finished.FILE: finished.SCHEMA,
}

#: Names of artefacts, and of what is kept of tasks that are not finished.
_ARTEFACT = re.compile(r"[0-9a-f]{16}\.safetensors")


@dataclass
class Verified:
    """What was found of a run folder.

    :param files: By kind, the folder of artefacts, "documents", "checkpoints" or "report", how many files there are.
    :param damaged: What is wrong with files, by the kind and the path in the folder.
    :param compared: How many cells were scored again.
    :param differing: What came out otherwise, by cell.
    :param left_out: Why cells could not be scored again, by cell.
    """

    files: dict[str, int] = field(default_factory=dict)
    damaged: dict[tuple[str, str], str] = field(default_factory=dict)
    compared: int = 0
    differing: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.damaged or self.differing or self.left_out)


def verify_files(folder: Path) -> Verified:
    """Compare every kept file of a run folder with the digest in it, and its report with its results.

    A report is compared if what it tells of is sound.

    :raises FileNotFoundError: If it is not the folder of a run.
    """
    found = Verified()
    kept = sorted(folder.glob("*/*"))
    artefacts = [file for file in kept if _ARTEFACT.fullmatch(file.name)]
    has_results = (folder / results.FILE).exists()
    always = _always_there(results.Results.config_in(folder) or {})
    documents = [folder / name for name in _DOCUMENTS if (folder / name).exists() or name in always]
    if not artefacts and not documents:
        raise FileNotFoundError(f"`folder` = {str(folder)!r} holds nothing of a run: give the folder of a run")

    def look(kind: str, file: Path, read: Callable[[], object]) -> None:
        found.files[kind] = found.files.get(kind, 0) + 1
        try:
            read()
        except (ValueError, OSError) as error:
            found.damaged[kind, str(file.relative_to(folder))] = str(error)

    for file in documents:
        look("documents", file, lambda file=file: read_document(file, _DOCUMENTS[file.name]))  # type: ignore[misc]
    for file in artefacts:
        look(file.parent.name, file, lambda file=file: read_artefact(file, file.stem))  # type: ignore[misc]
    for key in results.Results.keys_in(folder):
        file = folder / "labels" / f"{key}.safetensors"
        if not file.is_file():
            look("labels", file, lambda file=file: read_artefact(file))  # type: ignore[misc]
    for file in kept:
        if CHECKPOINT.fullmatch(file.name):
            look("checkpoints", file, lambda file=file: check_checkpoint(file))  # type: ignore[misc]
    if (folder / "report").is_dir() and has_results and not found.damaged:
        for name, why in check_report(results.Results.load(folder), folder).items():
            found.files["report"] = found.files.get("report", 0) + 1
            if why:
                found.damaged["report", f"report/{name}"] = why
    return found


def _always_there(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return which documents a run has before it has results, by the choices in these."""
    options = config.get("options")
    if not isinstance(options, dict):
        # Results that were found and kept in Python.
        return ()
    # Which photograph is for what needs no list.
    return (run_folder.CHOICES,) if options.get("data") == "photographs" else (run_folder.CHOICES, run_folder.LISTING)


class _Aside(Store):
    """A run folder that is read and never written: what is made anew is kept in another.

    :param path: The other folder.
    :param below: The run folder.
    :param anew: Keys of what is made anew, be it there or not.
    """

    def __init__(self, path: Path, below: Path, anew: frozenset[str]) -> None:
        super().__init__(path)
        self._below, self._anew = Store(below), anew

    def file(self, task: Kept) -> Path:
        """Return the place of a task's artefact: in the run folder, unless it is made anew."""
        return super().file(task) if task.key in self._anew else self._below.file(task)

    def read(self, task: Kept) -> Artefact | None:
        """Return a task's artefact, verified; None if there is none, or it is damaged: it stays where it is."""
        return self.read_as_it_is(task)

    def write(self, task: Kept, artefact: Artefact) -> None:
        """Keep a task's artefact in the other folder."""
        write_artefact(super().file(task), task.key, artefact)


def score_again(prepared: Prepared, sample: int | None, seed: int, found: Verified) -> None:
    """Score cells of a run again, beside the run folder, and compare their labels with those that are kept.

    :param prepared: What the run folder says that it is of.
    :param sample: Number of cells, drawn at random; None: all.
    :param seed: Seed of the draw.
    :param found: Is told what was found.
    :raises ValueError: If no cell can be compared.
    """
    from functools import partial

    from art_denoise.evaluation.engines import local
    from art_denoise.evaluation.graph import Task, to_do
    from art_denoise.evaluation.workplace import Stores

    images = prepared.load(prepared.machine.progress)
    run = Store(prepared.folder)
    scores = {score.key: score for score in prepared.assembly(images).scores().values() if score in run}
    if not scores:
        raise ValueError(
            f"no labels in {prepared.folder} are of this version of the package, of this machine and of this number of "
            "threads: verify it where it was made"
        )
    drawn = list(scores.values())
    if sample is not None and sample < len(drawn):
        drawn = random.Random(seed).sample(drawn, sample)

    class Beside(Stores):
        def __init__(self, folder: Path) -> None:
            super().__init__(folder, prepared.stores.cache.path)
            self.run = _Aside(folder, prepared.folder, frozenset(score.key for score in drawn))

    with TemporaryDirectory() as folder:
        stores = Beside(Path(folder))

        def is_there(task: Task) -> bool:
            return stores.of(task).read(task) is not None

        again = []
        for score in drawn:
            gone = [t for t in to_do([score], is_there).values() if t.of_run and t.key != score.key]
            if gone:
                found.left_out[score.text] = f"what it is made of is damaged or gone: “{gone[0].title}”"
            elif run.read_as_it_is(score) is not None:
                again.append(score)
        outcome = local.run(
            again,
            stores,
            partial(prepared.workplace, images, stores),
            progress=prepared.machine.progress,
        )
        for score in again:
            _compare(score, run.read_as_it_is(score), stores.run.read(score), outcome.why(score), found)


def _compare(score: Score, kept: Artefact | None, made: Artefact | None, why: str | None, found: Verified) -> None:
    if made is None or kept is None:
        found.left_out[score.text] = why or "it is gone"
        return
    found.compared += 1
    if kept.why_absent != made.why_absent:
        found.differing[score.text] = f"{kept.why_absent or 'labels'} there, {made.why_absent or 'labels'} now"
    for name in sorted(kept.arrays.keys() | made.arrays.keys()):
        there, now = kept.arrays.get(name), made.arrays.get(name)
        if there is None or now is None or there.shape != now.shape:
            found.differing[score.text] = f"its {name} are of another form"
        elif not np.array_equal(there, now):
            found.differing[score.text] = f"{np.count_nonzero(there != now)} of {now.size} {name} are others"


def as_table(found: Verified) -> str:
    """Return what was found as text: a table, and then everything that is wrong, a line each."""
    damaged = {kind: sum(of == kind for of, _ in found.damaged) for kind in found.files}
    rows: list[Sequence[object]] = [("", "files", "damaged")]
    rows += [(kind, count, damaged[kind]) for kind, count in sorted(found.files.items())]
    rows += [("altogether", sum(found.files.values()), sum(damaged.values())), ()]
    rows += [("", "compared", "differing"), ("cells scored again", found.compared, len(found.differing))]
    lines = [f"{row[0]:20}{row[1]!s:>10}{row[2]!s:>11}" if row else "" for row in rows]
    wrong = [f"{path}: {why}" for (_, path), why in found.damaged.items()]
    wrong += [f"{cell}: {why}" for cell, why in found.differing.items()]
    wrong += [f"{cell}: not compared, as {why}" for cell, why in found.left_out.items()]
    return "\n".join([*lines, *([""] if wrong else []), *wrong])
