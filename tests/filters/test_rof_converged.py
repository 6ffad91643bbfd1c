"""The converged ROF solver: the minimiser, to a gap that is computed by other code, and its derivative."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from oracles import rof_energy
from scipy.optimize import minimize

from art_denoise.data.photographs import load_photograph
from art_denoise.filters import _rof_converged as converged
from art_denoise.filters import rof_denoise
from art_denoise.filters._rof_operators import gradient, length, negative_divergence


def rough(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).random(shape))


def solve(x: torch.Tensor, weight: float, **options) -> torch.Tensor:
    return rof_denoise(x, weight, solver="converged", **options)


@pytest.mark.parametrize("weight", [0.02, 0.1, 0.4])
def test_is_the_minimiser_of_the_energy(weight):
    """Against a general-purpose optimiser on a slightly smoothed energy."""
    f = rough(1, 1, 5, 4)
    u, gap = solve(f, weight, tol=1e-10, return_gap=True)
    assert gap.shape == (1, 1)
    image = f[0, 0].numpy()

    def smoothed(v: np.ndarray) -> float:
        v = v.reshape(5, 4)
        down, right = np.zeros((5, 4)), np.zeros((5, 4))
        down[:-1], right[:, :-1] = np.diff(v, axis=0), np.diff(v, axis=1)
        return 0.5 * np.sum((v - image) ** 2) + weight * np.sum(np.sqrt(down**2 + right**2 + 1e-10))

    best = minimize(smoothed, image.ravel(), method="L-BFGS-B", options={"maxiter": 5000, "ftol": 1e-15, "gtol": 1e-9})
    least = rof_energy(u[0, 0].numpy(), image, weight)
    assert least <= rof_energy(best.x.reshape(5, 4), image, weight) + 1e-9
    # Smoothing by 1e-5 raises the energy by at most 20 · weight · 1e-5.
    assert least >= smoothed(best.x) - 20 * weight * 1e-5 - 1e-9
    np.testing.assert_allclose(u[0, 0].numpy(), best.x.reshape(5, 4), atol=5e-3)


@pytest.mark.parametrize("tol", [1e-2, 1e-4, 1e-6])
@pytest.mark.parametrize("weight", [0.01, 0.1, 1.0])
def test_the_gap_is_kept(images, weight, tol):
    """The energy is within `tol` of that of a much more precise solution, and its square bounds the distance."""
    images = images[:, :, 8:21, 4:15]
    x = torch.from_numpy(images).double()
    u, gap = solve(x, weight, tol=tol, return_gap=True)
    exact = solve(x, weight, tol=1e-8, max_iter=100_000)
    assert (gap <= tol).all()
    for n in range(2):
        for c in range(3):
            energy, least = (rof_energy(v[n, c].numpy(), images[n, c].astype(float), weight) for v in (u, exact))
            assert energy - least <= float(gap[n, c]) * energy + 1e-12
            distance = float((u[n, c] - exact[n, c]).square().sum()) / 2
            assert distance <= 2 * (float(gap[n, c]) + 1e-8) * energy


def test_smooths_more_than_the_paper_s_stop(images):
    """The paper's few iterations are far from the minimiser; with more of them Chambolle's come to it."""
    x = torch.from_numpy(images).double()
    exact = solve(x, 0.1, tol=1e-7)
    early, late = (rof_denoise(x, 0.1, **o) for o in ({}, {"eps": 0, "max_iter": 20_000}))
    assert (early - exact).square().mean().sqrt() > 5e-3
    torch.testing.assert_close(late, exact, atol=2e-4, rtol=0)


@pytest.mark.parametrize(("shape"), [(1, 2, 1, 9), (2, 1, 7, 1), (1, 1, 1, 1), (1, 2, 3, 2)])
def test_small_images(shape):
    x = rough(*shape)
    u, gap = solve(x, 0.05, return_gap=True)
    assert u.shape == x.shape
    assert (gap <= 1e-4).all()


def test_two_pixels():
    """In closed form: the two come nearer by `weight` each, until they meet."""
    x = torch.tensor([[[[0.2, 0.9]]]], dtype=torch.float64)
    torch.testing.assert_close(
        solve(x, 0.1, tol=1e-12), torch.tensor([[[[0.3, 0.8]]]], dtype=torch.float64), atol=1e-6, rtol=0
    )
    torch.testing.assert_close(solve(x, 0.5), torch.full_like(x, 0.55))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("weight", [5.0, 100.0, 1e6])
def test_large_weight_gives_the_channel_mean(images, weight, dtype):
    x = torch.from_numpy(images).to(dtype).requires_grad_()
    u, gap = solve(x, weight, return_gap=True)
    torch.testing.assert_close(u, x.mean((2, 3), keepdim=True).expand_as(x))
    assert (gap == 0).all()
    grad = torch.rand(x.shape, dtype=dtype)
    (found,) = torch.autograd.grad(u, x, grad)
    torch.testing.assert_close(found, grad.mean((2, 3), keepdim=True).expand_as(x))


def test_flat_is_only_what_is_flat():
    """Just above the weight that makes two halves meet the image is flat, just below it is not."""
    x = torch.zeros(1, 1, 6, 8, dtype=torch.float64)
    x[..., 4:] = 1
    # Across the edge |p| = Σ (f - mean) along a row = 4 · ½.
    assert float(solve(x, 2.001).std()) < 1e-9
    u = solve(x, 1.9, tol=1e-8)
    assert float(u[..., 4:].mean() - u[..., :4].mean()) == pytest.approx(0.05, rel=1e-3)


@pytest.mark.parametrize("weight", np.geomspace(0.05, 2, 12))
def test_flat_only_where_nothing_is_better(weight):
    """Against Chambolle's iteration, across the weight at which the image becomes flat."""
    x = rough(1, 1, 9, 8)
    other = rof_denoise(x, weight, eps=0, max_iter=2000)
    ours, theirs = (rof_energy(u[0, 0].numpy(), x[0, 0].numpy(), weight) for u in (solve(x, weight, tol=1e-6), other))
    assert ours <= theirs * (1 + 1e-6)


