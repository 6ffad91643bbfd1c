"""What drawn inputs have found, once each, as few inputs are drawn by default."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from conftest import tiny_classifier
from defence_examples import EXAMPLES, make

from art_denoise import (
    AsNumPy,
    AsPyTorch,
    DefensiveNoiseDefence,
    NLMeansDefence,
    ROFDefence,
    nl_means_denoise,
    rof_denoise,
)


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name not in ("noise", "compose")])
def test_a_flipped_axis_of_one_pixel(name):
    """NumPy calls such a view contiguous, and PyTorch refuses its stride."""
    x = np.random.default_rng(0).random((2, 3, 1, 5), dtype=np.float32)[:, :, ::-1]
    np.testing.assert_array_equal(make(name)(x)[0], make(name)(x.copy())[0])


def test_noise_with_a_flipped_axis_of_one_pixel():
    noise, x = np.full((2, 1, 5), 0.1, np.float32), np.full((1, 2, 1, 5), 0.5, np.float32)
    flipped = DefensiveNoiseDefence(noise[:, ::-1])
    np.testing.assert_array_equal(flipped(x)[0], DefensiveNoiseDefence(noise)(x)[0])


@pytest.mark.parametrize("element", [None, "image", object(), [1.0, None], [[1.0], [1.0, 2.0]]])
def test_elements_of_an_object_array_that_are_no_images(element):
    """They were taken apart without end."""
    x = np.empty(2, object)
    x[0], x[1] = np.zeros((3, 4, 5), np.float32), element
    with pytest.raises((TypeError, ValueError), match=r"image 1 of 2: .*`x` must be"):
        ROFDefence()(x)


def test_images_of_an_object_array_that_are_arrays_of_objects():
    image = np.random.default_rng(0).random((3, 4, 5), dtype=np.float32)
    x = np.empty(1, object)
    x[0] = image.astype(object)
    np.testing.assert_array_equal(ROFDefence()(x)[0][0], ROFDefence()(image[None])[0][0])


@pytest.mark.parametrize("channels_first", [True, False])
def test_no_videos_at_all(channels_first):
    shape = (0, 3, 7, 6, 5) if channels_first else (0, 7, 6, 5, 3)
    assert ROFDefence(channels_first=channels_first)(np.zeros(shape))[0].shape == shape


@pytest.mark.parametrize("ends", [(-1e39, 1e39), (-3e38, 3e38), (0, 5e-324), (0, 1e-44), (1e8, 1e8 + 1)])
@pytest.mark.parametrize("defence", [ROFDefence, NLMeansDefence, DefensiveNoiseDefence])
def test_ranges_that_are_none_in_single_precision(defence, ends):
    """They made NaN of images, or an error of PyTorch."""
    with pytest.raises(ValueError, match="`clip_values` must be within ±1e"):
        defence(clip_values=ends)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_denormal_images_left_as_they_are_beside_others(dtype):
    """Their squares are 0, as those of a flat image: they became their mean."""
    x = torch.tensor([[[[1e-40, 0.0]]], [[[1.0, 0.0]]]], dtype=dtype)
    assert torch.equal(rof_denoise(x, torch.tensor([1e-31, 0.1]), solver="converged")[0], x[0])


@pytest.mark.parametrize("seed", [-1, 2**64, 10**30, 1.5, "0", None, True])
def test_seeds_that_are_none(seed):
    x, y = np.zeros((2, 3, 8, 8), np.float32), np.array([0, 1])
    with pytest.raises((TypeError, ValueError), match="`seed` must be"):
        DefensiveNoiseDefence().fit(x, y, classifier=tiny_classifier(), seed=seed)


@pytest.mark.filterwarnings("ignore:ROF did not converge")  # to so small a share
@pytest.mark.parametrize(("dtype", "most"), [(torch.float32, 1e14), (torch.float64, 1e149)])
@pytest.mark.parametrize(
    "denoise",
    [
        lambda x: rof_denoise(x, 0.1),
        lambda x: rof_denoise(x, 0.1, solver="converged"),
        lambda x: nl_means_denoise(x, 0.1),
        lambda x: nl_means_denoise(x, 0.1, mode="centred", patch_size=3, patch_weights="gaussian"),
    ],
    ids=["chambolle", "converged", "fast", "gaussian"],
)
def test_values_whose_squares_overflow(dtype, most, denoise):
    """ROF made NaN of finite images."""
    x = torch.rand(1, 2, 6, 5, dtype=dtype, generator=torch.Generator().manual_seed(0))
    assert torch.isfinite(denoise(most * x)).all()
    with pytest.raises(ValueError, match=r"`x` must be within ±1e\+1(4 in float32|49 in float64)"):
        denoise(most * 10**5 * x)


@pytest.mark.parametrize("shape", [(), (2,), (2, 0, 3, 4, 5), (1, 2, 3, 4, 5), (2, 3)])
def test_gradients_of_no_classes_for_an_adapter(shape):
    adapter = AsPyTorch(AsNumPy(ROFDefence()), gradient="estimate")
    with pytest.raises(ValueError, match="`grad` must"):
        adapter.estimate_gradient(np.zeros((2, 3, 4, 5), np.float32), np.zeros(shape, np.float32))


def test_images_to_fit_as_a_list():
    x, y = np.random.default_rng(0).random((6, 3, 8, 8)).astype("f4"), [0, 1, 2, 3, 0, 1]
    fitted = []
    for given in (x, x.tolist(), list(x)):
        defence = DefensiveNoiseDefence(device_type="cpu")
        defence.fit(given, y, classifier=tiny_classifier(), accept="loss")
        fitted.append(defence.noise)
    np.testing.assert_array_equal(fitted[1], fitted[0])
    np.testing.assert_array_equal(fitted[2], fitted[0])
    with pytest.raises(TypeError, match="`x` must be an array of real numbers"):
        DefensiveNoiseDefence().fit("images", y, classifier=tiny_classifier())


def test_a_batch_size_of_numpy():
    x, y = np.random.default_rng(0).random((6, 3, 8, 8)).astype("f4"), [0, 1, 2, 3, 0, 1]
    fitted = DefensiveNoiseDefence(), DefensiveNoiseDefence()
    for defence, size in zip(fitted, (4, np.uint8(4)), strict=True):
        defence.fit(x, y, classifier=tiny_classifier(), accept="loss", batch_size=size)
    np.testing.assert_array_equal(fitted[0].noise, fitted[1].noise)


def test_sizes_of_draws():
    """A Fraction is a number, and draws whose squares overflow made a noise of nothing."""
    x, y = np.random.default_rng(0).random((6, 3, 8, 8)).astype("f4"), [0, 1, 2, 3, 0, 1]
    fitted = DefensiveNoiseDefence(), DefensiveNoiseDefence()
    for defence, sigma, eps in zip(fitted, (0.25, Fraction(1, 4)), (0.125, Fraction(1, 8)), strict=True):
        defence.fit(x, y, classifier=tiny_classifier(), accept="loss", sigma=sigma, eps=eps)
    np.testing.assert_array_equal(fitted[0].noise, fitted[1].noise)
    with pytest.raises(ValueError, match=r"`sigma` must be finite and > 0 and <= 1e\+06"):
        fitted[0].fit(x, y, classifier=tiny_classifier(), sigma=2**62)


def test_noise_that_is_no_array():
    with pytest.raises(ValueError, match=r"`noise` must be an array \(C, H, W\) of numbers, got what is no array"):
        DefensiveNoiseDefence([[1], [2, 3]])


def test_labels_that_are_no_array():
    with pytest.raises(ValueError, match=r"`y` must be class indices \(2,\) or .*, got what is no array"):
        DefensiveNoiseDefence().fit(np.zeros((2, 3, 8, 8), np.float32), [[1], [1, 2]], classifier=tiny_classifier())


@pytest.mark.parametrize("eps", [1e39, 1e7])
def test_a_stop_beyond_single_precision(eps):
    with pytest.raises(ValueError, match="`eps` must be finite and >= 0 and <= 1e"):
        rof_denoise(torch.zeros(1, 1, 4, 5), 0.1, eps=eps)


@pytest.mark.parametrize("h", [1e-40, 0.1])
def test_a_patch_larger_than_the_image_whatever_the_strength(h):
    with pytest.raises(ValueError, match="`patch_size` 3 compares 3×3 pixels, but the images are 2 wide"):
        nl_means_denoise(torch.zeros(1, 1, 5, 2), h, mode="centred", patch_size=3)
