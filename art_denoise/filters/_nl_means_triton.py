"""Non-local means on a GPU, in kernels of Triton. See `nl_means` for the mathematics, and `_nl_means` for the windows.

Images are continued by `pad` pixels on every side, as for the CPU. One kernel filters: a program takes a tile of pixels
through all shifts, with the sums in registers; what it compares comes from the cache. Patches are summed pixel by
pixel, as that costs less on a GPU than handing sums on.

The adjoint has two kernels. With d(p, t) the distance of the patches at p and p + t, w their weight, and
s(p, t) = 2 ∂L/∂d(p, t), of both p and p + t, as a shift and its opposite share d,

    ∂L/∂v(r) = Σ_t w(r, t) g(r + t) + (v(r) - v(r + t)) Σ_o kernel(o) s(r - o, t)

over all shifts, where g is the gradient with respect to the weighted sums. The first kernel writes w and s for one of
each shift and its opposite, the second gathers: no two programs write to the same place, and sums have one order.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import triton
import triton.language as tl
from torch.nn import functional

from art_denoise.filters._nl_means import Window, curves, patch_kernel, precision_of, reflect, reflect_adjoint
from art_denoise.filters._tiles_triton import tile_of

#: Most bytes of weights and their slopes that the adjoint keeps; for more images it is taken in parts.
_MEMORY_OF_ADJOINT = 2**30

#: Rows and columns of a tile.
_ROWS, _COLUMNS = 8, 64

#: Channels whose sums one program has. For images of more, other programs do the same for the others.
_TOGETHER = 4


@triton.jit
def _distance(v, at, mask, shift, kernel, channels, size, width, corner, SIDE: tl.constexpr, like):
    """Return the distances of the patches at `at` and `at` + shift."""
    d = like
    for down in range(SIDE):
        for right in range(SIDE):
            here = v + at + (down * width + right - corner)
            square = tl.zeros_like(like)
            for c in range(channels):
                difference = tl.load(here + c * size, mask=mask, other=0)
                difference -= tl.load(here + c * size + shift, mask=mask, other=0)
                square += difference * difference
            d += tl.load(kernel + down) * tl.load(kernel + right) * square
    return d


@triton.jit
def _weight(d, curve, n, EXACT: tl.constexpr):
    """Return the weights of distances, and their slopes; `curve` (N, 5): excess, factor, offset, cutoff, slope."""
    curve += n * 5
    over = d - tl.load(curve)
    beyond = tl.maximum(over, 0)
    exponent = beyond * tl.load(curve + 1)
    cutoff, slope = tl.load(curve + 3), tl.load(curve + 4)
    if EXACT:
        weight = tl.where(beyond <= cutoff, tl.exp2(-exponent), 0)
        power = weight
    else:
        # Schraudolph's exponential: the bits of a float are linear in the exponent. Its slope is the power of two.
        if d.dtype == tl.float32:
            bits = (tl.load(curve + 2) - exponent).to(tl.int32)
            weight = tl.where(beyond <= cutoff, bits, 0).to(tl.float32, bitcast=True)
            power = tl.where(beyond <= cutoff, bits & 0x7F800000, 0).to(tl.float32, bitcast=True)
        else:
            bits = (tl.load(curve + 2) - exponent).to(tl.int64)
            weight = tl.where(beyond <= cutoff, bits, 0).to(tl.float64, bitcast=True)
            power = tl.where(beyond <= cutoff, bits & 0x7FF0000000000000, 0).to(tl.float64, bitcast=True)
    return weight, tl.where(over > 0, power * slope, 0)


@triton.jit
def _of_more_channels(inside, column, first, channels, width):
    """Return where the tile is in the image for the second, third and fourth channel of a program; none if there are
    fewer."""
    second = inside & (column < tl.where(first + 1 < channels, width, 0))
    third = inside & (column < tl.where(first + 2 < channels, width, 0))
    return second, third, inside & (column < tl.where(first + 3 < channels, width, 0))


@triton.jit
def _average(
    v, u, sums, kernel, curve, channels, height, width, pad, distance, before,
    SIDE: tl.constexpr, OUTSIDE: tl.constexpr, EXACT: tl.constexpr, TOGETHER: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Filter a tile of the images v (N, C, H + 2 pad, W + 2 pad), continued beyond their borders, into u (N, C, H, W).

    Written are also the sums of weights, (N, H, W).
    """
    n, row, column, _ = tile_of(height, width, ROWS, COLUMNS)
    first = tl.program_id(1) * TOGETHER
    wide, size = width + 2 * pad, (height + 2 * pad) * (width + 2 * pad)
    v += n * channels * size
    inside = (row < height) & (column < width)
    m1, m2, m3 = _of_more_channels(inside, column, first, channels, width)
    at = (row + pad) * wide + column + pad
    zero = tl.load(v + at, mask=inside, other=0) * 0
    total, _ = _weight(zero, curve, n, EXACT)
    own = total
    t0 = own * tl.load(v + first * size + at, mask=inside, other=0)
    t1, t2, t3 = zero, zero, zero
    if TOGETHER > 1:
        t1 = own * tl.load(v + (first + 1) * size + at, mask=m1, other=0)
        t2 = own * tl.load(v + (first + 2) * size + at, mask=m2, other=0)
        t3 = own * tl.load(v + (first + 3) * size + at, mask=m3, other=0)
    corner = before * (wide + 1)
    for down in range(-distance, distance + 1):
        for right in range(-distance, distance + 1):
            if (down != 0) | (right != 0):
                counts = inside
                if not OUTSIDE:
                    counts = inside & (row + down >= 0) & (row + down < height)
                    counts = counts & (column + right >= 0) & (column + right < width)
                shift = down * wide + right
                d = _distance(v, at, counts, shift, kernel, channels, size, wide, corner, SIDE, zero)
                weight, _ = _weight(d, curve, n, EXACT)
                weight = tl.where(counts, weight, 0)
                total += weight
                there = v + first * size + at + shift
                t0 += weight * tl.load(there, mask=counts, other=0)
                if TOGETHER > 1:
                    t1 += weight * tl.load(there + size, mask=counts & m1, other=0)
                    t2 += weight * tl.load(there + 2 * size, mask=counts & m2, other=0)
                    t3 += weight * tl.load(there + 3 * size, mask=counts & m3, other=0)
    u += (n * channels + first) * height * width + row * width + column
    tl.store(u, t0 / total, mask=inside)
    if TOGETHER > 1:
        tl.store(u + height * width, t1 / total, mask=m1)
        tl.store(u + 2 * height * width, t2 / total, mask=m2)
        tl.store(u + 3 * height * width, t3 / total, mask=m3)
    if first == 0:
        tl.store(sums + n * height * width + row * width + column, total, mask=inside)


