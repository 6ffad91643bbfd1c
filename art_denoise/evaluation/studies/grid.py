"""Any defences against any attacks, as an experiment; and one perturbation by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from art_denoise.evaluation.experiment import (
    Comparison,
    Condition,
    Defence,
    Experiment,
    Knowledge,
    Network,
    Section,
    Source,
    Threat,
)

#: The questions that comparisons belong to: what an attack does, alone and behind a defence, and what a defence does
#: without an attack and against one.
DOES, DOES_BEHIND = "What an attack does", "What an attack does behind a defence"
COSTS, WINS = "What a defence costs without an attack", "What a defence wins back"


def evaluation(
    target: Network,
    sources: Sequence[Source],
    networks: Sequence[Network],
    *,
    defences: Sequence[Defence],
    attacks: Sequence[Threat],
    seeds: Sequence[int] = (0,),
) -> Experiment:
    """Return every defence against every attack, each also compared with no defence on the same images.

    :param target: The network whose accuracy is reported.
    :param sources: The columns.
    :param networks: All networks.
    :param defences: The defences.
    :param attacks: The attacks; one that is there with several sorts of knowledge, or with several parameters, has one
        section for all of them.
    :param seeds: Seeds of the perturbations.
    """
    defences = list(dict.fromkeys(defences))
    families: dict[Condition, list[Threat]] = {}
    for threat in dict.fromkeys(attacks):
        families.setdefault(undefended(threat), []).append(threat)
    clean = Condition()
    titled = {"No attack": [clean, *(Condition(None, d) for d in defences)]}
    pairs = [Comparison(Condition(None, d), clean, f"{d.text} on clean images", COSTS) for d in defences]
    for alone, threats in families.items():
        rows = [alone, *(Condition(threat, d) for threat in threats for d in defences)]
        # The same attack with other parameters is under the same heading.
        titled.setdefault(f"With {name_of(threats[0])}", []).extend(rows)
        pairs.append(Comparison(alone, clean, f"{name_of(threats[0])} without a defence", DOES))
        against = [(row, f"{row.defence.text} against {name_of(threats[0])}") for row in rows[1:]]
        pairs += [Comparison(row, alone, text, WINS) for row, text in against]
        pairs += [
            Comparison(
                row, Condition(None, row.defence), f"{name_of(threats[0])} behind {row.defence.text}", DOES_BEHIND
            )
            for row in rows[1:]
            if row.defence
        ]
    whole = Experiment(
        title="Evaluation",
        target=target,
        sources=tuple(sources),
        sections=tuple(Section(title, tuple(rows)) for title, rows in titled.items()),
        comparisons=tuple(pairs),
        networks=tuple(networks),
        seeds=tuple(seeds),
    )
    # Rows without any cell: what would have to be crafted, where there are files only.
    return whole.without([row for row in whole.conditions if not whole.columns(row)])


def perturbation(target: Network, threat: Threat, defences: Sequence[Defence] = (), *, seed: int = 0) -> Experiment:
    """Return what shows one universal perturbation of a network at work.

    :param target: The network that it is crafted on.
    :param threat: Who crafts it; who knows a defence, knows the only one of `defences`.
    :param defences: The defences that it is tried against.
    :param seed: Its seed.
    """
    rows = [Condition(threat, d) for d in defences]
    if not threat.knowledge.knows_defence:
        rows.insert(0, Condition(threat))
    clean = [Condition(), *(Condition(None, d) for d in defences)]
    name = name_of(threat)
    pairs = [
        Comparison(row, Condition(None, row.defence), f"{name}{f' behind {row.defence.text}' if row.defence else ''}")
        for row in rows
    ]
    return Experiment(
        title="Perturbation",
        target=target,
        sources=(Source(target.key, target.text),),
        sections=(Section("No attack", tuple(clean)), Section(f"With {name}", tuple(rows))),
        comparisons=tuple(pairs),
        networks=(target,),
        seeds=(seed,),
    )


def undefended(threat: Threat) -> Condition:
    """Return the row of an attack on the network alone: where there is no defence, there is none to know."""
    if threat.knowledge.white_box:
        threat = replace(threat, knowledge=Knowledge.OBLIVIOUS, knows_draws=False)
    return Condition(threat)


def name_of(threat: Threat) -> str:
    """Return what an attack is called in tables."""
    return threat.attack.text or threat.attack.name
