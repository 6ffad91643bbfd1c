"""The table of what casts doubt on the figures of a report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from art_denoise.evaluation.audit import LEVEL
from art_denoise.evaluation.report.names import cell_names
from art_denoise.evaluation.report.table import Column, Name, PValue, Row, Section, Shown, Table, Text

if TYPE_CHECKING:
    from art_denoise.evaluation.results import Results

_NOTE = (
    "An attacker who knows more, takes more steps or may change more should do at least as much harm. Where that is "
    "not so, an attack may be weaker than it looks, and its figure too good: check it before you believe it. "
    f"Differences are listed if p < {LEVEL:g} in the exact McNemar test, without correction for how many were tested."
)

_NONE = Text(Name("–"))


def doubts(results: Results) -> tuple[Table, ...]:
    """Return the table of what casts doubt on figures: see :mod:`art_denoise.evaluation.audit`."""
    found = results.flags
    names = cell_names(results.experiment, (cell for flag in found for cell in (flag.doubted, flag.because)))
    rows = tuple(
        Row(
            Name(flag.rule),
            (
                Text(names[flag.doubted]),
                Text(names[flag.because]) if flag.because != flag.doubted else _NONE,
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


def doubt_lines(results: Results) -> tuple[str, ...]:
    """Return what casts doubt on figures, one sentence each."""
    names = cell_names(results.experiment, (flag.doubted for flag in results.flags))
    return tuple(f"In doubt is {names[flag.doubted].text}. {flag.rule}: {flag.figure}." for flag in results.flags)
