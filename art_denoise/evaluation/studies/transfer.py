"""Perturbations from network to network, without a defence: how many labels each changes on each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from art_denoise.evaluation.experiment import Condition, Experiment, Knowledge, Network, Source, Threat, Transfer
from art_denoise.evaluation.studies.grid import name_of
from art_denoise.evaluation.studies.lee2018 import SIGNS


def transfer(
    targets: Sequence[Network], sources: Sequence[Source], *, attacks: Sequence[Threat], seeds: Sequence[int] = (0,)
) -> Experiment:
    """Return a table for each attack: crafted on each source, scored on each target, beside noise of its size.

    :param targets: The networks that perturbations are scored on.
    :param sources: What they are crafted on, or the files that they are from.
    :param attacks: The attacks; files take the place of the first.
    :param seeds: Seeds of the perturbations.
    :raises ValueError: If an attack knows of a defence, or is noise itself.
    """
    check_undefended(attacks)
    whole = Experiment(
        title="Transfer",
        target=targets[0],
        sources=tuple(sources),
        sections=(),
        networks=tuple(targets),
        seeds=tuple(seeds),
    )
    tables = tuple(
        Transfer(threat, replace(SIGNS, eps=threat.eps, norm=threat.norm), name_of(threat))
        for threat in dict.fromkeys(attacks)
        # Where there are files only, nothing is crafted.
        if whole.columns(Condition(threat))
    )
    return replace(whole, transfers=tables)


def check_undefended(attacks: Iterable[Threat]) -> None:
    """Raise if an attack knows of a defence, or is noise itself."""
    for threat in attacks:
        if threat.knowledge is not Knowledge.OBLIVIOUS or not threat.crafted:
            raise ValueError(
                f"`attacks` has {threat.attack.name} with knowledge={threat.knowledge.value}, and transfer is of "
                "attacks that are made on a network without a defence: leave knowledge= out, or take another attack"
            )
