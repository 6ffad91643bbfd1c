"""A set of images as the evaluation sees it: splits of bytes, each for one purpose, and names of the classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations

import numpy as np

#: What images are for: crafting perturbations, tuning the defence, fitting its noise, and every reported figure.
PURPOSES = ("craft", "tune", "noise-fit", "test")


@dataclass(frozen=True)
class Split:
    """Labelled images for one purpose.

    :param images: uint8 (N, 3, H, W), an array or a memory map.
    :param labels: int64 (N,).
    :param fingerprint: 16 hexadecimal digits that change with any image or label.
    :param digests: For each image 16 hexadecimal digits that are the same for the same pixels; may be empty.
    """

    images: np.ndarray
    labels: np.ndarray
    fingerprint: str
    digests: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    def first(self, count: int) -> Split:
        """Return the first images, as many as there are at most; the fingerprint stays that of all."""
        return Split(self.images[:count], self.labels[:count], self.fingerprint, self.digests[:count])


@dataclass(frozen=True)
class ImageSet:
    """Images for all purposes.

    :param title: What the images are, for reports: "532 test crops of 19 photographs" has "crops of 19 photographs".
    :param noun: What one image is called, "crop" or "image".
    :param splits: By purpose, those of `PURPOSES` that there are images for; "test" always.
    :param find_names: Returns the names of the classes by label.
    :param remarks: What a reader of the results has to know of them, one line each.
    """

    title: str
    noun: str
    splits: Mapping[str, Split]
    find_names: Callable[[], Mapping[int, str]]
    remarks: tuple[str, ...] = field(default=())

    @cached_property
    def names(self) -> Mapping[int, str]:
        """Names of the classes by label; those of torchvision's models take a second to find."""
        return self.find_names()

    @property
    def test(self) -> Split:
        """The images of every reported figure."""
        return self.splits["test"]


def shared_images(splits: Mapping[str, Split]) -> dict[tuple[str, str], int]:
    """Return how many images two splits have in common, pixel for pixel, by pair of splits that have any.

    Splits are disjoint by file; the same picture may be there in two files.
    """
    found = {}
    for first, second in combinations(splits, 2):
        counts = Counter(splits[first].digests)
        shared = sum(counts[digest] > 0 for digest in splits[second].digests)
        if shared:
            found[first, second] = shared
    return found
