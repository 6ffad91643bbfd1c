"""Attacks on what a defence does on average over its draws: expectation over transformation for any of ART's attacks.

One draw proves nothing: an attack that follows the gradient of a single draw, or believes a single answer, is weaker
than it need be, and the defence looks stronger than it is (Athalye et al. 2018, arXiv:1707.07397 and 1802.00420).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any

import numpy as np
import torch
from art.estimators.classification import PyTorchClassifier

from art_denoise._random import drawn_from

#: Images that are predicted to see whether anything is drawn.
_TRIED = 2

#: What an attack asks a classifier for.
_ASKED = ("predict", "loss_gradient", "class_gradient")


def draws(classifier: PyTorchClassifier, images: np.ndarray) -> bool:
    """Return whether a classifier predicts other scores for the same images with other draws.

    :param images: Images (N, C, H, W) in the classifier's units; the first few are tried.
    """
    tried = images[:_TRIED]
    with drawn_from(0):
        first = classifier.predict(tried)
        # Rounding is the same each time.
        return not np.array_equal(first, classifier.predict(tried))


@contextmanager
def mean_of_draws(classifier: PyTorchClassifier, samples: int) -> Iterator[None]:
    """Let scores and gradients be the mean of several draws of the defences, for as long as this lasts.

    Attacks make classifiers of their own of what they are given, so that it is the classes that are changed: not to be
    used from several threads at once.

    :param samples: Number of draws, at least 1; 1 changes nothing.
    """
    within: list[str] = []

    def averaged(name: str, asked: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(asked)
        def mean(*args: Any, **kwargs: Any) -> Any:
            # One that asks another, or its parent class, is asked so often already.
            if within:
                return asked(*args, **kwargs)
            within.append(name)
            try:
                found = [asked(*args, **kwargs) for _ in range(samples)]
            finally:
                within.clear()
            if isinstance(found[0], torch.Tensor):
                return torch.stack(found).mean(0)
            return np.mean(found, axis=0, dtype=np.float64).astype(found[0].dtype)

        return mean

    with ExitStack() as stack:
        if samples > 1:
            for cls in dict.fromkeys((type(classifier), PyTorchClassifier)):
                for name in _ASKED:
                    if name in vars(cls):
                        original = vars(cls)[name]
                        setattr(cls, name, averaged(name, original))
                        stack.callback(setattr, cls, name, original)
        yield
