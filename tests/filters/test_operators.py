"""Filters inside torch's transforms: compiled, exported, traced, batched and differentiated by `torch.func`."""

from __future__ import annotations

import pytest
import torch

from art_denoise import nl_means_denoise, rof_denoise
from art_denoise.filters import _nl_means, _rof_chambolle, _rof_converged
from art_denoise.filters._operators import _LIBRARY

FILTERS = {
    "chambolle": lambda x: rof_denoise(x, 0.1),
    "converged": lambda x: rof_denoise(x, 0.1, solver="converged"),
    "fast": lambda x: nl_means_denoise(x, 0.3),
    "centred": lambda x: nl_means_denoise(x, 0.3, patch_size=3, mode="centred"),
}

needs_operators = pytest.mark.skipif(_LIBRARY is None, reason="operators have all rules from PyTorch 2.5 on")


@pytest.fixture(params=FILTERS)
def denoise(request):
    return FILTERS[request.param]


def images(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def gradient(function, x: torch.Tensor) -> torch.Tensor:
    x = x.clone().requires_grad_()
    return torch.autograd.grad(function(x), x)[0]


def test_gradients_of_torch_func(denoise):
    def loss(x: torch.Tensor) -> torch.Tensor:
        return denoise(x).square().sum()

    x = images(2, 3, 9, 8)
    assert torch.equal(torch.func.grad(loss)(x), gradient(loss, x))


def test_mapped_over_a_batch(denoise):
    x = images(4, 2, 3, 9, 8)
    one_by_one = torch.stack([denoise(batch) for batch in x])
    assert torch.equal(torch.func.vmap(denoise)(x), one_by_one)
    # Along another axis, and one image at a time.
    assert torch.equal(torch.func.vmap(denoise, in_dims=1, out_dims=1)(x.movedim(0, 1)), one_by_one.movedim(0, 1))
    assert torch.equal(torch.func.vmap(lambda image: denoise(image[None])[0])(x[0]), one_by_one[0])


def test_gradients_mapped_over_a_batch(denoise):
    """Those of each image, as differential privacy and influence functions take them."""

    def loss(image: torch.Tensor) -> torch.Tensor:
        return denoise(image[None]).square().sum()

    x = images(3, 2, 9, 8)
    expected = torch.stack([gradient(loss, image) for image in x])
    assert torch.equal(torch.func.vmap(torch.func.grad(loss))(x), expected)
    assert torch.equal(torch.func.grad(lambda v: torch.func.vmap(loss)(v).sum())(x), expected)


def test_jacobian(denoise):
    def sums(x: torch.Tensor) -> torch.Tensor:
        return denoise(x).square().sum((1, 2, 3))

    x = images(2, 1, 6, 5)
    expected = torch.autograd.functional.jacobian(sums, x)
    torch.testing.assert_close(torch.func.jacrev(sums)(x), expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(torch.func.jacrev(sums, chunk_size=1)(x), expected, atol=1e-6, rtol=0)


@needs_operators
def test_batched_gradients(denoise):
    x = images(2, 1, 6, 5).requires_grad_()
    grads = images(3, 2, 1, 6, 5, seed=1)
    result = denoise(x)
    expected = [torch.autograd.grad(result, x, grad, retain_graph=True)[0] for grad in grads]
    (found,) = torch.autograd.grad(result, x, grads, is_grads_batched=True)
    torch.testing.assert_close(found, torch.stack(expected), atol=1e-6, rtol=0)


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore:`torch.jit.trace`")
@needs_operators
def test_traced(denoise):
    """A trace filters what it is given, not what it was traced with; another number of images too."""
    traced = torch.jit.trace(denoise, images(2, 3, 9, 8))
    x = images(5, 3, 9, 8, seed=1)
    assert torch.equal(traced(x), denoise(x))


@pytest.mark.filterwarnings("ignore:Guards may run slower on Python 3.13.0:RuntimeWarning")
@needs_operators
def test_compiled(denoise):
    """One graph, for any number of images, with the values and gradients of a plain call."""
    torch._dynamo.reset()
    compiled = torch.compile(lambda x: 2 * denoise(x), backend="aot_eager", fullgraph=True, dynamic=True)
    for n in (2, 3):
        x, y = images(n, 3, 9, 8), images(n, 3, 9, 8)
        assert torch.equal(compiled(x), 2 * denoise(x))
        assert torch.equal(
            gradient(lambda v: compiled(v).square().sum(), y), gradient(lambda v: (2 * denoise(v)).square().sum(), y)
        )


@needs_operators
def test_exported(denoise):
    class Network(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return denoise(x).mean((2, 3))

    images_of_any_number = {0: torch.export.Dim("images", min=1)}
    program = torch.export.export(Network(), (images(2, 3, 9, 8),), dynamic_shapes=(images_of_any_number,))
    x = images(5, 3, 9, 8, seed=1)
    assert torch.equal(program.module()(x), Network()(x))


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # from torch's check itself
@needs_operators
@pytest.mark.parametrize(
    ("operator", "arguments"),
    [
        ("rof_chambolle", (0.0, torch.tensor([0.0, 0.2]), 2e-4, 20, False)),
        ("rof_chambolle", (0.0, torch.tensor([0.0, 0.2]), 2e-4, 20, True)),
        ("rof_converged", (0.0, torch.tensor([0.1, 0.0]), 1e-4, 1000, False)),
        ("rof_converged", (0.0, torch.tensor([0.1, 0.0]), 1e-4, 1000, True)),
        ("nl_means", (0.3, None, 2, 3, "fast", "uniform", 0.0)),
    ],
)
def test_rules_are_consistent(operator, arguments):
    """torch's own check: schema, what fake tensors are told, gradients, and compilation with changing shapes."""
    x = images(2, 3, 6, 5).requires_grad_()
    torch.library.opcheck(getattr(torch.ops.art_denoise, operator).default, (x, *arguments))


@pytest.mark.parametrize("solver", ["chambolle", "converged"])
def test_second_derivatives_are_refused_of_linear_functions_too(solver):
    """Their first derivative is as good as constant to autograd, whose Hessian was 0 without a word."""
    with pytest.raises(RuntimeError, match="`rof_denoise` can be differentiated once, not twice"):
        torch.autograd.functional.hessian(lambda x: rof_denoise(x, 0.1, solver=solver).sum(), images(1, 1, 5, 4))


STRENGTHS = {
    "chambolle": lambda x, s: rof_denoise(x, s),
    # In torch code every plane goes on until the last is done: they agree as far as they are accurate.
    "converged": lambda x, s: rof_denoise(x, s, solver="converged", tol=1e-8),
    "fast": lambda x, s: nl_means_denoise(x, s),
    "gaussian": lambda x, s: nl_means_denoise(x, s, patch_size=3, mode="centred", patch_weights="gaussian"),
}


@pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "torch"])
@pytest.mark.parametrize("denoise", STRENGTHS.values(), ids=STRENGTHS)
def test_a_strength_for_each_image(monkeypatch, denoise, compiled):
    """As if each were filtered by itself: values and gradients, in the torch code of other devices too."""
    if not compiled:
        monkeypatch.setattr(_rof_chambolle, "ChambolleCPU", _rof_chambolle.Chambolle)
        monkeypatch.setattr(_rof_converged, "_solve_compiled", _rof_converged._solve)
        monkeypatch.setattr(_rof_converged, "_differentiate_compiled", _rof_converged._differentiate)
        monkeypatch.setattr(_nl_means, "_AverageCPU", _nl_means._Average)
    x, strengths = images(4, 3, 9, 8).double(), torch.tensor([0.3, 1e-33, 0.05, 5.0], dtype=torch.float64)
    expected = torch.cat([denoise(x[k : k + 1], float(strengths[k])) for k in range(4)])
    torch.testing.assert_close(denoise(x, strengths), expected, atol=1e-12, rtol=0)
    assert torch.equal(denoise(x, strengths)[1], x[1])
    slopes = [gradient(lambda v, k=k: denoise(v, float(strengths[k])).pow(3).sum(), x[k : k + 1]) for k in range(4)]
    found = gradient(lambda v: denoise(v, strengths).pow(3).sum(), x)
    torch.testing.assert_close(found, torch.cat(slopes), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("strength", "error", "message"),
    [
        (torch.tensor([0.1, 0.2, 0.3]), ValueError, r"a tensor \(N,\) with one for each image of 2, got \(3,\)"),
        (torch.tensor(0.1), ValueError, r"got \(\)"),
        (torch.tensor([1, 2]), TypeError, "a tensor of floats, got one of torch.int64"),
        (torch.tensor([0.1, float("nan")]), ValueError, "for each image, got nan for image 1"),
        (torch.tensor([0.1, -1.0]), ValueError, "got -1 for image 1"),
        (torch.tensor([0.1, 0.2], requires_grad=True), ValueError, "has no gradient, but requires one"),
    ],
)
@pytest.mark.parametrize("denoise", STRENGTHS.values(), ids=STRENGTHS)
def test_bad_strengths(denoise, strength, error, message):
    with pytest.raises(error, match=message):
        denoise(images(2, 1, 9, 8), strength)
