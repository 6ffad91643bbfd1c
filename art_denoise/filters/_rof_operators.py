"""What both solvers of ROF are made of: groups of planes and their weights, differences and their adjoint.

Planes whose gradients have one length together are a group: the channels of an image where they are coupled, else each
by itself.
"""

from __future__ import annotations

import numpy as np
import torch

from art_denoise.filters._strengths import of_each

#: A weight so small that nothing is changed, and that its inverse is no number in float32.
LEAST_WEIGHT = 1e-30


def as_groups(
    x: torch.Tensor, weight: float, weights: torch.Tensor | None, coupled: bool
) -> tuple[torch.Tensor, np.ndarray, torch.Tensor | None]:
    """Return images (N, C, H, W) as groups of planes (M, K, H, W), the weight of each, and which stay as they are.

    The weights, (M,) float64, of those are not 0 but the least that can be computed with. None stands for no group.
    """
    n, c, h, w = x.shape
    alone = 1 if coupled else c  # groups of an image
    each, small = of_each("weight", weight, weights, n, least=LEAST_WEIGHT, positive=False)
    unchanged = None
    if small is not None:
        unchanged = torch.from_numpy((small[:, None] * alone + np.arange(alone)).reshape(-1)).to(x.device)
    # In one order, as sums depend on it.
    return x.contiguous().reshape(n * alone, c // alone, h, w), each.repeat(alone), unchanged


def of_channels(values: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Return what there is of each group, (M, …), for each channel of the images (N, C, H, W), (N, C, …)."""
    n, c = x.shape[:2]
    return values.reshape(n, -1, *values.shape[1:]).expand(n, c, *values.shape[1:]).contiguous()


def of_groups(values: torch.Tensor, groups: torch.Tensor) -> torch.Tensor:
    """Return what there is of each channel, (N, C, …), for each group of groups (M, K, H, W), (M, …)."""
    m, k = groups.shape[:2]
    return values.reshape(m, k, *values.shape[2:])[:, 0]


def alone(*groups: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return arrays of groups (M, K, …) as compiled loops take them: of one plane each, without the axis of planes."""
    return tuple(each[:, 0] if each.shape[1] == 1 else each for each in groups)


def most_precise(device: torch.device) -> torch.dtype:
    """Return float64, or float32 on devices that have no float64."""
    return torch.float32 if device.type == "mps" else torch.float64


def on_device(values: np.ndarray, like: torch.Tensor) -> torch.Tensor:
    """Return numbers of groups as a tensor (M,) beside them, in their precision."""
    precision = np.float64 if like.dtype == torch.float64 else np.float32
    return torch.from_numpy(values.astype(precision)).to(like.device)


def over_groups(values: torch.Tensor) -> torch.Tensor:
    """Return numbers of groups (M,) as (M, 1, 1, 1), beside what there is of each pixel."""
    return values[:, None, None, None]


def gradient(u: torch.Tensor) -> torch.Tensor:
    """Forward differences (2, …, H, W) of planes (…, H, W) along rows and columns, 0 at the far border."""
    g = u.new_zeros((2, *u.shape))
    g[0, ..., :-1, :] = u[..., 1:, :] - u[..., :-1, :]
    g[1, ..., :-1] = u[..., 1:] - u[..., :-1]
    return g


def negative_divergence(p: torch.Tensor) -> torch.Tensor:
    """Adjoint (…, H, W) of `gradient` at a field (2, …, H, W) whose entries at the far border are 0."""
    d = -(p[0] + p[1])
    d[..., 1:, :] += p[0, ..., :-1, :]
    d[..., 1:] += p[1, ..., :-1]
    return d


def inner(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Inner product (M, 1, H, W) at each pixel of fields of groups (2, M, K, H, W), over directions and planes."""
    return together((a * b).sum(0))


def together(values: torch.Tensor) -> torch.Tensor:
    """Sum what there is of each plane of groups (M, K, H, W) over these, (M, 1, H, W)."""
    return values if values.shape[1] == 1 else values.sum(1, keepdim=True)


def length(g: torch.Tensor) -> torch.Tensor:
    """Euclidean length (M, 1, H, W) of a field of groups (2, M, K, H, W), rounded to the nearest float.

    torch's square root is off by one unit for a fifth of all float32 on a CPU, and Chambolle's iteration is at the edge
    of stability: two hundred iterations magnify that unit to 1e-4.
    """
    square = together(g[0] * g[0] + g[1] * g[1])
    if square.device.type == "cpu" and square.dtype == torch.float32:
        return torch.from_numpy(np.sqrt(square.numpy()))
    return square.sqrt()
