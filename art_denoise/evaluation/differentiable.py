"""What of a defence can be differentiated, and whether it draws at random: what an attacker has to go by."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from art.defences.preprocessor import Preprocessor

from art_denoise._random import drawn_from
from art_denoise.defences._base import ImageDefence
from art_denoise.defences.adapters import AsPyTorch, PassedThrough, as_pytorch
from art_denoise.defences.chain import Compose
from art_denoise.defences.defensive_noise import DefensiveNoiseDefence
from art_denoise.evaluation.experiment import Knowledge


def known_of(chain: Sequence[Preprocessor], input_shape: Sequence[int]) -> Knowledge:
    """Return what an attacker who knows a defence has of its gradient: all of it, some, or nothing but the identity.

    :param chain: The defence.
    :param input_shape: Shape of an image, (C, H, W).
    """
    if has_gradient(chain, input_shape):
        return Knowledge.EXACT
    some = len(chain) > 1 and any(has_gradient([stage], input_shape) for stage in chain)
    return Knowledge.PARTLY_EXACT if some else Knowledge.BPDA


def has_gradient(chain: Sequence[Preprocessor], input_shape: Sequence[int] = (3, 32, 32)) -> bool:
    """Return whether a true gradient gets through a chain: its own, not the identity in its place, and not zero.

    What preprocessors say of themselves is asked first; then a gradient is sent through. Of a PyTorch preprocessor that
    passes the identity off as its gradient it cannot be told.

    :param input_shape: Shape of an image, (C, H, W).
    """
    if not all(_says_so(stage) for stage in chain):
        return False
    with drawn_from(0), torch.enable_grad():
        images = torch.rand(2, *input_shape, device=_device_of(chain)).requires_grad_()
        result = images
        try:
            for stage in chain:
                result = as_pytorch(stage).forward(result)[0]
        except RuntimeError:
            # What goes through NumPy fails only if a gradient is wanted.
            return False
        if not result.requires_grad:
            return False
        gradient = torch.autograd.grad(result, images, torch.rand_like(result), allow_unused=True)[0]
    return gradient is not None and bool(torch.isfinite(gradient).all()) and bool(gradient.any())


def draws_of(chain: Sequence[Preprocessor], input_shape: Sequence[int]) -> Literal["none", "seeded", "own"]:
    """Return how a chain draws at random: not at all, from the generators that are seeded here, or from one of its own.

    Those of Python, NumPy and PyTorch are seeded before every batch. What draws from another is another every time.

    :param chain: The defence, of preprocessors for PyTorch.
    :param input_shape: Shape of an image, (C, H, W).
    """

    def result(seed: int) -> torch.Tensor:
        # A ramp, and not drawn: it has to be the same images.
        images = torch.linspace(0, 1, 2 * math.prod(input_shape), device=_device_of(chain)).reshape(2, *input_shape)
        with drawn_from(seed), torch.no_grad():
            for stage in chain:
                images = as_pytorch(stage).forward(images)[0]
        return images

    def same(a: torch.Tensor, b: torch.Tensor) -> bool:
        # NaN where there was NaN is no draw.
        return a.shape == b.shape and torch.allclose(a, b, rtol=0, atol=0, equal_nan=True)

    first = result(0)
    if not same(first, result(0)):
        return "own"
    return "none" if same(first, result(1)) else "seeded"


def _says_so(stage: Preprocessor) -> bool:
    if isinstance(stage, Compose):
        return all(map(_says_so, stage.preprocessors))
    if isinstance(stage, ImageDefence):
        # The gradient of a sum is the identity.
        return stage.gradient == "exact" or isinstance(stage, DefensiveNoiseDefence)
    if isinstance(stage, AsPyTorch):
        return stage.gradient == "estimate" and _estimates(stage.preprocessor)
    return not isinstance(stage, PassedThrough) and _estimates(stage)


def _device_of(chain: Sequence[Preprocessor]) -> torch.device:
    """Return a GPU if one of the preprocessors is on it: a user's own network may be nowhere else."""
    devices = [getattr(getattr(stage, "preprocessor", stage), "device", torch.device("cpu")) for stage in chain]
    return next((device for device in devices if device.type == "cuda"), torch.device("cpu"))


def _estimates(stage: Preprocessor) -> bool:
    return type(stage).estimate_gradient is not Preprocessor.estimate_gradient
