"""The values in the cells of tables, and what is said of tables as a whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from art_denoise.evaluation.components import write_component
from art_denoise.evaluation.experiment import Cell, Condition, Experiment, Knowledge, Source, Threat
from art_denoise.evaluation.records import reason
from art_denoise.evaluation.report.names import attacker_in, cells_of, knowledge_of, source_names
from art_denoise.evaluation.report.table import Accuracy, Difference, Missing, Name, Number, Same, Table, Text, Value
from art_denoise.evaluation.statistics import (
    FEWEST_SEEDS,
    NOT_ATTACKED,
    PairedDifferences,
    Share,
    Shares,
    accuracy,
    paired_difference,
    two_way_interval,
)

if TYPE_CHECKING:
    from art_denoise.evaluation.results import Made, Results


def why_no_cell(experiment: Experiment, condition: Condition, source: Source | None) -> str:
    """Return why a row has no cell in a column."""
    if source is not None and source.stands_for is not None:
        return "this would have to be crafted on a network, and the column is a file"
    if condition.threat is not None and condition.threat.knowledge is Knowledge.TRANSFER:
        return "this column is the target itself, and the attacker has another network"
    if condition.threat is not None and condition.threat.knowledge is Knowledge.BLACK_BOX:
        return "an attacker who queries the target needs no other network"
    threat = condition.threat
    if threat is not None and threat.knowledge.knows_defence and threat.attack.kind in experiment.on_target:
        return "this attack, by someone who knows the defence, is made on the target only"
    return "this row has no figure in this column"


def over_columns(
    experiment: Experiment, same_everywhere: bool, value: Callable[[Source | None], Value]
) -> tuple[Value, ...]:
    """Return the values of a row in all columns; one that is the same in all of them stands there once."""
    sources: tuple[Source | None, ...] = experiment.sources or (None,)
    if same_everywhere:
        first = value(None)
        # A missing value is missing everywhere.
        return (first, *[first if isinstance(first, Missing) else Same()] * (len(sources) - 1))
    return tuple(map(value, sources))


def of_threat(threat: Threat | None) -> tuple[tuple[str, Any], ...]:
    """Return what else is to be said of an attack: how it is written, and its size, of 255."""
    return (
        ("attack", None if threat is None else write_component(threat.attack)),
        ("eps", None if threat is None else round(255 * threat.eps, 6)),
    )


def accuracy_in(results: Results, cells: Sequence[Cell], published: float | None = None) -> Value:
    """Return the accuracy in cells that differ in their seed alone."""
    truth, there = results.images.labels, [results.labels[c] for c in cells if c in results.labels]
    found = [accuracy(labels, truth) for labels in there]
    if not found:
        return Missing(reason(results, cells[0]))
    share: Share | Shares = found[0]
    if len(cells) > 1:
        # Of few perturbations, or images that were not all attacked, the spread says all that is known.
        whole = len(found) >= FEWEST_SEEDS and all(one.n == len(truth) for one in found)
        interval = two_way_interval(np.array([labels == truth for labels in there])) if whole else None
        share = Shares(tuple(found), len(cells), interval)
    return Accuracy(share, published, attacker_in(cells[0]), _doubted(results, cells))


def accuracy_in_all(results: Results, cells: Sequence[Cell], among: Sequence[Cell] = ()) -> Value:
    """Return the share of the images that are classified right in all of some cells.

    What only asks for answers is slow, and may attack few images: the others count as if it had left them. They are
    those that everybody else has attacked.

    :param among: Cells in which an image has to be classified right to be counted at all.
    """
    for cell in (*cells, *among):
        if cell not in results.labels:
            return Missing(reason(results, cell))
    if not cells:
        return Missing("not in the experiment")
    labels, truth = results.labels, results.images.labels
    left, there = left_in_all(results, cells)
    for cell in among:
        there = there & (labels[cell] == truth)
    count = int(np.sum(there))
    if not count:
        return Missing("no image is classified right")
    # What casts doubt on a weaker attack says nothing of what the strongest leave: of all, and of who has gradients.
    white_box = [cell for cell in cells if cell.condition.threat and cell.condition.threat.knowledge.white_box]
    strongest = [
        min(group, key=lambda cell: accuracy(labels[cell], truth).value) for group in (cells, white_box) if group
    ]
    return Accuracy(Share(int(np.sum(left & there)), count), doubted=_doubted(results, strongest))


def left_in_all(results: Results, cells: Sequence[Cell]) -> tuple[np.ndarray, np.ndarray]:
    """Return which images (N,) are classified right in all of some cells, and which of them count, bool both."""
    labels, truth = results.labels, results.images.labels
    left = np.all([(labels[cell] == truth) | (labels[cell] == NOT_ATTACKED) for cell in cells], axis=0)
    attacked = np.array([labels[cell] != NOT_ATTACKED for cell in cells])
    asking = np.array([cell.knowledge is Knowledge.BLACK_BOX for cell in cells])
    return left, np.asarray(attacked.any(axis=0) if asking.all() else attacked[~asking].all(axis=0))


def _doubted(results: Results, cells: Sequence[Cell]) -> bool:
    """Return whether something casts doubt on the figure of one of some cells."""
    return any(flag.doubted in cells for flag in results.flags)


def difference(results: Results, first: Condition, second: Condition, source: Source | None) -> Value:
    """Return how much more often a row is right than another, in a column; missing if there is nothing to compare.

    :param results: The results.
    :param first: The one row.
    :param second: The row that it is compared with.
    :param source: The column.
    """
    experiment = results.experiment
    cells = [cells_of(experiment, condition, source) for condition in (first, second)]
    for condition, there in zip((first, second), cells, strict=True):
        if not there:
            return Missing(why_no_cell(experiment, condition, source))
    # A row without seeds is compared with each of the other's.
    count = max(map(len, cells))
    pairs = list(zip(*(there * count if len(there) == 1 else there for there in cells), strict=True))
    found = [
        paired_difference(results.labels[one], results.labels[other], results.images.labels)
        for one, other in pairs
        if one in results.labels and other in results.labels
    ]
    if not found:
        return Missing(next(reason(results, cell) for cell in pairs[0] if cell not in results.labels))
    return Difference(found[0] if count == 1 else PairedDifferences(tuple(found), count))


def found_in(made: Made, name: str) -> Any:
    """Return what is recorded of something that was made; None if it is not.

    :param name: A name in its record or in `record["provenance"]`; or "fooling_rate", that on the crafting images.
    """
    if name == "fooling_rate":
        return made.record.get("fooling_rates", {}).get("crafting images")
    found = made.record.get(name)
    return made.record.get("provenance", {}).get(name) if found is None else found


def size_of(cell: Cell) -> tuple[str, float]:
    """Return the norm and the bound of a cell's attack."""
    threat = cell.condition.threat
    return ("", 0.0) if threat is None else (threat.norm, threat.eps)


