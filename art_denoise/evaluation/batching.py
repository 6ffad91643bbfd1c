"""How many images go through a network at once."""

from __future__ import annotations

import gc
import time

import torch
from art.estimators.classification import PyTorchClassifier

from art_denoise.data.sets import Split
from art_denoise.evaluation.scoring import unit_batch

#: Pixels that are scored at once on a CPU, 8 images of 224×224, as more are no faster, and at most on a GPU.
_CPU_PIXELS, _GPU_PIXELS = 8 * 224**2, 512 * 224**2

#: Fewest images of a trial.
_FEWEST = 16

#: Images at once are doubled while that makes scoring faster by this factor.
_WORTH = 1.05


def best_batch_size(classifier: PyTorchClassifier, split: Split) -> int:
    """Return how many images to score at once.

    On a CPU by their size alone, so that the same images go together on every machine. On a GPU by trial: as many as
    makes it faster, and as there is memory for.
    """
    pixels = split.images[0, 0].size
    if classifier.device.type != "cuda":
        return max(1, min(len(split), _CPU_PIXELS // pixels))
    most = max(1, min(len(split), _GPU_PIXELS // pixels))
    size = best = min(_FEWEST, most)
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
