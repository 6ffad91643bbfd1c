"""What an attack adds to images: one perturbation for all, or each image by itself, behind one `add_to`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from art_denoise.attacks.perturbation import Perturbation
from art_denoise.evaluation.artefact import Artefact

#: Images that are attacked one by one in one task, so that an interrupted attack goes on from there, and processes
#: share the images.
PART = 64


def spread(count: int, few: int | None) -> np.ndarray:
    """Return which of `count` images are attacked if only `few` are, their numbers, spread over all; None: all."""
    chosen: np.ndarray = np.linspace(0, count - 1, count if few is None else min(few, count)).round().astype(np.int64)
    return chosen


class Added(Protocol):
    """What an attack adds."""

    def add_to(self, batch: np.ndarray, which: slice) -> np.ndarray:
        """Return images as the attack leaves them.

        :param batch: Images as they are, float32 (B, 3, H, W) in [0, 1].
        :param which: Where they are among all images.
        :return: float32 (B, 3, H, W) in [0, 1].
        """


class ForAll:
    """A universal perturbation."""

    def __init__(self, perturbation: Perturbation) -> None:
        self._perturbation = perturbation

    def add_to(self, batch: np.ndarray, which: slice) -> np.ndarray:
        return self._perturbation.add_to(batch)


class OneByOne:
    """Images that were attacked one by one, read some at a time; the others are as they are.

    :param parts: The numbers of the images in each part, in order.
    :param read: Returns the attacked images of a part, float32 (M, 3, H, W).
    """

    def __init__(self, parts: Sequence[np.ndarray], read: Callable[[int], np.ndarray]) -> None:
        self._parts, self._read = parts, read
        self._last: tuple[int, np.ndarray] | None = None

    def add_to(self, batch: np.ndarray, which: slice) -> np.ndarray:
        attacked = batch.copy()
        for number, images in enumerate(self._parts):
            here = (images >= which.start) & (images < which.start + len(batch))
            if here.any():
                attacked[images[here] - which.start] = self._part(number)[here]
        return attacked

    def _part(self, number: int) -> np.ndarray:
        if self._last is None or self._last[0] != number:
            self._last = number, self._read(number)
        return self._last[1]


def artefact_of(perturbation: Perturbation) -> Artefact:
    """Return a perturbation as it is kept; `perturbation_of` gives it back, and `load_perturbation` reads its file."""
    record = {f.name: getattr(perturbation, f.name) for f in dataclasses.fields(perturbation) if f.name != "array"}
    return Artefact(record, {"perturbation": np.ascontiguousarray(perturbation.array, dtype=np.float32)})


def perturbation_of(artefact: Artefact) -> Perturbation:
    """Return the perturbation in an artefact."""
    record = {**artefact.record, "value_range": tuple(artefact.record["value_range"])}
    return Perturbation(artefact.arrays["perturbation"], **record)
