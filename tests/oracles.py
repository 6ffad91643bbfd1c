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


def nl_means_centred(
    image: np.ndarray, h: float, patch_size: int, patch_distance: int, sigma: float = 0.0, *, gaussian: bool = False
) -> np.ndarray:
    """The definition of non-local means of one image (C, H, W): centred patches, neighbours inside the image.

    With Gaussian weights in a patch, weights below exp(-5) are dropped.
    """
    channels, height, width = image.shape
    r, d = patch_size // 2, patch_distance
    v = np.pad(image.astype(np.float64), ((0, 0), (r, r), (r, r)), mode="reflect")
    patch_weights = np.ones((patch_size, patch_size))
    if gaussian:
        deviation = (patch_size - 1) / 4
        for k in range(-r, r + 1):
            for m in range(-r, r + 1):
                patch_weights[k + r, m + r] = math.exp(-(k * k + m * m) / (2 * deviation**2))
    patch_weights /= patch_weights.sum()
    out = np.zeros(image.shape)
    for i in range(height):
        for j in range(width):
            total, weights = np.zeros(channels), 0.0
            for y in range(max(0, i - d), min(height, i + d + 1)):
                for x in range(max(0, j - d), min(width, j + d + 1)):
                    here = v[:, i : i + patch_size, j : j + patch_size]
                    there = v[:, y : y + patch_size, x : x + patch_size]
                    distance = float(np.sum(patch_weights * ((here - there) ** 2).mean(0)))
                    exponent = max(distance - 2 * sigma**2, 0) / h**2
                    weight = 0.0 if gaussian and exponent > 5 else math.exp(-exponent)
                    weights += weight
                    total += weight * image[:, y, x]
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


def coupled_rof_energy(u: np.ndarray, f: np.ndarray, weight: float) -> float:
    """½‖u − f‖² + weight · TV(u) of one image (C, H, W), whose gradients have one length at each pixel."""
    total = 0.5 * float(np.sum((u - f) ** 2))
    _, height, width = u.shape
    for i in range(height):
        for j in range(width):
            down = u[:, i + 1, j] - u[:, i, j] if i + 1 < height else np.zeros(len(u))
            right = u[:, i, j + 1] - u[:, i, j] if j + 1 < width else np.zeros(len(u))
            total += weight * math.sqrt(float(np.sum(down**2 + right**2)))
    return total


def coupled_chambolle(f: np.ndarray, weight: float, iterations: int) -> np.ndarray:
    """Chambolle's iteration with step 1/4 for the vectorial total variation of one image (C, H, W), from zero.

    The first iteration only takes the image as it is.
    """
    channels, height, width = f.shape
    p = np.zeros((channels, 2, height, width))
    u = f.copy()
    for k in range(iterations):
        for c in range(channels):
            for i in range(height):
                for j in range(width):
                    d = -p[c, 0, i, j] - p[c, 1, i, j]
                    d += p[c, 0, i - 1, j] if i else 0.0
                    d += p[c, 1, i, j - 1] if j else 0.0
                    u[c, i, j] = f[c, i, j] + d
        if k == iterations - 1:
            break
        for i in range(height):
            for j in range(width):
                g = np.zeros((channels, 2))
                if i + 1 < height:
                    g[:, 0] = u[:, i + 1, j] - u[:, i, j]
                if j + 1 < width:
                    g[:, 1] = u[:, i, j + 1] - u[:, i, j]
                length = math.sqrt(float(np.sum(g**2)))
                p[:, :, i, j] = (p[:, :, i, j] - 0.25 * g) / (1 + 0.25 / weight * length)
    return u
