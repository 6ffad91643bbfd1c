"""The minimiser of the ROF energy, to a given duality gap, and its derivative. See `rof` for the model.

With u the image and p the dual field, |p| ≤ weight at every pixel, where the gradients of all planes of a group have
one length, the energy and its dual are

    P(u) = ½‖u - f‖² + weight Σ |∇u|,    D(p) = ½‖f‖² - ½‖w‖²,    w = f - ∇ᵀp,

and their difference, the duality gap, is a sum of terms none of which is negative,

    ½‖u - w‖² + Σ (weight |∇u| - ⟨∇u, p⟩).

It bounds how far P(u) is from its minimum and, as P is strongly convex, ½‖u - u*‖².
"""

from __future__ import annotations

import warnings
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
    most_precise,
    negative_divergence,
    of_channels,
    of_groups,
    on_device,
    over_groups,
    together,
)

#: First primal step and modulus of convexity of the accelerated iteration. Any step, and any modulus up to 1,
#: converges; these took the fewest iterations on photographs at weights of 5/255 to 1/2.
_TAU, _GAMMA = 0.2, 0.2

#: Iterations from one evaluation of the gap to the next.
_EVERY = 10

#: Steps of conjugate gradients whose gain is taken for the error of what was before them, and most steps.
_DELAY, _MOST_STEPS = 10, 10_000

#: Least compliance as a share of `tol`, and at all. Without it the system is singular, and nearly so where ∇u is nearly
#: 0: rounding is magnified without end. It lets gradients that are 0 change by as much as `tol` lets them be wrong.
_FLOOR, _LEAST_FLOOR = 1e-2, 1e-9