def test_small_weight_is_the_identity(images):
    x = torch.from_numpy(images)
    torch.testing.assert_close(solve(x, 1e-7), x, atol=1e-6, rtol=0)
    assert torch.equal(solve(x, 0), x)


def test_constant_image_is_fixed():
    x = torch.full((2, 3, 5, 4), 0.3)
    u, gap = solve(x, 0.1, return_gap=True)
    assert torch.equal(u, x)
    assert (gap == 0).all()


def test_symmetry():
    x = rough(2, 3, 9, 7)
    reference = solve(x, 0.1, tol=1e-9)
    for change in (lambda v: v.mT.contiguous(), lambda v: v[:, [2, 0, 1]], lambda v: v.flip(0)):
        torch.testing.assert_close(solve(change(x), 0.1, tol=1e-9), change(reference), atol=1e-4, rtol=0)
    torch.testing.assert_close(solve(3 * x + 0.5, 0.3, tol=1e-9), 3 * reference + 0.5, atol=1e-4, rtol=0)


def test_each_channel_of_each_image_is_by_itself(images):
    x = torch.from_numpy(images)
    together = solve(x, 0.1)
    for n in range(2):
        for c in range(3):
            assert torch.equal(together[n : n + 1, c : c + 1], solve(x[n : n + 1, c : c + 1], 0.1))
    assert torch.equal(x, torch.from_numpy(images))


@pytest.mark.parametrize("weight", [0.03, 0.1, 0.3])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_gradient(weight, seed):
    """Finite differences need steps well above the error of the solution, which is about the root of the gap."""
    x = rough(1, 2, 5, 4, seed=seed).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda v: solve(v, weight, tol=1e-14, max_iter=100_000), x, eps=1e-4, atol=2e-3, rtol=0
    )


def test_gradient_is_that_of_a_projection():
    """The derivative of a proximal operator is symmetric, and keeps or shortens every gradient; the mean is kept."""
    x = rough(1, 1, 9, 8).requires_grad_()
    u = solve(x, 0.1, tol=1e-10)
    v, w = rough(2, 1, 1, 9, 8, seed=1)
    (jv,), (jw,) = (torch.autograd.grad(u, x, grad, retain_graph=True) for grad in (v, w))
    torch.testing.assert_close((jv * w).sum(), (jw * v).sum(), rtol=1e-4, atol=0)
    assert 0.05 * v.norm() < jv.norm() < v.norm()
    torch.testing.assert_close(jv.sum(), v.sum())


