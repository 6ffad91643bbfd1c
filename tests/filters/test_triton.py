"""The kernels for a GPU do what those for the CPU do; without a GPU they are interpreted."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from art_denoise import nl_means_denoise, rof_denoise
from art_denoise.filters import _nl_means, _rof_chambolle, _triton

if not _triton.installed():
    pytest.skip("no Triton, or one before 3.0", allow_module_level=True)

from art_denoise.filters import _nl_means_triton, _rof_chambolle_triton

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
PRECISIONS = [torch.float32, torch.float64]
#: Rounding, in units of the last place of 1, that the order of sums and the exponential may make of a value of some
#: size.
UNITS = 40


def random(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def assert_close(found: torch.Tensor, expected: torch.Tensor) -> None:
    assert found.dtype == expected.dtype
    most = UNITS * torch.finfo(expected.dtype).eps * max(1.0, float(expected.abs().max()))
    torch.testing.assert_close(found.cpu(), expected, rtol=0, atol=most)


@pytest.fixture
def gpu(monkeypatch):
    """Filter with the kernels for a GPU whatever the device is."""
    monkeypatch.setattr(_rof_chambolle, "_backend", lambda x: _rof_chambolle_triton.ChambolleTriton)
    monkeypatch.setattr(_nl_means, "_backend", lambda x: _nl_means_triton.AverageTriton)


@pytest.fixture(params=["whole", "tiles"])
def tiles(request, monkeypatch):
    """Take planes whole, or in many tiles, none of which divides them."""
    if request.param == "tiles":
        monkeypatch.setattr(_rof_chambolle_triton, "_SMALL", 0)
        monkeypatch.setattr(_rof_chambolle_triton, "_TILE", 32)
        monkeypatch.setattr(_rof_chambolle_triton, "_EVERY", 3)


def planes(*shape: int, dtype: torch.dtype) -> torch.Tensor:
    """Return groups of one plane each, the last of them constant."""
    f = random(*shape, dtype=dtype)
    f[-1] = 0.3
    return f[:, None]


def assert_same(f: torch.Tensor, eps: float, max_iter: int) -> None:
    """Do both, and compare to the last bit."""
    weights = np.linspace(0.02, 0.1, len(f))
    expected, iterations = _rof_chambolle.ChambolleCPU.run(f, weights, eps, max_iter)
    u, done = _rof_chambolle_triton.ChambolleTriton.run(f.to(DEVICE), weights, eps, max_iter)
    assert done.tolist() == iterations.tolist()
    assert u.tolist() == expected.tolist()


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize(("eps", "max_iter"), [(5e-3, 200), (0, 3), (0, 1)])
def test_chambolle_is_the_same_to_the_last_bit(tiles, eps, max_iter, dtype):
    assert_same(planes(3, 7, 11, dtype=dtype), eps, max_iter)


@pytest.mark.parametrize("shape", [(2, 1, 13), (2, 13, 1), (1, 1, 1)], ids=str)
def test_chambolle_on_planes_of_one_row_or_column(tiles, shape):
    assert_same(planes(*shape, dtype=torch.float32), 1e-2, 200)


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("memory", [2**30, 0], ids=["all fields kept", "a segment kept"])
def test_adjoint_of_chambolle(tiles, monkeypatch, memory, dtype):
    monkeypatch.setattr(_rof_chambolle_triton, "_MEMORY_OF_BACKWARD", memory)
    f, weights = planes(3, 7, 11, dtype=dtype), np.array([0.02, 0.2, 0.1])
    grad = random(3, 1, 7, 11, dtype=dtype, seed=1) - 0.5
    _, iterations = _rof_chambolle.ChambolleCPU.run(f, weights, 5e-3, 200)
    assert len(set(iterations.tolist())) == 3, "planes that stop together tell less"
    expected = _rof_chambolle.ChambolleCPU.adjoint(grad, f, iterations, weights)
    on_device = grad.to(DEVICE), f.to(DEVICE), iterations.to(DEVICE)
    assert_close(_rof_chambolle_triton.ChambolleTriton.adjoint(*on_device, weights), expected)


WINDOWS = {
    "fast": (2, 1, "fast", "uniform", 0.0),
    "fast, larger patches": (4, 1, "fast", "uniform", 0.02),
    "fast, patches of nothing": (1, 1, "fast", "uniform", 0.0),
    "centred": (3, 1, "centred", "uniform", 0.02),
    "centred, Gaussian": (3, 1, "centred", "gaussian", 0.0),
    "no shift": (3, 0, "centred", "uniform", 0.0),
}


def compare(x: torch.Tensor, window: tuple) -> None:
    """Average x, take the adjoint, and compare both."""
    x = 0.3 * x + torch.linspace(0, 0.5, x.shape[3], dtype=x.dtype)
    grad = random(*x.shape, dtype=x.dtype, seed=1) - 0.5
    chosen, h = _nl_means._window(x.shape[1], *window), np.linspace(0.05, 0.2, len(x))
    u, weights = _nl_means._AverageCPU.run(x, chosen, h)
    for found, expected in zip(_nl_means_triton.AverageTriton.run(x.to(DEVICE), chosen, h), (u, weights), strict=True):
        assert_close(found, expected)
    gradient = _nl_means._AverageCPU.adjoint(grad, x, u, weights, chosen, h)
    on_device = [values.to(DEVICE) for values in (grad, x, u, weights)]
    assert_close(_nl_means_triton.AverageTriton.adjoint(*on_device, chosen, h), gradient)


@pytest.mark.parametrize("window", WINDOWS.values(), ids=WINDOWS)
def test_average_and_its_adjoint(monkeypatch, window):
    """In two tiles that do not divide the images."""
    monkeypatch.setattr(_nl_means_triton, "_ROWS", 8)
    monkeypatch.setattr(_nl_means_triton, "_COLUMNS", 8)
    compare(random(1, 2, 5, 9, dtype=torch.float64), window)


@pytest.mark.parametrize("shape", [(3, 1, 4, 5), (1, 6, 3, 4), (1, 2, 1, 7), (1, 3, 1, 1)], ids=str)
def test_average_of_images_of_all_kinds(shape):
    compare(random(*shape), WINDOWS["fast"])


def test_the_adjoint_of_many_images_is_taken_in_parts(monkeypatch):
    window, h = _nl_means._window(1, *WINDOWS["fast"]), np.array([0.1, 0.2])
    x, grad = random(2, 1, 3, 4).to(DEVICE), random(2, 1, 3, 4, seed=1).to(DEVICE)
    weights = 2 + random(2, 1, 3, 4, seed=2).to(DEVICE)
    whole = _nl_means_triton.AverageTriton.adjoint(grad, x, x, weights, window, h)
    monkeypatch.setattr(_nl_means_triton, "_MEMORY_OF_ADJOINT", 1)
    assert torch.equal(_nl_means_triton.AverageTriton.adjoint(grad, x, x, weights, window, h), whole)


FILTERS = {
    "ROF": lambda x: rof_denoise(x, torch.tensor([0.1, 0.0]), eps=5e-2),
    "NL-means": lambda x: nl_means_denoise(x, torch.tensor([0.2, 0.4]), patch_distance=1),
    "one of bfloat16": lambda x: rof_denoise(x.bfloat16(), 0.1, eps=5e-2).float(),
}


@pytest.mark.parametrize("denoise", FILTERS.values(), ids=FILTERS)
def test_public_filters_and_their_gradients(gpu, denoise):
    found = with_gradient(denoise, DEVICE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_rof_chambolle, "_backend", lambda x: _rof_chambolle.ChambolleCPU)
        patch.setattr(_nl_means, "_backend", lambda x: _nl_means._AverageCPU)
        expected = with_gradient(denoise, "cpu")
    for a, b in zip(found, expected, strict=True):
        assert_close(a, b)


def with_gradient(denoise, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    x = random(2, 3, 4, 5).to(device).requires_grad_()
    u = denoise(x)
    return u.detach(), torch.autograd.grad(u.square().sum(), x)[0]


@pytest.mark.long
@pytest.mark.skipif(DEVICE == "cuda", reason="here the kernels are compiled anyway")
def test_kernels_are_compiled_for_gpus():
    """The interpreter takes much that the compiler does not. Chambolle's steps round each sum and product."""
    script = Path(__file__).parents[1] / "gpu_kernels.py"
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    done = subprocess.run([sys.executable, str(script)], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    made = [line.split() for line in done.stdout.splitlines()]
    assert len(made) == 26
    for name, _, compiled, divisions, roots, fused in made:
        assert compiled == "True"
        if name in ("_step", "_whole_planes"):
            assert int(divisions) > 0
            assert int(roots) > 0
            assert int(fused) == 0


class OnGpu:
    """As much of a tensor as is asked for its device."""

    is_cuda, device = True, torch.device("cuda", 3)


def test_where_no_kernels_can_be_made_that_is_said_once(monkeypatch):
    def fail(device: torch.device) -> None:
        raise RuntimeError("Failed to find C compiler")

    monkeypatch.setattr(_triton, "_try", fail)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"GPU {device}")
    _triton._usable_on.cache_clear()
    with pytest.warns(RuntimeWarning, match=r"no kernels for GPU 3 \(RuntimeError: Failed to find C compiler\)"):
        assert not _triton.usable(OnGpu)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not _triton.usable(OnGpu)
    _triton._usable_on.cache_clear()


def test_images_on_a_gpu_are_filtered_by_the_kernels(monkeypatch):
    monkeypatch.setattr(_triton, "_try", lambda device: None)
    _triton._usable_on.cache_clear()
    assert _triton.usable(OnGpu)
    assert not _triton.usable(torch.zeros(1))
    _triton._usable_on.cache_clear()
    for module, kernels in ((_rof_chambolle, "ChambolleTriton"), (_nl_means, "AverageTriton")):
        monkeypatch.setattr(module, "usable", lambda x: True)
        assert module._backend(torch.zeros((1, 1, 1, 1), device="meta")).__name__ == kernels
        monkeypatch.setattr(module, "usable", lambda x: False)
        assert "Triton" not in module._backend(torch.zeros((1, 1, 1, 1), device="meta")).__name__
    # Coupled planes have no kernel.
    monkeypatch.setattr(_rof_chambolle, "usable", lambda x: True)
    assert _rof_chambolle._backend(torch.zeros((1, 3, 1, 1), device="meta")) is _rof_chambolle.Chambolle
