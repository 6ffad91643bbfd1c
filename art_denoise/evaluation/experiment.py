"""What is asked: who attacks, what they know, what defends, on which networks. Values only; neither torch nor ART.

Six words are enough to add anything. A :class:`Defence` is a chain of preprocessors. A :class:`Threat` is an attack,
its size, and what it knows of the defence. A :class:`Condition` is a threat and a defence: a row of a table. A
:class:`Cell` is a condition on a target, with what it was crafted on and the seed: the key of every result, in memory,
on disk and in reports. An :class:`Experiment` says which cells there are and which are compared. `Results`
(:mod:`art_denoise.evaluation.results`) are the labels that came out.

All values are equal if everything is equal that can change a result; what they are called in tables is not part of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from itertools import product
from typing import Any, Literal, TypeVar

#: A parameter of an attack or a preprocessor: a number, a text, a bool, None, or a tuple of such.
Scalar = Any

#: Parameters by name, in the order of their names.
Params = tuple[tuple[str, Scalar], ...]

#: "universal": one perturbation, crafted from many images, for all images. "per-image": each image is attacked by
#: itself. "control": noise of the size of an attack, which needs no network.
AttackKind = Literal["universal", "per-image", "control"]

#: How v_def comes about: "fitted" by Eq. 1 on clean images; "knowing", the same on images that the attack has
#: perturbed; "random", noise of its size in a random direction, as a control.
NoiseKind = Literal["fitted", "knowing", "random"]

#: What an attacker takes for the gradient of a defence: each part's own; the identity (BPDA); or each part's own, and
#: the identity where a part has none.
CraftedGradient = Literal["exact", "identity", "partly-exact"]


class Knowledge(str, Enum):
    """What an attacker knows of the defence while crafting."""

    OBLIVIOUS = "oblivious"
    TRANSFER = "transfer"
    BPDA = "bpda"
    PARTLY_EXACT = "partly-exact"
    EXACT = "exact"
    BLACK_BOX = "black-box"

    @property
    def text(self) -> str:
        """The same as a phrase of which the attacker is the subject."""
        return {
            Knowledge.OBLIVIOUS: "does not know the defence, and differentiates the network alone",
            Knowledge.TRANSFER: "has another network, and does not know the defence",
            Knowledge.BPDA: "knows the defence, and takes its gradient as the identity (BPDA)",
            Knowledge.PARTLY_EXACT: "knows the defence, and its gradient; where a part has none, he takes the identity",
            Knowledge.EXACT: "knows the defence, and its exact gradient",
            Knowledge.BLACK_BOX: "sees only scores or labels of the defended network",
        }[self]

    @property
    def knows_defence(self) -> bool:
        """Whether the defence is in place while the attack is crafted."""
        return self.white_box or self is Knowledge.BLACK_BOX

    @property
    def white_box(self) -> bool:
        """Whether the attacker differentiates the defence, or what he takes for its gradient."""
        return self in (Knowledge.BPDA, Knowledge.PARTLY_EXACT, Knowledge.EXACT)

    @property
    def gradient(self) -> CraftedGradient:
        """What the attacker takes for the gradient of a defence that he knows."""
        return {Knowledge.BPDA: "identity", Knowledge.PARTLY_EXACT: "partly-exact"}.get(self, "exact")  # type: ignore[return-value]


def params(given: Mapping[str, Any] | None = None, /, **more: Any) -> Params:
    """Return parameters as a value: sorted by name, lists as tuples, mappings as tuples of pairs."""

    def plain(value: Any) -> Any:
        if isinstance(value, Mapping):
            return tuple(sorted((str(k), plain(v)) for k, v in value.items()))
        return tuple(map(plain, value)) if isinstance(value, (list, tuple)) else value

    return tuple(sorted((name, plain(value)) for name, value in {**(given or {}), **more}.items()))


@dataclass(frozen=True)
class Component:
    """Something with a name and parameters, of which attacks and defences are made.

    :param name: How it is written, on the command line and in files: "rof", "art:JpegCompression", "pgd",
        "path/to/file.py:function".
    :param params: Its parameters; those that are not given have their defaults.
    :param text: What it is called in tables.
    :param latex: The same in LaTeX's mathematics.
    """

    name: str
    params: Params = ()
    text: str = field(default="", compare=False)
    latex: str = field(default="", compare=False)

    def with_params(self: ComponentT, **changes: Any) -> ComponentT:
        """Return the same with other parameters."""
        return replace(self, params=params(dict(self.params) | changes))


ComponentT = TypeVar("ComponentT", bound=Component)


@dataclass(frozen=True)
class Preprocessor(Component):
    """An ART preprocessor as a value."""


@dataclass(frozen=True)
class Noise:
    """v_def, the defensive noise of the paper's Eq. 1, before the preprocessors that follow it.

    :param kind: How it comes about.
    """

    kind: NoiseKind = "fitted"

    @property
    def text(self) -> str:
        """What it is called in tables."""
        return {"fitted": "v_def", "knowing": "v_def knowing δ", "random": "random direction"}[self.kind]

    @property
    def latex(self) -> str:
        """The same in LaTeX's mathematics."""
        v_def = r"v_{\mathrm{def}}"
        return {
            "fitted": v_def,
            "knowing": v_def + r"\ \mathrm{knowing}\ \delta",
            "random": r"\mathrm{random\ direction}",
        }[self.kind]


