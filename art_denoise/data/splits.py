"""Disjoint, reproducible splits of items, and fingerprints of what they hold."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np


def disjoint_split(count: int, shares: Mapping[str, int], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Draw disjoint index sets of the given sizes from `range(count)`.

    :param count: Number of items to draw from; at least the sum of all shares. What is left over is not used.
    :param shares: Size of each split by name, in the order in which they are drawn.
    :param rng: Source of the order. The same generator state gives the same split.
    :return: For each name an int64 array of that many indices, ascending; no index appears twice.
    :raises ValueError: If the shares ask for more items than there are.
    """
    wanted = sum(shares.values())
    if wanted > count:
        raise ValueError(f"`shares` ask for {wanted} items, but there are only {count}: use smaller shares")
    order = rng.permutation(count)
    splits, start = {}, 0
    for name, size in shares.items():
        splits[name] = np.sort(order[start : start + size])
        start += size
    return splits


def fingerprint(*arrays: np.ndarray) -> str:
    """Return 16 hexadecimal digits that change with any value, shape or dtype of the arrays (SHA-256)."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]
