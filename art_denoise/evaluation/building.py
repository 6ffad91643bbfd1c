"""From values to objects: defences as chains of ART preprocessors, and the universal attacks."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from art.defences.preprocessor.preprocessor import PreprocessorPyTorch

from art_denoise._random import drawn_from
from art_denoise.attacks._classifier import value_range
from art_denoise.defences.adapters import PassedThrough, pair_of
from art_denoise.evaluation.experiment import Attack, CraftedGradient, Preprocessor
from art_denoise.evaluation.origins import OWN_PREPROCESSORS, arguments_of, load

if TYPE_CHECKING:
    from art.estimators.classification import PyTorchClassifier

    from art_denoise.attacks.universal import UniversalAttack

#: Share of values that may be outside of the range of images by more than it is wide, as they are with much noise.
_MOST_OUTSIDE = 0.25


def build_chain(
    preprocessors: Sequence[Preprocessor],
    *,
    device_type: str,
    clip_values: tuple[float, float] = (0.0, 1.0),
    input_shape: Sequence[int] | None = None,
    gradient: CraftedGradient = "exact",
) -> list[PreprocessorPyTorch]:
    """Build a defence: preprocessors for PyTorch, which ART takes in any number on PyTorch estimators.

    :param preprocessors: What it is made of, in the order in which it is applied.
    :param device_type: "gpu" (falls back to the CPU) or "cpu".
    :param clip_values: Range of the images.
    :param input_shape: Shape of an image, (3, H, W): the chain is tried with two images of it if somebody else's
        preprocessor is part of it. None: it is not.
    :param gradient: "exact": each preprocessor's own, where it has one. "identity": of all of them the identity (BPDA).
        "partly-exact": each one's own, and the identity where one has none.
    :raises TypeError: If a parameter is of the wrong type.
    :raises ValueError: If a preprocessor does not exist, does not take a parameter, or fails for such an image.
    """
    chain: list[PreprocessorPyTorch] = []
    names: list[str] = []
    for preprocessor in preprocessors:
        make = load(preprocessor)
        if preprocessor.name in OWN_PREPROCESSORS:
            arguments = arguments_of(preprocessor)
            own = "identity" if gradient == "identity" else "exact"
            built = [make(**arguments, clip_values=clip_values, gradient=own, device_type=device_type)]
        else:
            built = make(
                preprocessor,
                device_type=device_type,
                clip_values=clip_values,
                gradient=gradient,
                input_shape=input_shape,
            )
        chain += built
        names += [preprocessor.name] * len(built)
    if input_shape is not None and not all(name in OWN_PREPROCESSORS for name in names):
        try_chain(chain, names, device_type, clip_values, input_shape, gradient)
    return chain


def build_universal(
    attack: Attack,
    eps: float,
    norm: Literal["inf", "2"],
    seed: int,
    *,
    classifier: PyTorchClassifier,
    checkpoint: str | os.PathLike[str] | None = None,
    verbose: bool = False,
) -> UniversalAttack:
    """Build one of this package's attacks that craft one perturbation for all images.

    :param eps: Bound, as a share of the value range.
    :param norm: Norm of the bound.
    :param seed: Seed of all that it draws.
    :param classifier: The network, with the defences in place that it is to be crafted through.
    :param checkpoint: File in which crafting keeps how far it has come.
    :param verbose: Show a progress bar.
    :raises TypeError: If a parameter is of the wrong type.
    :raises ValueError: If a parameter is outside its interval, or it is another kind of attack.
    """
    if attack.kind != "universal":
        raise ValueError(f"{attack.name} makes no perturbation for all images")
    low, high = value_range(classifier)
    made: UniversalAttack = load(attack)(
        classifier,
        **arguments_of(attack),
        eps=eps * (high - low),
        norm=math.inf if norm == "inf" else 2,
        seed=seed,
        checkpoint=checkpoint,
        verbose=verbose,
    )
    return made


def try_chain(
    chain: Sequence[PreprocessorPyTorch],
    names: Sequence[str],
    device_type: str,
    clip_values: tuple[float, float],
    input_shape: Sequence[int],
    gradient: str = "exact",
) -> None:
    """Raise unless the chain returns images for images.

    :param names: What its stages are called in messages.
    :param input_shape: Shape of an image.
    :param gradient: How it is differentiated, as :class:`art_denoise.evaluation.experiment.Knowledge` says.
    :raises ValueError: If a stage fails, or returns no images in the range in which they are, or no labels.
    """
    ramp = np.linspace(*clip_values, 2 * math.prod(input_shape), dtype=np.float32).reshape(2, *input_shape)
    # Where the classifier has its images: a user's own network may be nowhere else.
    images = torch.from_numpy(ramp).to("cuda" if device_type == "gpu" and torch.cuda.is_available() else "cpu")
    for stage, name in zip(chain, names, strict=True):
        shape = tuple(images.shape)
        try:
            with torch.no_grad(), drawn_from(0):
                given = torch.zeros(2, dtype=torch.int64, device=images.device)
                images, labels = pair_of(stage, stage.forward(images, given))
        except Exception as error:
            raise ValueError(f"{name} fails for images {shape} ({type(error).__name__}: {error})") from error
        got = tuple(images.shape) if isinstance(images, torch.Tensor) else type(images).__name__
        if not isinstance(images, torch.Tensor) or images.ndim != 4 or len(images) != 2:
            raise ValueError(f"{name} must return images for images, and returns {got} for {shape}")
        if labels is None:
            raise ValueError(
                f"{name} returns no labels where it is given some: it must return (x, y), with y as it was"
            )
        passed = gradient == "identity" or isinstance(stage, PassedThrough)
        if passed and got != shape:
            raise ValueError(
                f"{name} makes {got} of {shape}, and so its gradient cannot be taken as the identity (bpda)"
            )
        low, high = clip_values
        if not bool(torch.isfinite(images).all()):
            raise ValueError(f"{name} returns NaN or infinite values for images from {low} to {high}")
        least, most = float(images.min()), float(images.max())
        # Overshoot is clipped, and noise puts some values far out; another range puts most of them there.
        outside = (images < low - (high - low)) | (images > high + (high - low))
        if float(outside.float().mean()) > _MOST_OUTSIDE:
            raise ValueError(
                f"{name} returns values from {least:.4g} to {most:.4g} for images from {low} to {high}: it must return "
                "images in the range that it is given them in"
            )
        if bool((images == images.flatten()[0]).all()):
            raise ValueError(f"{name} returns {most:.4g} everywhere, whatever the image: it must return images")
