"""Chambolle's iteration on a GPU, in kernels of Triton. See `_rof_chambolle` for the mathematics.

One kernel does one iteration: it reads the planes and the dual field once from memory, neighbours from the cache, and
writes the next field. Small planes are taken by one program each, which does all iterations in one launch.
Square roots, divisions and sums are rounded one by one, in the order of the loops for the CPU, as the iteration is at
the edge of stability. See `_rof_operators.length`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
import triton
import triton.language as tl

from art_denoise.filters._rof_chambolle import STEP
from art_denoise.filters._rof_operators import gradient, on_device
from art_denoise.filters._tiles_triton import tile_of

#: Pixels of a tile, and of the largest plane, in powers of two, that one program does all iterations of.
_TILE, _SMALL = 1024, 4096

#: Iterations from one look at which planes go on to the next; each waits for the GPU.
_EVERY = 16

#: Dual fields that the backward pass keeps, in bytes.
_MEMORY_OF_BACKWARD = 2**30

_STEP = tl.constexpr(STEP)


@triton.jit
def _divided(a, b):
    """Return a / b, rounded to the nearest float."""
    if a.dtype == tl.float32:
        return tl.div_rn(a, b)
    else:
        return a / b


@triton.jit
def _root(a):
    """Return the square root, rounded to the nearest float."""
    if a.dtype == tl.float32:
        return tl.sqrt_rn(a)
    else:
        return tl.sqrt(a)


@triton.jit
def _minus_divergence(p, row, column, height, width):
    """Return ∇ᵀp at pixels, 0 outside of the plane; p (2, H, W) is 0 at the far border."""
    at, inside = row * width + column, (row < height) & (column < width)
    down = tl.load(p + at, mask=inside, other=0)
    right = tl.load(p + height * width + at, mask=inside, other=0)
    above = tl.load(p + at - width, mask=inside & (row > 0), other=0)
    left = tl.load(p + height * width + at - 1, mask=inside & (column > 0), other=0)
    return (-(down + right) + above) + left


@triton.jit
def _image(f, p, row, column, height, width):
    """Return the image f + ∇ᵀp at pixels, 0 outside of the plane."""
    inside = (row < height) & (column < width)
    plane = tl.load(f + row * width + column, mask=inside, other=0)
    return plane + _minus_divergence(p, row, column, height, width)


@triton.jit
def _gradient_of_image(f, p, row, column, height, width):
    """Return ∇ᵀp, and both differences of the image, at pixels."""
    d = _minus_divergence(p, row, column, height, width)
    here = tl.load(f + row * width + column, mask=(row < height) & (column < width), other=0) + d
    down = _image(f, p, row + 1, column, height, width) - here
    right = _image(f, p, row, column + 1, height, width) - here
    return d, tl.where(row + 1 < height, down, 0), tl.where(column + 1 < width, right, 0)


@triton.jit
def _energy(d, lengths, weight, inside):
    """Return the energy of a tile as a float64."""
    square = tl.sum(tl.where(inside, d * d, 0)).to(tl.float64)
    return square + weight.to(tl.float64) * tl.sum(tl.where(inside, lengths, 0)).to(tl.float64)


@triton.jit
def _stops(energy, first, previous, eps, k):
    """Return whether a plane is done at iteration k: flat at the first, its energy settled at a later one."""
    return ((k == 0) & (energy == 0)) | ((k > 0) & (tl.abs(previous - energy) < eps * first))


@triton.jit
def _step_at(f, p, q, row, column, height, width, ratio, weight):
    """Write the step from the field p to q at a tile of pixels, and return the energy at p."""
    inside = (row < height) & (column < width)
    d, down, right = _gradient_of_image(f, p, row, column, height, width)
    lengths = _root(down * down + right * right)
    divisor = lengths * ratio + 1
    at = row * width + column
    p0 = tl.load(p + at, mask=inside, other=0)
    p1 = tl.load(p + height * width + at, mask=inside, other=0)
    tl.store(q + at, _divided(p0 - _STEP * down, divisor), mask=inside)
    tl.store(q + height * width + at, _divided(p1 - _STEP * right, divisor), mask=inside)
    return _energy(d, lengths, weight, inside)


@triton.jit(do_not_specialize=["k"])
def _step(
    f, p, q, ratios, weights, iterations, energies, k, height, width, tiles,
    UNTIL: tl.constexpr, SUMMED: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Do iteration k of the planes that do it: those not done, or, `UNTIL` their last, those whose last comes later."""
    m, row, column, tile = tile_of(height, width, ROWS, COLUMNS)
    last = tl.load(iterations + m)
    goes = last - 1 > k if UNTIL else last == 0
    if goes:
        size = height * width
        energy = _step_at(
            f + m * size, p + 2 * m * size, q + 2 * m * size, row, column, height, width,
            tl.load(ratios + m), tl.load(weights + m),
        )  # fmt: skip
        if SUMMED:
            tl.store(energies + m * tiles + tile, energy)


