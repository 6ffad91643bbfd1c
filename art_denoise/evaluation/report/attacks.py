"""The table of what attacks on single images took, and whether they succeed where they have to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from art_denoise.evaluation.components import write_defence
from art_denoise.evaluation.report.names import attacker_in, row_names, source_names
from art_denoise.evaluation.report.table import Column, Missing, Name, Number, Row, Section, Shown, Table, Text, Value
from art_denoise.evaluation.tried import tried_as

if TYPE_CHECKING:
    from art_denoise.evaluation.results import Results

_NOTE = (
    "A forward pass is one image that goes once through the network; for a gradient, it also goes back. Planted "
    "points: the network, behind the defence, is given a last layer that calls one point at the edge of what the "
    "attack may reach another class (Zimmermann et al. 2022). An attack that does not find that point is too weak to "
    "say anything, or is stopped by something in the defence."
)


def attacks(results: Results) -> tuple[Table, ...]:
    """Return the table of attacks on single images: their passes, and the planted adversarial points they found."""
    experiment = results.experiment
    cells = [
        cell
        for row in experiment.conditions
        for cell in experiment.cells_of(row)
        if cell in results.passes and cell.seed == experiment.seeds[0]
    ]
    names, sources = row_names(cell.condition for cell in cells), source_names(experiment)
    rows, seen = [], set()
    for cell in cells:
        threat = cell.condition.threat
        knows = threat is not None and threat.knowledge.knows_defence
        # Who does not know the defence has attacked the same images, wherever they are scored.
        made = (threat, cell.source, cell.condition.defence if knows else None)
        if made in seen:
            continue
        seen.add(made)
        counted = results.passes[cell]
        rows.append(
            Row(
                names[cell.condition],
                (
                    Text(Name(attacker_in(cell))),
                    Text(sources.get(cell.source or "", Name(cell.source or "–"))),
                    Number(counted["images"], 0),
                    Number(counted["forward"] / counted["images"], 0),
                    Number(counted["gradient"] / counted["images"], 0),
                    *_planted(tried_as(results, cell.condition)),
                ),
                (("defence", write_defence(cell.condition.defence)),),
            )
        )
    table = Table(
        kind="attacks",
        title="What attacks on single images took, and whether they succeed where they have to",
        note=_NOTE,
        legend=Shown(""),
        head=Name(""),
        columns=(
            Column(Name("the attacker"), of_row=True),
            Column(Name("crafted on"), of_row=True),
            Column(Name("images")),
            Column(Name("forward passes per image")),
            Column(Name("of them for a gradient")),
            Column(Name("planted points found, %")),
            Column(Name("found by chance, %")),
        ),
        sections=(Section("", tuple(rows)),),
    )
    return (table,) if rows else ()


def _planted(record: dict[str, Any] | None) -> tuple[Value, Value]:
    """Return how many planted points were found, and by chance."""
    if record is None:
        untried = Missing("not through a defence that it knows")
        return untried, untried
    if not record["images"]:
        alike = Missing("the network calls all points the same")
        return alike, alike
    return Number(100 * record["found"] / record["images"], 0), Number(100 * record["chance"], 0)
