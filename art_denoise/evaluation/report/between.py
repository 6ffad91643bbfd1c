"""The table of two runs beside each other: the same cells, on the images that are in both."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from art_denoise.evaluation.experiment import Cell
from art_denoise.evaluation.report.names import cell_names
from art_denoise.evaluation.report.table import Accuracy, Column, Difference, Name, Row, Section, Shown, Table
from art_denoise.evaluation.statistics import NOT_ATTACKED, Share, holm, paired_difference

if TYPE_CHECKING:
    from art_denoise.evaluation.results import Results


def between(first: Results, second: Results, names: tuple[str, str] = ("the first", "the second")) -> Table:
    """Return what two runs found in the cells that both have, on the images that both have, and what differs.

    Cells are the same if the attack with its parameters and its size, what it knows and was crafted on, the defence,
    the network's name and the seed are; images if their names and their labels are. That two networks have the same
    weights is not asked: to compare them is what this is for.

    :param names: What the runs are called.
    :raises ValueError: If they have no image or no cell in common, or an image has another label in each.
    """
    one, other = _shared(first, second)
    cells = [cell for cell in first.labels if cell in second.labels]
    if not cells:
        raise ValueError(
            "the runs have no cell in common: the attacks with their parameters, the defences, the networks and the "
            "seeds have to be the same in both"
        )
    truth = first.images.labels[one]
    found = []
    for cell in cells:
        labels, others = first.labels[cell][one], second.labels[cell][other]
        there = (labels != NOT_ATTACKED) & (others != NOT_ATTACKED)
        if there.any():
            found.append((cell, labels[there], others[there], truth[there]))
    differences = [paired_difference(others, labels, of) for _, labels, others, of in found]
    corrected = holm([difference.p_value for difference in differences])
    called = cell_names(first.experiment, [cell for cell, *_ in found])
    several = len({cell.target for cell in cells}) > 1
    rows = tuple(
        Row(
            Name(f"{called[cell].text}{f' on {cell.target}' if several else ''}"),
            (_accuracy(labels, of), _accuracy(others, of), Difference(difference, p)),
            (("images", len(of)),),
        )
        for (cell, labels, others, of), difference, p in zip(found, differences, corrected, strict=True)
    )
    return Table(
        kind="between",
        title=f"{names[1]} compared with {names[0]}",
        note=_note(first, second, len(one), cells),
        legend=Shown("accuracy in %, difference in points", "95 % interval, p"),
        head=Name(""),
        columns=(Column(Name(names[0])), Column(Name(names[1])), Column(Name("difference"))),
        sections=(Section("", rows),),
    )


def _shared(first: Results, second: Results) -> tuple[np.ndarray, np.ndarray]:
    """Return where the images are, in the one and in the other, that both have."""
    places = {name: i for i, name in enumerate(second.images.names)}
    pairs = [(i, places[name]) for i, name in enumerate(first.images.names) if name in places]
    if not pairs:
        raise ValueError("the runs have no image in common: their names are compared")
    one, other = np.array(pairs).T
    differ = np.flatnonzero(first.images.labels[one] != second.images.labels[other])
    if len(differ):
        raise ValueError(
            f"{len(differ)} of {len(pairs)} images have another label in each run, the first of them "
            f"{first.images.names[one[differ[0]]]!r}: they are of other data sets, or have other classes"
        )
    return one, other


def _note(first: Results, second: Results, shared: int, cells: list[Cell]) -> str:
    images = f"Of the {shared} images that are in both"
    if shared < max(len(first.images), len(second.images)):
        images += f" ({len(first.images)} and {len(second.images)} are in one)"
    left_out = [len(results.labels) - len(cells) for results in (first, second)]
    others = f" {left_out[0]} and {left_out[1]} cells are in one of them only." if any(left_out) else ""
    return (
        f"{images}, image by image, with the p-value of the exact McNemar test, corrected by Holm for {len(cells)} "
        f"comparisons.{others}"
    )


def _accuracy(labels: np.ndarray, truth: np.ndarray) -> Accuracy:
    return Accuracy(Share(int(np.sum(labels == truth)), len(truth)))
