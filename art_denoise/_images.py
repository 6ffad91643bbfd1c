"""Images that an attack reads again and again, from an array or a memory map, a batch at a time."""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Iterator
from functools import cached_property

import numpy as np

#: Bytes read at once when all images are read.
_CHUNK = 64 * 2**20


class Images:
    """Images (N, C, H, W) of floats in the classifier's units, or of bytes, which stand for 0 to 255 of its range.

    Nothing is copied but what is read: a memory map larger than the memory serves as well as an array.

    :param x: The images.
    :param shape: (C, H, W) that the classifier takes.
    :param value_range: Ends of its range.
    :raises TypeError: If they are neither floats nor bytes.
    :raises ValueError: If there is none, or they are of another shape, not finite, or beyond the range.
    """

    def __init__(self, x: np.ndarray, shape: tuple[int, ...], value_range: tuple[float, float]) -> None:
        self._x, (self._low, self._high) = x, value_range
        if not isinstance(x, np.ndarray) or not (x.dtype == np.uint8 or np.issubdtype(x.dtype, np.floating)):
            kind = x.dtype if isinstance(x, np.ndarray) else type(x).__name__
            raise TypeError(f"`x` must be an array of floats in units of `clip_values`, or of bytes, got {kind}")
        if x.shape[1:] != tuple(shape) or not len(x):
            raise ValueError(f"`x` must be images (N, {', '.join(map(str, shape))}), N >= 1, got {x.shape}")
        for values in self._chunks() if x.dtype != np.uint8 else ():
            low, high = values.min(), values.max()
            # Not the other way round: NaN is neither.
            if not (low >= self._low and high <= self._high):
                raise ValueError(
                    f"`x` must be within `clip_values` = ({self._low:g}, {self._high:g}), got {low:g} to {high:g}: "
                    "give images in the classifier's units, or bytes"
                )

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that change with any image. Reads all of them, once."""
        digest = hashlib.sha256(f"{self._x.dtype.str}{self._x.shape}".encode())
        for values in self._chunks():
            digest.update(np.ascontiguousarray(values).tobytes())
        return digest.hexdigest()[:16]

    def __len__(self) -> int:
        return len(self._x)

    def read(self, chosen: np.ndarray | slice) -> np.ndarray:
        """Return the chosen images as float32 in the classifier's units."""
        images = self._x[chosen].astype(np.float32)
        self._release()
        if self._x.dtype == np.uint8:
            images /= 255
            if (self._low, self._high) != (0, 1):
                images = images * np.float32(self._high - self._low) + np.float32(self._low)
                # Rounding may end a hair beyond the range.
                np.clip(images, self._low, self._high, out=images)
        return images

    def batches(self, size: int) -> Iterator[tuple[slice, np.ndarray]]:
        """Read all images in order, `size` at a time; yield where they are and the images."""
        for part in self._parts(size):
            yield part, self.read(part)

    def _chunks(self) -> Iterator[np.ndarray]:
        """Yield all images as they are, some at a time."""
        for part in self._parts(max(1, _CHUNK // self._x[0].nbytes)):
            yield self._x[part]
            self._release()

    def _parts(self, size: int) -> Iterator[slice]:
        for start in range(0, len(self), size):
            yield slice(start, min(start + size, len(self)))

    def _release(self) -> None:
        release_pages(self._x)


class SomeImages(Images):
    """Some of the images, in the order in which they are chosen; nothing is copied but what is read.

    :param images: The images.
    :param where: The numbers of those that are chosen, int (M,), M >= 1.
    """

    def __init__(self, images: Images, where: np.ndarray) -> None:
        self._images, self._where = images, where

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that change with any image, and with which are chosen. Reads all of them, once."""
        chosen = self._where.astype(np.int64).tobytes()
        return hashlib.sha256(self._images.fingerprint.encode() + chosen).hexdigest()[:16]

    def __len__(self) -> int:
        return len(self._where)

    def read(self, chosen: np.ndarray | slice) -> np.ndarray:
        """Return the chosen of these images as float32 in the classifier's units."""
        return self._images.read(self._where[chosen])


def release_pages(x: np.ndarray) -> None:
    """Let go of the pages of a memory map that were read: they would count as this process's memory to the end.

    Not of a private one (mode "c"), which would lose what was written to it. Nothing happens to other arrays.
    """
    mapped = getattr(x, "_mmap", None)
    if isinstance(mapped, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED") and getattr(x, "mode", "c") != "c":
        mapped.madvise(mmap.MADV_DONTNEED)
