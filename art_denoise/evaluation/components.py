"""Defences and attacks by name: from how they are written to values, and back. Imports neither torch nor ART.

How names, parameters and chains are written is in :mod:`art_denoise.evaluation.notation`. Some intensities are written
as in the paper, of 255: `weight` of ROF, and `eps` and `eps_step` of attacks. A plain number, `weight=5`, is 5/255 of
the value range; a fraction, `weight=1/50`, is taken as it is. In values they are always shares of the range.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from art_denoise.evaluation.attack_table import ART, ART_ATTACKS, art_attack, only_asks
from art_denoise.evaluation.experiment import (
    NOTHING,
    Attack,
    AttackKind,
    Component,
    Defence,
    Knowledge,
    Noise,
    NoiseKind,
    Params,
    Preprocessor,
    Threat,
    params,
)
from art_denoise.evaluation.notation import (
    LIBRARIES,
    intensities,
    read_component,
    read_share,
    read_value,
    split_chain,
    write_params,
    write_share,
)
from art_denoise.evaluation.origins import code_of, modules_of, source_of, split_file, unknown

__all__ = [
    "attack_names",
    "check_components",
    "code_of",
    "defence_names",
    "make_preprocessor",
    "make_threat",
    "modules_of",
    "parse_attack",
    "parse_defence",
    "write_attack",
    "write_component",
    "write_defence",
]


def _in_latex(symbol: str, index: str) -> str:
    r"""Return a symbol with an upright index: "D_{\mathrm{ROF}}"."""
    upright = index.replace("_", r"\_").replace(" ", r"\ ")
    return rf"{symbol}_{{\mathrm{{{upright}}}}}"


@dataclass(frozen=True)
class _Own:
    """What is known of one of this package's components.

    :param about: A line about it.
    :param text: What it is called in tables.
    :param latex: The same in LaTeX's mathematics.
    :param defaults: Its parameters with their defaults, those of its class.
    :param kind: Of an attack, whether it makes one perturbation for all images or is a control.
    """

    about: str
    text: str
    latex: str
    defaults: Mapping[str, Any]
    kind: AttackKind = "universal"


_PREPROCESSORS = {
    "rof": _Own(
        "total-variation denoising (ROF), the paper's",
        "D_ROF",
        _in_latex("D", "ROF"),
        {"weight": 10 / 255, "solver": "chambolle", "eps": 2e-4, "tol": 1e-4, "max_iter": None, "coupling": "none"},
    ),
    "nlm": _Own(
        "non-local means, the paper's",
        "D_nlm",
        _in_latex("D", "nlm"),
        {"h": 0.05, "patch_size": 2, "patch_distance": 3, "mode": "fast", "patch_weights": "uniform", "sigma": 0.0},
    ),
}

_CRAFTING = {"patience": None, "batch_size": 1, "measurements": 1, "eot_samples": 1, "starts": 1}

_ATTACKS = {
    "deepfool-uap": _Own(
        "one perturbation for all images by DeepFool, the paper's",
        "δ",
        r"\delta",
        {**_CRAFTING, "attacker_params": None, "delta": 0.2, "max_iter": 20, "measurements": 4},
    ),
    "sgd-uap": _Own(
        "one perturbation for all images by gradient ascent, stronger",
        "δ_SGD",
        _in_latex(r"\delta", "SGD"),
        {
            **_CRAFTING,
            "delta": 0.0,
            "max_iter": 10,
            "batch_size": 32,
            "step_size": 0.5,
            "beta": 12.0,
            "loss": "cross-entropy",
            "search_size": None,
            "searches": 1,
        },
    ),
    "random-signs": _Own(
        "random signs of the size of an attack, a control", "random signs", r"\mathrm{random\ signs}", {}, "control"
    ),
}

#: Some of ART's preprocessors, for help and messages.
_SOME_OF_ART = ("art:JpegCompression", "art:SpatialSmoothing", "art:FeatureSqueezing", "art:GaussianAugmentation")


def parse_defence(text: str) -> Defence:
    """Return a defence: "rof", "rof:weight=5", "noise+nlm:h=0.02", "art:JpegCompression:quality=75+rof", "none".

    :param text: Stages with "+" between them, in the order in which they are applied: "rof", "nlm", "art:ClassName" for
        any preprocessor of ART, "path/to/file.py:function" for what a function in a user's file returns, and before all
        of them "noise", for v_def. "none" is no defence.
    :raises ValueError: If something in it does not exist or makes no sense, in one sentence.
    """
    names = (*_PREPROCESSORS, "noise", "none", *(library.rstrip(":") for library in LIBRARIES))
    stages = split_chain(text, lambda name: name in names)
    noise, preprocessors = None, []
    for i, stage in enumerate(stages):
        name, given = read_component(stage)
        if name == "none":
            if len(stages) > 1 or given:
                raise ValueError(f"{text!r}: `none` is no defence, and stands alone")
        elif name == "noise":
            if i:
                raise ValueError(f"{text!r}: `noise` stands before everything else, and once")
            noise = Noise(_choice("kind", given.pop("kind", "fitted"), get_args(NoiseKind), text))
            for parameter in given:
                raise unknown("parameter", parameter, ("kind",), text, of="noise")
        else:
            title = given.pop("title", None)
            made = _preprocessor(name, _typed(given, intensities(name, False), text), text)
            if title is not None:
                made = replace(made, text=f"D_{title}", latex=_in_latex("D", title))
            preprocessors.append(made)
    return Defence(tuple(preprocessors), noise) if preprocessors or noise else NOTHING


def parse_attack(text: str) -> Threat:
    """Return who attacks: "sgd-uap", "pgd:eps=8,max_iter=20,knowledge=bpda", "art:NewtonFool".

    :param text: A name, or "art:ClassName" for any evasion attack of ART, and parameters: the bound `eps` (10 of 255
        if it is left out), its `norm` (inf or 2), what the attacker has of the defence, `knowledge`, whether what it
        draws at random is known, too, `draws` (unknown or known), how many `images` are attacked if it is too slow for
        all, and those of the attack itself.
    :raises ValueError: If something in it does not exist or makes no sense, in one sentence.
    """
    name, given = read_component(text)
    knowledge, norm = given.pop("knowledge", None), given.pop("norm", None)
    eps = read_share("eps", given.pop("eps"), text) if "eps" in given else None
    images = read_value(given.pop("images")) if "images" in given else None
    draws = _choice("draws", given.pop("draws", "unknown"), ("unknown", "known"), text) == "known"
    return _threat(name, _typed(given, intensities(name, True), text), knowledge, eps, norm, images, draws, text)


def make_preprocessor(name: str, **given: Any) -> Preprocessor:
    """Return a preprocessor by name, with its parameters as Python has them: intensities are shares of the range.

    :raises ValueError: As :func:`parse_defence`.
    """
    return _preprocessor(name, given, name)


def make_threat(
    name: str,
    *,
    knowledge: Knowledge | str | None = None,
    eps: float | None = None,
    norm: float | str | None = None,
    images: int | None = None,
    knows_draws: bool = False,
    **given: Any,
) -> Threat:
    """Return who attacks by name, with its parameters as Python has them: intensities are shares of the range.

    :param knowledge: What the attacker has of the defence. None: nothing, or, of one who only asks, the answers.
    :param eps: Bound on what is added, as a share of the value range. None: 10/255.
    :param norm: Its norm, "inf" or 2. None: "inf".
    :param images: Number of images that are attacked, spread over all. None: all of them.
    :param knows_draws: Whether the attacker also knows what the defence draws at random.
    :raises ValueError: As :func:`parse_attack`.
    """
    return _threat(name, given, knowledge, eps, norm, images, knows_draws, name)


def write_component(component: Component) -> str:
    """Return an attack or a preprocessor with its parameters: "pgd:max_iter=20"."""
    return _written(component.name, write_params(component))


def write_defence(defence: Defence) -> str:
    """Return a defence as :func:`parse_defence` reads it."""
    stages = [write_component(p) for p in defence.preprocessors]
    if defence.noise is not None:
        stages.insert(0, _written("noise", [f"kind={defence.noise.kind}"] if defence.noise != Noise() else []))
    return "+".join(stages) or "none"


def write_attack(threat: Threat) -> str:
    """Return who attacks as :func:`parse_attack` reads it; bound and knowledge are left out if they are the default."""
    given = []
    if threat.eps != Threat.eps or threat.norm != Threat.norm:
        given.append(f"eps={write_share(threat.eps)}")
    if threat.norm != Threat.norm:
        given.append(f"norm={threat.norm}")
    if threat.knowledge is not _sensible(threat.attack)[0]:
        given.append(f"knowledge={threat.knowledge.value}")
    if threat.knows_draws:
        given.append("draws=known")
    if threat.images is not None:
        given.append(f"images={threat.images}")
    return _written(threat.attack.name, [*given, *write_params(threat.attack)])


def defence_names() -> dict[str, str]:
    """Return how defences are written, each with a line about it."""
    return {
        "none": "no defence",
        "noise": "v_def, the paper's defensive noise, before others: noise+rof",
        **{name: own.about for name, own in _PREPROCESSORS.items()},
        "art:NAME": f"a preprocessor of ART, such as {', '.join(_SOME_OF_ART)}",
        "kornia:NAME": "a filter of kornia, such as kornia:median_blur:kernel_size=3; needs the package kornia",
        "path/to/file.py:function": "the ART preprocessor, or the list of them, that a function of yours returns",
    }


def attack_names() -> dict[str, str]:
    """Return how attacks are written, each with a line about it."""
    return {
        **{name: own.about for name, own in _ATTACKS.items()},
        **{
            name: f"{attack.about} (by {attack.needs}; {'ours' if attack.own else 'ART'}, {attack.cls})"
            for name, attack in ART_ATTACKS.items()
        },
        "art:NAME": "any other evasion attack of ART, such as art:NewtonFool",
    }


def check_components(defences: Iterable[Defence], threats: Iterable[Threat | None]) -> None:
    """Build everything once, for small images, so that what is wrong is told before anything takes long.

    Imports torch and ART, and runs users' files.

    :raises ValueError: If there is no such class or function, or it does not take a parameter or its value.
    """
    # Not an import statement: no result depends on how things are checked.
    checks = importlib.import_module("art_denoise.evaluation.checking")
    for preprocessor in dict.fromkeys(p for defence in defences for p in defence.preprocessors):
        checks.check_preprocessor(preprocessor, write_defence(Defence((preprocessor,))))
    for threat in dict.fromkeys(t for t in threats if t is not None):
        checks.check_attack(threat, write_attack(threat))


def _preprocessor(name: str, given: Mapping[str, Any], whole: str) -> Preprocessor:
    if name in _PREPROCESSORS:
        own = _PREPROCESSORS[name]
        return Preprocessor(name, _besides(own.defaults, given, name, whole), own.text, own.latex)
    file = split_file(name)
    if file:
        source_of(file[0])
        called = file[1]
        # However it is written, so that nothing is computed anew: ./mine.py:defence, too.
        name = f"{Path(file[0])}:{called}"
    elif name.startswith(LIBRARIES) and name not in LIBRARIES:
        called = name.partition(":")[2]
    elif name.endswith(".py"):
        raise ValueError(f"{whole!r}: a file needs the name of its function that makes the defence: {name}:FUNCTION")
    else:
        names = [*_PREPROCESSORS, "noise", "none", *_SOME_OF_ART, "path/to/file.py:function"]
        raise unknown("defence", name, names, whole)
    return Preprocessor(name, params(given), f"D_{called}", _in_latex("D", called))


def _attack(name: str, given: Mapping[str, Any], whole: str) -> Attack:
    if name in _ATTACKS:
        own = _ATTACKS[name]
        return Attack(name, _besides(own.defaults, given, name, whole), own.text, own.latex, own.kind)
    # An attack that has a name here has one name.
    name = next((n for n, row in ART_ATTACKS.items() if name == f"{ART}{row.cls}"), name)
    if name not in ART_ATTACKS and (not name.startswith(ART) or name == ART):
        raise unknown("attack", name, [*_ATTACKS, *ART_ATTACKS, "art:NAME"], whole)
    row = art_attack(name)
    if row.eps in given:
        raise ValueError(f"{whole!r}: `{row.eps}` of {name} is its bound, and is written `eps`")
    kept = {key: value for key, value in given.items() if key not in row.defaults or value != row.defaults[key]}
    return Attack(name, params(kept), f"δ_{row.text}", _in_latex(r"\delta", row.text), "per-image")


def _threat(
    name: str,
    given: Mapping[str, Any],
    knowledge: Knowledge | str | None,
    eps: float | None,
    norm: float | str | None,
    images: Any,
    knows_draws: bool,
    whole: str,
) -> Threat:
    attack = _attack(name, given, whole)
    sensible = _sensible(attack)
    known = sensible[0] if knowledge is None else _knowledge(knowledge, whole)
    if known not in sensible:
        needs = "needs no network" if attack.kind == "control" else "needs a gradient"
        if only_asks(attack):
            needs = "only asks for answers"
        allowed = " or ".join(k.value for k in sensible)
        raise ValueError(f"{whole!r}: `knowledge` must be {allowed}, not {known.value}, as {attack.name} {needs}")
    norms = art_attack(attack.name).norms if attack.kind == "per-image" else ("inf", "2")
    chosen = _norm("inf" if norm is None else norm, norms if attack.kind != "control" else ("inf",), attack, whole)
    if eps is None and chosen == "2":
        raise ValueError(f"{whole!r}: `eps` must be given for norm 2, as its default, 10/255, is for norm inf")
    eps = Threat.eps if eps is None else float(eps)
    if not eps > 0 or (chosen == "inf" and eps > 1):
        raise ValueError(f"{whole!r}: `eps` must be > 0 and at most the value range, 255/255, got {write_share(eps)}")
    if images is not None and (isinstance(images, bool) or not isinstance(images, int) or images < 1):
        raise ValueError(f"{whole!r}: `images` must be a whole number, at least 1, got {images}")
    if images is not None and attack.kind != "per-image":
        raise ValueError(f"{whole!r}: `images` is for attacks on single images, which {attack.name} is not")
    if knows_draws and not known.white_box:
        raise ValueError(
            f"{whole!r}: `draws` can be known only to an attacker who knows the defence: knowledge must be "
            f"{' or '.join(k.value for k in Knowledge if k.white_box)}, not {known.value}"
        )
    return Threat(attack, known, eps, chosen, images, knows_draws)


def _sensible(attack: Attack) -> tuple[Knowledge, ...]:
    """Return what an attack can know of a defence, the default first."""
    if attack.kind == "control":
        return (Knowledge.OBLIVIOUS,)
    if only_asks(attack):
        return (Knowledge.BLACK_BOX, Knowledge.OBLIVIOUS, Knowledge.TRANSFER)
    return (Knowledge.OBLIVIOUS, Knowledge.TRANSFER, Knowledge.BPDA, Knowledge.PARTLY_EXACT, Knowledge.EXACT)


def _knowledge(given: Knowledge | str, whole: str) -> Knowledge:
    return Knowledge(_choice("knowledge", given, [k.value for k in Knowledge], whole))


def _norm(given: float | str, norms: tuple[str, ...], attack: Attack, whole: str) -> Literal["inf", "2"]:
    norm = str(given).strip().removeprefix("np.").removesuffix(".0").lower()
    if norm not in norms:
        raise ValueError(f"{whole!r}: `norm` of {attack.name} must be {' or '.join(norms)}, not {given}")
    return "2" if norm == "2" else "inf"


def _choice(name: str, given: Any, there: Iterable[str], whole: str) -> Any:
    if given not in there:
        raise unknown(name, str(given), tuple(there), whole)
    return given


def _typed(given: Mapping[str, str], shares: tuple[str, ...], whole: str) -> dict[str, Any]:
    """Return parameters as Python has them; `attacker_params.max_iter` is an entry of a mapping."""
    typed: dict[str, Any] = {}
    for name, text in given.items():
        outer, dot, inner = name.partition(".")
        if dot:
            typed.setdefault(outer, {})[inner] = read_value(text)
        else:
            typed[name] = read_share(name, text, whole) if name in shares else read_value(text)
    return typed


def _besides(defaults: Mapping[str, Any], given: Mapping[str, Any], name: str, whole: str) -> Params:
    """Return the parameters that are not the default."""
    for parameter in given:
        if parameter not in defaults:
            raise unknown("parameter", parameter, tuple(defaults), whole, of=name)
    return params({key: value for key, value in given.items() if value != defaults[key]})


def _written(name: str, given: list[str]) -> str:
    return f"{name}:{','.join(given)}" if given else name
