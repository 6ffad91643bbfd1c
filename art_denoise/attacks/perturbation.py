"""A universal perturbation with its units and where it comes from, as a file."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from art_denoise._files import replacing


@dataclass(frozen=True)
class Perturbation:
    """One image that is added to every image.

    :param array: float32 (C, H, W), in units of the value range: ±10/255 is ±10 on images in 0 to 255.
    :param provenance: How it came about, by name: attack, source, norm, eps, seed, fooling rate. JSON-like values.
    """

    array: np.ndarray
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def linf(self) -> float:
        """Greatest absolute value, in units of the value range."""
        return float(np.abs(self.array).max())

    def add_to(self, images: np.ndarray) -> np.ndarray:
        """Return float images (N, C, H, W) in [0, 1] plus the perturbation, as float32, clipped to [0, 1].

        :raises TypeError: If the images are not floats.
        :raises ValueError: If they are not of the perturbation's shape, or reach beyond [0, 1].
        """
        if not np.issubdtype(images.dtype, np.floating):
            raise TypeError(f"`images` must be floats in [0, 1], got {images.dtype}: divide bytes by 255")
        if images.shape[1:] != self.array.shape:
            raise ValueError(f"`images` must be (N, {', '.join(map(str, self.array.shape))}), got {images.shape}")
        if images.size and not (images.min() >= 0 and images.max() <= 1):
            raise ValueError(f"`images` must be within 0 and 1, got {images.min():g} to {images.max():g}")
        return np.clip(images + self.array, 0, 1).astype(np.float32, copy=False)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a safetensors file, whole or not at all."""
        metadata = {"provenance": json.dumps(self.provenance), "units": "value range"}
        array = np.ascontiguousarray(self.array, dtype=np.float32)
        with replacing(Path(path)) as beside:
            save_file({"perturbation": array}, beside, metadata=metadata)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Perturbation:
        """Read a file that `save` wrote.

        :raises FileNotFoundError: If there is none.
        :raises ValueError: If it holds something else.
        """
        try:
            with safe_open(path, framework="np") as file:
                metadata = file.metadata() or {}
                return cls(file.get_tensor("perturbation"), json.loads(metadata["provenance"]))
        except (SafetensorError, KeyError) as error:
            raise ValueError(f"`path` = {os.fspath(path)!r} is not a perturbation saved by this package") from error
