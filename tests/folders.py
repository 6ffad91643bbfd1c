"""Folders of generated JPEGs in the shape of ImageNet's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image


def write_folder(root: Path, classes: Sequence[str], count: int, *, size: int = 40, seed: int = 0) -> Path:
    """Write one folder for each class, with that many smooth pictures of the class's colour; return the root.

    :param size: About the length of their sides.
    """
    rng = np.random.default_rng([seed, len(classes), count])
    for name in classes:
        colour = rng.uniform(50, 200, 3)
        (root / name).mkdir(parents=True)
        for i in range(count):
            rough = np.clip(colour + rng.normal(0, 40, (5, 6, 3)), 0, 255).astype(np.uint8)
            height, width = (int(v) for v in rng.integers(size, size + size // 4, 2))
            picture = Image.fromarray(rough).resize((width, height), Image.Resampling.BICUBIC)
            picture.save(root / name / f"{name}_{i}.JPEG")
    return root