def _forward(
    x: torch.Tensor, weight: float, weights: torch.Tensor | None, tol: float, max_iter: int, coupled: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Minimise the ROF energy of images (N, C, H, W); return the minimisers, gaps, dual fields and which are flat."""
    check_finite(x)
    f, each, unchanged = as_groups(x, weight, weights, coupled)
    u, gaps = f.clone(), torch.zeros(len(f), dtype=most_precise(f.device), device=f.device)
    dual = f.new_zeros((*f.shape[:2], 2, *f.shape[2:]))
    flat = _flat(f, each)
    if unchanged is not None:
        # Squares of denormal numbers are 0, as those of a flat image are.
        flat[unchanged] = False
    # Without the mean, which the minimiser keeps, nothing is lost to rounding far from 0.
    mean = _mean(f)
    u[flat] = mean[flat].expand_as(u[flat])
    rough = _rough(flat, unchanged)
    if len(rough):
        solve = _solve_compiled if f.device.type == "cpu" else _solve
        weights_of_rough = each[rough.cpu().numpy()]
        solution, dual[rough], gaps[rough] = solve((f - mean)[rough], weights_of_rough, tol, max_iter)
        u[rough] = solution + mean[rough]
        _warn_of_gaps(gaps, tol, max_iter, _noun(f))
    n, c, h, w = x.shape
    return u.reshape(x.shape), of_channels(gaps, x), dual.reshape(n, c, 2, h, w), of_channels(flat, x)


def _adjoint(
    grad: torch.Tensor,
    u: torch.Tensor,
    dual: torch.Tensor,
    flat: torch.Tensor,
    weight: float,
    weights: torch.Tensor | None,
    tol: float,
    max_iter: int,
    coupled: bool,
) -> tuple[torch.Tensor]:
    """Differentiate implicitly.

    At the solution p = Π(p + ∇u) with u = f - ∇ᵀp, where Π shortens to `weight`. Where |z| < weight, z = p + ∇u, ∇u is
    0 and stays 0; elsewhere p turns, dp = weight / (|z| - weight) E d(∇u), where E takes away what is along z. Hence
    du = df - ∇ᵀEs with (E ∇∇ᵀ E + c) s = E ∇ df, c = (|z| - weight) / weight: a symmetric problem, which conjugate
    gradients solve, and the derivative, being that of a proximal operator, is symmetric too.
    """
    groups, each, unchanged = as_groups(u, weight, weights, coupled)
    grad_u, flat = grad.reshape(groups.shape), of_groups(flat, groups)
    dual = dual.reshape(*groups.shape[:2], 2, *u.shape[2:])
    grad_f = torch.where(over_groups(flat), grad_u.mean((2, 3), keepdim=True), grad_u)
    rough = _rough(flat, unchanged)
    if len(rough):
        differentiate = _differentiate_compiled if u.device.type == "cpu" else _differentiate
        weights_of_rough = each[rough.cpu().numpy()]
        grad_f[rough] = differentiate(
            (groups - _mean(groups))[rough], dual[rough], grad_u[rough], weights_of_rough, tol
        )
    return (grad_f.reshape(u.shape),)


def _shapes(x: torch.Tensor, *_: object) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    n, c, h, w = x.shape
    gaps = x.new_empty((n, c), dtype=most_precise(x.device))
    return x.new_empty(x.shape), gaps, x.new_empty((n, c, 2, h, w)), x.new_empty((n, c), dtype=torch.bool)


#: `converged(x, weight, weights, tol, max_iter, coupled)`: the minimiser of images (N, C, H, W), and its relative gaps
#: (N, C).
converged = Operator(
    "rof_converged",
    "float weight, Tensor? weights, float tol, int max_iter, bool coupled",
    4,
    public="rof_denoise",
    forward=_forward,
    shapes=_shapes,
    kept=(1, 3, 4),
    adjoint=_adjoint,
)


def _rough(flat: torch.Tensor, unchanged: torch.Tensor | None) -> torch.Tensor:
    """Return the places of groups that are to be solved for: neither flat nor left as they are."""
    rough = ~flat
    if unchanged is not None:
        rough[unchanged] = False
    return rough.nonzero()[:, 0]


def _noun(groups: torch.Tensor) -> str:
    return "image channels" if groups.shape[1] == 1 else "images"


def _warn_of_gaps(gaps: torch.Tensor, tol: float, max_iter: int, noun: str) -> None:
    worst = float(gaps.max())
    if not worst <= tol:
        warnings.warn(
            f"ROF did not converge: relative duality gap {worst:.1e} > `tol` = {tol:g} after {max_iter} iterations in "
            f"{int((~(gaps <= tol)).sum())} of {len(gaps)} {noun}: raise `max_iter` or `tol`",
            RuntimeWarning,
            stacklevel=2,
        )


def _flat(f: torch.Tensor, weights: np.ndarray) -> torch.Tensor:
    """Return which groups the weights (M,) are so large for that their minimiser is their mean, as a mask (M,).

    That is so if there is a field p with ∇ᵀp = f - mean and |p| ≤ weight, and tried is ∇φ with ∇ᵀ∇φ = f - mean. It
    cannot be so if ‖f - mean‖² > weight Σ |∇f|; first asked, being cheap, is Σ |∇f| ≤ 4 Σ |f - mean|.
    """
    rest, weight = f - _mean(f), on_device(weights, f)
    square = rest.square().sum((1, 2, 3))
    flat = square <= weight * 4 * rest.abs().sum((1, 2, 3))
    if flat.any():
        flat[flat.clone()] = square[flat] <= weight[flat] * length(gradient(f[flat])).sum((1, 2, 3))
    if flat.any():
        flat[flat.clone()] = length(gradient(_potential(rest[flat]))).amax((1, 2, 3)) <= weight[flat]
    return flat


def _mean(f: torch.Tensor) -> torch.Tensor:
    """Return the mean (M, K, 1, 1) of planes, that of a constant plane being its constant."""
    first = f[:, :, :1, :1]
    return first + (f - first).mean((2, 3), keepdim=True)


def _potential(rest: torch.Tensor) -> torch.Tensor:
    """Solve ∇ᵀ∇φ = rest for planes (…, H, W) of mean 0, by a Fourier transform of their even continuation."""
    height, width = rest.shape[-2:]
    precision = most_precise(rest.device)
    even = torch.cat([rest, rest.flip(-2)], -2).to(precision)
    spectrum = torch.fft.rfft2(torch.cat([even, even.flip(-1)], -1))
    rows = 2 - 2 * torch.cos(torch.pi * torch.arange(2 * height, device=rest.device, dtype=precision) / height)
    columns = 2 - 2 * torch.cos(torch.pi * torch.arange(width + 1, device=rest.device, dtype=precision) / width)
    eigenvalues = rows[:, None] + columns
    # The constant, which has no part in planes of mean 0.
    eigenvalues[0, 0] = 1
    spectrum[..., 0, 0] = 0
    return torch.fft.irfft2(spectrum / eigenvalues, s=(2 * height, 2 * width))[..., :height, :width].to(rest.dtype)


def _solve_compiled(
    f: torch.Tensor, weights: np.ndarray, tol: float, max_iter: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Run the primal-dual iteration on groups (M, K, H, W) on the CPU; return u, p (M, K, 2, H, W), relative gaps."""
    from art_denoise.filters._compiled import share_out

    x = as_array(f)
    u, p = np.empty_like(x), np.empty((*x.shape[:2], 2, *x.shape[2:]), x.dtype)
    gaps, iterations = np.empty(len(x)), np.empty(len(x), dtype=np.int64)
    own, loop = weights.astype(x.dtype), _loops(x)[0]
    arrays = alone(x, u, p)

    def work(start: int, stop: int) -> None:
        loop(*arrays, start, stop, own, tol, max_iter, _EVERY, _TAU, _GAMMA, gaps, iterations)

    share_out(work, len(x), x[0].size)
    return torch.from_numpy(u), torch.from_numpy(p), torch.from_numpy(gaps)


def _loops(groups: np.ndarray) -> tuple[Any, Any]:
    """Return the compiled iteration, and that of its derivative, of planes by themselves or of several together."""
    if groups.shape[1] == 1:
        from art_denoise.filters import _rof_converged_kernels as planes

        return planes.solve_planes, planes.differentiate_planes
    from art_denoise.filters import _rof_converged_coupled_kernels as coupled

    return coupled.solve_groups, coupled.differentiate_groups


def _solve(
    f: torch.Tensor, weights: np.ndarray, tol: float, max_iter: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Do the same in torch operations on groups (M, K, H, W); p is (M, K, 2, H, W).

    Source: A. Chambolle and T. Pock, "A first-order primal-dual algorithm for convex problems with applications to
    imaging", J. Math. Imaging Vis. 40 (2011), doi:10.1007/s10851-010-0251-1, Algorithm 2.
    """
    result, gaps = torch.empty_like(f), torch.zeros(len(f), dtype=most_precise(f.device), device=f.device)
    dual, weight = f.new_empty((*f.shape[:2], 2, *f.shape[2:])), over_groups(on_device(weights, f))
    active = torch.arange(len(f), device=f.device)
    u, ahead, p = f, f, f.new_zeros((2, *f.shape))
    tau = _TAU
    for k in range(max_iter + 1):
        if k % _EVERY == 0 or k == max_iter:
            gap = _relative_gap(f, u, p, weight)
            stop = (gap <= tol) | ~gap.isfinite() if k < max_iter else torch.ones_like(gap, dtype=torch.bool)
            if stop.any():
                gaps[active[stop]], result[active[stop]] = gap[stop], u[stop]
                dual[active[stop]] = p[:, stop].movedim(0, 2)
                if stop.all():
                    break
                go = ~stop
                active, weight, f, u, ahead, p = active[go], weight[go], f[go], u[go], ahead[go], p[:, go]
        theta = (1 + 2 * _GAMMA * tau) ** -0.5
        p = p + 1 / (8 * tau) * gradient(ahead)
        p = p * (weight / torch.maximum(length(p), weight))
        image = (u + tau * (f - negative_divergence(p))) / (1 + tau)
        ahead = image + theta * (image - u)
        u = image
        tau *= theta
    return result, dual, gaps


def _relative_gap(f: torch.Tensor, u: torch.Tensor, p: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Return the duality gap of groups, of weights (M, 1, 1, 1), as a share of the energy of u, (M,)."""
    precision = most_precise(f.device)
    g = gradient(u)
    lengths = length(g)
    apart = together((u - f + negative_divergence(p)).square())
    gap = (0.5 * apart + weight * lengths - inner(g, p)).sum((1, 2, 3), dtype=precision)
    energy = (0.5 * together((u - f).square()) + weight * lengths).sum((1, 2, 3), dtype=precision)
    return torch.where(energy != 0, gap.clamp(min=0) / energy, 0.0)


def _differentiate_compiled(
    u: torch.Tensor, dual: torch.Tensor, grad: torch.Tensor, weights: np.ndarray, tol: float
) -> torch.Tensor:
    """Solve for the gradient on the CPU."""
    from art_denoise.filters._compiled import share_out

    result, p, grad_u = map(as_array, (u, dual, grad))
    grad_f, steps = np.empty_like(result), np.empty(len(result), dtype=np.int64)
    floor, own = max(_FLOOR * tol, _LEAST_FLOOR), weights.astype(result.dtype)
    arrays, loop = alone(result, p, grad_u, grad_f), _loops(result)[1]

    def work(start: int, stop: int) -> None:
        loop(*arrays, start, stop, own, tol, floor, _MOST_STEPS, _DELAY, steps)

    share_out(work, len(result), result[0].size)
    _warn_of_gradient(int((steps == _MOST_STEPS).sum()), len(steps), _noun(u))
    return torch.from_numpy(grad_f)


def _differentiate(
    u: torch.Tensor, dual: torch.Tensor, grad: torch.Tensor, weights: np.ndarray, tol: float
) -> torch.Tensor:
    """Do the same in torch operations on groups (M, K, H, W); every one goes on until the last is done."""
    weight, precision = over_groups(on_device(weights, u)), most_precise(u.device)
    z = dual.movedim(2, 0) + gradient(u)
    size = length(z)
    direction = z * torch.where(size > weight, 1 / size, 0.0)
    compliance = ((size - weight) / weight).clamp(min=max(_FLOOR * tol, _LEAST_FLOOR))
    scale = 1 / (2 + compliance)

    def restricted(g: torch.Tensor) -> torch.Tensor:
        return g - inner(direction, g) * direction

    def total(a: torch.Tensor) -> torch.Tensor:
        return a.sum((1, 2, 3), dtype=precision)

    v = grad.clone()
    whole = total(v * v)
    r = restricted(gradient(v))
    d = scale * r
    product = total(inner(r, d))
    rounding = product * torch.finfo(v.dtype).eps ** 2  # below this the residual is rounding
    gains: list[torch.Tensor] = []
    going = torch.ones_like(whole, dtype=torch.bool)
    for _ in range(_MOST_STEPS):
        t = negative_divergence(d)
        energy = total(together(t * t) + compliance * inner(d, d))
        ratio = torch.where((energy > 0) & (product > rounding), product / energy, 0.0)
        alpha = over_groups(ratio.to(v.dtype))
        v = v - alpha * t
        r = restricted(r - alpha * (gradient(t) + compliance * d))
        gains = [*gains[1 - _DELAY :], ratio * product]
        if len(gains) == _DELAY:
            going = sum(gains) > tol * (total(v * v) + tol * whole)
            if not going.any():
                break
        before, product = product, total(scale * inner(r, r))
        beta = over_groups(torch.where(before > 0, product / before, 0.0).to(v.dtype))
        # But for rounding the restriction changes nothing; what rounding leaves grows from step to step, though.
        d = restricted(scale * r + beta * d)
    _warn_of_gradient(int(going.sum()), len(going), _noun(u))
    return v


def _warn_of_gradient(failed: int, count: int, noun: str) -> None:
    if failed:
        warnings.warn(
            f"the gradient of ROF did not converge in {failed} of {count} {noun} after {_MOST_STEPS} steps of "
            "conjugate gradients: raise `tol`",
            RuntimeWarning,
            stacklevel=3,
        )
