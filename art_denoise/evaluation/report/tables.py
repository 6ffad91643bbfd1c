"""From results to tables. A table more is a function here and its line in `TABLES`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from art_denoise.evaluation.components import write_component, write_defence
from art_denoise.evaluation.experiment import (
    Cell,
    Comparison,
    Condition,
    Defence,
    Experiment,
    Knowledge,
    Source,
    Threat,
    Transfer,
)
from art_denoise.evaluation.records import attack_name, reason
from art_denoise.evaluation.report.doubts import doubts
from art_denoise.evaluation.report.names import (
    ATTACKER,
    NOBODY,
    attacked,
    attacker_in,
    bare,
    cells_of,
    component_name,
    distinct,
    knowledge_of,
    row_names,
    source_columns,
    source_names,
)
from art_denoise.evaluation.report.table import (
    Accuracy,
    Column,
    Difference,
    Missing,
    Name,
    Number,
    Rate,
    Row,
    Same,
    Section,
    Shown,
    Table,
    Text,
    Value,
)
from art_denoise.evaluation.statistics import (
    PairedDifferences,
    Share,
    Shares,
    accuracy,
    changed,
    holm,
    paired_difference,
)
from art_denoise.evaluation.studies.published import PUBLISHED_BY, published_rates

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
        f"{len(results.images)} test {results.images.title}",
        note=_note(_quick_note(results), _columns_note(experiment), _seeds_note(experiment, "accuracy")),
        legend=Shown("accuracy in %", "95 % interval", experiment.published_by or "published"),
        head=Name(""),
        columns=(ATTACKER, *source_columns(experiment)),
        sections=sections,
    )
    return (_with_legend_of_what_is_there(table),) if sections else ()


def worst(results: Results) -> tuple[Table, ...]:
    """Return the table of the worst that attackers do to each defence, image by image."""
    experiment = results.experiment
    crafted: dict[Defence, list[Cell]] = {}
    for condition in experiment.conditions:
        noise = condition.defence.noise
        is_control = noise is not None and noise.kind == "random"
        if condition.threat is not None and condition.threat.crafted and not is_control:
            crafted.setdefault(condition.defence, []).extend(experiment.cells_of(condition))
    known = {cell.knowledge for cells in crafted.values() for cell in cells}
    there = [knowledge for knowledge in Knowledge if knowledge in known]
    names = row_names(Condition(None, defence) for defence in crafted)
    rows = []
    for defence, cells in crafted.items():
        clean = Condition(None, defence)
        alone = cells_of(experiment, clean, None) if clean in experiment.conditions else ()
        groups: list[Sequence[Cell]] = [alone, *([c for c in cells if c.knowledge is k] for k in there), cells]
        rows.append(
            Row(
                names[clean], tuple(_of_all(results, group) for group in groups), (("defence", write_defence(defence)),)
            )
        )
    untested = [
        names[Condition(None, defence)].text
        for defence, cells in crafted.items()
        if defence and not any(cell.condition.threat.knowledge.knows_defence for cell in cells if cell.condition.threat)
    ]
    attackers = [NOBODY, *(knowledge.value for knowledge in there), "all of them"]
    table = Table(
        kind="worst",
        title="The worst that attackers do to each defence, image by image",
        note=_note(
            "An image counts if it is classified right whatever attacks it: with every attack that knows as much, "
            "every perturbation and every seed of the experiment. More attackers can only make it less.",
            f"Nobody who attacks knows {', '.join(untested)}: what they are worth is not known." if untested else "",
        ),
        legend=Shown("accuracy in %", "95 % interval"),
        head=Name("attacked by"),
        columns=tuple(Column(Name(attacker)) for attacker in attackers),
        sections=(Section("", tuple(rows)),),
    )
    # With one attack each the table of accuracies says it all.
    return (table,) if any(len(cells) > 1 for cells in crafted.values()) and not _is_empty(table) else ()


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
        values = _over_columns(experiment, same, partial(difference, results, pair.first, pair.second))
        if all(isinstance(value, Missing) for value in values):
            continue
        text = pair.text if twice[pair.text, attacker(pair)] == 1 else f"{pair.text} ({first}, {second})"
        more = (("first", first), ("second", second))
        families.setdefault(pair.family, []).append(Row(Name(text), (Text(Name(attacker(pair))), *values), more))
    table = Table(
        kind="comparisons",
        title="The same images, compared in pairs",
        note=_note(
            "How many points more of the images are classified right with it than without, with the p-value of the "
            "exact McNemar test, corrected by Holm for the number of those under the same heading.",
            _columns_note(experiment),
            _seeds_note(experiment, "difference"),
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


def transfers(results: Results) -> tuple[Table, ...]:
    """Return the tables of fooling rates from network to network, without a defence."""
    return tuple(table for t in results.experiment.transfers if (table := transfer_table(results, t)) is not None)


def sweeps(results: Results) -> tuple[Table, ...]:
    """Return a table for each defence over its strengths."""
    experiment, tables = results.experiment, []
    for sweep in experiment.sweeps:
        names = row_names(map(Condition, sweep.threats))
        lines = [(c.threat, source, name) for c, name in names.items() for source in experiment.columns(c)]
        rows = tuple(
            Row(
                Name(f"{strength:g}"),
                tuple(_accuracy(results, cells_of(experiment, Condition(t, defence), s)) for t, s, _ in lines),
                (("defence", write_defence(defence)),),
            )
            for strength, defence in sweep.points
        )
        table = Table(
            kind="sweep",
            title=f"Top-1 accuracy by the strength of {sweep.title}",
            note=_note(
                f"The rows are the strengths: {sweep.axis}; 0 is no defence. In brackets what the attacker knows.",
                _seeds_note(experiment, "accuracy"),
            ),
            legend=Shown("accuracy in %", "95 % interval"),
            head=Name(sweep.axis),
            columns=tuple(Column(attacked(experiment, Condition(t), name, s)) for t, s, name in lines),
            sections=(Section("", rows),),
        )
        if not _is_empty(table):
            tables.append(table)
    return tuple(tables)


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
        note="Fooled is an image whose label the perturbation changes, behind what it was crafted through.",
        legend=Shown(""),
        head=Name(""),
        columns=tuple(columns),
        sections=(Section("", rows),),
    )
    return (table,) if rows else ()


#: The tables of a report, in order, by their kind.
TABLES: dict[str, Callable[[Results], tuple[Table, ...]]] = {
    "accuracy": accuracies,
    "worst": worst,
    "flags": doubts,
    "comparisons": comparisons,
    "transfer": transfers,
    "sweep": sweeps,
    "perturbations": perturbations,
}


def all_tables(results: Results) -> dict[str, tuple[Table, ...]]:
    """Return the tables of a report, by kind; those that there are results for."""
    made = {kind: make(results) for kind, make in TABLES.items()}
    return {kind: tables for kind, tables in made.items() if tables}


def rates_table(
    rates: Mapping[str, Mapping[str, Share]],
    *,
    title: str,
    names: Mapping[str, str] | None = None,
    published: Mapping[str, Mapping[str, float]] | None = None,
    published_by: str = "published",
) -> Table:
    """Return a table of fooling rates from network to network.

    :param rates: By the network crafted on, and by the network scored on. The same name is the same network.
    :param title: Its title.
    :param names: What networks are called; their own names where there is none.
    :param published: Rates of others, in percent, likewise.
    :param published_by: Whose they are.
    """
    shown, published = names or {}, published or {}
    targets = list(dict.fromkeys(target for row in rates.values() for target in row))
    rows = tuple(
        Row(
            Name(shown.get(source, source)),
            tuple(
                Rate(row[t], published.get(source, {}).get(t), white_box=source == t)
                if t in row
                else Missing("not scored on this network")
                for t in targets
            ),
        )
        for source, row in rates.items()
    )
    return _rates(title, rows, tuple(Column(Name(shown.get(t, t))) for t in targets), "", published_by)


# Cells and values


def _why_no_cell(experiment: Experiment, condition: Condition, source: Source | None) -> str:
    """Return why a row has no cell in a column."""
    if source is not None and source.stands_for is not None:
        return "it would have to be crafted on a network, and this is a file"
    if condition.threat is not None and condition.threat.knowledge is Knowledge.TRANSFER:
        return "this is the target itself, and the attacker has another network"
    if condition.threat is not None and condition.threat.knowledge is Knowledge.BLACK_BOX:
        return "who queries the target has no need of another network"
    return "the row is not of this column"


def _over_columns(
    experiment: Experiment, same_everywhere: bool, value: Callable[[Source | None], Value]
) -> tuple[Value, ...]:
    """Return the values of a row in all columns; one that is the same in all of them stands there once."""
    sources: tuple[Source | None, ...] = experiment.sources or (None,)
    if same_everywhere:
        first = value(None)
        # A missing value is missing everywhere.
        return (first, *[first if isinstance(first, Missing) else Same()] * (len(sources) - 1))
    return tuple(map(value, sources))


def _accuracy_row(results: Results, condition: Condition, name: Name) -> Row:
    experiment = results.experiment

    def value(source: Source | None) -> Value:
        cells = cells_of(experiment, condition, source)
        if not cells:
            return Missing(_why_no_cell(experiment, condition, source))
        return _accuracy(results, cells, experiment.published_for(cells[0]))

    values = _over_columns(experiment, experiment.columns(condition) == (None,), value)
    more = (*_of_threat(condition.threat), ("defence", write_defence(condition.defence)))
    return Row(name, (Text(Name(knowledge_of(experiment, condition))), *values), more)


def _of_threat(threat: Threat | None) -> tuple[tuple[str, Any], ...]:
    """Return what else is to be said of an attack: how it is written, and its size, of 255."""
    return (
        ("attack", None if threat is None else write_component(threat.attack)),
        ("eps", None if threat is None else round(255 * threat.eps, 6)),
    )


def _accuracy(results: Results, cells: Sequence[Cell], published: float | None = None) -> Value:
    """Return the accuracy in cells that differ in their seed alone."""
    found = [accuracy(results.labels[c], results.images.labels) for c in cells if c in results.labels]
    if not found:
        return Missing(reason(results, cells[0]))
    share = found[0] if len(cells) == 1 else Shares(tuple(found), len(cells))
    return Accuracy(share, published, attacker_in(cells[0]))


def _of_all(results: Results, cells: Sequence[Cell]) -> Value:
    """Return the share of the images that are classified right in all of some cells."""
    for cell in cells:
        if cell not in results.labels:
            return Missing(reason(results, cell))
    if not cells:
        return Missing("not in the experiment")
    right = np.all([results.labels[cell] == results.images.labels for cell in cells], axis=0)
    return Accuracy(Share(int(right.sum()), len(right)))


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
            return Missing(_why_no_cell(experiment, condition, source))
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


def transfer_table(results: Results, transfer: Transfer) -> Table | None:
    """Return the table of an attack's fooling rates; None if there is no result at all."""
    experiment = results.experiment
    condition, published = Condition(transfer.threat), published_rates(transfer.threat)
    names = source_names(experiment)

    def rate(threat: Threat, source: Source | None, target: str) -> Value:
        cells = cells_of(experiment, Condition(threat), source, target)
        (clean,) = cells_of(experiment, Condition(), None, target)
        labels = results.labels
        found = [changed(labels[c], labels[clean]) for c in cells if c in labels and clean in labels]
        if not found:
            return Missing(next(reason(results, cell) for cell in (*cells, clean) if cell not in labels))
        of_others = None if source is None else published.get(source.key, {}).get(target)
        white_box = source is not None and source.key == target
        share = found[0] if len(cells) == 1 else Shares(tuple(found), len(cells))
        return Rate(share, of_others, attacker_in(cells[0]), white_box)

    lines: list[tuple[Threat, Source | None, Name]] = [
        (transfer.threat, source, names[source.key]) for source in experiment.columns(condition) if source is not None
    ]
    if transfer.control is not None:
        lines.append((transfer.control, None, component_name(transfer.control.attack)))
    targets = [network.key for network in experiment.networks]
    rows = tuple(
        Row(name, tuple(rate(threat, source, t) for t in targets), _of_threat(threat)) for threat, source, name in lines
    )
    columns = map(Column, distinct([(network.key, network.text) for network in experiment.networks]))
    attack = transfer.title or transfer.threat.attack.text or transfer.threat.attack.name
    if sum(other.title == transfer.title for other in experiment.transfers) > 1:
        attack = bare(row_names([Condition(other.threat) for other in experiment.transfers])[condition]).text
    title = f"Fooling rates of {attack} from network to network, without a defence"
    table = _rates(title, rows, tuple(columns), _seeds_note(experiment, "fooling rate"), PUBLISHED_BY)
    return None if _is_empty(table) else table


