"""The offline data set: which photograph does a crop come from?

scikit-image and scikit-learn install nineteen real photographs with themselves. Each is one class, and a crop has to be
assigned to the photograph it was cut from. No download, no licence question, real image statistics.

Each photograph is cut into a grid of square blocks, and each block belongs wholly to one split, so that no pixel of a
photograph is in two splits. The blocks of a photograph are as large as they can be while there are `BLOCKS` of them:
28 pixels for the smallest photograph, 156 for the largest. Every block is then resampled *by itself* to the common crop
size; resampling the photograph first would let pixels on both sides of a block border leak into each other. So a small
photograph has as many blocks in each split as a large one, and every class has the same number of crops.

Source of the photographs: van der Walt et al. (2014), scikit-image, PeerJ 2:e453, and Pedregosa et al. (2011),
scikit-learn, JMLR 12; `skimage.data` documents the origin of each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from art_denoise._checks import check_integer
from art_denoise.data.sets import PURPOSES, ImageSet, ImageSource, Split
from art_denoise.data.splits import disjoint_split, fingerprint

#: The nineteen classes, in the order of their labels.
PHOTOGRAPHS = (
    "astronaut",
    "brick",
    "camera",
    "chelsea",
    "clock",
    "coffee",
    "coins",
    "grass",
    "gravel",
    "hubble_deep_field",
    "immunohistochemistry",
    "moon",
    "motorcycle",
    "page",
    "retina",
    "rocket",
    "text",
    "china",
    "flower",
)

#: Blocks of one photograph in each split. `train`: the classifiers and the universal perturbations; `tune`: the free
#: parameters of the defence; `noise-fit`: the defensive noise; `test`: every reported figure.
SHARES = {"train": 32, "tune": 8, "noise-fit": 12, "test": 28}
BLOCKS = sum(SHARES.values())

#: Side of a crop in pixels.
CROP_SIZE = 64


def load_photograph(name: str) -> np.ndarray:
    """Return one photograph as uint8 RGB (H, W, 3); grey photographs have three equal channels.

    :param name: One of `PHOTOGRAPHS`.
    :raises ValueError: If there is no such photograph.
    """
    if name not in PHOTOGRAPHS:
        raise ValueError(f"`name` must be one of {', '.join(PHOTOGRAPHS)}, got {name!r}")
    if name in ("china", "flower"):
        from sklearn.datasets import load_sample_image

        image = load_sample_image(f"{name}.jpg")
    else:
        from skimage import data

        image = data.stereo_motorcycle()[0] if name == "motorcycle" else getattr(data, name)()
    if image.ndim == 2:
        image = np.repeat(image[:, :, None], 3, axis=2)
    return np.ascontiguousarray(image, dtype=np.uint8)


def block_grid(height: int, width: int, count: int) -> np.ndarray:
    """Lay a grid of at least `count` square blocks, as large as possible, over an image.

    :return: int64 (B, 3) with B ≥ `count`: row, column and side of each block in pixels. No two blocks overlap.
    :raises ValueError: If the image has fewer than `count` pixels.
    """
    if count < 1 or height * width < count:
        raise ValueError(f"`count` must be from 1 to the number of pixels, {height * width}, got {count}")
    side = max(s for s in range(1, min(height, width) + 1) if (height // s) * (width // s) >= count)
    rows, columns = np.mgrid[0 : height // side, 0 : width // side]
    return np.stack([rows.ravel() * side, columns.ravel() * side, np.full(rows.size, side)], axis=1)


def load_photographs(
    *, crop_size: int = CROP_SIZE, shares: Mapping[str, int] = SHARES, seed: int = 0
) -> dict[str, Split]:
    """Cut all photographs and return their crops by split.

    :param crop_size: Side of a crop in pixels. Each block is resampled to it (bicubic, antialiased).
    :param shares: Blocks of one photograph in each split, by name. Their sum decides how large a block is.
    :param seed: Decides which block belongs to which split. Each photograph draws for itself.
    :return: For each split `len(PHOTOGRAPHS) * share` crops (3, `crop_size`, `crop_size`), sorted by label, which is an
        index into `PHOTOGRAPHS`. They are named by photograph and block, in pixels: "astronaut 31,62 side 31" is the
        square of 31 rows and columns that begins in row 31 and column 62. The fingerprint changes with the blocks, too.
        The same for the same arguments.
    :raises TypeError: If a size or a share is no integer.
    :raises ValueError: If a size or a share is below 1, or the shares ask for more blocks than there are pixels.

    Example::

        >>> from art_denoise import load_photographs
        >>> splits = load_photographs(crop_size=32, shares={"train": 2, "test": 1})
        >>> splits["train"].images.shape, splits["train"].images.dtype.name
        ((38, 3, 32, 32), 'uint8')
        >>> splits["test"].labels.tolist() == list(range(19))
        True
        >>> splits["test"].names[0].split()[0]
        'astronaut'
    """
    check_integer("crop_size", crop_size, low=1)
    _check_shares(shares)
    parts: dict[str, list[tuple[np.ndarray, int, np.ndarray]]] = {name: [] for name in shares}
    for label, name in enumerate(PHOTOGRAPHS):
        photograph = load_photograph(name)
        grid = block_grid(photograph.shape[0], photograph.shape[1], sum(shares.values()))
        for split, chosen in disjoint_split(len(grid), shares, np.random.default_rng([seed, label])).items():
            for row, column, side in grid[chosen]:
                block = Image.fromarray(photograph[row : row + side, column : column + side])
                crop = np.asarray(block.resize((crop_size, crop_size), Image.Resampling.BICUBIC))
                parts[split].append((crop.transpose(2, 0, 1), label, np.array([row, column, side])))
    return {split: _split_of(items) for split, items in parts.items()}


def _check_shares(shares: Mapping[str, int]) -> None:
    for name, share in shares.items():
        check_integer(f"shares[{name!r}]", share, low=1)


def _split_of(items: list[tuple[np.ndarray, int, np.ndarray]]) -> Split:
    """Return crops (3, H, W), their labels and their blocks' row, column and side as one split."""
    images = np.stack([crop for crop, _, _ in items])
    labels = np.array([label for _, label, _ in items], dtype=np.int64)
    blocks = np.stack([block for _, _, block in items]).astype(np.int64)
    names = tuple(
        f"{PHOTOGRAPHS[label]} {row},{column} side {side}"
        for label, (row, column, side) in zip(labels.tolist(), blocks.tolist(), strict=True)
    )
    return Split(images, labels, fingerprint(images, labels, blocks), names=names)


