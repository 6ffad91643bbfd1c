"""What is asked: who attacks, what they know, what defends, on which networks. Values only; neither torch nor ART.

Six words are enough to add anything. A :class:`Defence` is a chain of preprocessors. A :class:`Threat` is an attack,
its size, and what it knows of the defence. A :class:`Condition` is a threat and a defence: a row of a table. A
:class:`Cell` is a condition on a target, with what it was crafted on and the seed: the key of every result, in memory,
on disk and in reports. An :class:`Experiment` says which cells there are and which are compared. `Results`
(:mod:`art_denoise.evaluation.results`) are the labels that came out.

All values are equal if everything is equal that can change a result; what they are called in tables is not part of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Literal

from art_denoise.evaluation.conditions import (
    NOTHING,
    Attack,
    AttackKind,
    Cell,
    Component,
    Condition,
    CraftedGradient,
    Defence,
    Knowledge,
    Network,
    Noise,
    NoiseKind,
    Params,
    Preprocessor,
    Scalar,
    Source,
    Threat,
    params,
)

__all__ = [
    "NOTHING",
    "Attack",
    "AttackKind",
    "Cell",
    "Comparison",
    "Component",
    "Condition",
    "CraftedGradient",
    "Defence",
    "Experiment",
    "Knowledge",
    "Network",
    "Noise",
    "NoiseKind",
    "Params",
    "Preprocessor",
    "Published",
    "Scalar",
    "Section",
    "Source",
    "Sweep",
    "Threat",
    "Transfer",
    "params",
]


@dataclass(frozen=True)
class Section:
    """Rows under a heading."""

    title: str
    conditions: tuple[Condition, ...]


@dataclass(frozen=True)
class Comparison:
    """Two rows that are compared on the same images.

    :param first: The one row.
    :param second: The row that it is compared with.
    :param text: What the first adds to the second.
    :param family: The question that it belongs to: p-values are corrected for how many ask the same.
    """

    first: Condition
    second: Condition
    text: str = field(compare=False)
    family: str = field(default="", compare=False)


@dataclass(frozen=True)
class Transfer:
    """A table of fooling rates without a defence: from each network to each network.

    :param threat: The attack.
    :param control: Noise of the same size, as a last row.
    :param title: What the attack is called.
    """

    threat: Threat
    control: Threat | None = None
    title: str = field(default="", compare=False)


@dataclass(frozen=True)
class Sweep:
    """A defence over its strengths: on clean images, with each column's perturbation, and with a control.

    :param title: What the defence is called.
    :param axis: What the strength is called, with its unit.
    :param points: Each strength as it is shown, and the defence that has it; 0 is no defence.
    :param threats: Who attacks; None among them: nobody.
    """

    title: str
    axis: str
    points: tuple[tuple[float, Defence], ...]
    threats: tuple[Threat | None, ...]


@dataclass(frozen=True)
class Published:
    """A figure of somebody else to stand beside one's own, in percent."""

    condition: Condition
    target: str
    source: str | None
    value: float


