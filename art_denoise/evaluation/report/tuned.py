"""The table of how strong each defence may be for what it costs on clean images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from art_denoise.evaluation.components import write_defence
from art_denoise.evaluation.report.table import Column, Missing, Name, Row, Section, Shown, Table, Text, Value
from art_denoise.evaluation.strengths import COSTS, Tuned, tuned

if TYPE_CHECKING:
    from art_denoise.evaluation.results import Results

_NOTE = (
    "The strongest of each defence's strengths that costs no more on the images for tuning, and what it costs there. "
    "No other figure is of these images. Defences that cost alike can be compared: tuned-1.toml, tuned-2.toml and "
    "tuned-5.toml in the run folder are for art-denoise evaluate --config."
)


def strengths(results: Results) -> tuple[Table, ...]:
    """Return the table of the strengths that were chosen; none where nothing was tuned."""
    if results.experiment.scored_on != "tune":
        return ()
    rows = tuple(Row(Name(family), tuple(map(_value, found))) for family, found in tuned(results).items())
    table = Table(
        kind="strengths",
        title="How strong each defence may be for what it costs on clean images",
        note=_NOTE,
        legend=Shown(""),
        head=Name("at most so many points"),
        columns=tuple(Column(Name(f"{cost:g}"), of_row=True) for cost in COSTS),
        sections=(Section("", rows),),
    )
    return (table,) if rows else ()


def _value(found: Tuned) -> Value:
    if found.defence is None or found.difference is None:
        return Missing("each of its strengths costs more")
    return Text(Name(f"{write_defence(found.defence)}: {100 * found.difference.value:.1f}"))
