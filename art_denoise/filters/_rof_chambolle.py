"""Chambolle's dual iteration for total-variation denoising, with scikit-image's stop. See `rof` for the model."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from art_denoise.filters._operators import Operator, as_array, check_finite
from art_denoise.filters._rof_operators import (
    alone,
    as_groups,
    gradient,
    inner,
    length,
    negative_divergence,
    of_channels,
    of_groups,
    on_device,
    over_groups,
)
from art_denoise.filters._triton import usable

#: Step of the dual iteration. Chambolle (2004) proves convergence for a step of at most 1/8 in two dimensions;
#: scikit-image takes 1 / (2 · 2), which converges in practice, and so do we.
STEP = 0.25

#: Dual fields that the backward pass keeps, in bytes for each thread. Where those of all iterations take more, it keeps
#: the square root of their number, and computes the others once more.
_MEMORY_OF_BACKWARD = 32 * 2**20


def _step(p: torch.Tensor, g: torch.Tensor, lengths: torch.Tensor, ratio: torch.Tensor) -> torch.Tensor:
    """Do one iteration from the dual field p (2, M, K, H, W), where g is the gradient of its image.

    `ratio` (M, 1, 1, 1) is the step over the weight of each group.
    """
    return (p - STEP * g) / (1 + ratio * lengths)


def _step_adjoint(
    f: torch.Tensor, p: torch.Tensor, a: torch.Tensor, ratio: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Take the adjoint of one iteration p → q: from the gradient a with respect to q to those with respect to p and f.

    With s = 1 / (1 + ratio |g|), q = s (p - step g) and g = ∇u, the gradient with respect to g is
    -step s a - ratio s ⟨a, q⟩ g / |g|, where the second term is taken as 0 for g = 0.
    """
    g = gradient(f + negative_divergence(p))
    lengths = length(g)
    q = _step(p, g, lengths, ratio)
    s = 1 / (1 + ratio * lengths)
    along = ratio * s * inner(a, q) / torch.where(lengths > 0, lengths, torch.inf)
    b = -STEP * s * a - along * g
    v = negative_divergence(b)
    return s * a + gradient(v), v