@dataclass(frozen=True)
class Experiment:
    """Which cells there are, and which are compared.

    :param title: What it is called.
    :param target: The network whose accuracy is reported.
    :param sources: The columns.
    :param sections: The rows, under headings.
    :param comparisons: Rows that are compared on the same images.
    :param transfers: Tables of fooling rates from network to network.
    :param sweeps: Defences over their strengths.
    :param networks: All networks that perturbations are scored on by `transfers`.
    :param published: Figures of others; `published_by` says whose.
    :param seeds: Seeds of the perturbations: each is crafted and scored so often.
    :param on_target: Kinds of attacks that, where they know the defence, are made on the target itself only, and have
        no column of another network.
    :param scored_on: Which images accuracies are of.
    """

    title: str
    target: Network
    sources: tuple[Source, ...]
    sections: tuple[Section, ...]
    comparisons: tuple[Comparison, ...] = ()
    transfers: tuple[Transfer, ...] = ()
    sweeps: tuple[Sweep, ...] = ()
    networks: tuple[Network, ...] = ()
    published: tuple[Published, ...] = field(default=(), compare=False)
    published_by: str = field(default="", compare=False)
    seeds: tuple[int, ...] = (0,)
    on_target: tuple[AttackKind, ...] = ()
    scored_on: Literal["test", "tune"] = "test"

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """The rows of the table, in order."""
        return tuple(c for section in self.sections for c in section.conditions)

    def columns(self, condition: Condition) -> tuple[Source | None, ...]:
        """Return the columns in which a row has a cell of its own; only None if they have no part in it.

        There are none at all for what cannot be.
        """
        threat, noise = condition.threat, condition.defence.noise
        universal = threat is not None and threat.attack.kind == "universal"
        if noise is not None and noise.kind == "knowing" and not universal:
            # There is nothing that v_def could know of.
            return ()
        if threat is None or not threat.crafted:
            return (None,)
        # A file takes the place of an attack on the network alone: nobody says which defence it was crafted through.
        stood_for = None if threat.knowledge.knows_defence else threat.attack
        there = [s for s in self.sources if s.stands_for is None or s.stands_for == stood_for]
        if threat.knowledge is Knowledge.TRANSFER:
            there = [s for s in there if s.key != self.target.key]
        elif threat.knowledge is Knowledge.BLACK_BOX or (
            threat.knowledge.knows_defence and threat.attack.kind in self.on_target
        ):
            # Who queries the defended network has no need of another.
            there = [s for s in there if s.key == self.target.key]
        return tuple(there)

    def chosen(self, sweep: Sweep) -> tuple[float, ...]:
        """Return the strengths of a sweep that a defence in the rows has."""
        there = {condition.defence for condition in self.conditions} - {Defence()}
        return tuple(strength for strength, defence in sweep.points if defence in there)

    def cells_of(self, condition: Condition, target: str | None = None) -> Iterator[Cell]:
        """Yield the cells of a row: each column, each seed."""
        seeds = self.seeds if condition.threat is not None else self.seeds[:1]
        for source, seed in product(self.columns(condition), seeds):
            yield Cell(condition, target or self.target.key, None if source is None else source.key, seed)

    def cells(self) -> tuple[Cell, ...]:
        """Return all cells, each once: the target's first, then network by network."""
        found: dict[Cell, None] = {}
        for condition in self.conditions:
            found.update(dict.fromkeys(self.cells_of(condition)))
        for sweep in self.sweeps:
            for threat, (_, defence) in product(sweep.threats, sweep.points):
                found.update(dict.fromkeys(self.cells_of(Condition(threat, defence))))
        for network, transfer in product(self.networks, self.transfers):
            for threat in (None, transfer.control, transfer.threat):
                found.update(dict.fromkeys(self.cells_of(Condition(threat), network.key)))
        return tuple(found)

    def without(self, conditions: Sequence[Condition]) -> Experiment:
        """Return the experiment without some rows, each of the others once, and only with comparisons of these."""
        seen, sections = set(conditions), []
        for section in self.sections:
            rows = tuple(dict.fromkeys(c for c in section.conditions if c not in seen))
            seen.update(rows)
            sections.append(replace(section, conditions=rows))
        there = seen - set(conditions)
        pairs = dict.fromkeys(c for c in self.comparisons if c.first != c.second and {c.first, c.second} <= there)
        return replace(self, sections=tuple(s for s in sections if s.conditions), comparisons=tuple(pairs))

    def published_for(self, cell: Cell) -> float | None:
        """Return the figure of others for a cell, in percent: of the same attack, however long it was crafted."""
        for figure in self.published:
            same_column = figure.source is None or cell.source is None or figure.source == cell.source
            if figure.target == cell.target and same_column and _alike(figure.condition, cell.condition):
                return figure.value
        return None


def _alike(first: Condition, second: Condition) -> bool:
    """Return whether two rows are the same but for the parameters of the attack."""
    if first.defence != second.defence or (first.threat is None) != (second.threat is None):
        return False
    if first.threat is None or second.threat is None:
        return True
    return first.threat == replace(
        second.threat, attack=replace(second.threat.attack, params=first.threat.attack.params)
    )
