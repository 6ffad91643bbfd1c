"""Chambolle's dual iteration for total-variation denoising, with scikit-image's stop. See `rof` for the model."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch.autograd.function import once_differentiable

from art_denoise.filters._rof_operators import gradient, length, negative_divergence

#: Step of the dual iteration. Chambolle (2004) proves convergence for a step of at most 1/8 in two dimensions;
#: scikit-image takes 1 / (2 · 2), which converges in practice, and so do we.
_STEP = 0.25

#: Dual fields that the backward pass keeps, in bytes for each thread. Where those of all iterations take more, it keeps
#: the square root of their number, and computes the others once more.
_MEMORY_OF_BACKWARD = 32 * 2**20


def chambolle(f: torch.Tensor, weight: float, eps: float, max_iter: int) -> torch.Tensor:
    """Run the dual iteration on planes (M, H, W) and differentiate the iterations done."""
    function = ChambolleCPU if f.device.type == "cpu" else Chambolle
    return function.apply(f, weight, eps, max_iter)


def _step(p: torch.Tensor, g: torch.Tensor, lengths: torch.Tensor, weight: float) -> torch.Tensor:
    """Do one iteration from the dual field p (2, M, H, W), where g is the gradient of its image."""
    return (p - _STEP * g) / (1 + (_STEP / weight) * lengths)


def _step_adjoint(
    f: torch.Tensor, p: torch.Tensor, a: torch.Tensor, weight: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Take the adjoint of one iteration p → q: from the gradient a with respect to q to those with respect to p and f.

    With s = 1 / (1 + ratio |g|), q = s (p - step g) and g = ∇u, the gradient with respect to g is
    -step s a - ratio s ⟨a, q⟩ g / |g|, where the second term is taken as 0 for g = 0.
    """
    g = gradient(f + negative_divergence(p))
    lengths = length(g)
    q = _step(p, g, lengths, weight)
    s = 1 / (1 + (_STEP / weight) * lengths)
    along = (_STEP / weight) * s * (a * q).sum(0) / torch.where(lengths > 0, lengths, torch.inf)
    b = -_STEP * s * a - along * g
    v = negative_divergence(b)
    return s * a + gradient(v), v


class Chambolle(torch.autograd.Function):
    """The dual iteration in torch operations, on any device."""

    @staticmethod
    def forward(ctx: Any, f: torch.Tensor, weight: float, eps: float, max_iter: int) -> torch.Tensor:
        u, iterations = torch.empty_like(f), torch.empty(len(f), dtype=torch.long, device=f.device)
        if ctx.needs_input_grad[0]:
            ctx.save_for_backward(f, iterations)
            ctx.weight = weight
        active = torch.arange(len(f), device=f.device)
        p = f.new_zeros((2, *f.shape))
        first = previous = f.new_zeros(len(f), dtype=torch.float64)
        for iteration in range(max_iter):
            d = negative_divergence(p)
            image = f + d
            g = gradient(image)
            lengths = length(g)
            energy = d.square().sum((1, 2), dtype=torch.float64) + weight * lengths.sum((1, 2), dtype=torch.float64)
            if iteration == 0:
                first, stop = energy, energy == 0  # flat: p stays 0, the result is the input
            else:
                stop = (previous - energy).abs() < eps * first
            if iteration == max_iter - 1:
                stop = torch.ones_like(stop)
            previous = energy
            if stop.any():
                # Each plane leaves the loop when its own energy has settled.
                u[active[stop]] = image[stop]
                iterations[active[stop]] = iteration + 1
                if stop.all():
                    break
                go = ~stop
                active, first, previous = active[go], first[go], previous[go]
                f, p, g, lengths = f[go], p[:, go], g[:, go], lengths[go]
            p = _step(p, g, lengths, weight)
        return u

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        f, iterations = ctx.saved_tensors
        a = gradient(grad)
        grad_f = grad.clone()
        # The result belongs to the field after iterations - 1 steps. Of the fields before them the first of every
        # segment is kept, and those of one segment.
        steps = int(iterations.max()) - 1
        segment = max(1, math.isqrt(steps))
        firsts = [f.new_zeros((2, *f.shape))]
        for _ in range(segment, steps, segment):
            firsts.append(_run(f, firsts[-1], ctx.weight, segment)[-1])
        for k in range(len(firsts) - 1, -1, -1):
            start = k * segment
            fields = _run(f, firsts.pop(), ctx.weight, min(segment, steps - start) - 1)
            for i in range(len(fields) - 1, -1, -1):
                done = iterations - 1 > start + i  # planes that did this step
                if done.any():
                    a[:, done], v = _step_adjoint(f[done], fields[i][:, done], a[:, done], ctx.weight)
                    grad_f[done] += v
        return grad_f, None, None, None


def _run(f: torch.Tensor, p: torch.Tensor, weight: float, steps: int) -> list[torch.Tensor]:
    """Return the dual field p and those after each of some steps."""
    fields = [p]
    for _ in range(steps):
        g = gradient(f + negative_divergence(fields[-1]))
        fields.append(_step(fields[-1], g, length(g), weight))
    return fields


class ChambolleCPU(torch.autograd.Function):
    """What `Chambolle` does, for planes on the CPU, compiled."""

    @staticmethod
    def forward(ctx: Any, f: torch.Tensor, weight: float, eps: float, max_iter: int) -> torch.Tensor:
        from art_denoise.filters import _rof_chambolle_kernels as kernels
        from art_denoise.filters._compiled import share_out

        planes = f.detach().contiguous().numpy()
        u, iterations = np.empty_like(planes), np.empty(len(planes), dtype=np.int64)
        number = planes.dtype.type
        constants = number(_STEP), number(_STEP / weight), number(weight)

        def work(start: int, stop: int) -> None:
            kernels.rof_planes(planes, u, start, stop, *constants, number(eps), max_iter, iterations)

        share_out(work, len(planes), planes[0].size)
        if ctx.needs_input_grad[0]:
            ctx.save_for_backward(f)
            ctx.constants, ctx.iterations = constants, iterations
        return torch.from_numpy(u)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        from art_denoise.filters import _rof_chambolle_kernels as kernels
        from art_denoise.filters._compiled import share_out

        (f,) = ctx.saved_tensors
        planes, grad_u = f.detach().contiguous().numpy(), grad.contiguous().numpy()
        grad_f = np.empty_like(planes)
        most_stored = max(2, _MEMORY_OF_BACKWARD // (3 * planes[0].nbytes))

        step, ratio, weight = ctx.constants
        iterations = ctx.iterations

        def work(start: int, stop: int) -> None:
            kernels.rof_planes_adjoint(
                planes, grad_u, grad_f, start, stop, step, ratio, weight, iterations, most_stored
            )

        share_out(work, len(planes), planes[0].size)
        return torch.from_numpy(grad_f), None, None, None
