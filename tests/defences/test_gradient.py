"""Gradients through the defences: exact or identity, on tensors, on arrays, and through ART's classifier."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import tiny_classifier

from art_denoise import DefensiveNoiseDefence, NLMeansDefence, ROFDefence

SHAPE = (3, 7, 5)


def make(name: str, **kwargs):
    noise = np.random.default_rng(0).normal(0, 0.02, SHAPE)
    if not kwargs.get("channels_first", True):
        noise = noise.transpose(1, 2, 0)
    build = {
        # A fixed number of iterations: across a change of the stop there is no slope to compare with.
        "rof": lambda: ROFDefence(0.1, eps=0, max_iter=20, **kwargs),
        "rof_coupled": lambda: ROFDefence(0.1, coupling="channels", eps=0, max_iter=20, **kwargs),
        "rof_converged": lambda: ROFDefence(0.1, solver="converged", tol=1e-9, max_iter=100_000, **kwargs),
        "nlm": lambda: NLMeansDefence(0.3, **kwargs),
        "nlm_centred": lambda: NLMeansDefence(0.3, mode="centred", patch_size=3, **kwargs),
        "noise": lambda: DefensiveNoiseDefence(noise, **kwargs),
    }
    return build[name]()


@pytest.fixture
def x() -> np.ndarray:
    """Rough images (2, 3, 7, 5), away from the ends of the range, so that nothing is clipped."""
    return np.random.default_rng(1).uniform(0.2, 0.8, (2, *SHAPE)).astype(np.float32)


def step_of(*names: str) -> float:
    """Length of a difference: the minimiser has a kink wherever a difference of pixels becomes 0, which are many."""
    return 1e-4 if "rof_converged" in names else 2e-3


def directional(function, x: np.ndarray, direction: np.ndarray, step: float) -> np.ndarray:
    return (function(x + step * direction) - function(x - step * direction)) / (2 * step)


@pytest.mark.parametrize("clip_values", [(0.0, 1.0), (0, 255)])
@pytest.mark.parametrize("channels_first", [True, False])
@pytest.mark.parametrize("name", ["rof", "rof_converged", "rof_coupled", "nlm", "nlm_centred", "noise"])
def test_estimate_gradient_is_the_slope(name, x, clip_values, channels_first):
    width = clip_values[1] - clip_values[0]
    x = x.transpose(0, 2, 3, 1) * width if not channels_first else x * width
    defence = make(name, clip_values=clip_values, channels_first=channels_first)
    rng = np.random.default_rng(2)
    seed, direction = rng.normal(size=(2, *x.shape)).astype(np.float32)
    slope = directional(lambda v: float(np.sum(defence(v)[0] * seed, dtype=float)), x, direction, step_of(name) * width)
    gradient = defence.estimate_gradient(x, seed)
    assert gradient.dtype == np.float32
    assert float(np.sum(gradient * direction)) == pytest.approx(slope, rel=0.03)


@pytest.mark.parametrize("name", ["rof", "rof_converged", "rof_coupled", "nlm", "nlm_centred", "noise"])
def test_estimate_gradient_of_several_classes(name, x):
    defence = make(name)
    grads = np.random.default_rng(3).normal(size=(2, 4, *SHAPE)).astype(np.float32)
    result = defence.estimate_gradient(x, grads)
    assert result.shape == grads.shape
    for k in range(4):
        np.testing.assert_allclose(result[:, k], defence.estimate_gradient(x, grads[:, k]), atol=1e-5)
    with pytest.raises(ValueError, match="`grad` must have the shape of `x`"):
        defence.estimate_gradient(x, grads[:, :, :, :-1])


@pytest.mark.parametrize("name", ["rof", "rof_converged", "rof_coupled", "nlm", "nlm_centred", "noise"])
def test_identity_passes_the_gradient_and_not_the_values(name, x):
    grad = np.random.default_rng(4).normal(size=x.shape).astype(np.float32)
    defence = make(name, gradient="identity")
    np.testing.assert_array_equal(defence.estimate_gradient(x, grad), grad)
    np.testing.assert_array_equal(defence(x)[0], make(name)(x)[0])


@pytest.mark.parametrize("gradient", ["exact", "identity"])
@pytest.mark.parametrize("name", ["rof", "rof_converged", "rof_coupled", "nlm", "nlm_centred", "noise"])
def test_forward_touches_no_grad(name, x, gradient):
    tensor = torch.from_numpy(x).requires_grad_()
    result, _ = make(name, gradient=gradient).forward(tensor)
    assert tensor.grad is None
    assert result.requires_grad


@pytest.mark.parametrize(
    "names",
    [
        ("rof",),
        ("rof_converged",),
        ("rof_coupled",),
        ("nlm",),
        ("nlm_centred",),
        ("noise",),
        ("noise", "rof"),
        ("noise", "nlm"),
    ],
)
def test_gradient_of_the_loss_through_art(names, x):
    """`loss_gradient` of a defended classifier is the slope of the classifier's own loss."""
    classifier = tiny_classifier(SHAPE, preprocessing_defences=[make(n) for n in names])
    y = np.eye(4, dtype=np.float32)[[1, 3]]
    gradient = classifier.loss_gradient(x, y)
    direction = np.random.default_rng(5).normal(size=x.shape).astype(np.float32)

    def loss(v: np.ndarray) -> np.ndarray:
        logits = classifier.predict(v).astype(float)
        return np.log(np.exp(logits).sum(1)) - (logits * y).sum(1)

    slope = directional(loss, x, direction, step_of(*names))
    # ART returns the gradient of the mean loss over the batch for each image, or of the sum: compare directions too.
    inner = (gradient * direction).sum((1, 2, 3))
    scale = 1 / len(x) if np.allclose(inner * len(x), slope, rtol=0.05, atol=1e-3) else 1
    np.testing.assert_allclose(inner / scale, slope, rtol=0.05, atol=1e-3)
    assert np.abs(gradient).max() > 0


