"""The attacks on single images that have a name here, a line each: what each asks for, and how it takes a bound.

Values only; neither torch nor ART. :mod:`art_denoise.evaluation.components` reads the names from here, and
:mod:`art_denoise.evaluation.art_attacks` runs what they stand for.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from art_denoise.evaluation.conditions import Attack
from art_denoise.evaluation.origins import not_installed

#: What an attack asks the network for.
Needs = Literal["gradient", "scores", "labels"]

#: Begins the name of one of ART's classes.
ART = "art:"


@dataclass(frozen=True)
class ArtAttack:
    """How one of ART's evasion attacks is run.

    :param cls: Name of its class, in `art.attacks.evasion` unless it is this package's own.
    :param needs: What it asks the network for.
    :param text: What it is called in tables.
    :param about: The attack in a line.
    :param eps: Name of the parameter that takes the bound; None: the attack looks for the least perturbation.
    :param norms: Norms of bounds that it is of use for.
    :param takes_norm: Whether it has the parameter `norm`.
    :param bounded: Whether it promises to keep to the bound.
    :param step: `eps_step` by bound and number of steps: ART's own, 0.1, is larger than most bounds.
    :param defaults: Parameters that have other defaults here than in ART.
    :param probabilities: Whether it takes networks only that return probabilities.
    :param package: A package that it imports, and that ART does not install.
    :param own: Whether it is this package's own.
    """

    cls: str
    needs: Needs
    text: str
    about: str
    eps: str | None = None
    norms: tuple[str, ...] = ("inf", "2")
    takes_norm: bool = False
    bounded: bool = False
    step: Callable[[float, int], float] | None = None
    defaults: Mapping[str, Any] = field(default_factory=dict)
    probabilities: bool = False
    package: str | None = None
    own: bool = False

    def check_package(self, name: str) -> None:
        """Raise if a package that it needs is not installed.

        :param name: The attack as it was asked for.
        :raises ValueError: With the command that installs it.
        """
        if self.package is not None and importlib.util.find_spec(self.package) is None:
            raise not_installed(f"attack `{name}`", self.package, ", which ART does not install")


def _of_pgd(eps: float, steps: int) -> float:
    """Return the step of Madry et al. (2018), arXiv:1706.06083: every point within the bound can be reached."""
    return 2.5 * eps / max(1, steps)


def _of_apgd(eps: float, steps: int) -> float:
    """Return the first step of Croce & Hein (2020), arXiv:2003.01690, which the attack halves as it goes."""
    return 2 * eps


def _of_fgsm(eps: float, steps: int) -> float:
    """Return the grid on which `minimal=True` looks for the least bound; without it there is one step, of `eps`."""
    return eps / 10


_IN_BALL: dict[str, Any] = {"eps": "eps", "bounded": True, "takes_norm": True}
_IN_CUBE: dict[str, Any] = {"eps": "eps", "bounded": True, "norms": ("inf",)}
_APGD: dict[str, Any] = {**_IN_BALL, "step": _of_apgd}
_BY_PIXEL: dict[str, Any] = {"eps": "epsilon", "norms": ("inf",), "defaults": {"attack": "px"}, "probabilities": True}
_CE, _DLR = {"loss_type": "cross_entropy"}, {"loss_type": "difference_logits_ratio"}
_PGD: dict[str, Any] = {**_IN_BALL, "step": _of_pgd, "defaults": {"num_random_init": 1}}
_NO_ZOOM, _OVERSHOOT = {"use_resize": False, "use_importance": False}, {"epsilon": 0.02}

#: The attacks of ART by name. PGD has the random start that makes it another attack than IFGS. DeepFool has the
#: authors' overshoot: with ART's, 1e-6, rounding leaves half of the images on the near side of the boundary. SimBA
#: steps by pixels, which keep to the bound while each is taken once. ZOO does not shrink the images, which ART would
#: return blurred.
ART_ATTACKS: dict[str, ArtAttack] = {
    "best-pgd": ArtAttack(
        "BestPGD", "gradient", "BestPGD", "PGD that keeps its best iterate, from several starts", **_IN_BALL, own=True
    ),
    "fgsm": ArtAttack(
        "FastGradientMethod", "gradient", "FGS", "one step of the gradient's sign", **_IN_BALL, step=_of_fgsm
    ),
    "ifgsm": ArtAttack("BasicIterativeMethod", "gradient", "IFGS", "steps of its sign", **_IN_CUBE, step=_of_pgd),
    "pgd": ArtAttack("ProjectedGradientDescent", "gradient", "PGD", "steps from a random start", **_PGD),
    "mifgsm": ArtAttack(
        "MomentumIterativeMethod", "gradient", "MI-FGS", "steps of its sign, with momentum", **_IN_BALL, step=_of_pgd
    ),
    "apgd": ArtAttack(
        "AutoProjectedGradientDescent", "gradient", "APGD", "PGD that chooses its step", **_APGD, defaults=_CE
    ),
    "apgd-dlr": ArtAttack(
        "AutoProjectedGradientDescent", "gradient", "APGD-DLR", "by logit ratios", **_APGD, defaults=_DLR
    ),
    "autoattack": ArtAttack(
        "AutoAttack", "gradient", "AutoAttack", "the worst of four attacks", **_APGD, package="multiprocess"
    ),
    "deepfool": ArtAttack("DeepFool", "gradient", "DeepFool", "least change, linearised", defaults=_OVERSHOOT),
    "cw-l2": ArtAttack("CarliniL2Method", "gradient", "CW", "least change, by Carlini and Wagner"),
    "square": ArtAttack("SquareAttack", "scores", "Square", "random squares", **_IN_BALL),
    "simba": ArtAttack("SimBA", "scores", "SimBA", "pixel by pixel", **_BY_PIXEL),
    "zoo": ArtAttack("ZooAttack", "scores", "ZOO", "CW with estimated gradients, very slow", defaults=_NO_ZOOM),
    "hopskipjump": ArtAttack(
        "HopSkipJump", "labels", "HopSkipJump", "least change, along the boundary", takes_norm=True
    ),
    "boundary": ArtAttack("BoundaryAttack", "labels", "Boundary", "least change, by a random walk, slow"),
}

#: What a plan supposes of attacks that do not say how often they look at an image.
_STEPS = 100

#: Those of ART's other attacks on images that do without a gradient.
_BY_QUERIES: dict[str, Needs] = {
    "GeoDA": "labels",
    "PixelAttack": "scores",
    "SignOPTAttack": "labels",
    "SpatialTransformation": "scores",
    "ThresholdAttack": "scores",
}


def only_asks(attack: Attack) -> bool:
    """Return whether an attack does without a gradient, and asks for scores or labels."""
    return attack.kind == "per-image" and art_attack(attack.name).needs != "gradient"


def steps_of(attack: Attack) -> int:
    """Return how often an attack looks at an image, as far as it says so, for a plan."""
    return 1 if attack.name == "fgsm" else int(dict(attack.params).get("max_iter", _STEPS))


def art_attack(name: str) -> ArtAttack:
    """Return how an attack of ART is run: one of the table, or "art:ClassName", of which no more is known."""
    if name in ART_ATTACKS:
        return ART_ATTACKS[name]
    cls = name.removeprefix(ART)
    return ArtAttack(cls, _BY_QUERIES.get(cls, "gradient"), cls, "")
