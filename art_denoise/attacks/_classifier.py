"""A PyTorch classifier as the attacks see it: images in its own units in, logits out, differentiable throughout."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from art.estimators.classification import PyTorchClassifier

from art_denoise._autograd import clip
from art_denoise._images import Images
from art_denoise.defences.chain import defences_of

#: Pixels that go through the network at once, by type of device; 10 images of 224×224 on a CPU. All of an image's
#: activations are kept for a gradient, some 60 MB in VGG-16.
_PIXELS_AT_ONCE = {"cpu": 2**19, "cuda": 2**23}


def logits_of(
    classifier: PyTorchClassifier, images: torch.Tensor, labels: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Predict through the classifier's preprocessing, in evaluation mode; differentiable if autograd is on.

    Defences see what they would be shown, an image: steps of an attack that leave the range are clipped before the
    first of them, and the gradient is let through the clip.

    :param images: Float tensor (N, ...) in units of `clip_values`.
    :param labels: Labels (N,), which defences that repeat an image repeat with it.
    :return: Logits (M, K), and the labels (M,); M is N unless a defence repeats images.
    :raises ValueError: If a defence cannot be differentiated by autograd, or the network returns no
        logits (N, K), K >= 2.
    """
    if not classifier.all_framework_preprocessing:
        raise ValueError(
            "`classifier` has a preprocessing defence for NumPy, which autograd cannot pass: give it as "
            "AsPyTorch(defence)"
        )
    classifier.model.eval()
    if defences_of(classifier) and classifier.clip_values is not None:
        images = clip(images, *value_range(classifier))
    inputs, labels = classifier._apply_preprocessing(images, y=labels, fit=False, no_grad=False)
    # ART's own wrapper, which knows what each kind of network returns, rather than the network itself.
    logits = classifier._model(inputs)[-1]
    _check_logits(logits)
    return logits, labels


def _check_logits(logits: Any) -> None:
    """Raise unless what a network returned is logits (N, K), K >= 2, and say what to do about it."""
    if not isinstance(logits, torch.Tensor):
        raise ValueError(
            f"the classifier's network must return logits (N, K), K >= 2, got {type(logits).__name__}: wrap it in a "
            f"torch.nn.Module that returns the tensor of logits, {_taken_from(logits)}"
        )
    if logits.ndim != 2 or logits.shape[1] < 2:
        raise ValueError(
            f"the classifier's network must return logits (N, K), K >= 2, got {tuple(logits.shape)}: the attack needs "
            "one logit per class. Let the network of two classes with one logit `z` return `torch.cat([0 * z, z], 1)`"
        )


def _taken_from(output: Any) -> str:
    """Return how one takes the logits, as far as one can see, from what a network returned."""
    if isinstance(output, Mapping):
        names = [repr(name) for name, value in output.items() if isinstance(value, torch.Tensor) and value.ndim == 2]
        return f"such as `network(x)[{names[0]}]`" if names else "of which there is none (N, K) in it"
    if isinstance(output, (tuple, list)):
        places = [i for i, value in enumerate(output) if isinstance(value, torch.Tensor) and value.ndim == 2]
        return f"such as `network(x)[{places[0]}]`" if places else "of which there is none (N, K) in it"
    return "such as `network(x).logits`"


def scores_of(classifier: PyTorchClassifier, images: torch.Tensor, samples: int = 1) -> torch.Tensor:
    """Return the logits (N, K) of images, the mean over the copies where a defence repeats an image; as `logits_of`.

    :param samples: Draws of the defences that they are also the mean of, ≥ 1.
    """
    if samples > 1:
        return torch.stack([scores_of(classifier, images) for _ in range(samples)]).mean(0)
    logits, _ = logits_of(classifier, images)
    return logits if len(logits) == len(images) else logits.view(len(images), -1, logits.shape[1]).mean(1)


def at_once(classifier: PyTorchClassifier) -> int:
    """Return how many images are to go through the network at once."""
    pixels = math.prod(classifier.input_shape[1:])
    return max(1, _PIXELS_AT_ONCE["cuda" if classifier.device.type == "cuda" else "cpu"] // max(1, pixels))


def labels_of(
    classifier: PyTorchClassifier,
    images: Images,
    noise: np.ndarray | None = None,
    *,
    told: Callable[[str], None] = lambda text: None,
) -> np.ndarray:
    """Return the labels, int64 (N,), that a classifier predicts for images.

    :param noise: Perturbation (C, H, W) in the classifier's units, added before the images are clipped to their range.
    :param told: Is told how far it has come.
    """
    low, high = value_range(classifier)
    labels = np.empty(len(images), dtype=np.int64)
    for part, batch in images.batches(at_once(classifier)):
        if noise is not None:
            np.clip(batch + noise, low, high, out=batch)
        with torch.no_grad():
            scores = scores_of(classifier, torch.from_numpy(batch).to(classifier.device))
        if part.start == 0 and noise is None:
            warn_of_probabilities(scores)
        labels[part] = scores.argmax(1).cpu().numpy()
        told(f"{part.stop}/{len(images)}")
    return labels


def margins_of(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return by how much each label's logit is above all others, (N,); above 0 where the image is classified right."""
    own = logits.gather(1, labels[:, None])[:, 0]
    others = logits.scatter(1, labels[:, None], -math.inf).max(1).values
    return own - others


def are_probabilities(logits: torch.Tensor) -> bool:
    """Return whether what a classifier returned, (N, K), are probabilities: their gradients vanish where it is sure."""
    sums = logits.detach().sum(1)
    return bool((logits.detach() >= 0).all()) and torch.allclose(sums, torch.ones_like(sums), atol=1e-4)


def warn_of_probabilities(logits: torch.Tensor) -> None:
    """Warn if what a classifier returned, (N, K), are probabilities."""
    if are_probabilities(logits):
        warnings.warn(
            "`classifier` seems to return probabilities, whose gradients vanish: attacks come out weaker than they "
            "are. Take the softmax off the end of the network, so that it returns logits",
            RuntimeWarning,
            stacklevel=3,
        )


def value_range(classifier: Any) -> tuple[float, float]:
    """Return the ends of the range of the classifier's images.

    :raises ValueError: If it has none, or another for each pixel: a universal perturbation has one unit.
    """
    values = None if classifier.clip_values is None else [np.unique(np.asarray(v)) for v in classifier.clip_values]
    if values is None or any(len(v) != 1 for v in values):
        raise ValueError(
            "`classifier` must have `clip_values`, one pair of numbers such as (0, 1), "
            f"got clip_values={classifier.clip_values!r}"
        )
    low, high = (float(v[0]) for v in values)
    return low, high
