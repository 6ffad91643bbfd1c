"""Predict the labels of images behind defences, a batch at a time, and find out how many go at once."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from art.defences.preprocessor import Preprocessor
from art.estimators.classification import PyTorchClassifier

from art_denoise._images import release_pages
from art_denoise.attacks import Perturbation, random_signs
from art_denoise.models import Model, wrap
from art_denoise.data.sets import Split
from art_denoise.defences.chain import with_defences

#: Most pixels that are scored at once, by type of device: on a CPU 16 images of 224×224, whose activations in VGG-16
#: are half a gigabyte.
_MOST_PIXELS = {"cpu": 16 * 224**2, "cuda": 512 * 224**2}

#: Fewest images of a trial.
_FEWEST = {"cpu": 8, "cuda": 16}

#: Batches that are denoised at once: the more images, the better the threads share them.
_BATCHES_DENOISED = 4

#: Images at once are doubled while that makes scoring faster by this factor.
_WORTH = 1.05

#: Images whose labels have to be the same in half precision.
_CHECKED = 256


def unit_batch(split: Split, part: slice | np.ndarray, added: np.ndarray | None = None) -> np.ndarray:
    """Return images as float32 (B, 3, H, W) in [0, 1], plus a perturbation (3, H, W), clipped."""
    batch = np.divide(split.images[part], 255, dtype=np.float32)
    release_pages(split.images)
    return batch if added is None else Perturbation(added).add_to(batch)


def predicted_labels(
    classifier: PyTorchClassifier,
    split: Split,
    batch_size: int,
    *,
    added: np.ndarray | None = None,
    defences: Sequence[Preprocessor] = (),
    start: int = 0,
    told: Callable[[int], object] = lambda count: None,
) -> Iterator[np.ndarray]:
    """Predict the labels of a split's images in order, int64, a few batches at a time; no more is in memory.

    The order: v0, + δ and clip, then the defences, as an ART classifier applies them, standardise, classify.

    :param added: Perturbation (3, H, W), in units of the value range.
    :param defences: Defences in the classifier's place of its own.
    :param start: Number of the first image.
    :param batch_size: Images that go through the network at once.
    :param told: Is told how many images have been predicted since it was told last.
    """
    size = batch_size * (_BATCHES_DENOISED if defences else 1)
    for first in range(start, len(split), size):
        images = unit_batch(split, slice(first, first + size), added)
        with with_defences(classifier, defences):
            labels = classifier.predict(images, batch_size=batch_size).argmax(axis=1)
        told(len(labels))
        yield labels.astype(np.int64)


def best_batch_size(classifier: PyTorchClassifier, split: Split) -> int:
    """Find by trial how many images to score at once: as many as makes it faster, and as there is memory for."""
    kind = "cuda" if classifier.device.type == "cuda" else "cpu"
    most = max(1, min(len(split), _MOST_PIXELS[kind] // split.images[0, 0].size))
    size = best = min(_FEWEST[kind], most)
    best_rate = 0.0
    while True:
        try:
            rate = size / seconds_of(classifier, split, size)
        except torch.cuda.OutOfMemoryError:
            gc.collect()
            torch.cuda.empty_cache()
            if size > best:
                return best
            if size == 1:
                raise
            # Not even the fewest fit.
            size = best = size // 2
            most = size
            continue
        if rate < _WORTH * best_rate:
            return best
        best, best_rate = size, rate
        if size >= most:
            return best
        size = min(2 * size, most)


def seconds_of(classifier: PyTorchClassifier, split: Split, size: int, *, repeats: int = 2) -> float:
    """Return the seconds that a batch takes to be classified, the least of some."""
    batch = unit_batch(split, slice(0, size))
    classifier.predict(batch, batch_size=size)  # the first time takes longer
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        classifier.predict(batch, batch_size=size)
        times.append(time.perf_counter() - start)
    return min(times)


class HalfPrecision(torch.nn.Module):
    """A network whose convolutions and products are computed in half precision, and its logits returned in single."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        dtype = torch.float16 if x.is_cuda else torch.bfloat16
        with torch.autocast(x.device.type, dtype=dtype):
            return self.network(x).float()


def in_half_precision(
    model: Model, classifier: PyTorchClassifier, split: Split, eps: float
) -> tuple[PyTorchClassifier, int]:
    """Return a classifier that computes in half precision, and on how many of some images it gives another label.

    :param split: Images; the first of them, clean and with random signs of size `eps`, are looked at.
    """
    half = wrap(
        HalfPrecision(classifier.model),
        model.recipe,
        num_classes=classifier.nb_classes,
        input_size=model.input_size,
        device_type="gpu" if classifier.device.type == "cuda" else "cpu",
    )
    few, differing = split.first(_CHECKED), 0
    for added in (None, random_signs(few.images.shape[1:], eps).array):
        single, other = (np.concatenate([*predicted_labels(c, few, 16, added=added)]) for c in (classifier, half))
        differing += int(np.sum(single != other))
    return half, differing
