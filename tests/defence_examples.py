"""One or more of each exported defence, made with the parameters that all of them share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from art.defences.preprocessor import Preprocessor

from art_denoise import AsNumPy, AsPyTorch, Compose, DefensiveNoiseDefence, NLMeansDefence, ROFDefence

NOISE = np.random.default_rng(0).normal(0, 0.02, (3, 37, 31)).astype(np.float32)


def noise_defence(**kwargs) -> DefensiveNoiseDefence:
    noise = NOISE if kwargs.get("channels_first", True) else NOISE.transpose(1, 2, 0)
    return DefensiveNoiseDefence(noise, **kwargs)


EXAMPLES: dict[str, Callable[..., Preprocessor]] = {
    "rof": ROFDefence,
    "rof_converged": lambda **kwargs: ROFDefence(solver="converged", **kwargs),
    "rof_coupled": lambda **kwargs: ROFDefence(coupling="channels", **kwargs),
    "nlm": NLMeansDefence,
    "nlm_centred": lambda **kwargs: NLMeansDefence(mode="centred", patch_size=3, **kwargs),
    "noise": noise_defence,
    "compose": lambda **kwargs: Compose([noise_defence(**kwargs), ROFDefence(**kwargs)]),
    "as_numpy": lambda **kwargs: AsNumPy(ROFDefence(**kwargs)),
    "as_pytorch": lambda **kwargs: AsPyTorch(AsNumPy(NLMeansDefence(**kwargs)), gradient="estimate"),
}

#: Those of a filter, rather than of other preprocessors.
DEFENCES = ("rof", "rof_converged", "rof_coupled", "nlm", "nlm_centred", "noise")


def make(name: str, **kwargs) -> Preprocessor:
    return EXAMPLES[name](device_type="cpu", **kwargs)
