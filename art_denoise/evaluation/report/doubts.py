"""The table of what casts doubt on the figures of a report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from art_denoise.evaluation.audit import LEVEL
from art_denoise.evaluation.report.names import attacked, longer, row_names
from art_denoise.evaluation.report.table import Column, Name, PValue, Row, Section, Shown, Table, Text

if TYPE_CHECKING:
    from art_denoise.evaluation.experiment import Cell
    from art_denoise.evaluation.results import Results

_NOTE = (
    "Whoever knows more, takes more steps or may change more does at least as much harm, if attacks are what they are "
    "meant to be. Where they do not, an attack may be weaker than it looks, and its figure too good: look at it before "
    f"you believe it. Differences are told if p < {LEVEL:g} in the exact McNemar test, not corrected for their number."
)

_NONE = Text(Name("–"))


def doubts(results: Results) -> tuple[Table, ...]:
    """Return the table of what casts doubt on figures: see :mod:`art_denoise.evaluation.audit`."""
    experiment, found = results.experiment, results.flags
    names = row_names(cell.condition for flag in found for cell in (flag.doubted, flag.because))
    sources = {source.key: source for source in experiment.sources}

    def of(cell: Cell) -> Text:
        source = sources.get(cell.source or "")
        seed = f", seed {cell.seed}" if len(experiment.seeds) > 1 and cell.condition.threat is not None else ""
        return Text(longer(attacked(experiment, cell.condition, names[cell.condition], source), seed))

    rows = tuple(
        Row(
            Name(flag.rule),
            (
                of(flag.doubted),
                of(flag.because) if flag.because != flag.doubted else _NONE,
                Text(Name(flag.figure)),
                _NONE if flag.p_value is None else PValue(flag.p_value),
            ),
        )
        for flag in found
    )
    table = Table(
        kind="flags",
        title="What casts doubt on these figures",
        note=_NOTE,
        legend=Shown(""),
        head=Name("what was seen"),
        columns=(
            Column(Name("the figure in doubt"), of_row=True),
            Column(Name("because of"), of_row=True),
            Column(Name("how much"), of_row=True),
            Column(Name("p")),
        ),
        sections=(Section("", rows),),
    )
    return (table,) if rows else ()
