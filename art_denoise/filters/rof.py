"""Total-variation denoising: the Rudin–Osher–Fatemi (ROF) model on batches of images."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.autograd.function import once_differentiable

from art_denoise.filters._checks import check_filter_input, check_integer, check_number

#: Step of the dual iteration. Chambolle (2004) proves convergence for a step of at most 1/8 in two dimensions;
#: scikit-image takes 1 / (2 · 2), which converges in practice, and so do we.
_STEP = 0.25

#: A weight so small that nothing is changed, and that its inverse is no number in float32.
_LEAST_WEIGHT = 1e-30

#: Dual fields that the backward pass keeps, in bytes for each thread. Where those of all iterations take more, it keeps
#: the square root of their number, and computes the others once more.
_MEMORY_OF_BACKWARD = 32 * 2**20


def rof_denoise(x: torch.Tensor, weight: float, *, eps: float = 2e-4, max_iter: int = 200) -> torch.Tensor:
    r"""Remove noise by total-variation denoising, each channel of each image by itself.

    The ROF model seeks the image `u` that minimises, for a noisy image `f`,

    .. math:: \tfrac12 \lVert u - f \rVert_2^2 + \mathrm{weight} \cdot \sum_p \lvert (\nabla u)_p \rvert_2

    with forward differences, zero across the border, and the isotropic norm of the gradient at each pixel. `weight`
    stands before the total variation: the greater, the smoother the result.

    What is computed is what the paper's authors ran, scikit-image's `denoise_tv_chambolle`: Chambolle's dual
    fixed-point iteration from zero, ended when the energy changes by less than `eps` times its first value. With the
    default `eps` this ends after a handful of iterations, well before the minimiser is reached.

    :param x: Images, float tensor (N, C, H, W), in units of the value range (0 to 1). float32 and float64 are computed
        as they are, float16 and bfloat16 in float32.
    :param weight: TV weight in units of the value range, 0 to 1e6; 0 returns the images unchanged. The paper
        uses 10/255.
    :param eps: Relative change of the energy at which an image channel stops, ≥ 0. Smaller smooths more. With 0 all
        `max_iter` iterations are done.
    :param max_iter: Most iterations, ≥ 1; the first only evaluates the energy of the input.
    :return: Denoised images (N, C, H, W), same dtype and device. Each channel depends on nothing but itself.
    :raises TypeError: If `x` is not a float tensor or an argument is not a number.
    :raises ValueError: If `x` is not (N, C, H, W) with H, W ≥ 1 or an argument is outside its interval.

    Differentiable once: exactly the iterations done, the stop held fixed. The gradient of \|∇u\| where it vanishes is
    taken as 0. On a CPU the backward pass computes the iterations again, one image channel at a time in each thread,
    and keeps at most 32 MiB of them in each thread, or, where all K of them take more, about 2 √K; elsewhere autograd
    unrolls the iterations, and memory grows with their number.

    Cost: O(N C H W) an iteration. An image channel that has stopped costs nothing more. CPU tensors are filtered by
    compiled code on as many threads as torch uses (`torch.set_num_threads`).

    Source: A. Chambolle, "An algorithm for total variation minimization and applications", J. Math. Imaging Vis. 20
    (2004), doi:10.1023/B:JMIV.0000011325.36760.1e, Eq. (9). Deviations, all scikit-image's: step 1/4 rather than ≤ 1/8;
    stop on the change of the energy ``‖u − f‖² + weight · TV(u)``, which lacks the ½ of the energy that is minimised,
    rather than on the change of the dual variable. On a CPU the result is scikit-image's (with NumPy 2), bit for bit;
    elsewhere the energy is summed in another order, and a borderline stop can fall one iteration apart.
    """
    check_filter_input(x)
    weight = check_number("weight", weight, low=0, high=1e6)
    eps = check_number("eps", eps, low=0)
    check_integer("max_iter", max_iter, low=1)
    if weight < _LEAST_WEIGHT or x.numel() == 0:
        return x.clone()
    n, c, h, w = x.shape
    planes = x.to(torch.promote_types(x.dtype, torch.float32)).reshape(n * c, h, w)
    if x.device.type == "cpu":
        u: torch.Tensor = _ChambolleCPU.apply(planes, weight, eps, max_iter)
    else:
        u = _chambolle(planes, weight, eps, max_iter)
    return u.reshape(n, c, h, w).to(x.dtype)


def _gradient(u: torch.Tensor) -> torch.Tensor:
    """Forward differences (2, M, H, W) of planes (M, H, W) along rows and columns, 0 at the far border."""
    g = u.new_zeros((2, *u.shape))
    g[0, :, :-1] = u[:, 1:] - u[:, :-1]
    g[1, :, :, :-1] = u[:, :, 1:] - u[:, :, :-1]
    return g


def _negative_divergence(p: torch.Tensor) -> torch.Tensor:
    """Adjoint (M, H, W) of `_gradient` at a field (2, M, H, W) whose entries at the far border are 0."""
    d = -(p[0] + p[1])
    d[:, 1:] += p[0, :, :-1]
    d[:, :, 1:] += p[1, :, :, :-1]
    return d


def _length(g: torch.Tensor) -> torch.Tensor:
    """Euclidean length (M, H, W) of a field (2, M, H, W), with gradient 0, not NaN, where it is 0."""
    square = g[0] * g[0] + g[1] * g[1]
    if not square.requires_grad:
        return _square_root(square)
    flat = square == 0
    return _square_root(torch.where(flat, 1.0, square)) * ~flat


def _square_root(x: torch.Tensor) -> torch.Tensor:
    """Square root rounded to the nearest float. torch's is off by one unit for a fifth of all float32 on a CPU.

    The iteration is at the edge of stability (see `_STEP`): two hundred iterations magnify that unit to 1e-4.
    """
    if x.device.type != "cpu" or x.dtype != torch.float32:
        return x.sqrt()
    if x.requires_grad:
        return x.double().sqrt().float()
    return torch.from_numpy(np.sqrt(x.numpy()))


def _chambolle(f: torch.Tensor, weight: float, eps: float, max_iter: int) -> torch.Tensor:
    """Run the dual iteration on planes (M, H, W); each plane leaves the loop when its own energy has settled."""
    active = torch.arange(len(f), device=f.device)
    p = f.new_zeros((2, *f.shape))
    first = previous = f.new_zeros(len(f), dtype=torch.float64)
    order, finished = [], []
    for iteration in range(max_iter):
        d = _negative_divergence(p)
        u = f + d
        g = _gradient(u)
        length = _length(g)
        with torch.no_grad():
            energy = d.square().sum((1, 2), dtype=torch.float64) + weight * length.sum((1, 2), dtype=torch.float64)
            if iteration == 0:
                first, stop = energy, energy == 0  # flat: p stays 0, the result is the input
            else:
                stop = (previous - energy).abs() < eps * first
            if iteration == max_iter - 1:
                stop = torch.ones_like(stop)
            previous = energy
        if stop.any():
            order.append(active[stop])
            finished.append(u[stop])
            if stop.all():
                break
            go = ~stop
            active, first, previous = active[go], first[go], previous[go]
            f, p, g, length = f[go], p[:, go], g[:, go], length[go]
        p = (p - _STEP * g) / (1 + (_STEP / weight) * length)
    return torch.cat(finished)[torch.cat(order).argsort()]


class _ChambolleCPU(torch.autograd.Function):
    """What `_chambolle` does, for planes on the CPU, with the adjoint of the iterations done as its gradient."""

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
