"""Predict the labels of images behind defences, a batch at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from art.defences.preprocessor import Preprocessor
from art.estimators.classification import PyTorchClassifier

from art_denoise._images import release_pages
from art_denoise._random import drawn_from
from art_denoise.attacks.perturbation import Perturbation
from art_denoise.data.sets import Split
from art_denoise.defences.chain import with_defences
from art_denoise.evaluation.added import Added

#: Batches that are denoised at once: the more images, the better the threads share them.
_BATCHES_DENOISED = 4


def drawn_from_all(split: Split, count: int) -> Split:
    """Return some images of a split in a random order, drawn from all: the first of them may be all of one class.

    :param split: The images.
    :param count: How many, or all if there are fewer. The same are drawn each time, in the same order.
    """
    chosen = np.random.default_rng([count, len(split)]).permutation(len(split))[:count]
    images = split.images[chosen]
    release_pages(split.images)
    return Split(images, split.labels[chosen], split.fingerprint)


def unit_batch(split: Split, part: slice | np.ndarray) -> np.ndarray:
    """Return images as float32 (B, 3, H, W) in [0, 1]."""
    batch = np.divide(split.images[part], 255, dtype=np.float32)
    release_pages(split.images)
    return batch


class UnitImages:
    """A split's images as floats in [0, 1], with a perturbation and clipped, made when they are indexed.

    :param split: The images.
    :param added: What is added to all of them.
    :param told: Is told how many have been read since it was told last.
    """

    def __init__(
        self, split: Split, added: Perturbation | None = None, told: Callable[[int], object] = lambda count: None
    ) -> None:
        self._split, self._added, self._told = split, added, told

    def __len__(self) -> int:
        return len(self._split)

    def __getitem__(self, chosen: slice | np.ndarray) -> np.ndarray:
        batch = unit_batch(self._split, chosen)
        self._told(len(batch))
        return batch if self._added is None else self._added.add_to(batch)


def predicted_labels(
    classifier: PyTorchClassifier,
    split: Split,
    batch_size: int,
    *,
    added: Added | None = None,
    defences: Sequence[Preprocessor] = (),
    seed: int = 0,
    draw: int = 0,
    start: int = 0,
    told: Callable[[int], object] = lambda count: None,
) -> Iterator[np.ndarray]:
    """Predict the labels of a split's images in order, int64, a few batches at a time; no more is in memory.

    The order: v0, + δ and clip, then the defences, as an ART classifier applies them, standardise, classify.

    :param classifier: The classifier.
    :param split: The images.
    :param batch_size: Images that go through the network at once.
    :param added: What the attack adds.
    :param defences: Defences in the classifier's place of its own. What they draw at random depends on `seed`,
        `draw` and the place of the batch only.
    :param seed: Seed of what defences draw.
    :param draw: Number of the draw: each is another.
    :param start: Number of the first image, a multiple of the images at once.
    :param told: Is told how many images have been predicted since it was told last.
    """
    size = batch_size * (_BATCHES_DENOISED if defences else 1)
    for first in range(start, len(split), size):
        which = slice(first, min(first + size, len(split)))
        images = unit_batch(split, which)
        if added is not None:
            images = added.add_to(images, which)
        with with_defences(classifier, defences), drawn_from(seed, draw, first):
            labels = classifier.predict(images, batch_size=batch_size).argmax(axis=1)
        told(len(labels))
        yield labels.astype(np.int64)