def _rates(title: str, rows: tuple[Row, ...], columns: tuple[Column, ...], note: str, published_by: str) -> Table:
    table = Table(
        kind="transfer",
        title=title,
        note=_note(
            "The share of the images whose label the perturbation changes, by the network that it was crafted on "
            f"(rows) and scored on (columns). The attacker: {Knowledge.OBLIVIOUS.value} where both are the same, else "
            f"{Knowledge.TRANSFER.value}.",
            note,
        ),
        legend=Shown("fooling rate in %", "95 % interval", published_by),
        head=Name("crafted on ↓, scored on →"),
        columns=columns,
        sections=(Section("", rows),),
        mark="white-box, crafted on the network itself",
    )
    return _with_legend_of_what_is_there(table)


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


def found_in(made: Made, name: str) -> Any:
    """Return what is recorded of something that was made; None if it is not.

    :param name: A name in its record or in `record["provenance"]`; or "fooling_rate", that on the crafting images.
    """
    if name == "fooling_rate":
        return made.record.get("fooling_rates", {}).get("crafting images")
    found = made.record.get(name)
    return made.record.get("provenance", {}).get(name) if found is None else found


# What is said of tables


def _note(*sentences: str) -> str:
    return " ".join(filter(None, sentences))


def _quick_note(results: Results) -> str:
    options = results.config.get("options") or {}
    return "A quick run, to see that all works: its figures mean nothing." if options.get("quick") else ""


