"""Hundreds of thousands of images through a defended classifier: memory flat, no handles and no threads left."""

from __future__ import annotations

import gc
import multiprocessing
import resource
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import theilslopes

from nightly.frame import Part

#: How many images are filtered.
IMAGES, QUICK_IMAGES = 200_000, 2_000

#: Images a call, and the calls after which a gradient is taken too, which keeps more in memory than a prediction.
BATCH = 50
GRADIENT_EVERY = 5

#: Share of the calls before the first measurement that counts: caches, pools of threads and the allocator fill up.
WARM_UP = 0.5

#: Measurements of memory in a full run: before each of them everything is collected, which takes as long as a call.
MEASUREMENTS = 400

#: MiB that the fitted line may rise over the measured calls. An allocator does not give back all it has; what is lost
#: with every image adds up to more: in a full run 84 bytes an image are found, in a quick one two thirds of an image.
MOST_GROWTH = 8.0


@dataclass(frozen=True)
class Measured:
    """What the process that filtered the images measured of itself after the warm-up."""

    images: int
    #: Resident memory at even distances, in MiB.
    memory: tuple[float, ...]
    handles: tuple[int, int]
    threads: tuple[int, int]

    @property
    def growth(self) -> float:
        """MiB that memory rises over the measured calls, on the Theil–Sen line: single jumps do not count."""
        return float(theilslopes(self.memory).slope) * (len(self.memory) - 1)


def run(quick: bool) -> Part:
    """Filter the images in a process of their own, where nothing else takes memory."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        measured = pool.submit(measure, QUICK_IMAGES if quick else IMAGES).result()
    (handles, handles_left), (threads, threads_left) = measured.handles, measured.threads
    return Part(
        "endurance",
        f"{measured.images:,} images of 32×32 through a classifier with ROFDefence and NLMeansDefence, a gradient "
        f"at every {GRADIENT_EVERY}th call: memory rose by {measured.growth:.1f} MiB (most allowed: {MOST_GROWTH:g}), "
        f"handles {handles} → {handles_left}, threads {threads} → {threads_left}.",
        tuple(judge(measured)),
    )


def judge(measured: Measured) -> list[str]:
    """Say what is left behind that should not be."""
    found = []
    if measured.growth > MOST_GROWTH:
        found.append(f"Memory rises by {measured.growth:.1f} MiB over {measured.images} images.")
    for name, (before, after) in (("handles", measured.handles), ("threads", measured.threads)):
        if after > before:
            found.append(f"{after - before} {name} are left open.")
    return found


def measure(images: int) -> Measured:
    """Predict `images` random images with a defended classifier, and look at this process meanwhile.

    :raises RuntimeError: If the system is not Linux, whose /proc says what a process has.
    """
    own = Path("/proc/self")
    if not (own / "statm").exists():
        raise RuntimeError("memory, handles and threads are read from /proc: run this part on Linux")
    import torch
    from art.estimators.classification import PyTorchClassifier

    from art_denoise import NLMeansDefence, ROFDefence

    page = resource.getpagesize() / 2**20
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten(), torch.nn.Linear(4 * 30 * 30, 10))
    classifier = PyTorchClassifier(
        model.eval(),
        loss=torch.nn.CrossEntropyLoss(),
        input_shape=(3, 32, 32),
        nb_classes=10,
        clip_values=(0, 1),
        preprocessing_defences=[ROFDefence(), NLMeansDefence()],
    )
    rng = np.random.default_rng(0)
    calls = images // BATCH
    first = int(WARM_UP * calls)
    memory: list[float] = []
    handles = threads = 0
    for call in range(calls):
        x = rng.random((BATCH, 3, 32, 32), dtype=np.float32)
        labels = classifier.predict(x, batch_size=BATCH).argmax(axis=1)
        if call % GRADIENT_EVERY == 0:
            classifier.loss_gradient(x, np.eye(10, dtype=np.float32)[labels])
        if call == first:
            handles, threads = _count(own / "fd"), _count(own / "task")
        if call >= first and call % max(1, calls // MEASUREMENTS) == 0:
            gc.collect()
            memory.append(int((own / "statm").read_text().split()[1]) * page)
    return Measured(calls * BATCH, tuple(memory), (handles, _count(own / "fd")), (threads, _count(own / "task")))


def _count(folder: Path) -> int:
    return sum(1 for _ in folder.iterdir())