@triton.jit(do_not_specialize=["k"])
def _settle(energies, kept, eps, iterations, k, planes, tiles, TILES: tl.constexpr):
    """Add up the energies of a plane's tiles and note the iteration if it is the last; `kept` are the energies (2, M)
    of the first iteration and the one before."""
    m = tl.program_id(0)
    if tl.load(iterations + m) == 0:
        tile = tl.arange(0, TILES)
        energy = tl.sum(tl.load(energies + m * tiles + tile, mask=tile < tiles, other=0))
        first = tl.load(kept + m)
        if k == 0:
            first = energy
            tl.store(kept + m, first)
        if _stops(energy, first, tl.load(kept + planes + m), tl.load(eps), k):
            tl.store(iterations + m, k + 1)
        tl.store(kept + planes + m, energy)


@triton.jit
def _result(f, p, q, u, iterations, height, width, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Write the image of the last field: p after an even number of steps, q after an odd one."""
    m, row, column, _ = tile_of(height, width, ROWS, COLUMNS)
    size = height * width
    field = p + 2 * m * size
    if (tl.load(iterations + m) - 1) % 2 == 1:
        field = q + 2 * m * size
    image = _image(f + m * size, field, row, column, height, width)
    tl.store(u + m * size + row * width + column, image, mask=(row < height) & (column < width))


@triton.jit(do_not_specialize=["max_iter"])
def _whole_planes(
    f, p, q, u, ratios, weights, eps, iterations, max_iter, height, width, ROWS: tl.constexpr, COLUMNS: tl.constexpr
):  # fmt: skip
    """Do all iterations of a plane that is one tile."""
    m, row, column, _ = tile_of(height, width, ROWS, COLUMNS)
    size = height * width
    f += m * size
    ratio, weight, limit = tl.load(ratios + m), tl.load(weights + m), tl.load(eps)
    here, there = p + 2 * m * size, q + 2 * m * size
    first = _step_at(f, here, there, row, column, height, width, ratio, weight)
    previous, k = first, 0
    going = (max_iter > 1) & (first != 0)
    while going:
        # What a thread wrote of the field, others read.
        tl.debug_barrier()
        here, there = there, here
        k += 1
        energy = _step_at(f, here, there, row, column, height, width, ratio, weight)
        going = (k < max_iter - 1) & (tl.abs(previous - energy) >= limit * first)
        previous = energy
    tl.store(iterations + m, k + 1)
    tl.debug_barrier()
    image = _image(f, here, row, column, height, width)
    tl.store(u + m * size + row * width + column, image, mask=(row < height) & (column < width))


@triton.jit(do_not_specialize=["k"])
def _step_adjoint(
    f, p, a, b, ratios, iterations, k, height, width, ROWS: tl.constexpr, COLUMNS: tl.constexpr
):  # fmt: skip
    """Take the adjoint of iteration k as far as the gradient b with respect to ∇u: see `_rof_chambolle._step_adjoint`.

    a, the gradient with respect to the next field, becomes that with respect to p where ∇u stays as it is.
    """
    m, row, column, _ = tile_of(height, width, ROWS, COLUMNS)
    if tl.load(iterations + m) - 1 > k:
        size = height * width
        inside, at = (row < height) & (column < width), row * width + column
        field, given, result = p + 2 * m * size, a + 2 * m * size + at, b + 2 * m * size + at
        _d, down, right = _gradient_of_image(f + m * size, field, row, column, height, width)
        ratio = tl.load(ratios + m)
        square = down * down + right * right
        lengths = _root(square)
        inverse = _divided(tl.full(square.shape, 1, square.dtype), tl.where(square > 0, lengths + ratio * square, 1))
        s = tl.where(square > 0, lengths * inverse, 1)
        along = tl.where(square > 0, ratio * s * inverse, 0)
        a0, a1 = tl.load(given, mask=inside, other=0), tl.load(given + size, mask=inside, other=0)
        p0, p1 = tl.load(field + at, mask=inside, other=0), tl.load(field + size + at, mask=inside, other=0)
        along *= a0 * (p0 - _STEP * down) + a1 * (p1 - _STEP * right)
        a0, a1 = s * a0, s * a1
        tl.store(given, a0, mask=inside)
        tl.store(given + size, a1, mask=inside)
        tl.store(result, -along * down - _STEP * a0, mask=inside)
        tl.store(result + size, -along * right - _STEP * a1, mask=inside)


@triton.jit(do_not_specialize=["k"])
def _spread(b, a, grad, iterations, k, height, width, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Do the rest: add v = ∇ᵀb to the gradient with respect to f, and ∇v to a."""
    m, row, column, _ = tile_of(height, width, ROWS, COLUMNS)
    if tl.load(iterations + m) - 1 > k:
        size = height * width
        inside, at = (row < height) & (column < width), row * width + column
        field, result, given = b + 2 * m * size, grad + m * size + at, a + 2 * m * size + at
        here = _minus_divergence(field, row, column, height, width)
        down = _minus_divergence(field, row + 1, column, height, width) - here
        right = _minus_divergence(field, row, column + 1, height, width) - here
        down, right = tl.where(row + 1 < height, down, 0), tl.where(column + 1 < width, right, 0)
        tl.store(result, tl.load(result, mask=inside) + here, mask=inside)
        tl.store(given, tl.load(given, mask=inside) + down, mask=inside)
        tl.store(given + size, tl.load(given + size, mask=inside) + right, mask=inside)


class _Launch:
    """How kernels are launched for planes f (M, H, W)."""

    def __init__(self, f: torch.Tensor, weights: np.ndarray) -> None:
        self.planes, self.height, self.width = f.shape
        self.columns = min(128, triton.next_power_of_2(self.width))
        self.rows = max(1, _TILE // self.columns)
        self.tiles = triton.cdiv(self.height, self.rows) * triton.cdiv(self.width, self.columns)
        self.weights, self.ratios = on_device(weights, f), on_device(STEP / weights, f)
        # Sums, and products that are added to, are rounded each for itself.
        self.options: dict[str, Any] = {"enable_fp_fusion": False}

    def __call__(self, kernel: Any, *arguments: Any, **options: Any) -> None:
        tile = {"ROWS": self.rows, "COLUMNS": self.columns}
        kernel[(self.planes * self.tiles,)](*arguments, **tile, **options, **self.options)


class ChambolleTriton:
    """What `Chambolle` does, for planes on a GPU."""

    @staticmethod
    def run(f: torch.Tensor, weights: np.ndarray, eps: float, max_iter: int) -> tuple[torch.Tensor, torch.Tensor]:
        f = f[:, 0]  # groups of one plane
        launch = _Launch(f, weights)
        planes, height, width = f.shape
        u, iterations = torch.empty_like(f), torch.zeros(planes, dtype=torch.long, device=f.device)
        p, q = f.new_zeros((planes, 2, height, width)), f.new_empty((planes, 2, height, width))
        # As a tensor, as numbers are handed over as float32.
        limit = torch.tensor([eps], dtype=torch.float64, device=f.device)
        rows, columns = triton.next_power_of_2(height), triton.next_power_of_2(width)
        if rows * columns <= _SMALL:
            launch.rows, launch.columns, launch.tiles = rows, columns, 1
            launch(_whole_planes, f, p, q, u, launch.ratios, launch.weights, limit, iterations, max_iter, height, width)
            return u[:, None], iterations
        energies = torch.empty((planes, launch.tiles), dtype=torch.float64, device=f.device)
        kept = torch.zeros((2, planes), dtype=torch.float64, device=f.device)
        of_tiles = {"TILES": triton.next_power_of_2(launch.tiles)}
        for k in range(max_iter - 1):
            # Without a stop, the energy is only needed to see a flat image.
            summed = eps > 0 or k == 0
            here, there = (p, q) if k % 2 == 0 else (q, p)
            launch(
                _step, f, here, there, launch.ratios, launch.weights, iterations, energies, k, height, width,
                launch.tiles, UNTIL=False, SUMMED=summed,
            )  # fmt: skip
            if summed:
                _settle[(planes,)](energies, kept, limit, iterations, k, planes, launch.tiles, **of_tiles)
            if eps > 0 and k % _EVERY == _EVERY - 1 and bool((iterations > 0).all()):
                break
        iterations[iterations == 0] = max_iter
        launch(_result, f, p, q, u, iterations, height, width)
        return u[:, None], iterations

    @staticmethod
    def adjoint(grad: torch.Tensor, f: torch.Tensor, iterations: torch.Tensor, weights: np.ndarray) -> torch.Tensor:
        f = f[:, 0]
        launch = _Launch(f, weights)
        height, width = f.shape[1:]
        grad_f = grad[:, 0].clone(memory_format=torch.contiguous_format)
        a = gradient(grad_f).transpose(0, 1).contiguous()
        b = torch.empty_like(a)
        steps = int(iterations.max()) - 1
        # The fields before all steps are needed, last to first: kept are the first of every segment, and one segment.
        segment = max(1, steps)
        if steps * a.nbytes > _MEMORY_OF_BACKWARD:
            segment = math.isqrt(steps - 1) + 1
        fields = [torch.empty_like(a) for _ in range(segment)]

        def run(p: torch.Tensor, start: int, stop: int) -> list[torch.Tensor]:
            """Return the field p, that before step `start`, and those before the others up to `stop`."""
            found = [p, *fields[: stop - start - 1]]
            for k in range(start, stop - 1):
                launch(
                    _step, f, found[k - start], found[k - start + 1], launch.ratios, launch.weights, iterations, f, k,
                    height, width, launch.tiles, UNTIL=True, SUMMED=False,
                )  # fmt: skip
            return found

        firsts = [torch.zeros_like(a)]
        for start in range(segment, steps, segment):
            firsts.append(run(firsts[-1], start - segment, start + 1)[-1].clone())
        for j in range(len(firsts) - 1, -1, -1):
            start, stop = j * segment, min(steps, (j + 1) * segment)
            before = run(firsts.pop(), start, stop)
            for k in range(stop - 1, start - 1, -1):
                p = before[k - start]
                launch(_step_adjoint, f, p, a, b, launch.ratios, iterations, k, height, width)
                launch(_spread, b, a, grad_f, iterations, k, height, width)
        return grad_f[:, None]