@dataclass(frozen=True)
class Defence:
    """What is done to an image before it is classified: first v_def, if any, then preprocessors in order.

    :param preprocessors: ART preprocessors, in the order in which they are applied.
    :param noise: The defensive noise that is added before them.
    """

    preprocessors: tuple[Preprocessor, ...] = ()
    noise: Noise | None = None

    def __bool__(self) -> bool:
        return bool(self.preprocessors) or self.noise is not None

    def with_noise(self, kind: NoiseKind) -> Defence:
        """Return the same defence with v_def before it."""
        return replace(self, noise=Noise(kind))

    def of(self, inner: str) -> str:
        """Return the text of an image `inner` behind the preprocessors: "D_ROF(v0)"."""
        for preprocessor in self.preprocessors:
            inner = f"{preprocessor.text or preprocessor.name}({inner})"
        return inner

    @property
    def text(self) -> str:
        """What the preprocessors are called in tables, the first first."""
        return ", then ".join(p.text or p.name for p in self.preprocessors) or "no defence"


#: No defence.
NOTHING = Defence()


@dataclass(frozen=True)
class Attack(Component):
    """An attack as a value.

    :param kind: Whether it makes one perturbation for all images or one for each.
    """

    kind: AttackKind = "universal"


@dataclass(frozen=True)
class Threat:
    """Who attacks.

    :param attack: The attack.
    :param knowledge: What it knows of the defence.
    :param eps: Bound of what it adds, as a share of the value range.
    :param norm: Norm of that bound.
    :param images: Number of images that are attacked, spread over all, by an attack that is too slow for more; None:
        all of them.
    """

    attack: Attack
    knowledge: Knowledge = Knowledge.OBLIVIOUS
    eps: float = 10 / 255
    norm: Literal["inf", "2"] = "inf"
    images: int | None = None

    @property
    def crafted(self) -> bool:
        """Whether a network has a part in it."""
        return self.attack.kind != "control"

    def size_of_signs(self, shape: Sequence[int]) -> float:
        """Return how large random signs are that are as large as this attack in its norm.

        :param shape: Shape of an image.
        """
        return self.eps if self.norm == "inf" else self.eps / math.sqrt(math.prod(shape))


@dataclass(frozen=True)
class Condition:
    """One row of a table: what is added to an image, and what it goes through before it is classified.

    :param threat: Who attacks; None: nobody.
    :param defence: What defends.
    """

    threat: Threat | None = None
    defence: Defence = NOTHING

    @property
    def text(self) -> str:
        """The row in the paper's symbols: "D_ROF(v0 + δ + v_def)"."""
        return self._written("text", " {} ", self.defence.of)

    @property
    def latex(self) -> str:
        """The same in LaTeX's mathematics, without dollar signs."""

        def of(inner: str) -> str:
            for preprocessor in self.defence.preprocessors:
                inner = f"{preprocessor.latex or preprocessor.text or preprocessor.name}({inner})"
            return inner

        return self._written("latex", r"\ \mathrm{{{}}}\ ", of)

    def _written(self, form: str, verb: str, of: Any) -> str:
        inner = "v0" if form == "text" else "v_0"
        if self.threat is not None:
            attack = self.threat.attack
            inner += f" + {getattr(attack, form) or attack.text or attack.name}"
        if self.defence.noise is not None:
            inner += f" + {getattr(self.defence.noise, form)}"
        if self.threat is not None and self.threat.knowledge.knows_defence and self.defence:
            names = [getattr(p, form) or p.text or p.name for p in self.defence.preprocessors]
            black_box = self.threat.knowledge is Knowledge.BLACK_BOX
            inner += verb.format("querying" if black_box else "knowing")
            inner += ", ".join(names) or getattr(self.defence.noise, form)
        return str(of(inner))


@dataclass(frozen=True)
class Network:
    """A network by its name.

    :param key: Its name, in files and on the command line.
    :param text: What it is called in tables.
    :param title: What it is called in headings.
    """

    key: str
    text: str = field(default="", compare=False)
    title: str = field(default="", compare=False)


@dataclass(frozen=True)
class Source:
    """A column: what a perturbation is crafted on, or the file that it is from.

    :param key: Name of the network, or of the file.
    :param text: What it is called in tables.
    :param stands_for: None for a network. For a file: the attack whose place its perturbation takes; there is nothing
        to craft other perturbations on.
    """

    key: str
    text: str = field(default="", compare=False)
    stands_for: Attack | None = None


@dataclass(frozen=True)
class Cell:
    """What labels are predicted for.

    :param condition: The row.
    :param target: Network that predicts.
    :param source: The column; None where the condition does not depend on one.
    :param seed: Seed of the perturbation.
    """

    condition: Condition
    target: str
    source: str | None = None
    seed: int = 0

    @property
    def knowledge(self) -> Knowledge | None:
        """What the attacker knows here: who does not know the defence and has another network, transfers."""
        threat = self.condition.threat
        if threat is None or not threat.crafted:
            return None
        oblivious = threat.knowledge is Knowledge.OBLIVIOUS
        return Knowledge.TRANSFER if oblivious and self.source != self.target else threat.knowledge

    @property
    def text(self) -> str:
        """The cell for messages."""
        crafted = f", crafted on {self.source}" if self.source else ""
        return f"{self.condition.text} on {self.target}{crafted}, seed {self.seed}"


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