def size_text(size: tuple[str, float]) -> str:
    """Return a norm and a bound as text: "at most 10/255 in the norm L∞"."""
    norm, eps = size
    return f"at most {255 * eps:.4g}/255 in the norm L{'∞' if norm == 'inf' else norm}"


def number(value: float | None, scale: float, digits: int, otherwise: str) -> Value:
    """Return a number, scaled and with so many digits; where there is none, why."""
    return Missing(otherwise) if value is None else Number(scale * value, digits)


def note_of(*sentences: str) -> str:
    return " ".join(filter(None, sentences))


def quick_note(results: Results) -> str:
    options = results.config.get("options") or {}
    return "A quick run, to see that all works: its figures mean nothing." if options.get("quick") else ""


def columns_note(experiment: Experiment) -> str:
    if not experiment.sources:
        return ""
    files = any(source.stands_for is not None for source in experiment.sources)
    note = "The columns are the networks that perturbations were crafted on"
    note += ", or the files that they are from." if files else "."
    if any(knowledge_of(experiment, c) == "oblivious / transfer" for c in experiment.conditions):
        target = source_names(experiment).get(experiment.target.key, Name(experiment.target.text))
        note += f" “oblivious / transfer”: oblivious in the column {target.text}, transfer in the others."
    return note


def seeds_note(experiment: Experiment, of: str) -> str:
    """Return how several seeds are told; "" if there is one."""
    if len(experiment.seeds) == 1:
        return ""
    seeds = ", ".join(map(str, experiment.seeds))
    note = (
        f"With an attack, each {of} is the mean over the seeds {seeds} of the perturbations, on the same images, and "
        "“… to …” are the lowest and the highest of them, not an interval."
    )
    if of == "accuracy" and len(experiment.seeds) >= FEWEST_SEEDS:
        note += " “…–…” is a 95 % interval over images and perturbations, both of which might have been others."
    if of == "difference":
        note += " p is the largest of the seeds' p-values, and 1 if they point in both directions."
    return note


def with_legend_of_what_is_there(table: Table) -> Table:
    """Return a table without the parts of its legend that none of its values has."""
    shown = [value.shown() for value in table.values if not isinstance(value, (Text, Same, Missing))]
    legend = table.legend
    detail = legend.detail if any(s.detail for s in shown) else ""
    published = legend.published if any(s.published for s in shown) else ""
    return replace(table, legend=replace(legend, detail=detail, published=published))


def with_mark(table: Table) -> Table:
    """Return a table that says what is marked, if something casts doubt on one of its values."""
    doubted = any(isinstance(value, Accuracy) and value.doubted for value in table.values)
    return replace(table, mark="in doubt, see what casts doubt on these figures") if doubted else table


def is_empty(table: Table) -> bool:
    """Whether a table has no result at all."""
    return all(isinstance(value, (Text, Missing)) for value in table.values)
