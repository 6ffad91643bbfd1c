"""The table of what defences take in time and memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from art_denoise.evaluation.components import write_defence
from art_denoise.evaluation.experiment import Condition
from art_denoise.evaluation.report.names import row_names
from art_denoise.evaluation.report.table import Column, Name, Row, Section, Shown, Table
from art_denoise.evaluation.report.values import number

if TYPE_CHECKING:
    from art_denoise.evaluation.results import Results

_NOTE = (
    "On this machine, for one image of a few that go through at once: medians of rounds without the defence and with "
    "it in turn. The network: its forward pass alone, and with a gradient. A measurement differs from run to run."
)

_NO_GRADIENT = "no gradient gets through"


def costs(results: Results) -> tuple[Table, ...]:
    """Return the table of what each defence takes; none if it was not asked for."""
    names = row_names(Condition(None, defence) for defence in results.costs)
    rows = []
    for defence, record in results.costs.items():
        both = record["gradient"], record["network_gradient"]
        backward = None if None in both else both[0] - both[1]
        rows.append(
            Row(
                names[Condition(None, defence)],
                (
                    number(record["network"], 1000, 1, ""),
                    number(record["forward"] - record["network"], 1000, 1, ""),
                    number(record["network_gradient"], 1000, 1, _NO_GRADIENT),
                    number(backward, 1000, 1, _NO_GRADIENT),
                    number(record["memory"], 1e-6, 1, "it cannot be seen on this machine"),
                ),
                (("defence", write_defence(defence)),),
            )
        )
    table = Table(
        kind="costs",
        title="What each defence takes beside the network",
        note=_NOTE,
        legend=Shown(""),
        head=Name("for one image"),
        columns=(
            Column(Name("the network, ms")),
            Column(Name("and the defence, ms")),
            Column(Name("the network with a gradient, ms")),
            Column(Name("and the defence, ms")),
            Column(Name("memory of the defence, MB")),
        ),
        sections=(Section("", tuple(rows)),),
    )
    return (table,) if rows else ()
