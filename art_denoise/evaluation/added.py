"""What an attack adds to images: one perturbation for all, or each image by itself, behind one `add_to`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Protocol

import numpy as np

from art_denoise.attacks.perturbation import Perturbation
from art_denoise.evaluation.artefact import Artefact

#: Images that are attacked one by one in one task, so that an interrupted attack goes on from there, and processes
#: share the images.
PART = 64


def spread(count: int, few: int | None) -> np.ndarray:
    """Return which of `count` images are attacked if only `few` are, bool (count,), spread over all; None: all."""
    chosen = np.zeros(count, dtype=bool)
    chosen[np.linspace(0, count - 1, count if few is None else min(few, count)).round().astype(int)] = True
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
    """Images that were attacked one by one, read some at a time.

    :param read: Returns the attacked images, float32 (`size` or fewer, 3, H, W), of the part with this number.
    :param size: Images in a part.
    """

    def __init__(self, read: Callable[[int], np.ndarray], size: int) -> None:
        self._read, self._size = read, size
        self._last: tuple[int, np.ndarray] | None = None

    def add_to(self, batch: np.ndarray, which: slice) -> np.ndarray:
        found, place = [], which.start
        while place < which.start + len(batch):
            number, within = divmod(place, self._size)
            part = self._part(number)[within : within + which.start + len(batch) - place]
            found.append(part)
            place += len(part)
        return np.concatenate(found)

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
