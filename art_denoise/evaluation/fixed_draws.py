"""A defence whose draws are known: what it draws at random is the same for every image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from art.defences.preprocessor.preprocessor import PreprocessorPyTorch

from art_denoise._random import drawn_from
from art_denoise.defences.adapters import as_float32


class FixedDraws(PreprocessorPyTorch):
    """Apply a chain to each image by itself, with the generators of Python, NumPy and PyTorch seeded alike each time.

    So the result for an image depends on nothing but the image. What draws from a generator of its own is not held.

    :param chain: Preprocessors for PyTorch, in order.
    :param seed: Seed of what they draw.
    """

    def __init__(self, chain: Sequence[PreprocessorPyTorch], seed: int) -> None:
        super().__init__(device_type="cpu", is_fitted=True)
        self.chain, self.seed = chain, seed

    def forward(self, x: torch.Tensor, y: Any | None = None) -> tuple[torch.Tensor, Any | None]:
        """Apply the chain to a tensor, image by image; autograd differentiates through it."""
        return torch.cat([self._one(image) for image in x.split(1)]), y

    def _one(self, image: torch.Tensor) -> torch.Tensor:
        with drawn_from(self.seed):
            for stage in self.chain:
                image, _ = stage.forward(image)
        return image

    def __call__(self, x: np.ndarray, y: Any | None = None) -> tuple[np.ndarray, Any | None]:
        """Apply the chain to an array."""
        with torch.no_grad():
            result, y = self.forward(torch.from_numpy(as_float32(x)), y)
        return result.cpu().numpy(), y
