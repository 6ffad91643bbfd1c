"""Look at a model before hours of work: does it take what it is given, and is it as good as it should be?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from art.estimators.classification import PyTorchClassifier
from scipy.stats import binomtest

from art_denoise.data.sets import Split
from art_denoise.evaluation.scoring import unit_batch
from art_denoise.evaluation.statistics import paired_difference
from art_denoise.models import Model

#: Images that are looked at: of the target, of other models, and with each other kind of input.
IMAGES, IMAGES_OF_SOURCES, _IMAGES_OTHERWISE = 300, 100, 100

#: Fewer images that are all called the same say nothing.
_FEWEST = 20

#: A difference is one if chance makes as large a one less often than this: from what is published, and by another kind
#: of input, which is believed sooner, as there are few that a network may be made for.
_LEVEL, _INPUT_LEVEL = 0.001, 0.01

_MEAN = np.array([0.485, 0.456, 0.406], dtype=np.float32)[:, None, None]
_STD = np.array([0.229, 0.224, 0.225], dtype=np.float32)[:, None, None]

#: Other kinds of input that a network might have been trained with, by what to say of it.
_OTHERWISE: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "standardised by ImageNet's mean and standard deviation": lambda x: (x - _MEAN) / _STD,
    "in -1 to 1": lambda x: 2 * x - 1,
    "in 0 to 255": lambda x: 255 * x,
    "with the channels in the order blue, green, red": lambda x: x[:, ::-1].copy(),
    "with a standardisation undone, which it seems to make twice,": lambda x: x * _STD + _MEAN,
}


def check_model(
    model: Model,
    classifier: PyTorchClassifier,
    split: Split,
    *,
    batch_size: int,
    published: float | None = None,
    told: Callable[[int], object] = lambda count: None,
) -> dict[str, Any]:
    """Check a model on the images of a split, and return what was found as a JSON-like record.

    :param model: The model.
    :param classifier: The same, built.
    :param split: Labelled images.
    :param published: Accuracy in percent that it should have on them.
    :param told: Is told how many images were done.
    :return: `n` images, `correct` ones, `accuracy` in percent, `published`, and `differing`, how many labels came out
        otherwise the second time. `accuracy` is None if the labels are not the model's. Of images of one class alone
        nothing is concluded.
    :raises ValueError: If it returns numbers that are not finite, or probabilities; if its labels are those of other
        kinds of input; if it is not as good as is published, no better than chance, or calls all images the same.
    """
    logits = _logits(classifier, split, len(split), batch_size, lambda x: x, told)
    name = f"model {model.spec!r}"
    if not np.isfinite(logits).all():
        raise ValueError(f"{name} returns logits that are not finite: its weights are damaged, or of another network")
    if (logits >= 0).all() and np.allclose(logits.sum(axis=1), 1, atol=1e-3):
        raise ValueError(
            f"{name} returns probabilities, whose gradients vanish, so that attacks look weaker than they are: take "
            "the softmax off its end"
        )
    again = _logits(classifier, split, min(len(split), batch_size), batch_size, lambda x: x, told)
    differing = int(np.sum(again.argmax(axis=1) != logits[: len(again)].argmax(axis=1)))
    found = {"n": len(split), "differing": differing, "correct": None, "accuracy": None, "published": published}
    if not model.trained or split.labels.max() >= logits.shape[1]:
        return found
    predicted = logits.argmax(axis=1)
    right = predicted == split.labels
    found |= {"correct": int(right.sum()), "accuracy": round(100 * float(right.mean()), 2)}
    classes = len(np.unique(split.labels))
    if classes == 1:
        # Who always says the same may be right with all of them, or with none.
        return found
    # One that says something else each time may be right by chance more often with other input.
    if model.recipe is None and not differing:
        _check_input(name, classifier, split, right, batch_size, told)
    if published is not None and binomtest(int(right.sum()), len(right), published / 100).pvalue < _LEVEL:
        raise ValueError(
            f"{name} classifies {found['accuracy']} % of {len(right)} clean images right, while {published} % is "
            "published for its weights: the images, their labels or the weights are others than it was measured with"
        )
    if len(right) >= _FEWEST and len(np.unique(predicted)) == 1:
        raise ValueError(
            f"{name} calls all of {len(right)} clean images of {classes} classes class {predicted[0]}: "
            "does it take RGB in 0 to 1, and are its weights loaded?"
        )
    chance = 1 / logits.shape[1]
    if binomtest(int(right.sum()), len(right), chance, alternative="greater").pvalue > 0.05:
        raise ValueError(
            f"{name} classifies {int(right.sum())} of {len(right)} clean images right, no more than by chance: are "
            "the labels those that it was trained with (`classes` says which class each folder is), and does it take "
            "RGB in 0 to 1?"
        )
    return found


def _check_input(
    name: str,
    classifier: PyTorchClassifier,
    split: Split,
    right: np.ndarray,
    batch_size: int,
    told: Callable[[int], object],
) -> None:
    """Raise if a network that should take RGB images in [0, 1] is far better on another kind of input."""
    count = min(len(split), _IMAGES_OTHERWISE)
    labels, as_given = split.labels[:count], right[:count]
    predicted = {
        what: _logits(classifier, split, count, batch_size, change, told).argmax(axis=1)
        for what, change in _OTHERWISE.items()
    }
    # What makes a network say always the same shows nothing, however often that is right.
    correct = {what: found == labels for what, found in predicted.items() if len(np.unique(found)) > 1}
    if not correct:
        return
    what, best = max(correct.items(), key=lambda item: item[1].sum())
    # Only who is right counts: 1 where the label is the true one.
    difference = paired_difference(best.astype(int), as_given.astype(int), np.ones(count, dtype=int))
    if difference.value > 0.1 and difference.p_value < _INPUT_LEVEL:
        raise ValueError(
            f"{name} classifies {best.mean():.0%} of {count} clean images right when they are {what}, and "
            f"{as_given.mean():.0%} as RGB in 0 to 1: let it take RGB in 0 to 1, and standardise them itself, once"
        )


def _logits(
    classifier: PyTorchClassifier,
    split: Split,
    count: int,
    batch_size: int,
    change: Callable[[np.ndarray], np.ndarray],
    told: Callable[[int], object],
) -> np.ndarray:
    """Return the logits, float32 (count, K), of the first images, changed."""
    found = []
    for first in range(0, count, batch_size):
        batch = change(unit_batch(split, slice(first, min(first + batch_size, count))))
        found.append(classifier.predict(batch, batch_size=len(batch)))
        told(len(batch))
    return np.concatenate(found)
