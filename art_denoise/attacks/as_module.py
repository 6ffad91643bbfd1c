"""A defended classifier as a plain module, for attacks of other libraries."""

from __future__ import annotations

from typing import Any

import torch
from art.estimators.classification import PyTorchClassifier

from art_denoise.attacks._classifier import scores_of


def as_module(classifier: PyTorchClassifier) -> torch.nn.Module:
    """Return a module that does what a classifier does: its defences, its standardisation, its network, to the logits.

    For attacks of other libraries, which take a `torch.nn.Module` of images::

        AutoAttack(as_module(classifier), eps=8 / 255)
        foolbox.PyTorchModel(as_module(classifier), bounds=(0, 1))
        torchattacks.PGD(as_module(classifier))

    The gradient is that of the defences, each its own, and contiguous, which some libraries take for granted. Defences
    that ART applies while it trains only have no part in it. It shares the network with the classifier, is always in
    evaluation mode, and sees what is changed there: other defences, too.

    :param classifier: Classifier whose defences are for PyTorch, or adapted by `AsPyTorch`.
    :return: Module from images (N, C, H, W), floats in units of the classifier's `clip_values`, on its device, to
        logits (N, K); of a defence that repeats images, the mean over the copies. `forward` raises a `ValueError` if a
        defence cannot be differentiated by autograd.
    :raises TypeError: If it is no classifier for PyTorch.

    Example::

        >>> import numpy as np
        >>> import torch
        >>> from art.estimators.classification import PyTorchClassifier
        >>> from art_denoise import ROFDefence, as_module
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 10))
        >>> loss = torch.nn.CrossEntropyLoss()
        >>> classifier = PyTorchClassifier(network, loss, input_shape=(3, 32, 32), nb_classes=10, clip_values=(0, 1))
        >>> images = np.random.default_rng(0).random((8, 3, 32, 32), dtype=np.float32)
        >>> classifier.set_params(preprocessing_defences=[ROFDefence()])
        >>> x = torch.from_numpy(images).to(classifier.device).requires_grad_()
        >>> logits = as_module(classifier)(x)
        >>> logits.shape
        torch.Size([8, 10])
        >>> torch.autograd.grad(logits.sum(), x)[0].shape
        torch.Size([8, 3, 32, 32])
    """
    if not isinstance(classifier, PyTorchClassifier):
        raise TypeError(f"`classifier` must be one of ART's PyTorchClassifier, got {type(classifier).__name__}")
    return _Defended(classifier).eval()


class _Defended(torch.nn.Module):
    def __init__(self, classifier: PyTorchClassifier) -> None:
        super().__init__()
        self._classifier = classifier
        # Who looks for the device looks at the parameters.
        self.network = classifier.model

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        contiguous: torch.Tensor = _ContiguousGradient.apply(images)
        return scores_of(self._classifier, contiguous)

    def train(self, mode: bool = True) -> _Defended:
        """Stay in evaluation mode, whatever is asked for."""
        return super().train(False)


class _ContiguousGradient(torch.autograd.Function):
    """The identity, with a gradient whose rows lie one behind the other: networks may lay it out otherwise."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> torch.Tensor:
        return grads[0].contiguous()
