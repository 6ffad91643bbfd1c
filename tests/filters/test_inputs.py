"""What both filters take, whatever their mode: layouts, shapes and dtypes, with and without a gradient."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from art_denoise.filters import nl_means_denoise, rof_denoise

FILTERS = {
    "chambolle": lambda x: rof_denoise(x, 0.1),
    "converged": lambda x: rof_denoise(x, 0.1, solver="converged"),
    "fast": lambda x: nl_means_denoise(x, 0.1),
    "centred": lambda x: nl_means_denoise(x, 0.1, patch_size=3, mode="centred", sigma=0.01),
    "gaussian": lambda x: nl_means_denoise(x, 0.1, patch_size=3, mode="centred", patch_weights="gaussian"),
}


@pytest.fixture(params=FILTERS)
def denoise(request):
    return FILTERS[request.param]


def test_layout_does_not_matter(denoise, images):
    x = torch.from_numpy(images)
    expected = denoise(x)
    assert (expected - x).abs().max() > 1e-3
    strided = x.permute(2, 3, 0, 1).contiguous().permute(2, 3, 0, 1)
    assert not strided.is_contiguous()
    for same in (strided, x.to(memory_format=torch.channels_last), torch.cat([x, x], 3)[..., : x.shape[3]]):
        assert torch.equal(denoise(same), expected)
    expanded = x[:1, :1].expand(3, 2, -1, -1)
    torch.testing.assert_close(denoise(expanded), denoise(expanded.contiguous()), rtol=0, atol=0)


def test_gradient_of_a_strided_tensor(denoise, images):
    x, grad = torch.from_numpy(images), torch.rand(images.shape)

    def gradient(x: torch.Tensor, grad: torch.Tensor) -> torch.Tensor:
        x = x.detach().requires_grad_()
        return torch.autograd.grad(denoise(x), x, grad)[0]

    expected = gradient(x, grad)
    assert (expected - grad).abs().max() > 1e-3
    last = torch.channels_last
    assert torch.equal(gradient(x.to(memory_format=last), grad.to(memory_format=last)), expected)
    # An expanded gradient, as that of a sum is.
    ones = torch.ones(1).expand(images.shape)
    assert torch.equal(gradient(x, ones), gradient(x, torch.ones(images.shape)))


@pytest.mark.parametrize("shape", [(1, 3, 10_000, 1), (2, 1, 1, 10_000), (1, 2, 3, 3000)])
def test_long_images(denoise, shape):
    x = torch.from_numpy(np.random.default_rng(0).random(shape).astype(np.float32)).requires_grad_()
    result = denoise(x)
    assert result.shape == shape
    assert 1e-3 < (result - x).abs().max() < 1
    (grad,) = torch.autograd.grad(result.square().sum(), x)
    assert torch.isfinite(grad).all()
    # What is far away does not matter: the middle is that of a shorter image.
    if shape[3] == 1:
        near = denoise(x[:, :, 4000:6000])[:, :, 900:1100]
        torch.testing.assert_close(near, result[:, :, 4900:5100], atol=2e-2, rtol=0)


def test_without_a_gradient(denoise, images):
    x = torch.from_numpy(images).requires_grad_()
    with torch.no_grad():
        result = denoise(x)
    assert not result.requires_grad
    assert torch.equal(result, denoise(x).detach())
    with torch.inference_mode():
        assert torch.equal(denoise(x.detach()), result)


def test_nothing_touches_grad(denoise, images):
    x = torch.from_numpy(images).requires_grad_()
    x.grad = torch.full_like(x, 3.0)
    torch.autograd.grad(denoise(x).sum(), x)
    assert (x.grad == 3).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_single(denoise, images, dtype):
    x = torch.from_numpy(images).to(dtype).requires_grad_()
    result = denoise(x)
    assert result.dtype == dtype
    assert torch.equal(result, denoise(x.detach().float()).to(dtype))
    assert torch.autograd.grad(result.sum(), x)[0].dtype == dtype


def test_threads_do_not_matter(denoise, images):
    """The number of threads changes nothing."""
    x, before = torch.from_numpy(images).repeat(20, 1, 1, 1), torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = denoise(x)
        torch.set_num_threads(3)
        assert torch.equal(denoise(x), one)
    finally:
        torch.set_num_threads(before)


def test_second_derivatives_are_refused(denoise):
    x = torch.rand(1, 1, 5, 4, requires_grad=True)
    (first,) = torch.autograd.grad(denoise(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="can be differentiated once, not twice"):
        first.sum().backward()


def test_the_other_devices_code_keeps_no_graph(monkeypatch, images):
    """In torch operations too, memory kept for the backward pass is a few images, not one for each iteration."""
    from art_denoise.filters import _nl_means, _rof_chambolle

    monkeypatch.setattr(_rof_chambolle, "ChambolleCPU", _rof_chambolle.Chambolle)
    monkeypatch.setattr(_nl_means, "_AverageCPU", _nl_means._Average)
    for name in ("chambolle", "fast"):
        x, kept = torch.from_numpy(images).requires_grad_(), []
        with torch.autograd.graph.saved_tensors_hooks(lambda t, kept=kept: kept.append(t.numel()) or t, lambda t: t):
            FILTERS[name](x)
        assert 0 < sum(kept) <= 3 * x.numel()


def test_one_image_as_transforms_have_it(denoise, images):
    x = torch.from_numpy(images)
    assert torch.equal(denoise(x[0]), denoise(x)[0])
    assert torch.equal(denoise(x[0, :1]), denoise(x[:1, :1])[0])


def test_the_gap_of_one_image(images):
    x = torch.from_numpy(images)
    expected = rof_denoise(x, 0.1, solver="converged", return_gap=True)
    for one, many in zip(rof_denoise(x=x[0], weight=0.1, solver="converged", return_gap=True), expected, strict=True):
        assert torch.equal(one, many[0])


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (lambda x: (x * 255).byte(), TypeError, "a torch.uint8 tensor: use `x.float() / 255`, as parameters are in"),
        (lambda x: (x * 255).long(), TypeError, "a torch.int64 tensor: use `x.float() / 255`"),
        (lambda x: x > 0.5, TypeError, "a torch.bool tensor: use `x.float()`"),
        (lambda x: x.numpy(), TypeError, "got ndarray: use `torch.from_numpy(x)`"),
        (lambda x: (x * 255).byte().numpy(), TypeError, "got ndarray: use `torch.from_numpy(x).float() / 255`"),
        (lambda x: x.tolist(), TypeError, "got list: use `torch.as_tensor(x)`"),
        (lambda x: x[0, 0], ValueError, "got (37, 31): give one grey image as `x[None, None]`"),
        (lambda x: x.reshape(-1, 37, 31), ValueError, "got (6, 37, 31): give a stack of grey images as `x[:, None]`"),
        (lambda x: x[:, :, None], ValueError, "give the frames of videos (N, C, F, H, W) as `x.movedim(2, 1).flatten"),
        (lambda x: x[:, None], ValueError, "those of (N, F, C, H, W) as `x.flatten(0, 1)`"),
        (lambda x: x[None, None], ValueError, "`x` must be (N, C, H, W), got (1, 1, 2, 3, 37, 31)"),
        (lambda x: x[..., :0], ValueError, "at least one channel and one pixel"),
    ],
)
def test_what_the_message_says_can_be_done(denoise, given, error, message, images):
    """Done as it says, the result is that of the images, and no frame has become a channel."""
    plain = torch.from_numpy(images)
    x = given(plain)
    with pytest.raises(error, match=re.escape(message)) as raised:
        denoise(x)
    # Of two remedies the last is that of the second case of videos, and the first that of all others.
    remedies = [code for code in re.findall(r"`([^`]+)`", str(raised.value)) if code.startswith(("x.", "x[", "torch."))]
    if remedies:
        code = remedies[-1] if "flatten(0, 1)` as" in message or "(N, F, C" in message else remedies[0]
        repaired = eval(code, {"x": x, "torch": torch})
        assert repaired.ndim == 4
        assert 0 <= float(repaired.min()) <= float(repaired.max()) <= 1
        changed = (denoise(repaired) - repaired).abs().mean()
        assert changed > 1e-3 or repaired.unique().numel() == 2
        if error is ValueError and "stack" not in message and "grey" not in message:
            assert torch.equal(denoise(repaired), denoise(plain))


@pytest.mark.skipif(not hasattr(torch, "float8_e4m3fn"), reason="this PyTorch has no numbers of a byte")
def test_floats_of_a_byte_are_told_what_to_do(denoise, images):
    x = torch.from_numpy(images).to(torch.float8_e4m3fn)
    with pytest.raises(TypeError, match=r"got a torch.float8_e4m3fn tensor: use `x\.float\(\)`"):
        denoise(x)
    assert denoise(x.float()).shape == x.shape


def test_a_view_with_the_sign_turned(denoise, images):
    x = torch.from_numpy(images)
    assert torch.equal(denoise(torch._neg_view(-x)), denoise(x))