def _columns_note(experiment: Experiment) -> str:
    if not experiment.sources:
        return ""
    files = any(source.stands_for is not None for source in experiment.sources)
    note = "The columns are the networks that perturbations were crafted on"
    note += ", or the files that they are from." if files else "."
    if any(knowledge_of(experiment, c) == "oblivious / transfer" for c in experiment.conditions):
        target = source_names(experiment).get(experiment.target.key, Name(experiment.target.text))
        note += f" “oblivious / transfer”: oblivious in the column {target.text}, transfer in the others."
    return note


def _seeds_note(experiment: Experiment, of: str) -> str:
    """Return how several seeds are told; "" if there is one."""
    if len(experiment.seeds) == 1:
        return ""
    seeds = ", ".join(map(str, experiment.seeds))
    note = (
        f"With an attack, each {of} is the mean over the seeds {seeds} of the perturbations, on the same images, and "
        "“… to …” are the lowest and the highest of them, not an interval."
    )
    if of == "difference":
        note += " p is the largest of the seeds' p-values, and 1 if they point in both directions."
    return note


def _with_legend_of_what_is_there(table: Table) -> Table:
    """Return a table without the parts of its legend that none of its values has."""
    shown = [value.shown() for value in table.values if not isinstance(value, (Text, Same, Missing))]
    legend = table.legend
    detail = legend.detail if any(s.detail for s in shown) else ""
    published = legend.published if any(s.published for s in shown) else ""
    return replace(table, legend=replace(legend, detail=detail, published=published))


def _is_empty(table: Table) -> bool:
    """Whether a table has no result at all."""
    return all(isinstance(value, (Text, Missing)) for value in table.values)
