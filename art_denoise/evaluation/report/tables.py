"""From results to tables. A table more is a function here and its line in `TABLES`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from art_denoise.evaluation.components import write_defence
from art_denoise.evaluation.experiment import Cell, Comparison, Condition, Experiment, Source
from art_denoise.evaluation.records import attack_name
from art_denoise.evaluation.report._text import listed
from art_denoise.evaluation.report.attacks import attacks
from art_denoise.evaluation.report.checklist import checklist
from art_denoise.evaluation.report.costs import costs
from art_denoise.evaluation.report.doubts import doubts
from art_denoise.evaluation.report.drawn import over_draws
from art_denoise.evaluation.report.headline import headline
from art_denoise.evaluation.report.mechanism import mechanisms
from art_denoise.evaluation.report.names import (
    ATTACKER,
    NOBODY,
    attacked,
    attacker_in,
    bare,
    cells_of,
    knowledge_of,
    row_names,
    source_columns,
    source_names,
)
from art_denoise.evaluation.report.table import (
    Column,
    Difference,
    Missing,
    Name,
    Number,
    Row,
    Section,
    Shown,
    Table,
    Text,
    Value,
)
from art_denoise.evaluation.report.transfer import transfers
from art_denoise.evaluation.report.tuned import strengths
from art_denoise.evaluation.report.values import (
    accuracy_in,
    columns_note,
    difference,
    found_in,
    is_empty,
    note_of,
    of_threat,
    over_columns,
    quick_note,
    seeds_note,
    why_no_cell,
    with_legend_of_what_is_there,
    with_mark,
)
from art_denoise.evaluation.report.worst import worst
from art_denoise.evaluation.statistics import holm

if TYPE_CHECKING:
    from art_denoise.evaluation.results import Made, Results


def accuracies(results: Results) -> tuple[Table, ...]:
    """Return the table of accuracies: the rows of the experiment, by what perturbations were crafted on."""
    experiment = results.experiment
    names = row_names(experiment.conditions)
    sections = tuple(
        Section(section.title, tuple(_accuracy_row(results, c, names[c]) for c in section.conditions))
        for section in experiment.sections
    )
    table = Table(
        kind="accuracy",
        title=f"{experiment.title}: top-1 accuracy of {experiment.target.title or experiment.target.text} on "
        f"{len(results.images)} {'test' if experiment.scored_on == 'test' else 'tuning'} {results.images.title}",
        note=note_of(quick_note(results), columns_note(experiment), seeds_note(experiment, "accuracy")),
        legend=Shown("accuracy in %", "95 % interval", experiment.published_by or "published"),
        head=Name(""),
        columns=(ATTACKER, *source_columns(experiment)),
        sections=sections,
    )
    return (with_mark(with_legend_of_what_is_there(table)),) if sections else ()


def comparisons(results: Results) -> tuple[Table, ...]:
    """Return the table of paired comparisons: which of two rows is right more often, on the same images."""
    experiment = results.experiment
    names = row_names([c for pair in experiment.comparisons for c in (pair.first, pair.second)])

    def attacker(pair: Comparison) -> str:
        found = [knowledge_of(experiment, c) for c in (pair.first, pair.second) if c.threat is not None]
        return " rather than ".join(dict.fromkeys(found)) or NOBODY

    twice = Counter((pair.text, attacker(pair)) for pair in experiment.comparisons)
    families: dict[str, list[Row]] = {}
    for pair in experiment.comparisons:
        first, second = names[pair.first].text, names[pair.second].text
        same = all(experiment.columns(condition) == (None,) for condition in (pair.first, pair.second))
        values = over_columns(experiment, same, partial(difference, results, pair.first, pair.second))
        if all(isinstance(value, Missing) for value in values):
            continue
        text = pair.text if twice[pair.text, attacker(pair)] == 1 else f"{pair.text} ({first}, {second})"
        more = (("first", first), ("second", second))
        families.setdefault(pair.family, []).append(Row(Name(text), (Text(Name(attacker(pair))), *values), more))
    table = Table(
        kind="comparisons",
        title="The same images, compared in pairs",
        note=note_of(
            "How many points more of the images are classified right with what the row names than without it, with the "
            "p-value of the exact McNemar test, corrected by Holm for the number of tests under the same heading.",
            columns_note(experiment),
            seeds_note(experiment, "difference"),
        ),
        legend=Shown("difference in points", "p"),
        head=Name(""),
        columns=(ATTACKER, *source_columns(experiment)),
        sections=tuple(Section(family, _corrected(rows)) for family, rows in families.items()),
    )
    return (table,) if families else ()


def _corrected(rows: Sequence[Row]) -> tuple[Row, ...]:
    """Return rows of differences with p-values that are corrected for their number."""
    found = [value for row in rows for value in row.values if isinstance(value, Difference)]
    corrected = iter(holm([value.p for value in found]))

    def of(value: Value) -> Value:
        return replace(value, corrected=next(corrected)) if isinstance(value, Difference) else value

    return tuple(replace(row, values=tuple(map(of, row.values))) for row in rows)


def sweeps(results: Results) -> tuple[Table, ...]:
    """Return a table for each defence over its strengths."""
    experiment, tables = results.experiment, []
    for sweep in experiment.sweeps:
        names = row_names(map(Condition, sweep.threats))
        lines = [(c.threat, source, name) for c, name in names.items() for source in experiment.columns(c)]
        chosen = experiment.chosen(sweep)
        rows = tuple(
            Row(
                Name(f"{strength:g}"),
                tuple(accuracy_in(results, cells_of(experiment, Condition(t, defence), s)) for t, s, _ in lines),
                (("defence", write_defence(defence)), ("in the other tables", strength in chosen)),
            )
            for strength, defence in sweep.points
        )
        table = Table(
            kind="sweep",
            title=f"Top-1 accuracy by the strength of {sweep.title}",
            note=note_of(
                f"The rows are the strengths: {sweep.axis}; 0 is no defence. In brackets what the attacker knows.",
                _in_other_tables(chosen),
                seeds_note(experiment, "accuracy"),
            ),
            legend=Shown("accuracy in %", "95 % interval"),
            head=Name(sweep.axis),
            columns=tuple(Column(attacked(experiment, Condition(t), name, s)) for t, s, name in lines),
            sections=(Section("", rows),),
        )
        if not is_empty(table):
            tables.append(with_mark(table))
    return tuple(tables)


def _in_other_tables(strengths: Sequence[float]) -> str:
    if not strengths:
        return ""
    return f"The other tables are of {listed([f'{strength:g}' for strength in strengths])}."


def perturbations(results: Results) -> tuple[Table, ...]:
    """Return the table of the perturbations that were made: on what, and what they do to the images they are from."""
    experiment = results.experiment
    there = [made for made in results.made if made.what == "perturbation" and made.threat is not None]
    several = len({made.seed for made in there}) > 1
    columns = [
        ATTACKER,
        Column(Name("crafted on"), of_row=True),
        Column(Name("through"), of_row=True),
        *([Column(Name("seed"), of_row=True)] if several else []),
        Column(Name("of these fooled, %")),
        Column(Name("images")),
        Column(Name("passes")),
        Column(Name("L∞, of 255", r"L_\infty,\ \mathrm{of}\ 255")),
    ]
    threats = [Condition(made.threat) for made in there]
    names = row_names(threats)
    rows = tuple(
        _made_row(experiment, made, names[condition], several) for made, condition in zip(there, threats, strict=True)
    )
    table = Table(
        kind="perturbations",
        title="The perturbations, and what they do to the images that they were crafted from",
        note="An image is fooled if the perturbation changes its label behind the defence that it was crafted through.",
        legend=Shown(""),
        head=Name(""),
        columns=tuple(columns),
        sections=(Section("", rows),),
    )
    return (table,) if rows else ()


#: The tables of a report, in order, by their kind.
TABLES: dict[str, Callable[[Results], tuple[Table, ...]]] = {
    "headline": headline,
    "strengths": strengths,
    "worst": worst,
    "flags": doubts,
    "accuracy": accuracies,
    "draws": over_draws,
    "comparisons": comparisons,
    "transfer": transfers,
    "sweep": sweeps,
    "mechanism": mechanisms,
    "costs": costs,
    "attacks": attacks,
    "perturbations": perturbations,
    "checklist": checklist,
}


def all_tables(results: Results) -> dict[str, tuple[Table, ...]]:
    """Return the tables of a report, by kind; those that there are results for."""
    made = {kind: make(results) for kind, make in TABLES.items()}
    return {kind: tables for kind, tables in made.items() if tables}


def _accuracy_row(results: Results, condition: Condition, name: Name) -> Row:
    experiment = results.experiment

    def value(source: Source | None) -> Value:
        cells = cells_of(experiment, condition, source)
        if not cells:
            return Missing(why_no_cell(experiment, condition, source))
        return accuracy_in(results, cells, experiment.published_for(cells[0]))

    values = over_columns(experiment, experiment.columns(condition) == (None,), value)
    more = (*of_threat(condition.threat), ("defence", write_defence(condition.defence)))
    return Row(name, (Text(Name(knowledge_of(experiment, condition))), *values), more)


def _made_row(experiment: Experiment, made: Made, name: Name, several: bool) -> Row:
    assert made.threat is not None
    cell = Cell(Condition(made.threat, made.defence), experiment.target.key, made.source, made.seed)
    crafted = made.threat.crafted and attack_name(experiment, cell) != "from a file"
    source = source_names(experiment).get(made.source or "", Name(made.source or "–"))
    said = [
        Text(Name(attacker_in(cell))),
        Text(source if crafted or not made.threat.crafted else Name(f"{source.text}, a file")),
        Text(Name(made.defence.text if made.defence else "–")),
        *([Text(Name(str(made.seed)))] if several else []),
    ]
    absent = made.record.get("absent")

    def number(name: str, scale: float, digits: int) -> Value:
        value = found_in(made, name)
        if value is not None:
            return Number(scale * value, digits)
        if absent is not None:
            return Missing(str(absent))
        return Missing("not crafted here" if not crafted else "not recorded")

    numbers = (
        number("fooling_rate", 100, 1),
        number("images", 1, 0),
        number("passes", 1, 2),
        number("linf", 255, 1),
    )
    return Row(bare(name), (*said, *numbers), (("key", made.key), ("attack", found_in(made, "attack"))))
