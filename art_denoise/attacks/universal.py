"""Universal perturbations: one perturbation that changes the label of most images."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np
import torch
from art.attacks.evasion import UniversalPerturbation
from art.defences.preprocessor.preprocessor import PreprocessorPyTorch
from art.estimators.classification import PyTorchClassifier

from art_denoise.attacks.perturbation import Perturbation
from art_denoise.defences._base import clip
from art_denoise.defences.chain import defences_of, with_defences
from art_denoise.filters._checks import check_integer, check_number


class _UniversalPerturbation(UniversalPerturbation):
    """ART's universal perturbation, with the faster DeepFool inside."""

    attacks_dict: ClassVar[dict[str, str]] = {
        **UniversalPerturbation.attacks_dict,
        "deepfool": "art_denoise.attacks.deepfool.SharedForwardDeepFool",
    }


def craft_universal_perturbation(
    classifier: PyTorchClassifier,
    x: np.ndarray,
    *,
    eps: float = 10 / 255,
    passes: int = 5,
    target_fooling_rate: float = 0.8,
    max_steps: int = 10,
    overshoot: float = 0.02,
    seed: int = 0,
    verbose: bool = False,
) -> Perturbation:
    """Craft a universal perturbation with ART's `UniversalPerturbation`, DeepFool inside, L∞ norm.

    ART clips each perturbed image to the classifier's `clip_values` and takes the difference from the original as the
    new perturbation; black and white pixels of the last image then erase it there. The published algorithm does not
    clip. So while crafting the classifier is given no `clip_values`; they are put back afterwards.

    :param classifier: Classifier of images in [0, 1]. Its preprocessing defences, if any, are attacked too.
    :param x: Images (N, C, H, W) float32 in [0, 1] to craft from.
    :param eps: Bound on the absolute value, in units of the value range, from 0 (open) to 1.
    :param passes: Most passes over the images, ≥ 1.
    :param target_fooling_rate: Share of the images whose label changes at which crafting ends, 0 to 1.
    :param max_steps: Most DeepFool steps for an image. The authors' code takes 10.
    :param overshoot: DeepFool's overshoot. The authors' code takes 0.02.
    :param seed: Seed of the order of the images.
    :param verbose: Show ART's progress bar over the passes.
    :return: Perturbation within ±`eps`, with fooling rate, passes and arguments as provenance.
    :raises ValueError: If an argument is outside its interval, or no image could be fooled: the perturbation is zero.

    Source: S.-M. Moosavi-Dezfooli, A. Fawzi, O. Fawzi, P. Frossard, "Universal adversarial perturbations", CVPR 2017,
    Algorithm 1, arXiv:1610.08401. Deviations, ART's: an update is made when DeepFool crossed any boundary; the fooling
    rate is taken without clipping.
    """
    check_number("eps", eps, low=0, high=1, low_open=True)
    check_integer("passes", passes, low=1)
    check_number("target_fooling_rate", target_fooling_rate, low=0, high=1)
    clip_values = classifier.clip_values
    if clip_values is None or tuple(map(float, np.ravel(clip_values))) != (0.0, 1.0):
        raise ValueError(
            f"`classifier` must take images in [0, 1], clip_values=(0, 1), got clip_values={clip_values!r}"
        )
    if x.shape[1:] != tuple(classifier.input_shape) or not len(x):
        raise ValueError(f"`x` must be images (N, C, H, W), N >= 1, of shape {classifier.input_shape}, got {x.shape}")
    if not (np.issubdtype(x.dtype, np.floating) and x.min() >= 0 and x.max() <= 1):
        raise ValueError(f"`x` must be floats within 0 and 1, got {x.dtype} from {x.min():g} to {x.max():g}")
    # DeepFool's steps leave the range; a defence is shown what it would be shown: an image.
    chain = defences_of(classifier)
    chain = [_Clip(), *chain] if chain else chain
    try:
        classifier.set_params(clip_values=None)
        attack = _UniversalPerturbation(
            classifier,
            attacker="deepfool",
            attacker_params={"max_iter": max_steps, "epsilon": overshoot, "verbose": False},
            delta=1 - target_fooling_rate,
            max_iter=passes,
            eps=eps,
            norm=np.inf,
            verbose=verbose,
        )
        with _seeded(seed), with_defences(classifier, chain):
            attack.generate(x.astype(np.float32))
    finally:
        classifier.set_params(clip_values=clip_values)
    noise = np.asarray(attack.noise[0], dtype=np.float32)
    if not noise.any():
        raise ValueError("the universal perturbation stayed zero: no image was fooled, use more `max_steps` or images")
    return Perturbation(
        noise,
        {
            "attack": "UniversalPerturbation(DeepFool)",
            "norm": "inf",
            "eps": eps,
            "images": len(x),
            "passes": passes,
            "max_steps": max_steps,
            "overshoot": overshoot,
            "seed": seed,
            "crafting_fooling_rate": float(attack.fooling_rate),
        },
    )


class _Clip(PreprocessorPyTorch):
    """Clip images to [0, 1], and let the gradient through."""

    def forward(self, x: torch.Tensor, y: Any | None = None) -> tuple[torch.Tensor, Any | None]:
        return clip(x, 0, 1), y


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed Python's global generator, which ART draws the order of images from, and put its state back."""
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)