def _class_names() -> dict[int, str]:
    return {label: name.replace("_", " ") for label, name in enumerate(PHOTOGRAPHS)}


@dataclass(frozen=True, kw_only=True)
class Photographs(ImageSource):
    """The crops of the photographs: a source without files, that never has anything to decode.

    :param shares: Blocks of one photograph in each split, >= 1: "train", on which networks are trained, "test", and
        also "tune" and "noise-fit" if there is to be a defensive noise.
    :param craft_images: Number of the training crops that perturbations are crafted on, drawn at random, from 1 to all
        of them; None: all.
    :param seed: Decides which block belongs to which split, and which crops are drawn.
    :raises TypeError: If a share, or `craft_images`, is no integer.
    :raises ValueError: If it is out of its range, or the shares are not of these splits.
    """

    shares: Mapping[str, int] = field(default_factory=lambda: dict(SHARES))
    craft_images: int | None = None
    seed: int = 0

    title = f"crops of {len(PHOTOGRAPHS)} photographs"
    noun = "crop"

    def __post_init__(self) -> None:
        _check_shares(self.shares)
        if not {"train", "test"} <= set(self.shares) <= set(SHARES):
            raise ValueError(
                f"`shares` must be of 'train' and 'test', and may be of 'tune' and 'noise-fit', got {dict(self.shares)}"
            )
        if self.craft_images is not None:
            check_integer("craft_images", self.craft_images, low=1)
            train = self._crops["train"]
            if self.craft_images > train:
                raise ValueError(f"`craft_images` must be <= {train}, the training crops, got {self.craft_images}")

    @property
    def _crops(self) -> dict[str, int]:
        """Number of crops by split, without those drawn from the training crops."""
        return {name: len(PHOTOGRAPHS) * share for name, share in self.shares.items()}

    @cached_property
    def counts(self) -> dict[str, int]:
        """Number of images by purpose."""
        craft = self._crops["train"] if self.craft_images is None else self.craft_images
        counts = {**self._crops, "craft": craft}
        return {purpose: counts[purpose] for purpose in PURPOSES if purpose in counts}

    @cached_property
    def _images(self) -> ImageSet:
        """All images, cut when they are first asked for."""
        splits = load_photographs(shares=self.shares, seed=self.seed)
        train = splits["train"]
        chosen = np.random.default_rng(self.seed).permutation(len(train))[: self.craft_images]
        images, labels = train.images[chosen], train.labels[chosen]
        splits["craft"] = Split(
            images, labels, fingerprint(images, labels), names=tuple(train.names[i] for i in chosen)
        )
        return ImageSet(
            self.title,
            self.noun,
            {purpose: splits[purpose] for purpose in PURPOSES if purpose in splits},
            _class_names,
        )

    def load(
        self, folder: Path, *, skip_broken: bool = False, workers: int | None = None, progress: bool = True
    ) -> ImageSet:
        """Return the crops. They are cut in memory in a few seconds: no argument changes anything."""
        return self._images

    def outline(self) -> ImageSet:
        """Return the crops themselves."""
        return self._images

    def record(self) -> dict[str, Any]:
        """Return the fingerprints of the crops: they change with any image, label or place in a photograph."""
        return {"fingerprints": {purpose: split.fingerprint for purpose, split in self._images.splits.items()}}

    def describe(self, ready: Mapping[str, bool]) -> list[str]:
        """Return the line of a plan that says how many crops there are for what."""
        counts = {purpose: f"{count:,} for {purpose}" for purpose, count in self.counts.items()}
        counts["craft"] = f"{self.counts['craft']:,} of them for craft"
        return [f"Images: {self.title}: {', '.join(counts.values())}."]
