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
from dataclasses import dataclass

import numpy as np
from PIL import Image

from art_denoise.data.splits import disjoint_split, fingerprint
from art_denoise._checks import check_integer

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


@dataclass(frozen=True)
class Crops:
    """Crops of one split.

    `images` is uint8 (N, 3, H, W); `labels` int64 (N,), index into `PHOTOGRAPHS`; `origins` int64 (N, 3): row, column
    and side of the block in its photograph, in pixels.
    """

    images: np.ndarray
    labels: np.ndarray
    origins: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits that change with any image, label or origin."""
        return fingerprint(self.images, self.labels, self.origins)


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
) -> dict[str, Crops]:
    """Cut all photographs and return their crops by split.

    :param crop_size: Side of a crop in pixels. Each block is resampled to it (bicubic, antialiased).
    :param shares: Blocks of one photograph in each split, by name. Their sum decides how large a block is.
    :param seed: Decides which block belongs to which split. Each photograph draws for itself.
    :return: For each split `len(PHOTOGRAPHS) * share` crops, sorted by label. The same for the same arguments.
    :raises ValueError: If a size or a share is below 1, or the shares ask for more blocks than there are pixels.
    """
    check_integer("crop_size", crop_size, low=1)
    for name, share in shares.items():
        check_integer(f"shares[{name!r}]", share, low=1)
    parts: dict[str, list[tuple[np.ndarray, int, np.ndarray]]] = {name: [] for name in shares}
    for label, name in enumerate(PHOTOGRAPHS):
        photograph = load_photograph(name)
        grid = block_grid(photograph.shape[0], photograph.shape[1], sum(shares.values()))
        for split, chosen in disjoint_split(len(grid), shares, np.random.default_rng([seed, label])).items():
            for row, column, side in grid[chosen]:
                block = Image.fromarray(photograph[row : row + side, column : column + side])
                crop = np.asarray(block.resize((crop_size, crop_size), Image.Resampling.BICUBIC))
                parts[split].append((crop.transpose(2, 0, 1), label, np.array([row, column, side])))
    return {
        split: Crops(
            images=np.stack([crop for crop, _, _ in items]),
            labels=np.array([label for _, label, _ in items], dtype=np.int64),
            origins=np.stack([origin for _, _, origin in items]).astype(np.int64),
        )
        for split, items in parts.items()
    }
