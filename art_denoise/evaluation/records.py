"""Results as plain rows: one a cell, and one a cell and image."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import chain, compress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from art_denoise._files import replacing
from art_denoise.evaluation._csv import csv_lines
from art_denoise.evaluation.components import write_component, write_defence
from art_denoise.evaluation.experiment import Cell, Condition, Experiment
from art_denoise.evaluation.statistics import NOT_ATTACKED, accuracy

if TYPE_CHECKING:
    from art_denoise.evaluation.results import Results

#: Why a cell has no labels, if the run does not say.
NOT_YET = "not computed yet"

#: Columns of a file of single images.
PER_IMAGE = (
    "image",
    "true_label",
    *("row", "attack", "knowledge", "knows_draws", "defence", "noise", "eps", "norm", "target", "source", "seed"),
    "predicted_label",
    "right",
)


def all_cells(results: Results) -> tuple[Cell, ...]:
    """Return the cells of the experiment, and then any others that there are results for."""
    return tuple(dict.fromkeys((*results.experiment.cells(), *results.labels, *results.missing)))


def reason(results: Results, cell: Cell) -> str:
    """Return why a cell has no labels."""
    return results.missing.get(cell, NOT_YET)


def records(results: Results) -> list[dict[str, Any]]:
    """Return one row for each cell, see :meth:`Results.records`."""
    experiment = results.experiment
    homes = _homes(experiment)
    found = []
    for cell in all_cells(results):
        labels, said = results.labels.get(cell), _said(experiment, cell)
        record: dict[str, Any] = {"section": homes.get(cell.condition), **said}
        if labels is None:
            record |= dict.fromkeys(("correct", "n", "accuracy", "low", "high"))
        else:
            share = accuracy(labels, results.images.labels)
            low, high = share.interval
            record |= {"correct": share.count, "n": share.n, "accuracy": round(100 * share.value, 3)}
            record |= {"low": round(100 * low, 3), "high": round(100 * high, 3)}
        record["published"] = experiment.published_for(cell)
        record["missing"] = reason(results, cell) if labels is None else None
        found.append(record)
    return found


def per_image(results: Results) -> Iterator[bytes]:
    """Yield a CSV file of every image in every cell, a cell at a time; see :meth:`Results.write_per_image`."""
    yield csv_lines([PER_IMAGE]).encode()
    images = results.images
    # There may be a million lines: each is put together of two parts, of which there are far fewer.
    starts = [as_bytes(csv_lines([line])[:-1]) for line in zip(images.names, images.labels.tolist(), strict=True)]
    for cell in all_cells(results):
        labels = results.labels.get(cell)
        if labels is not None:
            of_cell = csv_lines([_said(results.experiment, cell).values()])[:-1]
            there = labels != NOT_ATTACKED
            right = labels == images.labels
            outcomes = list(zip(labels[there].tolist(), right[there].tolist(), strict=True))
            ends = {
                (label, hit): as_bytes(f",{of_cell},{label},{int(hit)}\n") for label, hit in dict.fromkeys(outcomes)
            }
            attacked = compress(starts, there)
            yield b"".join(chain.from_iterable(zip(attacked, map(ends.__getitem__, outcomes), strict=True)))


def write_pieces(path: str | os.PathLike[str], pieces: Iterator[bytes]) -> None:
    """Write what comes in pieces to a file, whole or not at all."""
    with replacing(Path(path)) as beside, beside.open("wb") as file:
        file.writelines(pieces)


def as_bytes(text: str) -> bytes:
    """Return a text as UTF-8; names of files may hold bytes that are no text."""
    return text.encode(errors="backslashreplace")


def attack_name(experiment: Experiment, cell: Cell) -> str | None:
    """Return how a cell's attack is written: "from a file" if it was not crafted, None if nobody attacks."""
    threat = cell.condition.threat
    if threat is None:
        return None
    given = any(source.stands_for is not None for source in experiment.sources if source.key == cell.source)
    return "from a file" if given else write_component(threat.attack)


def _said(experiment: Experiment, cell: Cell) -> dict[str, Any]:
    """Return what tells a cell from all others."""
    threat, defence = cell.condition.threat, cell.condition.defence
    return {
        "row": cell.condition.text,
        "attack": attack_name(experiment, cell),
        "knowledge": None if cell.knowledge is None else cell.knowledge.value,
        "knows_draws": None if cell.knowledge is None else bool(threat and threat.knows_draws),
        "defence": write_defence(defence),
        "noise": None if defence.noise is None else defence.noise.kind,
        "eps": None if threat is None else round(255 * threat.eps, 6),
        "norm": None if threat is None else threat.norm,
        "target": cell.target,
        "source": cell.source,
        "seed": cell.seed,
    }


def _homes(experiment: Experiment) -> dict[Condition, str]:
    """Return what each row is found under: its section, or else the table of transfer or the sweep that asks for it."""
    found: dict[Condition, str] = {}
    for section in experiment.sections:
        for condition in section.conditions:
            found.setdefault(condition, section.title)
    for transfer in experiment.transfers:
        for threat in (transfer.threat, transfer.control):
            found.setdefault(Condition(threat), transfer.title)
    for sweep in experiment.sweeps:
        for threat in sweep.threats:
            for _, defence in sweep.points:
                found.setdefault(Condition(threat, defence), sweep.title)
    return found