@triton.jit
def _weights_and_slopes(
    v, g, inner, weights, slopes, kernel, curve, channels, height, width, pad, distance, before, shifts,
    SIDE: tl.constexpr, OUTSIDE: tl.constexpr, EXACT: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Write w(p, t) and s(p, t), (N, T, H + 2 pad, W + 2 pad), at a tile of pixels p for one of each shift.

    They are 0 where neither p nor p + t is a pixel that is averaged for. `g` (N, C, …) and `inner` (N, …) are the
    gradients with respect to the weighted sums and to the sums of weights, 0 beyond the border.
    """
    high, wide = height + 2 * pad, width + 2 * pad
    n, row, column, _ = tile_of(high, wide, ROWS, COLUMNS)
    size = high * wide
    v += n * channels * size
    g += n * channels * size
    inner += n * size
    inside, at = (row < high) & (column < wide), row * wide + column
    here = (row >= pad) & (row < pad + height) & (column >= pad) & (column < pad + width)
    zero = tl.load(v + at, mask=inside, other=0) * 0
    corner = before * (wide + 1)
    k = n * shifts
    for down in range(0, distance + 1):
        for right in range(-distance, distance + 1):
            if (down > 0) | (right > 0):
                there = (row + down >= pad) & (row + down < pad + height)
                there = there & (column + right >= pad) & (column + right < pad + width)
                counts = here | there if OUTSIDE else here & there
                shift = down * wide + right
                d = _distance(v, at, counts, shift, kernel, channels, size, wide, corner, SIDE, zero)
                weight, slope = _weight(d, curve, n, EXACT)
                given = tl.load(inner + at, mask=counts, other=0) + tl.load(inner + at + shift, mask=counts, other=0)
                for c in range(channels):
                    plane = c * size + at
                    given += tl.load(g + plane, mask=counts, other=0) * tl.load(v + plane + shift, mask=counts, other=0)
                    given += tl.load(g + plane + shift, mask=counts, other=0) * tl.load(v + plane, mask=counts, other=0)
                tl.store(weights + k * size + at, tl.where(counts, weight, 0), mask=inside)
                tl.store(slopes + k * size + at, tl.where(counts, slope * given, 0), mask=inside)
                k += 1


@triton.jit
def _over_patch(slopes, row, column, high, wide, kernel, before, SIDE: tl.constexpr, like):
    """Return Σ_o kernel(o) s(r - o) at pixels r."""
    total = like
    for down in range(SIDE):
        for right in range(SIDE):
            i, j = row - (down - before), column - (right - before)
            mask = (i >= 0) & (i < high) & (j >= 0) & (j < wide)
            s = tl.load(slopes + i * wide + j, mask=mask, other=0)
            total += tl.load(kernel + down) * tl.load(kernel + right) * s
    return total


@triton.jit
def _gather(
    v, g, weights, slopes, grad, kernel, curve, channels, high, wide, distance, before, shifts,
    SIDE: tl.constexpr, EXACT: tl.constexpr, TOGETHER: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Write the gradient with respect to a tile of the images v (N, C, high, wide)."""
    n, row, column, _ = tile_of(high, wide, ROWS, COLUMNS)
    first = tl.program_id(1) * TOGETHER
    size = high * wide
    inside, at = (row < high) & (column < wide), row * wide + column
    v += (n * channels + first) * size + at
    g += (n * channels + first) * size + at
    m1, m2, m3 = _of_more_channels(inside, column, first, channels, wide)
    v0 = tl.load(v, mask=inside, other=0)
    zero = v0 * 0
    v1, v2, v3, t1, t2, t3 = zero, zero, zero, zero, zero, zero
    own, _ = _weight(zero, curve, n, EXACT)
    t0 = own * tl.load(g, mask=inside, other=0)
    if TOGETHER > 1:
        v1 = tl.load(v + size, mask=m1, other=0)
        v2 = tl.load(v + 2 * size, mask=m2, other=0)
        v3 = tl.load(v + 3 * size, mask=m3, other=0)
        t1 = own * tl.load(g + size, mask=m1, other=0)
        t2 = own * tl.load(g + 2 * size, mask=m2, other=0)
        t3 = own * tl.load(g + 3 * size, mask=m3, other=0)
    k = n * shifts
    for down in range(0, distance + 1):
        for right in range(-distance, distance + 1):
            if (down > 0) | (right > 0):
                for sign in tl.static_range(-1, 2, 2):
                    i, j = row + sign * down, column + sign * right
                    there = (i >= 0) & (i < high) & (j >= 0) & (j < wide)
                    shift = sign * (down * wide + right)
                    # What a shift has at p, its opposite has at p + t.
                    back_i, back_j, back = row, column, 0
                    if sign < 0:
                        back_i, back_j, back = i, j, shift
                    weight = tl.load(weights + k * size + at + back, mask=inside & there, other=0)
                    spread = zero
                    if SIDE > 0:
                        spread = _over_patch(slopes + k * size, back_i, back_j, high, wide, kernel, before, SIDE, zero)
                    t0 += weight * tl.load(g + shift, mask=inside & there, other=0)
                    t0 += spread * (v0 - tl.load(v + shift, mask=inside & there, other=0))
                    if TOGETHER > 1:
                        t1 += weight * tl.load(g + size + shift, mask=m1 & there, other=0)
                        t1 += spread * (v1 - tl.load(v + size + shift, mask=m1 & there, other=0))
                        t2 += weight * tl.load(g + 2 * size + shift, mask=m2 & there, other=0)
                        t2 += spread * (v2 - tl.load(v + 2 * size + shift, mask=m2 & there, other=0))
                        t3 += weight * tl.load(g + 3 * size + shift, mask=m3 & there, other=0)
                        t3 += spread * (v3 - tl.load(v + 3 * size + shift, mask=m3 & there, other=0))
                k += 1
    grad += (n * channels + first) * size + at
    tl.store(grad, t0, mask=inside)
    if TOGETHER > 1:
        tl.store(grad + size, t1, mask=m1)
        tl.store(grad + 2 * size, t2, mask=m2)
        tl.store(grad + 3 * size, t3, mask=m3)


def _pad(window: Window) -> int:
    """Return how far images are continued."""
    return window.side // 2 + window.distance


def _shifts(window: Window) -> int:
    """Return how many shifts there are but none, of a shift and its opposite one."""
    return ((2 * window.distance + 1) ** 2 - 1) // 2


class _Launch:
    """How kernels are launched for images v (N, C, H, W), which are continued by `pad` pixels on every side."""

    def __init__(self, v: torch.Tensor, window: Window, h: np.ndarray) -> None:
        self.images, self.channels, self.height, self.width = v.shape
        self.window, self.pad, self.shifts = window, _pad(window), _shifts(window)
        self.together = 1 if self.channels == 1 else _TOGETHER
        self.curves = torch.from_numpy(np.stack(curves(window, h, precision_of(v)), axis=1)).to(v.device)
        self.kernel = torch.from_numpy(patch_kernel(window, precision_of(v))).to(v.device)
        self.padded = reflect(v, self.pad)

    def __call__(self, kernel: Any, *arguments: Any, of: torch.Tensor, together: int = 0, **options: Any) -> None:
        """Launch a kernel, of which each program does a tile of an image of some planes, and some of the channels."""
        columns = min(_COLUMNS, triton.next_power_of_2(of.shape[-1]))
        rows = max(1, _ROWS * _COLUMNS // columns)
        tiles = triton.cdiv(of.shape[-2], rows) * triton.cdiv(of.shape[-1], columns)
        if together:
            options["TOGETHER"] = together
        grid = (len(of) * tiles, triton.cdiv(self.channels, together) if together else 1)
        kernel[grid](*arguments, SIDE=self.window.side, ROWS=rows, COLUMNS=columns, **options)

    def average(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the images filtered, and the sums of weights (N, 1, H, W)."""
        u = self.padded.new_empty((self.images, self.channels, self.height, self.width))
        sums, window = torch.empty_like(u[:, :1]), self.window
        self(
            _average, self.padded, u, sums, self.kernel, self.curves, self.channels, self.height, self.width, self.pad,
            window.distance, window.before, OUTSIDE=window.outside, EXACT=window.exact, of=u, together=self.together,
        )  # fmt: skip
        return u, sums

    def adjoint(self, grad: torch.Tensor, u: torch.Tensor, sums: torch.Tensor) -> torch.Tensor:
        """Take the adjoint of `average`: from the gradient with respect to its result to that with respect to v."""
        window, pad = self.window, self.pad
        of_sums = grad / sums
        g = functional.pad(of_sums, (pad,) * 4)
        inner = functional.pad(-(of_sums * u).sum(1), (pad,) * 4)
        shape = (self.images, self.shifts, *self.padded.shape[2:])
        weights, slopes, result = g.new_empty(shape), g.new_empty(shape), torch.empty_like(g)
        self(
            _weights_and_slopes, self.padded, g, inner, weights, slopes, self.kernel, self.curves, self.channels,
            self.height, self.width, pad, window.distance, window.before, self.shifts,
            OUTSIDE=window.outside, EXACT=window.exact, of=g,
        )  # fmt: skip
        self(
            _gather, self.padded, g, weights, slopes, result, self.kernel, self.curves, self.channels, *g.shape[2:],
            window.distance, window.before, self.shifts, EXACT=window.exact, of=g, together=self.together,
        )  # fmt: skip
        return reflect_adjoint(result, pad)


class AverageTriton:
    """What `_Average` does, for images on a GPU."""

    @staticmethod
    def run(v: torch.Tensor, window: Window, h: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        return _Launch(v, window, h).average()

    @staticmethod
    def adjoint(
        grad: torch.Tensor, v: torch.Tensor, u: torch.Tensor, weights: torch.Tensor, window: Window, h: np.ndarray
    ) -> torch.Tensor:
        around, shifts = 2 * _pad(window), _shifts(window)
        each = 2 * shifts * (v.shape[2] + around) * (v.shape[3] + around) * v.itemsize
        some = max(1, _MEMORY_OF_ADJOINT // max(1, each))
        parts = [slice(k, k + some) for k in range(0, len(v), some)]
        return torch.cat([_Launch(v[k], window, h[k]).adjoint(grad[k], u[k], weights[k]) for k in parts])
