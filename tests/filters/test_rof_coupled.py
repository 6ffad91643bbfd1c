"""ROF with coupled channels: the vectorial total variation, by both solvers, compiled and in torch operations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from oracles import coupled_chambolle, coupled_rof_energy

from art_denoise.filters import ROFDenoise, _rof_chambolle, _rof_converged, rof_denoise

SOLVERS = ["chambolle", "converged"]


def rough(*shape: int, seed: int = 0) -> torch.Tensor:
    """Rough images without two equal neighbours, in float64."""
    return torch.from_numpy(np.random.default_rng(seed).random(shape))


def coupled(x: torch.Tensor, weight: float | torch.Tensor, solver: str = "chambolle", **kwargs) -> torch.Tensor:
    return rof_denoise(x, weight, solver=solver, coupling="channels", **kwargs)


@pytest.fixture(params=["compiled", "torch"])
def code(request, monkeypatch):
    """The loops for the CPU, and the torch operations of other devices."""
    if request.param == "torch":
        monkeypatch.setattr(_rof_chambolle, "ChambolleCPU", _rof_chambolle.Chambolle)
        monkeypatch.setattr(_rof_converged, "_solve_compiled", _rof_converged._solve)
        monkeypatch.setattr(_rof_converged, "_differentiate_compiled", _rof_converged._differentiate)
    return request.param


@pytest.mark.parametrize("shape", [(3, 7, 6), (2, 1, 9), (5, 8, 1)])
@pytest.mark.parametrize("iterations", [1, 2, 25])
def test_equals_the_iteration_as_it_is_written(code, shape, iterations):
    x = rough(2, *shape)
    result = coupled(x, 0.1, eps=0, max_iter=iterations).numpy()
    for found, image in zip(result, x.numpy(), strict=True):
        np.testing.assert_allclose(found, coupled_chambolle(image, 0.1, iterations), atol=1e-12)


@pytest.mark.parametrize("weight", [0.02, 0.3])
def test_the_minimiser_has_the_least_energy(code, weight):
    """No further from the least than the gap says, and no step in any direction lowers the energy by more."""
    x = rough(1, 3, 9, 8)
    u, gap = coupled(x, weight, "converged", tol=1e-9, return_gap=True)
    assert gap.shape == (1, 3)
    assert 0 <= float(gap.max()) <= 1e-9
    energy = coupled_rof_energy(u[0].numpy(), x[0].numpy(), weight)
    rng = np.random.default_rng(1)
    for size in (1e-1, 1e-2, 1e-3, 1e-4):
        other = u[0].numpy() + size * rng.standard_normal(u[0].shape)
        assert coupled_rof_energy(other, x[0].numpy(), weight) > energy * (1 - 1e-9)
    # Chambolle's iteration comes to it, and each channel by itself does not.
    torch.testing.assert_close(coupled(x, weight, eps=0, max_iter=20_000), u, atol=2e-4, rtol=0)
    assert (rof_denoise(x, weight, solver="converged") - u).abs().max() > 0.01


@pytest.mark.parametrize("solver", SOLVERS)
def test_one_channel_is_filtered_as_by_itself(code, solver):
    x = rough(2, 1, 9, 8)
    assert torch.equal(coupled(x, 0.1, solver), rof_denoise(x, 0.1, solver=solver))


def test_equal_channels_are_smoothed_less(code):
    """By as much less as the docstring says."""
    grey = rough(1, 1, 9, 8)
    found = coupled(grey.expand(1, 3, 9, 8), 0.1 * 3**0.5, "converged", tol=1e-9)
    expected = rof_denoise(grey, 0.1, solver="converged", tol=1e-9)
    torch.testing.assert_close(found, expected.expand(1, 3, 9, 8), atol=1e-5, rtol=0)


@pytest.mark.parametrize("solver", SOLVERS)
def test_symmetries(code, solver):
    """Channels may be exchanged, and each may have a constant added, rows and columns exchanged, the range scaled."""
    x = rough(2, 3, 9, 8)
    u = coupled(x, 0.1, solver)
    near = {"atol": 1e-9 if solver == "chambolle" else 1e-3, "rtol": 0}
    torch.testing.assert_close(coupled(x[:, [2, 0, 1]], 0.1, solver), u[:, [2, 0, 1]], **near)
    shift = torch.tensor([1.0, -2.0, 0.5], dtype=x.dtype)[:, None, None]
    torch.testing.assert_close(coupled(x + shift, 0.1, solver), u + shift, **near)
    torch.testing.assert_close(coupled(x.mT, 0.1, solver), u.mT, **near)
    torch.testing.assert_close(coupled(8 * x, 0.8, solver), 8 * u, atol=8 * near["atol"], rtol=0)


@pytest.mark.parametrize("solver", SOLVERS)
def test_each_image_is_filtered_by_itself_with_its_own_weight(code, solver):
    x, weights = rough(4, 3, 9, 8), torch.tensor([0.3, 0.0, 0.05, 50.0], dtype=torch.float64)
    before = x.clone()
    # In torch code every group goes on until the last is done: they agree as far as they are accurate.
    accurate = {"tol": 1e-9} if solver == "converged" else {}
    found = coupled(x, weights, solver, **accurate)
    alone = torch.cat([coupled(x[k : k + 1], float(weights[k]), solver, **accurate) for k in range(4)])
    torch.testing.assert_close(found, alone, atol=1e-5, rtol=0)
    assert torch.equal(found[1], x[1])
    assert torch.equal(x, before)
    # A weight as large leaves each channel its mean.
    if solver == "converged":
        torch.testing.assert_close(found[3], x[3].mean((1, 2), keepdim=True).expand(3, 9, 8))


def test_gradient_of_the_iterations(code, monkeypatch):
    x = rough(2, 3, 5, 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: coupled(x, 0.1, max_iter=13, eps=0), x)
    # And where not all fields are kept.
    expected = torch.autograd.grad(coupled(x, 0.1).square().sum(), x)[0]
    monkeypatch.setattr(_rof_chambolle, "_MEMORY_OF_BACKWARD", 1)
    torch.testing.assert_close(torch.autograd.grad(coupled(x, 0.1).square().sum(), x)[0], expected)


@pytest.mark.long
def test_gradient_of_the_minimiser(code):
    x = rough(1, 3, 5, 4).requires_grad_()
    # Differences of a minimiser that is known to 1e-13 of its energy are known to some 1e-4.
    assert torch.autograd.gradcheck(
        lambda x: coupled(x, 0.05, "converged", tol=1e-13, max_iter=200_000), x, eps=1e-5, atol=2e-3
    )


@pytest.mark.parametrize("solver", SOLVERS)
def test_compiled_and_torch_code_agree_on_a_large_image(solver, monkeypatch):
    """Of several blocks of rows."""
    x = rough(1, 3, 130, 131).float().requires_grad_()

    def both() -> tuple[torch.Tensor, torch.Tensor]:
        u = coupled(x, 0.1, solver)
        return u, torch.autograd.grad(u.square().sum(), x)[0]

    compiled = both()
    monkeypatch.setattr(_rof_chambolle, "ChambolleCPU", _rof_chambolle.Chambolle)
    monkeypatch.setattr(_rof_converged, "_solve_compiled", _rof_converged._solve)
    monkeypatch.setattr(_rof_converged, "_differentiate_compiled", _rof_converged._differentiate)
    for one, other in zip(compiled, both(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-4 if solver == "chambolle" else 1e-2, rtol=0)


def test_what_is_not_converged_is_told_of(code):
    with pytest.warns(RuntimeWarning, match=r"in 2 of 2 images: raise `max_iter` or `tol`"):
        coupled(rough(2, 3, 9, 8), 0.1, "converged", max_iter=2)


def test_another_coupling_is_refused():
    for make in (lambda coupling: rof_denoise(rough(1, 3, 5, 4), 0.1, coupling=coupling), ROFDenoise):
        with pytest.raises(ValueError, match="`coupling` must be 'none' or 'channels', got 'all'"):
            make(coupling="all")
