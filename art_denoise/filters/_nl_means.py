"""Weighted means over a window of shifts, and their adjoint. See `nl_means` for the definitions."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional

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
    :param scale: What the distance is divided by in the exponent.
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


def average(v: torch.Tensor, window: Window) -> torch.Tensor:
    """Average images (N, C, H, W) over a window."""
    result: torch.Tensor = (_AverageCPU if v.device.type == "cpu" else _Average).apply(v, window)
    return result


class _Average(torch.autograd.Function):
    """The weighted mean in torch operations, on any device. A shift and its opposite share one map of weights."""

    @staticmethod
    def forward(ctx: Any, v: torch.Tensor, window: Window) -> torch.Tensor:
        padded = _reflect(v, window.pad)
        centre = _weight(torch.zeros_like(v[:, :1]), window)
        total, weights = centre * v, centre
        for shift in _shifts(window):
            for target, contribution, weight in _contributions(padded, v.shape, shift, window):
                total[target] += contribution
                weights[target] += weight
        u = total / weights
        if ctx.needs_input_grad[0]:
            ctx.save_for_backward(v, u, weights)
            ctx.window = window
        return u

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None]:
        v, u, weights = ctx.saved_tensors
        grad_total = grad / weights
        grad_weights = -(grad_total * u).sum(1, keepdim=True)
        padded = _reflect(v, ctx.window.pad).requires_grad_()
        grad_padded = torch.zeros_like(padded)
        for shift in _shifts(ctx.window):
            with torch.enable_grad():
                parts = list(_contributions(padded, v.shape, shift, ctx.window))
            outputs = [part for _, contribution, weight in parts for part in (contribution, weight)]
            grads = [part for target, _, _ in parts for part in (grad_total[target], grad_weights[target])]
            if parts:
                # A patch of nothing has weights that depend on no pixel.
                pairs = [(o, g) for o, g in zip(outputs, grads, strict=True) if o.requires_grad]
                grad_padded += torch.autograd.grad([o for o, _ in pairs], padded, [g for _, g in pairs])[0]
        centre = _weight(torch.zeros_like(v[:, :1]), ctx.window)
        return centre * grad_total + _reflect_adjoint(grad_padded, ctx.window.pad), None


def _shifts(window: Window) -> Iterator[tuple[int, int]]:
    """One of each shift, down and right, and its opposite."""
    for down in range(-window.distance, window.distance + 1):
        for right in range(window.distance + 1):
            if right > 0 or down > 0:
                yield down, right


def _contributions(
    padded: torch.Tensor, shape: torch.Size, shift: tuple[int, int], window: Window
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
    weight = _weight(distance, window)
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
    kernel = torch.from_numpy(window.kernel).to(square)
    # In float32 wherever it is called from: half precision would be off by more than weights differ.
    with torch.autocast(square.device.type, enabled=False):
        return functional.conv2d(functional.conv2d(square, kernel[None, None, :, None]), kernel[None, None, None])


def _weight(distance: torch.Tensor, window: Window) -> torch.Tensor:
    """Return the weights of patches at some distances."""
    y = -(distance - window.excess).clamp(min=0) / window.scale
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


def _reflected(size: int, pad: int) -> np.ndarray:
    """Return where along an axis each pixel of an image continued by reflection, also again and again, comes from."""
    return np.pad(np.arange(size), pad, mode="reflect")


def _reflect(v: torch.Tensor, pad: int) -> torch.Tensor:
    """Continue images by reflection without repeating the edge, also where `pad` exceeds the image (NumPy's rule)."""
    for axis in (2, 3):
        v = v.index_select(axis, torch.from_numpy(_reflected(v.shape[axis], pad)).to(v.device))
    return v


def _reflect_adjoint(grad: torch.Tensor, pad: int) -> torch.Tensor:
    """Take the adjoint of `_reflect`."""
    for axis in (2, 3):
        index = torch.from_numpy(_reflected(grad.shape[axis] - 2 * pad, pad)).to(grad.device)
        shape = list(grad.shape)
        shape[axis] -= 2 * pad
        grad = grad.new_zeros(shape).index_add_(axis, index, grad)
    return grad


class _AverageCPU(torch.autograd.Function):
    """What `_Average` does, for images on the CPU, compiled."""

    @staticmethod
    def forward(ctx: Any, v: torch.Tensor, window: Window) -> torch.Tensor:
        from art_denoise.filters import _nl_means_kernels as kernels
        from art_denoise.filters._compiled import share_out

        images = v.detach().contiguous().numpy()
        out = np.empty_like(images)
        arguments = _compiled_arguments(images, window)

        def work(start: int, stop: int) -> None:
            kernels.nl_means_images(images, out, start, stop, *arguments)

        share_out(work, len(images), images[0].size)
        result = torch.from_numpy(out)
        if ctx.needs_input_grad[0]:
            ctx.save_for_backward(v, result)
            ctx.window = window
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None]:
        from art_denoise.filters import _nl_means_kernels as kernels
        from art_denoise.filters._compiled import share_out

        v, result = ctx.saved_tensors
        window = ctx.window
        images, out, grad_out = (t.detach().contiguous().numpy() for t in (v, result, grad))
        grad_x = np.empty_like(images)
        arguments = _compiled_arguments(images, window)
        # The 2 is that of the square. Between powers of two Schraudolph's exponential is linear.
        slope = images.dtype.type(-2 / window.scale / (1 if window.exact else math.log(2)))

        def work(start: int, stop: int) -> None:
            kernels.nl_means_images_adjoint(images, out, grad_out, grad_x, start, stop, *arguments, slope)

        share_out(work, len(images), images[0].size)
        return torch.from_numpy(grad_x), None


def _compiled_arguments(images: np.ndarray, window: Window) -> tuple[Any, ...]:
    """Return the window as the compiled loops take it."""
    number = images.dtype.type
    rows, columns = (_reflected(size, window.pad) for size in images.shape[2:])
    kernel = None if window.kernel is None else window.kernel.astype(images.dtype)
    if window.exact:
        factor, offset = 1 / math.log(2) / window.scale, 0.0
    else:
        # As bits of a float with m bits for the fraction and a bias b, 2^y is about 2^m (b + y - constant).
        kind = np.finfo(images.dtype)
        fraction = 2.0**kind.nmant
        factor, offset = fraction / math.log(2) / window.scale, fraction * (kind.maxexp - 1 - _SCHRAUDOLPH)
    exponential = (
        number(window.excess),
        number(factor),
        number(offset),
        number(window.cutoff * window.scale),
        window.exact,
    )
    bits = np.empty(0, np.int32 if images.itemsize == 4 else np.int64)
    patch = window.side, window.before
    return rows, columns, window.pad, window.distance, patch, kernel, window.outside, exponential, bits
