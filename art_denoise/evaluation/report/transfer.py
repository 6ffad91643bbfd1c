"""Tables of fooling rates from network to network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from art_denoise.evaluation.experiment import Condition, Knowledge, Source, Threat, Transfer
from art_denoise.evaluation.records import reason
from art_denoise.evaluation.report.names import (
    attacker_in,
    bare,
    cells_of,
    component_name,
    distinct,
    row_names,
    source_names,
)
from art_denoise.evaluation.report.table import Column, Missing, Name, Rate, Row, Section, Shown, Table, Value
from art_denoise.evaluation.report.values import is_empty, note_of, of_threat, seeds_note, with_legend_of_what_is_there
from art_denoise.evaluation.statistics import Share, Shares, changed
from art_denoise.evaluation.studies.published import PUBLISHED_BY, published_rates

if TYPE_CHECKING:
    from art_denoise.evaluation.results import Results


def transfers(results: Results) -> tuple[Table, ...]:
    """Return the tables of fooling rates from network to network, without a defence."""
    return tuple(table for t in results.experiment.transfers if (table := transfer_table(results, t)) is not None)


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
        Row(name, tuple(rate(threat, source, t) for t in targets), of_threat(threat)) for threat, source, name in lines
    )
    columns = map(Column, distinct([(network.key, network.text) for network in experiment.networks]))
    attack = transfer.title or transfer.threat.attack.text or transfer.threat.attack.name
    if sum(other.title == transfer.title for other in experiment.transfers) > 1:
        attack = bare(row_names([Condition(other.threat) for other in experiment.transfers])[condition]).text
    title = f"Fooling rates of {attack} from network to network, without a defence"
    table = _rates(title, rows, tuple(columns), seeds_note(experiment, "fooling rate"), PUBLISHED_BY)
    return None if is_empty(table) else table


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


def _rates(title: str, rows: tuple[Row, ...], columns: tuple[Column, ...], note: str, published_by: str) -> Table:
    table = Table(
        kind="transfer",
        title=title,
        note=note_of(
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
    return with_legend_of_what_is_there(table)
