"""What both solvers of ROF are made of: planes and their weights, differences of images and their adjoint."""

from __future__ import annotations

import numpy as np
import torch

from art_denoise.filters._strengths import of_each

#: A weight so small that nothing is changed, and that its inverse is no number in float32.
LEAST_WEIGHT = 1e-30


def as_planes(
    x: torch.Tensor, weight: float, weights: torch.Tensor | None
) -> tuple[torch.Tensor, np.ndarray, torch.Tensor | None]:
    """Return the planes (M, H, W) of images (N, C, H, W), the weight of each, (M,) float64, and which stay as they are.

    The weights of those are not 0 but the least that can be computed with. None stands for no plane.
    """
    n, c, h, w = x.shape
    each, small = of_each("weight", weight, weights, n, least=LEAST_WEIGHT, positive=False)
    unchanged = None
    if small is not None:
        unchanged = torch.from_numpy((small[:, None] * c + np.arange(c)).reshape(-1)).to(x.device)
    # In one order, as sums depend on it.
    return x.contiguous().reshape(n * c, h, w), each.repeat(c), unchanged


def most_precise(device: torch.device) -> torch.dtype:
    """Return float64, or float32 on devices that have no float64."""
    return torch.float32 if device.type == "mps" else torch.float64


def on_device(values: np.ndarray, like: torch.Tensor) -> torch.Tensor:
    """Return numbers of planes as a tensor (M,) beside the planes, in their precision."""
    precision = np.float64 if like.dtype == torch.float64 else np.float32
    return torch.from_numpy(values.astype(precision)).to(like.device)


def gradient(u: torch.Tensor) -> torch.Tensor:
    """Forward differences (2, M, H, W) of planes (M, H, W) along rows and columns, 0 at the far border."""
    g = u.new_zeros((2, *u.shape))
    g[0, :, :-1] = u[:, 1:] - u[:, :-1]
    g[1, :, :, :-1] = u[:, :, 1:] - u[:, :, :-1]
    return g


def negative_divergence(p: torch.Tensor) -> torch.Tensor:
    """Adjoint (M, H, W) of `gradient` at a field (2, M, H, W) whose entries at the far border are 0."""
    d = -(p[0] + p[1])
    d[:, 1:] += p[0, :, :-1]
    d[:, :, 1:] += p[1, :, :, :-1]
    return d


def length(g: torch.Tensor) -> torch.Tensor:
    """Euclidean length (M, H, W) of a field (2, M, H, W), rounded to the nearest float.

    torch's square root is off by one unit for a fifth of all float32 on a CPU, and Chambolle's iteration is at the edge
    of stability: two hundred iterations magnify that unit to 1e-4.
    """
    square = g[0] * g[0] + g[1] * g[1]
    if square.device.type == "cpu" and square.dtype == torch.float32:
        return torch.from_numpy(np.sqrt(square.numpy()))
    return square.sqrt()