@pytest.mark.parametrize("names", [("rof",), ("rof_converged",), ("noise", "nlm")])
def test_gradient_of_the_logits_through_art(names, x):
    classifier = tiny_classifier(SHAPE, preprocessing_defences=[make(n) for n in names])
    direction = np.random.default_rng(6).normal(size=x.shape).astype(np.float32)
    slopes = directional(lambda v: classifier.predict(v).astype(float), x, direction, step_of(*names))
    gradients = classifier.class_gradient(x)
    np.testing.assert_allclose((gradients * direction[:, None]).sum((2, 3, 4)), slopes, rtol=0.05, atol=1e-2)


def test_defended_gradient_is_not_the_undefended():
    x = np.random.default_rng(7).uniform(0.2, 0.8, (2, *SHAPE)).astype(np.float32)
    y = np.eye(4)[[0, 1]]
    plain = tiny_classifier(SHAPE).loss_gradient(x, y)
    defended = tiny_classifier(SHAPE, preprocessing_defences=[make("rof")]).loss_gradient(x, y)
    cosine = np.sum(plain * defended) / np.linalg.norm(plain) / np.linalg.norm(defended)
    assert cosine < 0.98


@pytest.mark.parametrize("name", ["rof", "rof_converged", "rof_coupled", "nlm", "nlm_centred", "noise"])
def test_the_clip_does_not_hide_the_gradient(name):
    """At an end of the range the gradient is that of the filter, as if the range were wider."""
    x = np.random.default_rng(8).uniform(0, 1, (2, *SHAPE)).astype(np.float32)
    x[:, :, 2:5] = 0  # Chambolle's iterates overshoot here, and are clipped
    seed = np.random.default_rng(9).normal(size=x.shape).astype(np.float32)
    kwargs = {"clip_values": (-0.3, 1.3)}
    wide = {
        # The same filter in units of the wider range.
        "rof": ROFDefence(0.1 / 1.6, eps=0, max_iter=20, **kwargs),
        "rof_coupled": ROFDefence(0.1 / 1.6, coupling="channels", eps=0, max_iter=20, **kwargs),
        "rof_converged": ROFDefence(0.1 / 1.6, solver="converged", tol=1e-9, max_iter=100_000, **kwargs),
        "nlm": NLMeansDefence(0.3 / 1.6, **kwargs),
        "nlm_centred": NLMeansDefence(0.3 / 1.6, mode="centred", patch_size=3, **kwargs),
        "noise": DefensiveNoiseDefence(np.zeros(SHAPE), **kwargs),
    }[name]
    tolerance = 0.05 if name == "rof_converged" else 1e-3
    expected = wide.estimate_gradient(x, seed)
    difference = np.linalg.norm(make(name).estimate_gradient(x, seed) - expected)
    assert difference < tolerance * np.linalg.norm(expected)
