"""Whether an attack succeeds where it has to: tried through the defence on a network that is made to be broken.

That an attack fails says nothing of a defence if the attack would fail anyway. So it is tried where there is an
adversarial example for certain (Zimmermann et al. 2022, arXiv:2206.13991): the network, behind the defence, gets a new
last layer that calls one point at the edge of the ball around an image another class than the points inside. An attack
that goes on with the gradient of such a network finds that class, or one that is broken by the defence does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from art.defences.preprocessor import Preprocessor
from art.estimators.classification import PyTorchClassifier

from art_denoise._random import drawn_from
from art_denoise.attacks._classifier import value_range
from art_denoise.attacks.as_module import as_module
from art_denoise.attacks.best_pgd import SAMPLES
from art_denoise.defences.chain import with_defences
from art_denoise.evaluation.art_attacks import attack_images
from art_denoise.evaluation.expectation import draws, mean_of_draws
from art_denoise.evaluation.experiment import Attack

#: Points inside the ball, which is half as large as the attack's; points at its edge, the farthest of which from those
#: inside is of the other class; and others there that are tried by chance.
_INSIDE, _EDGE, _BY_CHANCE = 40, 40, 40

#: Where between the points inside and the one at the edge the classes meet, as a share of the way.
_MEETS = 0.9

#: How many logits the two are apart: enough to see, and few enough that no gradient vanishes.
_APART = 8.0

#: How much is added to the covariance of the points inside, as a share of its mean variance.
_RIDGE = 0.1


def try_attack(
    classifier: PyTorchClassifier,
    attack: Attack,
    known: Sequence[Preprocessor],
    x: np.ndarray,
    *,
    eps: float,
    norm: Literal["inf", "2"] = "inf",
    seed: int = 0,
) -> dict[str, Any]:
    """Try an attack on single images where it has to succeed.

    The new last layer is w · logits - t for each image by itself, with w from Fisher's discriminant between the points
    inside and one at the edge: that of several which is the farthest from them, so that others are not found by chance.

    Source: R. S. Zimmermann, W. Brendel, F. Tramèr, N. Carlini, "Increasing confidence in adversarial robustness
    evaluations", NeurIPS 2022, arXiv:2206.13991, section 3. Deviations: the layer is on the logits rather than on the
    features before them, so that any classifier has it; it comes from a discriminant rather than from logistic
    regression; one attack, not one made for the test.

    :param classifier: Classifier with `clip_values` that returns logits; defences that it has are left out.
    :param attack: The attack, of kind "per-image".
    :param known: The defence with what the attacker takes for its gradient.
    :param x: Images, float32 (N, C, H, W) in [0, 1].
    :param eps: Bound of the attack, as a share of the value range.
    :param norm: Norm of the bound.
    :param seed: Seed of the points, and of the attack.
    :return: A JSON-like record: `images` on which it was tried, those whose points can be told apart; of how many it
        `found` the other class; `chance`, the share of random points at the edge that are of it; and `error`, what the
        attack raised, if it did.
    """
    record: dict[str, Any] = {"images": 0, "found": 0, "chance": 0.0}
    with with_defences(classifier, known):
        samples = SAMPLES if draws(classifier, _in_units(classifier, x)) else 1
    by_chance = []
    for i, image in enumerate(x):
        rng = np.random.default_rng((seed, i))
        inside = _points(image, eps / 2, norm, rng, _INSIDE, within=True)
        edge = _points(image, eps, norm, rng, _EDGE + _BY_CHANCE)
        points = np.concatenate([image[None], inside, edge])
        scores = _mean_scores(classifier, known, points, samples, seed)
        of_inside, of_edge, others = np.split(scores, [1 + _INSIDE, 1 + _INSIDE + _EDGE])
        layer = _layer(of_inside, of_edge)
        if layer is None:
            continue
        weight, threshold = layer
        record["images"] += 1
        by_chance.append(float(np.mean(others @ weight > threshold)))
        with with_defences(classifier, []):
            planted = PyTorchClassifier(
                _Planted(as_module(classifier), weight, threshold).eval(),
                torch.nn.CrossEntropyLoss(),
                classifier.input_shape,
                2,
                clip_values=classifier.clip_values,
                preprocessing_defences=list(known) or None,
                device_type="gpu" if classifier.device.type == "cuda" else "cpu",
            )
            try:
                zero = np.zeros(1, dtype=np.int64)
                attacked = attack_images(planted, attack, eps=eps, norm=norm, x=image[None], y=zero, seed=seed)
            except Exception as error:
                record["error"] = f"{type(error).__name__}: {error}"
                continue
            record["found"] += int(_mean_scores(planted, known, attacked, samples, seed)[0].argmax() == 1)
    record["chance"] = float(np.mean(by_chance)) if by_chance else 0.0
    return record


class _Planted(torch.nn.Module):
    """A network with a new last layer, which has two classes."""

    def __init__(self, network: torch.nn.Module, weight: np.ndarray, threshold: float) -> None:
        super().__init__()
        self.network, self.threshold = network, threshold
        self.register_buffer("weight", torch.from_numpy(weight.astype(np.float32)))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits = self.network(images)
        beyond = logits @ self.weight.to(logits) - self.threshold
        return torch.stack([-beyond / 2, beyond / 2], dim=1)


def _layer(inside: np.ndarray, edge: np.ndarray) -> tuple[np.ndarray, float] | None:
    """Return weights and threshold that tell the farthest of some points from others; None if they cannot.

    :param inside: Logits of the others, (M, K).
    :param edge: Logits of the points, (P, K).
    """
    centre, classes = inside.mean(axis=0), inside.shape[1]
    covariance = (inside - centre).T @ (inside - centre) / len(inside)
    ridge = _RIDGE * np.trace(covariance) / classes + np.finfo(np.float32).tiny
    weights = np.linalg.solve(covariance + ridge * np.eye(classes), (edge - centre).T).T
    farthest = int(np.argmax(np.sum(weights * (edge - centre), axis=1)))
    weight = weights[farthest]
    most, there = float((inside @ weight).max()), float(edge[farthest] @ weight)
    if not np.isfinite(there) or there - most <= 1e-6 * max(abs(there), abs(most)):
        return None
    scale = _APART / (there - most)
    return scale * weight, scale * (most + _MEETS * (there - most))


def _points(
    image: np.ndarray, eps: float, norm: str, rng: np.random.Generator, count: int, *, within: bool = False
) -> np.ndarray:
    """Return points at the edge of a ball around an image, or within it, float32 (count, C, H, W) in [0, 1]."""
    shape = (count, *image.shape)
    if norm == "inf":
        added = rng.uniform(-eps, eps, shape) if within else eps * rng.choice([-1.0, 1.0], shape)
    else:
        added = rng.normal(size=shape)
        sizes = np.linalg.norm(added.reshape(count, -1), axis=1)
        radii = eps * rng.uniform(size=count) ** (1 / image.size) if within else np.full(count, eps)
        added *= (radii / sizes).reshape(-1, 1, 1, 1)
    return np.clip(image + added, 0, 1).astype(np.float32)


def _mean_scores(
    classifier: PyTorchClassifier, chain: Sequence[Preprocessor], x: np.ndarray, samples: int, seed: int
) -> np.ndarray:
    """Return logits (N, K) behind a defence, float64, the mean of several draws."""
    with with_defences(classifier, chain), drawn_from(seed, 1), mean_of_draws(classifier, samples):
        return classifier.predict(_in_units(classifier, x)).astype(np.float64)


def _in_units(classifier: PyTorchClassifier, x: np.ndarray) -> np.ndarray:
    low, high = value_range(classifier)
    images: np.ndarray = (low + (high - low) * x).astype(np.float32)
    return images