@pytest.mark.parametrize("shape", [(2, 3, 13, 11), (1, 2, 1, 6), (1, 4, 7, 1), (1, 1, 91, 92)])
@pytest.mark.parametrize("weight", [0.02, 0.2])
def test_compiled_and_torch_agree(monkeypatch, shape, weight):
    x, grad = rough(*shape), rough(*shape, seed=1)

    def both() -> tuple[torch.Tensor, torch.Tensor]:
        ours = x.clone().requires_grad_()
        small = x.shape[2] < 50
        u = solve(ours, weight, **({"tol": 1e-11, "max_iter": 100_000} if small else {}))
        return u.detach(), torch.autograd.grad(u, ours, grad)[0]

    compiled = both()
    monkeypatch.setattr(converged, "_solve_compiled", converged._solve)
    monkeypatch.setattr(converged, "_differentiate_compiled", converged._differentiate)
    for ours, theirs in zip(compiled, both(), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)
    assert (compiled[1] - grad).abs().max() > 0.1


@pytest.mark.parametrize("tol", [1e-4, 1e-5])
@pytest.mark.parametrize("noise", [0, 10 / 255])
def test_gradient_on_photographs_is_never_lengthened(noise, tol):
    """In single precision the equations are nearly singular; the derivative of a proximal operator has norm ≤ 1."""
    rng = np.random.default_rng(5)
    crops = []
    for name in ("astronaut", "coffee", "chelsea", "rocket"):
        photograph = load_photograph(name).transpose(2, 0, 1) / 255
        for _ in range(10):
            row, column = (int(rng.integers(0, size - 32)) for size in photograph.shape[1:])
            crops.append(photograph[:, row : row + 32, column : column + 32])
    signs = rng.choice([-1, 1], (40, 3, 32, 32))
    x = torch.from_numpy(np.stack(crops) + noise * signs).float().requires_grad_()
    grad = torch.from_numpy(rng.normal(size=x.shape)).float()
    (found,) = torch.autograd.grad(solve(x, 0.1 if noise else 10 / 255, tol=tol), x, grad)
    share = found.flatten(2).norm(dim=2) / grad.flatten(2).norm(dim=2)
    assert share.min() > 0
    assert share.max() < 1
    # The same problem in double precision.
    v = x.detach().double().requires_grad_()
    (exact,) = torch.autograd.grad(solve(v, 0.1 if noise else 10 / 255, tol=tol), v, grad.double())
    assert (found - exact).norm() < 0.02 * exact.norm()


@pytest.mark.parametrize("offset", [1.0, 1000.0])
def test_far_from_zero(images, offset):
    """Single precision keeps four digits of an image near 1000, and the minimiser of those."""
    x = torch.from_numpy(images) + offset
    u, gap = solve(x, 0.1, return_gap=True)
    assert (gap <= 1e-4).all()
    torch.testing.assert_close(u.double(), solve(x.double(), 0.1), atol=2e-3, rtol=0)


def test_potential_solves_the_poisson_equation():
    rest = rough(3, 7, 5)
    rest -= rest.mean((1, 2), keepdim=True)
    p = gradient(converged._potential(rest))
    torch.testing.assert_close(negative_divergence(p), rest)
    assert length(p).max() > 0


def test_warns_when_it_has_not_converged(images):
    with pytest.warns(
        RuntimeWarning, match=r"duality gap .* > `tol` = 0.0001 after 3 iterations in 6 of 6.*`max_iter`"
    ):
        u, gap = solve(torch.from_numpy(images), 0.1, max_iter=3, return_gap=True)
    assert (gap > 1e-4).all()
    assert torch.isfinite(u).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        solve(torch.from_numpy(images), 0.1)


def test_a_fine_tolerance_is_reached_in_single_precision(images):
    u, gap = solve(torch.from_numpy(images), 0.1, tol=1e-8, return_gap=True)
    assert u.dtype == torch.float32
    assert (gap <= 1e-8).all()
