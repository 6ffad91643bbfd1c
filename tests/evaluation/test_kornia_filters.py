"""Filters of kornia by name: what they do, their gradients, and what is told of what is wrong."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter, median_filter

from art_denoise.evaluation.building import build_chain
from art_denoise.evaluation.checking import check_preprocessor
from art_denoise.evaluation.components import code_of, parse_defence, write_defence
from art_denoise.evaluation.differentiable import known_of
from art_denoise.evaluation.experiment import Knowledge

pytestmark = pytest.mark.skipif(importlib.util.find_spec("kornia") is None, reason="needs kornia")

SHAPE = (3, 16, 15)


@pytest.fixture
def x() -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 1, (2, *SHAPE)).astype(np.float32)


def filtered(text: str, x: np.ndarray, **more) -> np.ndarray:
    (stage,) = build_chain(parse_defence(text).preprocessors, device_type="cpu", input_shape=SHAPE, **more)
    return stage.forward(torch.from_numpy(x))[0].numpy()


def test_they_do_what_scipy_does_within_the_images(x):
    inside = np.s_[:, :, 4:-4, 4:-4]
    median = median_filter(x, size=(1, 1, 3, 3))
    assert filtered("kornia:median_blur:kernel_size=3", x)[inside] == pytest.approx(median[inside], abs=1e-6)
    blurred = gaussian_filter(x, sigma=(0, 0, 1, 1), radius=(0, 0, 4, 4))
    found = filtered("kornia:gaussian_blur2d:kernel_size=9,sigma=1", x)
    assert found[inside] == pytest.approx(blurred[inside], abs=1e-5)


@pytest.mark.parametrize(
    "text",
    [
        "kornia:median_blur:kernel_size=3",
        "kornia:bilateral_blur:kernel_size=5,sigma_color=0.1,sigma_space=1.5",
        "kornia:guided_blur:kernel_size=3,eps=0.01",
        "kornia:unsharp_mask:kernel_size=3,sigma=1",
    ],
)
def test_gradient_range_and_spelling(x, text):
    defence = parse_defence(text)
    chain = build_chain(defence.preprocessors, device_type="cpu", input_shape=SHAPE)
    assert known_of(chain, SHAPE) is Knowledge.EXACT
    assert parse_defence(write_defence(defence)) == defence
    found = filtered(text, x)
    assert found.shape == x.shape
    assert 0 <= found.min() < found.max() <= 1
    assert not np.allclose(found, x, atol=0.01)
    # The same of images in another range.
    scaled = filtered(text, 255 * x, clip_values=(0.0, 255.0))
    assert scaled == pytest.approx(255 * found, abs=0.02)


def test_in_chains_with_others_and_by_the_identity(x):
    defence = parse_defence("kornia:median_blur:kernel_size=3+rof")
    assert [p.name for p in defence.preprocessors] == ["kornia:median_blur", "rof"]
    assert defence.text == "D_median_blur, then D_ROF"
    (stage,) = build_chain(defence.preprocessors[:1], device_type="cpu", gradient="identity")
    images = torch.from_numpy(x).requires_grad_()
    cotangent = torch.rand_like(images)
    assert torch.equal(torch.autograd.grad(stage.forward(images)[0], images, cotangent)[0], cotangent)
    assert "kornia " in code_of(defence.preprocessors[0])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kornia:median_blurr:kernel_size=3", r"kornia has no filter 'median_blurr', but median_blur"),
        ("kornia:median_blur", r"needs `kernel_size`"),
        ("kornia:median_blur:kernel_size=3,size=2", r"kornia:median_blur has no parameter 'size'"),
        ("kornia:gaussian_blur2d:kernel_size=4,sigma=1", "4"),
    ],
)
def test_what_is_wrong_is_told(text, said):
    def build() -> None:
        check_preprocessor(parse_defence(text).preprocessors[0], text)
        build_chain(parse_defence(text).preprocessors, device_type="cpu", input_shape=SHAPE)

    with pytest.raises(ValueError, match=said):
        build()


def test_without_the_package_it_is_said(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "kornia.filters", None)
    with pytest.raises(ValueError, match="needs the package kornia: pip install kornia"):
        build_chain(parse_defence("kornia:median_blur:kernel_size=3").preprocessors, device_type="cpu")
