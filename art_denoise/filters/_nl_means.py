"""Weighted means over a window of shifts, and their adjoint. See `nl_means` for the definitions."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from art_denoise.choices import NLMeansMode, PatchWeights
from art_denoise.filters._operators import Operator, as_array, check_finite
from art_denoise.filters._strengths import of_each
from art_denoise.filters._triton import usable

#: scikit-image's cut-off: patches further apart than this, in units of h², get no weight; exp(-5) = 0.0067.
_CUTOFF = 5.0

#: A filter strength so small that nothing is changed, and that the inverse of its square is no number in float32.
LEAST_H = 1e-12

#: Greatest shift, and greatest side of a patch, which images of one pixel are continued for.
MOST_DISTANCE = 1000

#: Schraudolph's constant for the least root mean square relative error, as a share of a power of two.
_SCHRAUDOLPH = 60801 / 2**20


@dataclass(frozen=True)
class Window:
    """What is averaged, and by which weights.

    :param side: Patches reach over this many pixels along an axis; 0 for patches of nothing, which are all alike.
    :param before: Pixels of a patch before its own pixel, along an axis.
    :param distance: Greatest shift along an axis.
    :param kernel: Weights (side,) of the pixels of a patch along an axis, or None for 1.
    :param outside: Whether pixels beyond the border are averaged as well.
    :param exact: Whether the exponential is exact, or Schraudolph's.
    :param cutoff: Exponent above which there is no weight.
    :param scale: What the distance is divided by in the exponent, along with h².
    :param excess: What is subtracted from the distance, before that.
    """

    side: int
    before: int
    distance: int
    kernel: np.ndarray | None
    outside: bool
    exact: bool
    cutoff: float
    scale: float
    excess: float

    @property
    def pad(self) -> int:
        """How far images are continued beyond their borders, on every side."""
        return self.side // 2 + (self.distance if self.outside else 0)


def gaussian(side: int) -> np.ndarray:
    """Return the weights (side,) of the pixels of a patch along an axis, of sum 1."""
    if side == 1:
        return np.ones(1)
    offsets, deviation = np.arange(side) - side // 2, (side - 1) / 4
    weights = np.exp(-(offsets**2) / (2 * deviation**2))
    return weights / weights.sum()


def window_side(patch_size: int, mode: NLMeansMode) -> int:
    """Return how many pixels are compared along an axis."""
    return 2 * (patch_size // 2) if mode == "fast" else patch_size


def _window(
    channels: int, patch_size: int, distance: int, mode: NLMeansMode, patch_weights: PatchWeights, sigma: float
) -> Window:
    """Return the window of a mode; its distances are sums over the patch and the channels."""
    side = window_side(patch_size, mode)
    if mode == "fast":
        # Divided is by the number of pixels of a patch of the next odd size.
        scale = (side + 1) ** 2 * channels
        excess = side**2 * channels * 2 * sigma**2
        return Window(side, max(side // 2 - 1, 0), distance, None, True, False, _CUTOFF, scale, excess)
    kernel = None if patch_weights == "uniform" else gaussian(patch_size)
    counted = channels * (patch_size**2 if kernel is None else 1)
    cutoff = math.inf if kernel is None else _CUTOFF
    return Window(side, side // 2, distance, kernel, False, True, cutoff, counted, counted * 2 * sigma**2)


class _Average:
    """The weighted mean in torch operations, on any device. A shift and its opposite share one map of weights."""

    @staticmethod
    def run(v: torch.Tensor, window: Window, h: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Average images (N, C, H, W), each by its strength h, (N,) float64; return the sums of weights, (N, 1, H, W),
        as well."""
        return _sums(v, window, _scale(v, window, h))

    @staticmethod
    def adjoint(
        grad: torch.Tensor, v: torch.Tensor, u: torch.Tensor, weights: torch.Tensor, window: Window, h: np.ndarray
    ) -> torch.Tensor:
        """Take the adjoint of `run`, where u and the sums of weights are what it returned."""
        scale = _scale(v, window, h)
        grad_total = grad / weights
        grad_weights = -(grad_total * u).sum(1, keepdim=True)
        padded = reflect(v, window.pad).requires_grad_()
        grad_padded = torch.zeros_like(padded)
        for shift in _shifts(window):
            with torch.enable_grad():
                parts = list(_contributions(padded, v.shape, shift, window, scale))
            outputs = [part for _, contribution, weight in parts for part in (contribution, weight)]
            grads = [part for target, _, _ in parts for part in (grad_total[target], grad_weights[target])]
            if parts:
                # A patch of nothing has weights that depend on no pixel.
                pairs = [(o, g) for o, g in zip(outputs, grads, strict=True) if o.requires_grad]
                grad_padded += torch.autograd.grad([o for o, _ in pairs], padded, [g for _, g in pairs])[0]
        return _weight_of_none(v, window, scale) * grad_total + reflect_adjoint(grad_padded, window.pad)


