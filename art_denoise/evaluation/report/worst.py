"""The table of the worst that attackers do to each defence, image by image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from art_denoise._words import capital
from art_denoise.evaluation.components import write_defence
from art_denoise.evaluation.experiment import Cell, Condition, Defence, Experiment, Knowledge
from art_denoise.evaluation.report.names import NOBODY, attacked, bare, cells_of, row_names
from art_denoise.evaluation.report.table import Accuracy, Column, Missing, Name, Row, Section, Shown, Table, Text
from art_denoise.evaluation.report.values import (
    accuracy_in_all,
    is_empty,
    note_of,
    quick_note,
    size_of,
    size_text,
    with_mark,
)
from art_denoise.evaluation.statistics import accuracy

if TYPE_CHECKING:
    from art_denoise.evaluation.results import Results

#: What the column is called of those images that no attacker turns wrong.
ROBUST = "all of them: robust accuracy"


def attacks_on(experiment: Experiment) -> tuple[dict[Defence, list[Cell]], dict[Defence, list[Cell]]]:
    """Return the cells of all attacks on each defence, and, apart, of those that know what the defence draws."""
    crafted: dict[Defence, list[Cell]] = {}
    draws_known: dict[Defence, list[Cell]] = {}
    for condition in experiment.conditions:
        noise = condition.defence.noise
        is_control = noise is not None and noise.kind == "random"
        if condition.threat is not None and condition.threat.crafted and not is_control:
            # Who knows the draws attacks another defence, one that draws the same each time.
            cells_by = draws_known if condition.threat.knows_draws else crafted
            cells_by.setdefault(condition.defence, []).extend(experiment.cells_of(condition))
    return crafted, draws_known


def worst(results: Results) -> tuple[Table, ...]:
    """Return the table of the worst that attackers do to each defence, image by image, for each size of the attack."""
    experiment = results.experiment
    crafted, draws_known = attacks_on(experiment)
    known = {cell.knowledge for cells in crafted.values() for cell in cells}
    there = [knowledge for knowledge in Knowledge if knowledge in known]
    names = row_names(Condition(None, defence) for defence in {**crafted, **draws_known})
    sizes = sorted({size_of(cell) for cells in crafted.values() for cell in cells})
    sections = []
    for size in sizes:
        rows = []
        for defence, of_all_sizes in crafted.items():
            # Who may change more can always change less.
            cells = [cell for cell in of_all_sizes if size_of(cell)[0] == size[0] and size_of(cell)[1] <= size[1]]
            if any(size_of(cell) == size for cell in cells):
                rows.append(_worst_row(results, defence, cells, there, names[Condition(None, defence)]))
        sections.append(Section(capital(size_text(size)) if len(sizes) > 1 else "", tuple(rows)))
    untested = [
        names[Condition(None, defence)].text
        for defence, cells in crafted.items()
        if defence and not any(cell.condition.threat.knowledge.knows_defence for cell in cells if cell.condition.threat)
    ]
    attackers = [NOBODY, *(knowledge.value for knowledge in there), ROBUST]
    table = Table(
        kind="worst",
        title="The worst that attackers do to each defence, image by image",
        note=note_of(
            quick_note(results),
            "An image counts if it is classified right whatever attacks it: with every attack that knows as much, "
            "every perturbation and every seed of the experiment. More attackers can only make it less.",
            f"Nobody who attacks knows {', '.join(untested)}: what they are worth is not known." if untested else "",
            *(note_of_known_draws(results, names[Condition(None, d)], cells) for d, cells in draws_known.items()),
        ),
        legend=Shown("accuracy in %", "95 % interval"),
        head=Name("attacked by"),
        columns=(
            *(Column(Name(attacker)) for attacker in attackers),
            Column(Name("of those right unattacked: adversarial accuracy")),
            Column(Name("the strongest by itself"), of_row=True),
        ),
        sections=tuple(sections),
    )
    # With one attack each the table of accuracies says it all.
    several = bool(draws_known) or any(len(cells) > 1 for cells in crafted.values())
    return (with_mark(table),) if several and not is_empty(table) else ()


def note_of_known_draws(results: Results, name: Name, cells: Sequence[Cell]) -> str:
    """Say what is left to a defence if what it draws is known, as far as attacks have shown."""
    value = accuracy_in_all(results, cells)
    if not isinstance(value, Accuracy):
        return ""
    return (
        f"Left out is who also knows what {name.text} draws, as where its seed is fixed: he would leave "
        f"{100 * value.share.value:.1f} %."
    )


def _worst_row(
    results: Results, defence: Defence, cells: Sequence[Cell], there: Sequence[Knowledge], name: Name
) -> Row:
    """Return what a defence is worth against each kind of attacker, and against all of them."""
    experiment, clean = results.experiment, Condition(None, defence)
    alone = cells_of(experiment, clean, None) if clean in experiment.conditions else ()
    groups = [alone, *([cell for cell in cells if cell.knowledge is knowledge] for knowledge in there)]
    # Who attacks can always leave it.
    everybody = [*alone, *cells]
    strongest = min(
        (cell for cell in cells if cell in results.labels),
        key=lambda cell: accuracy(results.labels[cell], results.images.labels).value,
        default=None,
    )
    values = (
        *(accuracy_in_all(results, group) for group in groups),
        accuracy_in_all(results, everybody),
        accuracy_in_all(results, everybody, among=alone) if alone else Missing("not in the experiment"),
        Text(Name("–") if strongest is None else _attack_of(experiment, strongest)),
    )
    return Row(name, values, (("defence", write_defence(defence)),))


def _attack_of(experiment: Experiment, cell: Cell) -> Name:
    """Return what attacks in a cell, with what it was crafted on and knows."""
    source = next((s for s in experiment.sources if s.key == cell.source), None)
    condition = Condition(cell.condition.threat)
    return attacked(experiment, cell.condition, bare(row_names([condition])[condition]), source)
