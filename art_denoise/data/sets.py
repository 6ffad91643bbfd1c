"""Images as the evaluation sees them: splits of bytes, each for one purpose, and the sources that they come from.

The evaluation knows nothing of files or photographs. It asks an :class:`ImageSource` what there is, and then for the
images; another kind of data set is another class derived from it, and nothing else.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

#: What images are for: training networks, where they are trained at all; crafting perturbations; tuning the defence;
#: fitting its noise; and every reported figure.
PURPOSES = ("train", "craft", "tune", "noise-fit", "test")


@dataclass(frozen=True)
class Split:
    """Labelled images for one purpose.

    :param images: uint8 (N, 3, H, W), an array or a memory map.
    :param labels: int64 (N,).
    :param fingerprint: 16 hexadecimal digits that change with any image or label.
    :param digests: For each image 16 hexadecimal digits that are the same for the same pixels; may be empty.
    :param names: For each image what tells it from the others: the path of its file within its folder, or where in a
        photograph it was cut from; may be empty.
    """

    images: np.ndarray
    labels: np.ndarray
    fingerprint: str
    digests: tuple[str, ...] = ()
    names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    def first(self, count: int) -> Split:
        """Return the first `count` images, or all if there are fewer; the fingerprint stays that of all."""
        return Split(
            self.images[:count], self.labels[:count], self.fingerprint, self.digests[:count], self.names[:count]
        )


@dataclass(frozen=True)
class ImageSet:
    """Images for all purposes.

    :param title: What the images are, for reports: "532 test crops of 19 photographs" has "crops of 19 photographs".
    :param noun: What one image is called, "crop" or "image".
    :param splits: By purpose, those of `PURPOSES` that there are images for, in that order; "test" always. An image
        for "craft" may be one for "train" too; all other splits are disjoint.
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


class ImageSource(ABC):
    """Where images come from: what there is to know of them while nothing is decoded, and then the images themselves.

    A data set of one's own derives from this class. It has the three attributes, as class attributes, fields or cached
    properties, and the methods `load`, `outline` and `record`. The other methods are written for images that are in no
    files and take no time to decode; a source that decodes files replaces them too.

    :ivar title: What the images are, for reports, as in :class:`ImageSet`.
    :ivar noun: What one image is called, "crop" or "image".
    :ivar counts: Number of images by purpose, those of `PURPOSES` that there are images for, in that order; "test"
        always. `load` returns fewer where it leaves out what cannot be read.
    """

    if TYPE_CHECKING:
        # For mypy they are read-only. Real properties would keep a dataclass from having fields of these names.
        @property
        @abstractmethod
        def title(self) -> str: ...
        @property
        @abstractmethod
        def noun(self) -> str: ...
        @property
        @abstractmethod
        def counts(self) -> Mapping[str, int]: ...

    @abstractmethod
    def load(
        self, folder: Path, *, skip_broken: bool = False, workers: int | None = None, progress: bool = True
    ) -> ImageSet:
        """Return the images; decode those that are not decoded yet.

        :param folder: Where decoded images are kept. A source that decodes nothing writes nothing there.
        :param skip_broken: Leave out images that cannot be read.
        :param workers: Threads that decode, >= 1; None: as many as cores.
        :param progress: Show progress bars.
        :return: A split for each purpose in `counts`, its images uint8 (N, 3, H, W) with the same H and W in all.
        :raises ValueError: If images cannot be read.
        :raises OSError: If the decoded images cannot be kept.
        """

    @abstractmethod
    def outline(self) -> ImageSet:
        """Return as many images of the shape that :meth:`load` returns, for a plan; nothing is decoded.

        They may be grey, without a picture: then their fingerprints are those of no images. Labels and names are real.
        """

    @abstractmethod
    def record(self) -> dict[str, Any]:
        """Return what two runs must have in common to have the same images, as values that JSON can hold.

        :return: "fingerprints", by purpose 16 hexadecimal digits that change with which images there are and with their
            labels; of files by their names, as nothing is read. Besides, whatever else decides what the images are.
        """

    def ready(self, folder: Path) -> Mapping[str, bool]:
        """Return by purpose whether :meth:`load` with the same folder would decode nothing."""
        return dict.fromkeys(self.counts, True)

    def listing(self) -> dict[str, dict[str, Any]]:
        """Return which files are for what, by purpose, as values that JSON can hold; empty if there are no files."""
        return {}

    def describe(self, ready: Mapping[str, bool]) -> list[str]:
        """Return the lines of a plan that say how many images there are for what, where they are, and how they are cut.

        :param ready: What :meth:`ready` returned.
        """
        counts = ", ".join(f"{count:,} for {purpose}" for purpose, count in self.counts.items())
        return [f"Images: {self.title}: {counts}."]

    def seconds_to_decode(self, purposes: Iterable[str], workers: int | None = None) -> float:
        """Return about how many seconds it takes to decode the images for some purposes.

        :param purposes: Keys of `counts`.
        :param workers: Threads that decode, >= 1; None: as many as cores.
        """
        return 0.0

    def bytes_to_decode(self, purposes: Iterable[str]) -> int:
        """Return how many bytes :meth:`load` writes for the images for some purposes.

        :param purposes: Keys of `counts`.
        """
        return 0


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
