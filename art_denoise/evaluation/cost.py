"""What a defence takes beside the network: time forward and back, and memory, on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from art.defences.preprocessor import Preprocessor
from art.estimators.classification import PyTorchClassifier

from art_denoise._random import drawn_from
from art_denoise.attacks._classifier import logits_of
from art_denoise.defences.adapters import as_pytorch
from art_denoise.defences.chain import with_defences

#: Images that go through at once, and rounds of which the median is taken, each without and with the defence.
IMAGES, _ROUNDS = 8, 5


def measure_cost(classifier: PyTorchClassifier, defences: Sequence[Preprocessor], x: np.ndarray) -> dict[str, Any]:
    """Measure what a defence takes on a few images: medians of rounds that are without it and with it in turn.

    :param classifier: Classifier with `clip_values`.
    :param defences: Its defences, in the place of those that it has.
    :param x: Images, float32 (N, C, H, W) in units of `clip_values`.
    :return: A JSON-like record: `images` that went through at once; in seconds an image `network`, the forward pass of
        the network alone, `forward`, with the defence, and, None where no gradient gets through, `network_gradient` and
        `gradient`, forward and back; in bytes an image `memory`, by how much more there was at most with the defence
        while it went forward, None where that cannot be seen.
    """
    images = torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32)).to(classifier.device)
    chains = {"without": [], "with": [as_pytorch(stage) for stage in defences]}

    def forward() -> None:
        with torch.no_grad():
            logits_of(classifier, images)

    def back() -> None:
        point = images.clone().requires_grad_()
        logits, _ = logits_of(classifier, point)
        torch.autograd.grad(logits.sum(), point)

    def taken(work: Callable[[], None]) -> dict[str, float]:
        seconds: dict[str, list[float]] = {name: [] for name in chains}
        # The first is not counted: it compiles.
        for _ in range(1 + _ROUNDS):
            for name, chain in chains.items():
                with with_defences(classifier, chain), drawn_from(0):
                    _wait(classifier)
                    start = time.perf_counter()
                    work()
                    _wait(classifier)
                    seconds[name].append(time.perf_counter() - start)
        return {name: median(found[1:]) / len(images) for name, found in seconds.items()}

    record: dict[str, Any] = {"images": len(images), "network_gradient": None, "gradient": None, "memory": None}
    of_forward = taken(forward)
    record |= {"network": of_forward["without"], "forward": of_forward["with"]}
    try:
        of_both = taken(back)
        record |= {"network_gradient": of_both["without"], "gradient": of_both["with"]}
    except RuntimeError:
        # What goes through NumPy, or is detached, fails only if a gradient is wanted.
        pass
    peaks = {}
    for name, chain in chains.items():
        with with_defences(classifier, chain), drawn_from(0):
            peaks[name] = _peak(classifier, forward)
    if peaks["with"] is not None and peaks["without"] is not None:
        record["memory"] = max(0, round((peaks["with"] - peaks["without"]) / len(images)))
    return record


def _wait(classifier: PyTorchClassifier) -> None:
    if classifier.device.type == "cuda":
        torch.cuda.synchronize(classifier.device)


def _peak(classifier: PyTorchClassifier, work: Callable[[], None]) -> int | None:
    """Return the most memory in bytes that there was while something was done; None if it cannot be seen."""
    if classifier.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(classifier.device)
        work()
        return torch.cuda.max_memory_allocated(classifier.device)
    try:
        # Linux forgets the peak of before.
        Path("/proc/self/clear_refs").write_text("5")
        work()
        (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
        return 1024 * int(line.split()[1])
    except (OSError, ValueError):
        return None
