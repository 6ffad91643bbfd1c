"""ROF: equal to scikit-image, with a gradient, and each channel by itself."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import rof_energy
from skimage.restoration import denoise_tv_chambolle

from art_denoise.data.photographs import load_photograph
from art_denoise.filters import _rof_chambolle, rof_denoise
from art_denoise.filters._rof_chambolle_kernels import _pairwise_sum
from art_denoise.filters._rof_operators import gradient, negative_divergence


def scikit_image(x: np.ndarray, weight: float, **kwargs) -> np.ndarray:
    return np.stack([denoise_tv_chambolle(image, weight=weight, channel_axis=0, **kwargs) for image in x])


def rough(shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    """A rough image without two equal neighbours, in float64."""
    return torch.from_numpy(np.random.default_rng(seed).random(shape))


@pytest.mark.parametrize("weight", [1e-3, 5 / 255, 10 / 255, 20 / 255, 0.5, 10.0])
@pytest.mark.parametrize("shape", [(2, 3, 37, 31), (3, 1, 5, 4), (2, 2, 1, 9), (2, 2, 11, 1), (2, 3, 1, 1)])
def test_equals_scikit_image(weight, shape):
    x = np.random.default_rng(1).random(shape).astype(np.float32)
    expected = scikit_image(x, weight)
    if max(shape[2:]) > 1:
        assert np.abs(expected - x).max() > 1e-3 * min(1, weight)  # the oracle does something
    np.testing.assert_allclose(rof_denoise(torch.from_numpy(x), weight).numpy(), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("eps", "max_iter"), [(0.0, 1), (0.0, 2), (0.0, 200), (1e-2, 200), (1e-5, 37)])
def test_stop_rule_is_scikit_images(images, eps, max_iter):
    result = rof_denoise(torch.from_numpy(images), 0.1, eps=eps, max_iter=max_iter).numpy()
    expected = scikit_image(images, 0.1, eps=eps, max_num_iter=max_iter)
    np.testing.assert_allclose(result, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("eps", [2e-4, 1e-3, 1e-5])
def test_photographs_equal_scikit_image(eps):
    """No stop falls elsewhere: of 120 channels, some of which sums in another order would stop otherwise."""
    photographs = [load_photograph(name) for name in ("astronaut", "coffee", "chelsea", "rocket")]
    rng = np.random.default_rng(0)
    # A stop that rounding decides, found by search.
    cases = [(photographs[0][48:272, 48:272], 0.23545119811253157)]
    for k in range(40):
        photograph, side = photographs[k % 4], int(rng.integers(20, 150))
        row, column = (int(rng.integers(0, size - side)) for size in photograph.shape[:2])
        crop = photograph[row : row + side, column : column + side]
        cases.append((crop, float(np.exp(rng.uniform(np.log(0.005), 0)))))
    apart = 0
    for crop, weight in cases:
        x = crop.transpose(2, 0, 1)[None].astype(np.float32) / 255
        result = rof_denoise(torch.from_numpy(x), weight, eps=eps).numpy()
        apart += np.sum(np.abs(result - scikit_image(x, weight, eps=eps)).max((0, 2, 3)) > 1e-6)
    # NumPy < 2.3 sums in another order, and NumPy 1 the weighted energy in float64: either may decide a stop otherwise,
    # more often where `eps` is near rounding.
    same_sums = np.lib.NumpyVersion(np.__version__) >= "2.3.0"
    assert apart <= (0 if same_sums else 5 if eps < 1e-4 else 2)


def test_lowers_the_energy_it_minimises(images):
    denoised = rof_denoise(torch.from_numpy(images), 0.1, eps=0).numpy()
    for f, u in zip(images.reshape(-1, 37, 31), denoised.reshape(-1, 37, 31), strict=True):
        assert rof_energy(u, f, 0.1) < 0.8 * rof_energy(f, f, 0.1)


def test_difference_operators_are_adjoint():
    u = rough((2, 7, 5))
    p = rough((2, 2, 7, 5), seed=1)
    p[0, :, -1] = 0  # the dual field is zero at the far border, where the gradient is
    p[1, :, :, -1] = 0
    torch.testing.assert_close((gradient(u) * p).sum(), (u * negative_divergence(p)).sum())


def test_weight_zero_is_the_identity(images):
    x = torch.from_numpy(images)
    result = rof_denoise(x, 0)
    assert torch.equal(result, x)
    assert result.data_ptr() != x.data_ptr()


def test_constant_image_is_fixed():
    x = torch.full((2, 3, 5, 4), 0.3)
    assert torch.equal(rof_denoise(x, 0.5), x)


@settings(max_examples=20, deadline=None)
@given(
    shift=st.floats(-0.5, 0.5),
    scale=st.floats(0.1, 10),
    seed=st.integers(0, 1000),
)
def test_follows_shift_and_scale(shift, scale, seed):
    x = rough((2, 3, 7, 5), seed)
    reference = rof_denoise(x, 0.1)
    # The energy scales with the square of the values if the weight scales with them.
    torch.testing.assert_close(rof_denoise(scale * x + shift, 0.1 * scale), scale * reference + shift)


def test_follows_transposition():
    x = rough((2, 3, 7, 5))
    torch.testing.assert_close(rof_denoise(x.mT.contiguous(), 0.1), rof_denoise(x, 0.1).mT)


def test_each_channel_of_each_image_is_by_itself(images):
    x = torch.from_numpy(images)
    together = rof_denoise(x, 0.1)
    for n in range(2):
        for c in range(3):
            assert torch.equal(together[n : n + 1, c : c + 1], rof_denoise(x[n : n + 1, c : c + 1], 0.1))


def test_input_is_not_changed(images):
    x = torch.from_numpy(images.copy())
    rof_denoise(x, 0.1)
    assert torch.equal(x, torch.from_numpy(images))


@pytest.mark.parametrize("eps", [0.0, 2e-4])
def test_gradient(eps):
    x = rough((1, 2, 5, 4)).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: rof_denoise(v, 0.1, eps=eps, max_iter=20), x)


def test_gradient_is_finite_in_flat_regions():
    x = torch.full((1, 1, 6, 6), 0.5)
    x[0, 0, 2, 2] = 1
    x.requires_grad_()
    rof_denoise(x, 0.1, max_iter=20).square().sum().backward()
    assert torch.isfinite(x.grad).all()
    assert x.grad.abs().sum() > 0


@pytest.mark.parametrize(
    "shape", [(2, 3, 13, 11), (2, 1, 5, 4), (1, 2, 1, 6), (1, 4, 7, 1), (1, 1, 129, 65), (1, 1, 3, 8191)]
)
@pytest.mark.parametrize(("weight", "eps", "max_iter"), [(0.1, 0, 30), (0.5, 2e-4, 200), (10 / 255, 2e-4, 200)])
def test_compiled_and_torch_agree(monkeypatch, shape, weight, eps, max_iter):
    """The compiled code against torch's, which other devices run: values and gradients."""
    rng = np.random.default_rng(8)
    x, grad = (torch.from_numpy(rng.random(shape).astype(np.float32)) for _ in range(2))
    theirs, ours = x.clone().requires_grad_(), x.clone().requires_grad_()
    result = rof_denoise(ours, weight, eps=eps, max_iter=max_iter)
    result.backward(grad)
    monkeypatch.setattr(_rof_chambolle, "ChambolleCPU", _rof_chambolle.Chambolle)
    expected = rof_denoise(theirs, weight, eps=eps, max_iter=max_iter)
    expected.backward(grad)
    torch.testing.assert_close(result, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(ours.grad, theirs.grad, atol=2e-5, rtol=0)


@pytest.mark.parametrize("max_iter", [1, 2, 3, 9, 10, 17])
def test_gradient_with_little_memory(monkeypatch, max_iter):
    """Keeping some of the iterations and computing the others again gives the same gradient."""
    x, grad = torch.rand(2, 1, 5, 4), torch.rand(2, 1, 5, 4)

    def gradient() -> torch.Tensor:
        ours = x.clone().requires_grad_()
        rof_denoise(ours, 0.1, eps=0, max_iter=max_iter).backward(grad)
        return ours.grad

    expected = gradient()
    monkeypatch.setattr("art_denoise.filters._rof_chambolle._MEMORY_OF_BACKWARD", 0)
    assert torch.equal(gradient(), expected)


@pytest.mark.parametrize("weight", [1e-320, 1e-42, 1e-31])
def test_vanishing_weight_is_the_identity(images, weight):
    x = torch.from_numpy(images)
    assert torch.equal(rof_denoise(x, weight), x)


def test_large_weight_is_finite(images):
    result = rof_denoise(torch.from_numpy(images), 1e6, max_iter=20)
    assert torch.isfinite(result).all()


def test_empty_batch():
    assert rof_denoise(torch.zeros(0, 3, 5, 4), 0.1).shape == (0, 3, 5, 4)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"weight": -0.1}, ValueError, "`weight` must be finite and >= 0 .*got -0.1"),
        ({"weight": float("nan")}, ValueError, "`weight`"),
        ({"weight": "10"}, TypeError, "`weight` must be a number"),
        ({"eps": -1}, ValueError, "`eps`"),
        ({"max_iter": 0}, ValueError, "`max_iter` must be >= 1"),
        ({"max_iter": 1.5}, TypeError, "`max_iter` must be an integer"),
        ({"solver": "newton"}, ValueError, "`solver` must be 'chambolle' or 'converged', got 'newton'"),
        ({"tol": 1e-3}, ValueError, "`tol` belongs to solver='converged', got 0.001.*use `eps`"),
        ({"solver": "converged", "eps": 1e-3}, ValueError, "`eps` belongs to solver='chambolle'.*use `tol`"),
        ({"solver": "converged", "tol": 0}, ValueError, "`tol` must be finite and > 0"),
        ({"return_gap": True}, ValueError, "`return_gap` needs solver='converged'"),
        ({"x": torch.zeros(5, 5, 4)}, ValueError, r"\(N, C, H, W\), got \(5, 5, 4\)"),
        ({"x": torch.zeros(1, 3, 0, 4)}, ValueError, "at least one channel and one pixel"),
        ({"x": torch.zeros(1, 3, 5, 4, dtype=torch.uint8)}, TypeError, r"floating-point.*uint8.*\.float\(\)"),
        ({"x": np.zeros((1, 3, 5, 4))}, TypeError, "ndarray"),
    ],
)
def test_bad_input(arguments, error, message):
    with pytest.raises(error, match=message):
        rof_denoise(**{"x": torch.zeros(1, 3, 5, 4), "weight": 0.1, **arguments})


@pytest.mark.parametrize("size", [1, 7, 8, 9, 127, 128, 129, 1000, 12345, 224 * 224])
def test_sums_are_numpys(size):
    values = np.random.default_rng(size).random(size).astype(np.float32)
    assert _pairwise_sum(values) == values.sum()


def test_compiled_code_is_loaded_from_its_cache():
    """A second process loads what the first compiled; code that cannot be loaded ends it without a word."""
    code = (
        "import torch; from art_denoise import nl_means_denoise, rof_denoise\n"
        "x = torch.rand(3, 3, 20, 20, requires_grad=True)\n"
        "for y in (rof_denoise(x, 0.1), rof_denoise(x, 0.1, eps=1e-5), rof_denoise(x, 0.1, solver='converged'),"
        " nl_means_denoise(x, 0.1), nl_means_denoise(x, 0.1, mode='centred', patch_size=3)): y.sum().backward()"
    )
    for _ in range(2):
        result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr
