"""Any of ART's classifiers as one for PyTorch, so that every attack and every look at gradients has it as it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from art.estimators.classification import ClassifierMixin, PyTorchClassifier
from art.estimators.classification.classifier import ClassGradientsMixin

from art_denoise.attacks._classifier import value_range
from art_denoise.defences.chain import with_defences


def has_gradients(classifier: Any) -> bool:
    """Return whether a classifier says what its gradients are."""
    return isinstance(classifier, (PyTorchClassifier, ClassGradientsMixin))


@contextmanager
def as_pytorch_classifier(classifier: Any) -> Iterator[PyTorchClassifier]:
    """Yield a classifier for PyTorch that predicts what another does, without the defences that this has.

    One for PyTorch is yielded as it is. Of others the gradient is that of their `class_gradient`, of all classes, each
    time one is wanted: with many classes that takes long. One that has no gradients has none here.

    :raises TypeError: If it is none of ART's classifiers.
    :raises ValueError: If it has no `clip_values`, or another range for each pixel.
    """
    if isinstance(classifier, PyTorchClassifier):
        yield classifier
        return
    if not isinstance(classifier, ClassifierMixin):
        raise TypeError(f"`classifier` must be one of ART's classifiers, got {type(classifier).__name__}")
    network = _Network(classifier).eval()
    with with_defences(classifier, []):
        yield PyTorchClassifier(
            network,
            torch.nn.CrossEntropyLoss(),
            tuple(classifier.input_shape),
            classifier.nb_classes,
            clip_values=value_range(classifier),
            device_type="cpu",
        )


class _Network(torch.nn.Module):
    def __init__(self, classifier: Any) -> None:
        super().__init__()
        self._classifier = classifier

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if isinstance(self._classifier, ClassGradientsMixin):
            scores: torch.Tensor = _Asked.apply(images, self._classifier)
            return scores
        return _scores(self._classifier, images)


class _Asked(torch.autograd.Function):
    """What a classifier predicts, with the gradient that it says."""

    @staticmethod
    def forward(ctx: Any, images: torch.Tensor, classifier: Any) -> torch.Tensor:
        ctx.save_for_backward(images)
        ctx.classifier = classifier
        return _scores(classifier, images)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None]:
        (images,) = ctx.saved_tensors
        of_classes = ctx.classifier.class_gradient(_array(images))
        gradient = np.einsum("nk,nk...->n...", grads[0].cpu().numpy(), of_classes)
        return torch.from_numpy(gradient.astype(np.float32)).to(images), None


def _scores(classifier: Any, images: torch.Tensor) -> torch.Tensor:
    scores = np.asarray(classifier.predict(_array(images)), dtype=np.float32)
    return torch.from_numpy(scores).to(images.device)


def _array(images: torch.Tensor) -> np.ndarray:
    array: np.ndarray = images.detach().cpu().numpy().astype(np.float32)
    return array
