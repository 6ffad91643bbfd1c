"""A small network with a defence in front, and how it has to behave, for the libraries that wrap classifiers of ART."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from art.attacks.evasion import ProjectedGradientDescentPyTorch
from art.defences.preprocessor.preprocessor import Preprocessor
from art.estimators.classification import PyTorchClassifier

from art_denoise import NLMeansDefence, ROFDefence

SHAPE = (3, 13, 11)
CLASSES = 4

#: The defences that are put in front, strong enough to change predictions.
DEFENCES: dict[str, Callable[[], Preprocessor]] = {
    "rof": lambda: ROFDefence(weight=0.2),
    "nl-means": lambda: NLMeansDefence(h=0.2),
}


def options(defence: Preprocessor | None) -> dict[str, Any]:
    """Arguments of a `PyTorchClassifier`, or of a class made of it, around the small network."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = torch.nn.Sequential(
            torch.nn.Conv2d(SHAPE[0], 6, 3), torch.nn.Tanh(), torch.nn.Flatten(), torch.nn.Linear(6 * 11 * 9, CLASSES)
        )
    return {
        "model": model.eval(),
        "loss": torch.nn.CrossEntropyLoss(),
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.01),
        "input_shape": SHAPE,
        "nb_classes": CLASSES,
        "clip_values": (0.0, 1.0),
        "preprocessing_defences": defence,
        "device_type": "cpu",
    }


def images() -> tuple[np.ndarray, np.ndarray]:
    """Six noisy images (6, 3, 13, 11) in [0, 1] and the classes (6,) that the network alone sees in them."""
    rng = np.random.default_rng(3)
    ramps = np.linspace(0.2, 0.8, SHAPE[2]) * rng.uniform(0.3, 1, (6, 3, 1, 1))
    x = np.clip(ramps + rng.normal(0, 0.15, (6, *SHAPE)), 0, 1).astype(np.float32)
    return x, PyTorchClassifier(**options(None)).predict(x).argmax(axis=1)


def assert_defended(classifier: PyTorchClassifier, defence: Preprocessor) -> None:
    """Raise if `classifier` does not filter its input exactly once, or its gradient is not that of the filter too."""
    x, labels = images()
    plain, one_hot = PyTorchClassifier(**options(None)), np.eye(CLASSES, dtype=np.float32)[labels]
    filtered = defence(x)[0]
    np.testing.assert_allclose(classifier.predict(x), plain.predict(filtered), atol=1e-5)
    assert np.abs(classifier.predict(x) - plain.predict(x)).max() > 1e-2, "the filter changes nothing here"

    after = plain.loss_gradient(filtered, one_hot)
    scale = np.abs(after).max()
    gradient = classifier.loss_gradient(x, one_hot)
    np.testing.assert_allclose(gradient, defence.estimate_gradient(x, after), atol=1e-4 * scale)
    assert np.abs(gradient - after).max() > 1e-2 * scale, "the filter's derivative is the identity here"


def attack(classifier: PyTorchClassifier) -> ProjectedGradientDescentPyTorch:
    """Projected gradient descent without random starts: the same images whenever the gradient is the same."""
    return ProjectedGradientDescentPyTorch(classifier, eps=0.1, eps_step=0.02, max_iter=10, verbose=False)


def perturbed(defence: Preprocessor | None) -> np.ndarray:
    """What the attack makes of the images by ART alone, with a defence in front or none."""
    x, labels = images()
    return attack(PyTorchClassifier(**options(defence))).generate(x, np.eye(CLASSES, dtype=np.float32)[labels])
