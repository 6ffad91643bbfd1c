"""How strong each defence may be for what it costs on clean images, chosen from results on images for tuning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from art_denoise.evaluation.components import write_defence
from art_denoise.evaluation.experiment import Cell, Condition, Defence
from art_denoise.evaluation.statistics import PairedDifference, paired_difference

if TYPE_CHECKING:
    from art_denoise.evaluation.results import Results

#: What defences may cost on clean images, in points of accuracy.
COSTS = (1.0, 2.0, 5.0)


@dataclass(frozen=True)
class Tuned:
    """A defence as strong as a cost allows.

    :param cost: What it may cost, in points.
    :param defence: The defence; None: each of its strengths costs more.
    :param difference: What it costs on the images for tuning: accuracy without it and with it.
    """

    cost: float
    defence: Defence | None
    difference: PairedDifference | None


def tuned(results: Results, costs: Sequence[float] = COSTS) -> dict[str, tuple[Tuned, ...]]:
    """Return of each family the strongest defence for each cost, by the family's title.

    :param results: Results of :func:`tuning`.
    :param costs: What a defence may cost, in points of accuracy.
    """
    experiment, truth = results.experiment, results.images.labels
    clean = results.labels.get(Cell(Condition(), experiment.target.key, seed=experiment.seeds[0]))
    found: dict[str, tuple[Tuned, ...]] = {}
    for section in experiment.sections[1:] if clean is not None else ():
        there = [
            (row.defence, paired_difference(clean, results.labels[cell], truth))
            for row in section.conditions
            for cell in experiment.cells_of(row)
            if clean is not None and cell in results.labels
        ]
        found[section.title] = tuple(
            next(
                # The last that is not too dear: the strongest.
                (Tuned(cost, d, diff) for d, diff in reversed(there) if 100 * diff.value <= cost + 1e-9),
                Tuned(cost, None, None),
            )
            for cost in costs
        )
    return found


def as_written(chosen: Mapping[str, tuple[Tuned, ...]], cost: float) -> list[str]:
    """Return how the defences of a cost are written."""
    return [
        write_defence(one.defence)
        for of_family in chosen.values()
        for one in of_family
        if one.cost == cost and one.defence is not None
    ]