class Chambolle:
    """The dual iteration in torch operations, on any device; in the precision of the planes, as some have no other."""

    @staticmethod
    def run(f: torch.Tensor, weights: np.ndarray, eps: float, max_iter: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Filter groups (M, K, H, W), each by its weight (M,); return them, and the iterations done (M,)."""
        u, iterations = torch.empty_like(f), torch.empty(len(f), dtype=torch.long, device=f.device)
        active = torch.arange(len(f), device=f.device)
        p = f.new_zeros((2, *f.shape))
        weight, ratio = on_device(weights, f), over_groups(on_device(STEP / weights, f))
        first = previous = f.new_zeros(len(f))
        for iteration in range(max_iter):
            d = negative_divergence(p)
            image = f + d
            g = gradient(image)
            lengths = length(g)
            energy = d.square().sum((1, 2, 3)) + weight * lengths.sum((1, 2, 3))
            if iteration == 0:
                first, stop = energy, energy == 0  # flat: p stays 0, the result is the input
            else:
                stop = (previous - energy).abs() < eps * first
            if iteration == max_iter - 1:
                stop = torch.ones_like(stop)
            previous = energy
            if stop.any():
                # Each group leaves the loop when its own energy has settled.
                u[active[stop]] = image[stop]
                iterations[active[stop]] = iteration + 1
                if stop.all():
                    break
                go = ~stop
                active, first, previous = active[go], first[go], previous[go]
                f, p, g, lengths = f[go], p[:, go], g[:, go], lengths[go]
                weight, ratio = weight[go], ratio[go]
            p = _step(p, g, lengths, ratio)
        return u, iterations

    @staticmethod
    def adjoint(grad: torch.Tensor, f: torch.Tensor, iterations: torch.Tensor, weights: np.ndarray) -> torch.Tensor:
        """Take the adjoint of the iterations done: from the gradient with respect to u to that with respect to f."""
        a = gradient(grad)
        grad_f = grad.clone()
        ratio = over_groups(on_device(STEP / weights, f))
        # The result belongs to the field after iterations - 1 steps. Of the fields before them the first of every
        # segment is kept, and those of one segment.
        steps = int(iterations.max()) - 1
        segment = max(1, math.isqrt(steps))
        firsts = [f.new_zeros((2, *f.shape))]
        for _ in range(segment, steps, segment):
            firsts.append(_run(f, firsts[-1], ratio, segment)[-1])
        for k in range(len(firsts) - 1, -1, -1):
            start = k * segment
            fields = _run(f, firsts.pop(), ratio, min(segment, steps - start) - 1)
            for i in range(len(fields) - 1, -1, -1):
                done = iterations - 1 > start + i  # groups that did this step
                if done.any():
                    a[:, done], v = _step_adjoint(f[done], fields[i][:, done], a[:, done], ratio[done])
                    grad_f[done] += v
        return grad_f


def _run(f: torch.Tensor, p: torch.Tensor, ratio: torch.Tensor, steps: int) -> list[torch.Tensor]:
    """Return the dual field p and those after each of some steps."""
    fields = [p]
    for _ in range(steps):
        g = gradient(f + negative_divergence(fields[-1]))
        fields.append(_step(fields[-1], g, length(g), ratio))
    return fields


class ChambolleCPU:
    """What `Chambolle` does, for groups on the CPU, compiled."""

    @staticmethod
    def run(f: torch.Tensor, weights: np.ndarray, eps: float, max_iter: int) -> tuple[torch.Tensor, torch.Tensor]:
        from art_denoise.filters._compiled import share_out

        images = as_array(f)
        u, iterations = np.empty_like(images), np.empty(len(images), dtype=np.int64)
        number, loop = images.dtype.type, _loops(images)[0]
        ratios, own, arrays = (STEP / weights).astype(number), weights.astype(number), alone(images, u)

        def work(start: int, stop: int) -> None:
            loop(*arrays, start, stop, number(STEP), ratios, own, number(eps), max_iter, iterations)

        share_out(work, len(images), images[0].size)
        return torch.from_numpy(u), torch.from_numpy(iterations)

    @staticmethod
    def adjoint(grad: torch.Tensor, f: torch.Tensor, iterations: torch.Tensor, weights: np.ndarray) -> torch.Tensor:
        from art_denoise.filters._compiled import share_out

        images, grad_u = as_array(f), as_array(grad)
        grad_f, done = np.empty_like(images), as_array(iterations)
        most_stored = max(2, _MEMORY_OF_BACKWARD // (3 * images[0].nbytes))
        number, loop = images.dtype.type, _loops(images)[1]
        ratios, own, arrays = (STEP / weights).astype(number), weights.astype(number), alone(images, grad_u, grad_f)

        def work(start: int, stop: int) -> None:
            loop(*arrays, start, stop, number(STEP), ratios, own, done, most_stored)

        share_out(work, len(images), images[0].size)
        return torch.from_numpy(grad_f)


def _loops(groups: np.ndarray) -> tuple[Any, Any]:
    """Return the compiled iteration, and its adjoint, of planes by themselves or of several together."""
    if groups.shape[1] == 1:
        from art_denoise.filters import _rof_chambolle_kernels as planes

        return planes.rof_planes, planes.rof_planes_adjoint
    from art_denoise.filters import _rof_chambolle_coupled_kernels as coupled

    return coupled.rof_groups, coupled.rof_groups_adjoint


def _backend(groups: torch.Tensor) -> Any:
    """Return the class that does the iteration where groups (M, K, H, W) are."""
    if groups.device.type == "cpu":
        return ChambolleCPU
    if groups.shape[1] == 1 and usable(groups):
        from art_denoise.filters._rof_chambolle_triton import ChambolleTriton  # with Triton, where it is needed

        return ChambolleTriton
    return Chambolle


def _forward(
    x: torch.Tensor, weight: float, weights: torch.Tensor | None, eps: float, max_iter: int, coupled: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Filter images (N, C, H, W); the iterations done are (N, C)."""
    check_finite(x)
    groups, each, unchanged = as_groups(x, weight, weights, coupled)
    u, iterations = _backend(groups).run(groups, each, eps, max_iter)
    if unchanged is not None:
        u[unchanged] = groups[unchanged]
    return u.reshape(x.shape), of_channels(iterations, x)


def _adjoint(
    grad: torch.Tensor,
    x: torch.Tensor,
    iterations: torch.Tensor,
    weight: float,
    weights: torch.Tensor | None,
    eps: float,
    max_iter: int,
    coupled: bool,
) -> tuple[torch.Tensor]:
    groups, each, unchanged = as_groups(x, weight, weights, coupled)
    grad_u = grad.reshape(groups.shape)
    grad_f = _backend(groups).adjoint(grad_u, groups, of_groups(iterations, groups), each)
    if unchanged is not None:
        grad_f[unchanged] = grad_u[unchanged]
    return (grad_f.reshape(x.shape),)


def _shapes(x: torch.Tensor, *_: object) -> tuple[torch.Tensor, torch.Tensor]:
    return x.new_empty(x.shape), x.new_empty(x.shape[:2], dtype=torch.long)


#: `chambolle(x, weight, weights, eps, max_iter, coupled)`: the dual iteration on images (N, C, H, W), and how many of
#: them were done.
chambolle = Operator(
    "rof_chambolle",
    "float weight, Tensor? weights, float eps, int max_iter, bool coupled",
    2,
    public="rof_denoise",
    forward=_forward,
    shapes=_shapes,
    kept=(0, 2),
    adjoint=_adjoint,
)
