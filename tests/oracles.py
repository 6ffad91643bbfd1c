"""Definitions as plain loops, slow and checkable by eye, to hold the fast code against."""

from __future__ import annotations

import math

import numpy as np


def nl_means_fast(image: np.ndarray, h: float, patch_size: int, patch_distance: int) -> np.ndarray:
    """scikit-image's fast non-local means of one image (C, H, W), but with an exact exponential."""
    channels, height, width = image.shape
    s = patch_size if patch_size % 2 else patch_size + 1
    r, d = s // 2, patch_distance
    pad = r + d
    v = np.pad(image.astype(np.float64), ((0, 0), (pad, pad), (pad, pad)), mode="reflect")
    out = np.zeros(image.shape)
    for i in range(height):
        for j in range(width):
            total, weights = np.zeros(channels), 0.0
            for a in range(-d, d + 1):
                for b in range(-d, d + 1):
                    distance = 0.0
                    for k in range(1 - r, r + 1):
                        for m in range(1 - r, r + 1):
                            p = v[:, pad + i + k, pad + j + m]
                            q = v[:, pad + i + a + k, pad + j + b + m]
                            distance += float(np.sum((p - q) ** 2))
                    distance /= s * s * channels * h * h
                    if distance <= 5:
                        weights += math.exp(-distance)
                        total += math.exp(-distance) * v[:, pad + i + a, pad + j + b]
            out[:, i, j] = total / weights
    return out


def rof_energy(u: np.ndarray, f: np.ndarray, weight: float) -> float:
    """½‖u − f‖² + weight · TV(u) of planes (H, W); isotropic, forward differences, nothing across the border."""
    total = 0.5 * float(np.sum((u - f) ** 2))
    height, width = u.shape
    for i in range(height):
        for j in range(width):
            down = u[i + 1, j] - u[i, j] if i + 1 < height else 0.0
            right = u[i, j + 1] - u[i, j] if j + 1 < width else 0.0
            total += weight * math.hypot(down, right)
    return total
