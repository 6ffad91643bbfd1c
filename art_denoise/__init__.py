"""Denoising defences for the Adversarial Robustness Toolbox, and their evaluation against universal perturbations.

The names below are imported when they are first used, so that `import art_denoise` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from art_denoise.attacks import (
        SGDUAP,
        DeepFoolUAP,
        Perturbation,
        SharedForwardDeepFool,
        UniversalNoise,
        load_perturbation,
    )
    from art_denoise.models import inception_v1, vgg16, vgg19
    from art_denoise.data import load_photographs
    from art_denoise.defences import (
        AsFlat,
        AsNumPy,
        AsPyTorch,
        Compose,
        DefensiveNoiseDefence,
        NLMeansDefence,
        ROFDefence,
        check_chain,
    )
    from art_denoise.filters import nl_means_denoise, rof_denoise

__version__ = "0.1.0"

_HOME = {
    "AsFlat": "art_denoise.defences",
    "AsNumPy": "art_denoise.defences",
    "AsPyTorch": "art_denoise.defences",
    "Compose": "art_denoise.defences",
    "DeepFoolUAP": "art_denoise.attacks",
    "DefensiveNoiseDefence": "art_denoise.defences",
    "NLMeansDefence": "art_denoise.defences",
    "Perturbation": "art_denoise.attacks",
    "ROFDefence": "art_denoise.defences",
    "SGDUAP": "art_denoise.attacks",
    "SharedForwardDeepFool": "art_denoise.attacks",
    "UniversalNoise": "art_denoise.attacks",
    "check_chain": "art_denoise.defences",
    "inception_v1": "art_denoise.models",
    "load_perturbation": "art_denoise.attacks",
    "load_photographs": "art_denoise.data",
    "nl_means_denoise": "art_denoise.filters",
    "rof_denoise": "art_denoise.filters",
    "vgg16": "art_denoise.models",
    "vgg19": "art_denoise.models",
}

__all__ = [
    "SGDUAP",
    "AsFlat",
    "AsNumPy",
    "AsPyTorch",
    "Compose",
    "DeepFoolUAP",
    "DefensiveNoiseDefence",
    "NLMeansDefence",
    "Perturbation",
    "ROFDefence",
    "SharedForwardDeepFool",
    "UniversalNoise",
    "check_chain",
    "inception_v1",
    "load_perturbation",
    "load_photographs",
    "nl_means_denoise",
    "rof_denoise",
    "vgg16",
    "vgg19",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