def _sums(v: torch.Tensor, window: Window, scale: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the weighted means and the sums of weights (N, 1, H, W)."""
    padded = reflect(v, window.pad)
    centre = _weight_of_none(v, window, scale)
    total, weights = centre * v, centre
    for shift in _shifts(window):
        for target, contribution, weight in _contributions(padded, v.shape, shift, window, scale):
            total[target] += contribution
            weights[target] += weight
    return total / weights, weights


def _scale(v: torch.Tensor, window: Window, h: np.ndarray) -> torch.Tensor:
    """Return what distances are divided by in the exponent, (N, 1, 1, 1)."""
    return torch.from_numpy((window.scale * h**2).astype(precision_of(v))).to(v.device)[:, None, None, None]


def precision_of(v: torch.Tensor) -> type[np.floating[Any]]:
    """Return NumPy's kind of the values of images."""
    return np.float64 if v.dtype == torch.float64 else np.float32


def _weight_of_none(v: torch.Tensor, window: Window, scale: torch.Tensor) -> torch.Tensor:
    """Return the weights (N, 1, H, W) of pixels themselves, whose distance is 0."""
    return _weight(torch.zeros_like(v[:, :1]), window, scale)


def _shifts(window: Window) -> Iterator[tuple[int, int]]:
    """One of each shift, down and right, and its opposite."""
    for down in range(-window.distance, window.distance + 1):
        for right in range(window.distance + 1):
            if right > 0 or down > 0:
                yield down, right


def _contributions(
    padded: torch.Tensor, shape: torch.Size, shift: tuple[int, int], window: Window, scale: torch.Tensor
) -> Iterator[tuple[tuple[slice, ...], torch.Tensor, torch.Tensor]]:
    """What a shift t and its opposite add to the weighted sums and the sums of weights, and where in the image."""
    (height, width), (down, right), pad, side = shape[2:], shift, window.pad, window.side
    if window.outside:
        # f(p, t) is needed at the pixels p of the image, and, for the opposite shift, at those of the image - t.
        top, rows, left, columns = min(0, -down), height + abs(down), -right, width + right
    else:
        top, rows, left, columns = max(0, -down), height - abs(down), 0, width - right
    if rows <= 0 or columns <= 0:
        return

    def part(row: int, column: int, rows: int, columns: int) -> torch.Tensor:
        """Part of the padded images whose corner is (row, column) in coordinates of the unpadded image."""
        return padded[:, :, pad + row : pad + row + rows, pad + column : pad + column + columns]

    if side:
        corner, grown = (top - window.before, left - window.before), (rows + side - 1, columns + side - 1)
        square = (part(*corner, *grown) - part(corner[0] + down, corner[1] + right, *grown)).square()
        distance = _sum_over_patch(square.sum(1, keepdim=True), window)
    else:
        distance = padded.new_zeros((len(padded), 1, rows, columns))
    weight = _weight(distance, window, scale)
    for sign in (1, -1):
        # p in the image with p + t, or, for the opposite shift, p - t where the weights are.
        row, column = (top, left) if sign == 1 else (top + down, left + right)
        first, last = max(row, 0), min(row + rows, height)
        start, stop = max(column, 0), min(column + columns, width)
        if first < last and start < stop:
            here = weight[:, :, first - row : last - row, start - column : stop - column]
            source = part(first + sign * down, start + sign * right, last - first, stop - start)
            target = (slice(None), slice(None), slice(first, last), slice(start, stop))
            yield target, here * source, here


def _sum_over_patch(square: torch.Tensor, window: Window) -> torch.Tensor:
    """Sum maps (N, 1, H, W) over patches, weighted if the window has a kernel."""
    if window.kernel is None:
        return functional.avg_pool2d(square, window.side, stride=1, divisor_override=1)
    kernel = torch.from_numpy(patch_kernel(window, precision_of(square))).to(square.device)
    # In float32 wherever it is called from: half precision would be off by more than weights differ.
    with torch.autocast(square.device.type, enabled=False):
        return functional.conv2d(functional.conv2d(square, kernel[None, None, :, None]), kernel[None, None, None])


def _weight(distance: torch.Tensor, window: Window, scale: torch.Tensor) -> torch.Tensor:
    """Return the weights of patches at some distances."""
    y = -(distance - window.excess).clamp(min=0) / scale
    return (y.exp() if window.exact else _fast_exp(y)) * (y >= -window.cutoff)


def _fast_exp(y: torch.Tensor) -> torch.Tensor:
    """Approximate exp(y) as scikit-image does: 2ⁿ (1 + r) where n + r, 0 ≤ r < 1, is y / ln 2 less a small offset.

    Source: N. N. Schraudolph, "A fast, compact approximation of the exponential function", Neural Computation 11
    (1999), doi:10.1162/089976699300016467, with the constant that minimises the root mean square relative error. He
    writes n and r into the bits of a float; here they are computed, so that autograd gives the derivative 2ⁿ / ln 2.
    """
    z = y * (1 / math.log(2)) - _SCHRAUDOLPH
    n = z.detach().floor()
    return torch.exp2(n) * (1 + z - n)


@lru_cache(maxsize=64)
def _reflected(size: int, pad: int) -> np.ndarray:
    """Return where along an axis each pixel of an image continued by reflection, also again and again, comes from.

    Kept, as NumPy takes longer for it than a small image does. Nobody writes to it.
    """
    return np.pad(np.arange(size), pad, mode="reflect")


def reflect(v: torch.Tensor, pad: int) -> torch.Tensor:
    """Continue images by reflection without repeating the edge, also where `pad` exceeds the image (NumPy's rule)."""
    for axis in (2, 3):
        v = v.index_select(axis, torch.from_numpy(_reflected(v.shape[axis], pad)).to(v.device))
    return v


def reflect_adjoint(grad: torch.Tensor, pad: int) -> torch.Tensor:
    """Take the adjoint of `reflect`."""
    for axis in (2, 3):
        index = torch.from_numpy(_reflected(grad.shape[axis] - 2 * pad, pad)).to(grad.device)
        shape = list(grad.shape)
        shape[axis] -= 2 * pad
        grad = grad.new_zeros(shape).index_add_(axis, index, grad)
    return grad


class _AverageCPU:
    """What `_Average` does, for images on the CPU, compiled."""

    @staticmethod
    def run(v: torch.Tensor, window: Window, h: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        from art_denoise.filters import _nl_means_kernels as kernels
        from art_denoise.filters._compiled import share_out

        images = as_array(v)
        out, norms = np.empty_like(images), np.empty_like(images[:, 0])
        arguments = _compiled_arguments(images, window, h)

        def work(start: int, stop: int) -> None:
            kernels.nl_means_images(images, out, norms, start, stop, *arguments)

        share_out(work, len(images), images[0].size)
        return torch.from_numpy(out), torch.from_numpy(norms)[:, None]

    @staticmethod
    def adjoint(
        grad: torch.Tensor, v: torch.Tensor, u: torch.Tensor, weights: torch.Tensor, window: Window, h: np.ndarray
    ) -> torch.Tensor:
        from art_denoise.filters import _nl_means_kernels as kernels
        from art_denoise.filters._compiled import share_out

        images, out, norms, grad_out = map(as_array, (v, u, weights[:, 0], grad))
        grad_x = np.empty_like(images)
        arguments = _compiled_arguments(images, window, h)
        slopes = curves(window, h, precision_of(v))[4]

        def work(start: int, stop: int) -> None:
            kernels.nl_means_images_adjoint(images, out, norms, grad_out, grad_x, start, stop, *arguments, slopes)

        share_out(work, len(images), images[0].size)
        return torch.from_numpy(grad_x)


def _compiled_arguments(images: np.ndarray, window: Window, h: np.ndarray) -> tuple[Any, ...]:
    """Return the window, and what differs between images, as the compiled loops take it."""
    # Also where nothing beyond the border is averaged: then rows that follow each other do not meet.
    pad = window.side // 2 + window.distance
    rows, columns = (_reflected(size, pad) for size in images.shape[2:])
    kernel = patch_kernel(window, images.dtype)
    excess, factors, offsets, cutoffs, _ = curves(window, h, images.dtype)
    shared = excess[0], offsets[0], window.exact
    bits = np.empty(0, np.int32 if images.itemsize == 4 else np.int64)
    size = pad, window.distance, window.side, window.before, kernel, window.outside
    return rows, columns, size, shared, (factors, cutoffs), bits


def patch_kernel(window: Window, precision: Any) -> np.ndarray:
    """Return the weights (side,) of the pixels of a patch along an axis."""
    return (np.ones(window.side) if window.kernel is None else window.kernel).astype(precision)


def curves(window: Window, h: np.ndarray, precision: Any) -> tuple[np.ndarray, ...]:
    """Return how the weights of patches follow from their distances, for each image of strength h, (N,) float64.

    :return: What is subtracted from distances; what those are then multiplied by, as an exponent of 2, or, for
        Schraudolph's exponential, as a float's bits; the bits of 1 for that; the distance above which there is no
        weight; twice the slope of the weight, as a multiple of the weight or, for Schraudolph's, of its power of two.
        Each (N,).
    """
    scales = window.scale * h**2
    factors, offset = 1 / math.log(2) / scales, 0.0
    slopes = -2 / scales
    if not window.exact:
        # As bits of a float with m bits for the fraction and a bias b, 2^y is about 2^m (b + y - constant).
        kind = np.finfo(precision)
        factors, offset = 2.0**kind.nmant * factors, 2.0**kind.nmant * (kind.maxexp - 1 - _SCHRAUDOLPH)
        slopes = slopes / math.log(2)
    excess = np.full(len(h), window.excess)
    every = excess, factors, np.full(len(h), offset), window.cutoff * scales, slopes
    return tuple(values.astype(precision) for values in every)


def _backend(x: torch.Tensor) -> Any:
    """Return the class that averages where x is."""
    if x.device.type == "cpu":
        return _AverageCPU
    if usable(x):
        from art_denoise.filters._nl_means_triton import AverageTriton  # with Triton, where it is needed

        return AverageTriton
    return _Average


def _forward(x: torch.Tensor, h: float, hs: torch.Tensor | None, *window: Any) -> tuple[torch.Tensor, torch.Tensor]:
    check_finite(x)
    each, small = of_each("h", h, hs, len(x), least=LEAST_H, positive=True)
    u, weights = _backend(x).run(x, _window(x.shape[1], *window), each)
    if small is not None:
        u[small] = x[small]
    return u.contiguous(), weights


def _adjoint(
    grad: torch.Tensor,
    x: torch.Tensor,
    u: torch.Tensor,
    weights: torch.Tensor,
    h: float,
    hs: torch.Tensor | None,
    *window: Any,
) -> tuple[torch.Tensor]:
    each, small = of_each("h", h, hs, len(x), least=LEAST_H, positive=True)
    grad_x = _backend(x).adjoint(grad, x, u, weights, _window(x.shape[1], *window), each)
    if small is not None:
        grad_x[small] = grad[small]
    return (grad_x.contiguous(),)


#: `average(x, h, hs, patch_size, patch_distance, mode, patch_weights, sigma)`: the mean over a window for images
#: (N, C, H, W), and the sums of weights (N, 1, H, W).
average = Operator(
    "nl_means",
    "float h, Tensor? hs, int patch_size, int patch_distance, str mode, str patch_weights, float sigma",
    2,
    public="nl_means_denoise",
    forward=_forward,
    shapes=lambda x, *_: (x.new_empty(x.shape), x.new_empty((x.shape[0], 1, *x.shape[2:]))),
    kept=(0, 1, 2),
    adjoint=_adjoint,
)
