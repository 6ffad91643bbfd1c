"""Who attacks, what they know, what defends, on which network: the values that an experiment is made of.

Neither torch nor ART. All values are equal if everything is equal that can change a result; what they are called in
tables is not part of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
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
        if self is Knowledge.BPDA:
            return "identity"
        return "partly-exact" if self is Knowledge.PARTLY_EXACT else "exact"


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
    :param knows_draws: Whether what the defence draws at random is known, too. It is then the same for every image,
        both for the attacker and when images are scored.
    """

    attack: Attack
    knowledge: Knowledge = Knowledge.OBLIVIOUS
    eps: float = 10 / 255
    norm: Literal["inf", "2"] = "inf"
    images: int | None = None
    knows_draws: bool = False

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
            if self.threat.knows_draws:
                inner += " and its draws" if form == "text" else r"\ \mathrm{and\ its\ draws}"
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
    def draws_seed(self) -> int | None:
        """Seed of what the defence draws, where that is known to the attacker; None: it is drawn anew."""
        threat = self.condition.threat
        return self.seed if threat is not None and threat.knows_draws else None

    @property
    def text(self) -> str:
        """The cell for messages."""
        crafted = f", crafted on {self.source}" if self.source else ""
        return f"{self.condition.text} on {self.target}{crafted}, seed {self.seed}"
