"""Non-local means: equal to scikit-image's fast filter and to its definition, with a gradient."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from oracles import nl_means_centred, nl_means_fast
from skimage.restoration import denoise_nl_means

from art_denoise.filters import _nl_means, nl_means_denoise


def scikit_image(x: np.ndarray, h: float, patch_size: int, patch_distance: int, **options) -> np.ndarray:
    options |= {"h": h, "patch_size": patch_size, "patch_distance": patch_distance}
    if x.shape[1] == 1:  # with a channel axis of length one scikit-image returns the image transposed
        return np.stack([denoise_nl_means(image[0], **options).reshape(image.shape) for image in x])
    # scikit-image squeezes axes of length one away.
    return np.stack([denoise_nl_means(image, channel_axis=0, **options).reshape(image.shape) for image in x])


@pytest.mark.parametrize("h", [0.02, 0.05, 0.1, 0.3])
@pytest.mark.parametrize(("patch_size", "patch_distance"), [(1, 2), (2, 3), (3, 3), (4, 2), (5, 1), (7, 4), (2, 0)])
def test_equals_scikit_image(images, h, patch_size, patch_distance):
    x = torch.from_numpy(images)
    result = nl_means_denoise(x, h, patch_size=patch_size, patch_distance=patch_distance).numpy()
    expected = scikit_image(images, h, patch_size, patch_distance)
    # A patch at the very cut-off may count in float64 and not in float32: exp(-5) times a difference of values.
    np.testing.assert_allclose(result, expected, atol=5e-3, rtol=0)
    assert np.abs(result - expected).mean() < 1e-6


@pytest.mark.parametrize("shape", [(2, 1, 9, 7), (2, 4, 5, 4), (1, 3, 1, 9), (1, 3, 10, 1), (1, 2, 1, 1), (1, 2, 2, 3)])
def test_small_images_and_any_number_of_channels(shape):
    x = np.random.default_rng(2).random(shape).astype(np.float32)
    result = nl_means_denoise(torch.from_numpy(x), 0.3, patch_size=3, patch_distance=3).numpy()
    np.testing.assert_allclose(result, scikit_image(x, 0.3, 3, 3), atol=5e-3, rtol=0)
    assert np.abs(result - scikit_image(x, 0.3, 3, 3)).mean() < 1e-5


@pytest.mark.parametrize("sigma", [0.01, 0.03, 0.1])
@pytest.mark.parametrize(("patch_size", "patch_distance"), [(1, 2), (2, 3), (5, 2)])
def test_sigma_is_scikit_images(images, patch_size, patch_distance, sigma):
    x = torch.from_numpy(images)
    result = nl_means_denoise(x, 0.03, patch_size=patch_size, patch_distance=patch_distance, sigma=sigma).numpy()
    expected = scikit_image(images, 0.03, patch_size, patch_distance, sigma=sigma)
    np.testing.assert_allclose(result, expected, atol=5e-3, rtol=0)
    assert np.abs(result - expected).mean() < 1e-6
    if patch_size > 1:
        assert np.abs(expected - scikit_image(images, 0.03, patch_size, patch_distance)).max() > 1e-3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("gaussian", [False, True])
@pytest.mark.parametrize(
    ("shape", "patch_size", "patch_distance", "h", "sigma"),
    [
        ((1, 3, 9, 7), 3, 2, 0.2, 0.0),
        ((1, 1, 9, 7), 5, 3, 0.2, 0.1),
        ((1, 2, 8, 6), 1, 2, 0.3, 0.0),
        ((2, 4, 5, 4), 3, 9, 0.3, 0.05),
        ((1, 3, 1, 9), 3, 2, 0.3, 0.0),
        ((1, 2, 1, 1), 3, 2, 0.3, 0.0),
    ],
)
def test_centred_is_the_definition(shape, patch_size, patch_distance, h, sigma, gaussian, dtype):
    x = np.random.default_rng(5).random(shape)
    options = {"patch_size": patch_size, "patch_distance": patch_distance, "sigma": sigma}
    weights = "gaussian" if gaussian and patch_size > 1 else "uniform"
    result = nl_means_denoise(torch.from_numpy(x).to(dtype), h, mode="centred", patch_weights=weights, **options)
    expected = np.stack(
        [nl_means_centred(v, h, patch_size, patch_distance, sigma, gaussian=weights == "gaussian") for v in x]
    )
    np.testing.assert_allclose(result.numpy(), expected, atol=1e-5 if dtype == torch.float32 else 1e-12, rtol=0)


@pytest.mark.parametrize("sigma", [0.0, 0.03])
@pytest.mark.parametrize(("patch_size", "patch_distance", "h"), [(3, 3, 0.1), (5, 4, 0.05), (7, 2, 0.2)])
def test_centred_is_close_to_scikit_images_slow_mode(images, patch_size, patch_distance, h, sigma):
    result = nl_means_denoise(
        torch.from_numpy(images),
        h,
        patch_size=patch_size,
        patch_distance=patch_distance,
        sigma=sigma,
        mode="centred",
        patch_weights="gaussian",
    ).numpy()
    expected = scikit_image(images, h, patch_size, patch_distance, sigma=sigma, fast_mode=False)
    # Its exponential is off by up to 4 %, and its cut-off looks at the first rows of a patch.
    np.testing.assert_allclose(result, expected, atol=1e-2, rtol=0)
    assert np.abs(images - expected).max() > 5e-2


@pytest.mark.parametrize("patch_weights", ["uniform", "gaussian"])
def test_centred_follows_flips(images, patch_weights):
    x = torch.from_numpy(images)

    def centred(v: torch.Tensor) -> torch.Tensor:
        return nl_means_denoise(v, 0.1, patch_size=5, mode="centred", patch_weights=patch_weights)

    for axes in ((2,), (3,), (2, 3)):
        torch.testing.assert_close(centred(x.flip(axes)), centred(x).flip(axes), atol=1e-5, rtol=0)
    torch.testing.assert_close(centred(x.mT.contiguous()), centred(x).mT, atol=1e-5, rtol=0)
    # The fast filter, off-centre, does not.
    assert (nl_means_denoise(x.flip(2), 0.1) - nl_means_denoise(x, 0.1).flip(2)).abs().max() > 1e-3


def test_great_h_gives_the_mean_of_the_window(images):
    x = torch.from_numpy(images)
    mean = torch.nn.functional.avg_pool2d(x, 7, stride=1, padding=3, count_include_pad=False)
    torch.testing.assert_close(nl_means_denoise(x, 1e3, patch_size=3, mode="centred"), mean, atol=1e-5, rtol=0)


@pytest.mark.parametrize("patch_size", [2, 5])
def test_close_to_the_definition(patch_size):
    image = np.random.default_rng(3).random((2, 9, 7)) * 0.3
    result = nl_means_denoise(torch.from_numpy(image[None]), 0.1, patch_size=patch_size, patch_distance=2)[0].numpy()
    # The approximate exponential is off by up to 4 %; a wrong window is off by far more.
    expected = nl_means_fast(image, 0.1, patch_size, 2)
    assert np.abs(result - expected).mean() < 1e-3 < np.abs(image - expected).mean()


def test_small_h_is_the_identity(images):
    x = torch.from_numpy(images)
    torch.testing.assert_close(nl_means_denoise(x, 1e-4), x)


@pytest.mark.parametrize("h", [1e-320, 1e-30, 1e-13])
def test_vanishing_h_is_the_identity(images, h):
    x = torch.from_numpy(images).requires_grad_()
    result = nl_means_denoise(x, h)
    assert torch.equal(result, x)
    assert torch.equal(torch.autograd.grad(result.sum(), x)[0], torch.ones_like(x))


def test_constant_image_is_fixed():
    x = torch.full((2, 3, 5, 4), 0.3)
    torch.testing.assert_close(nl_means_denoise(x, 0.05), x)


def test_follows_shift_scale_and_transposition():
    x = torch.from_numpy(np.random.default_rng(4).random((2, 3, 9, 7)))
    reference = nl_means_denoise(x, 0.1)
    torch.testing.assert_close(nl_means_denoise(3 * x + 0.5, 0.3), 3 * reference + 0.5)
    torch.testing.assert_close(nl_means_denoise(x.mT.contiguous(), 0.1), reference.mT)


def test_channels_share_their_weights():
    x = torch.from_numpy(np.random.default_rng(5).random((2, 3, 9, 7)))
    torch.testing.assert_close(nl_means_denoise(x[:, [2, 0, 1]], 0.1), nl_means_denoise(x, 0.1)[:, [2, 0, 1]])
    assert not torch.allclose(nl_means_denoise(x[:, :1], 0.1), nl_means_denoise(x, 0.1)[:, :1])


def test_stays_between_least_and_greatest(images):
    result = nl_means_denoise(torch.from_numpy(images), 0.2).numpy()
    assert (result.max((2, 3)) <= images.max((2, 3)) + 1e-6).all()
    assert (result.min((2, 3)) >= images.min((2, 3)) - 1e-6).all()


def test_each_image_is_by_itself(images):
    x = torch.from_numpy(images)
    together = nl_means_denoise(x, 0.1)
    for n in range(2):
        assert torch.equal(together[n : n + 1], nl_means_denoise(x[n : n + 1], 0.1))


def test_input_is_not_changed(images):
    x = torch.from_numpy(images.copy())
    nl_means_denoise(x, 0.1)
    assert torch.equal(x, torch.from_numpy(images))


MODES = [
    {"mode": "fast", "patch_size": 1},
    {"mode": "fast", "patch_size": 2},
    {"mode": "fast", "patch_size": 3, "sigma": 0.1},
    {"mode": "centred", "patch_size": 1},
    {"mode": "centred", "patch_size": 3},
    {"mode": "centred", "patch_size": 3, "patch_weights": "gaussian", "sigma": 0.1},
]


@pytest.mark.parametrize("options", MODES)
def test_gradient(options):
    x = torch.from_numpy(np.random.default_rng(6).random((1, 2, 5, 4))).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: nl_means_denoise(v, 0.4, patch_distance=2, **options), x)


@pytest.mark.parametrize("shape", [(2, 3, 13, 11), (2, 1, 5, 4), (1, 2, 1, 6), (1, 4, 7, 1), (1, 1, 130, 65)])
@pytest.mark.parametrize("options", [*MODES, {"patch_size": 4, "patch_distance": 1}, {"patch_distance": 8}])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_compiled_and_torch_agree(monkeypatch, shape, options, dtype):
    """The compiled code against torch's, which other devices run, in float64: values and gradients."""
    rng = np.random.default_rng(8)
    x, grad = (torch.from_numpy(rng.random(shape)) for _ in range(2))

    def both(kind: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
        v = x.to(kind, copy=True).requires_grad_()
        result = nl_means_denoise(v, 0.3, **options)
        return result.detach().double(), torch.autograd.grad(result, v, grad.to(kind))[0].double()

    ours = both(dtype)
    monkeypatch.setattr(_nl_means, "_AverageCPU", _nl_means._Average)
    for one, other in zip(ours, both(torch.float64), strict=True):
        if dtype == torch.float64:
            torch.testing.assert_close(one, other, atol=1e-10, rtol=0)
        else:
            # Of many patches some are so near the cut-off that rounding decides; each matters to its surroundings.
            apart = ((one - other).abs() > 2e-5).double().mean()
            assert apart < (0.02 if shape[2] > 50 else 1e-9)


def test_empty_batch():
    assert nl_means_denoise(torch.zeros(0, 3, 5, 4), 0.1).shape == (0, 3, 5, 4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"h": 0}, "`h` must be finite and > 0"),
        ({"h": -0.1}, "`h`"),
        ({"patch_size": 0}, "`patch_size` must be >= 1"),
        ({"patch_distance": -1}, "`patch_distance` must be >= 0"),
        ({"sigma": -0.1}, "`sigma` must be finite and >= 0"),
        ({"mode": "slow"}, "`mode` must be 'fast' or 'centred', got 'slow'"),
        ({"mode": "centred"}, "`patch_size` must be odd with mode='centred', got 2"),
        ({"patch_weights": "gaussian"}, "`patch_weights` needs mode='centred'"),
        ({"patch_size": 7}, "`patch_size` 7 compares 6×6 pixels, but the images are 5 high"),
        ({"patch_size": 5, "mode": "centred"}, "`patch_size` 5 compares 5×5 pixels, but the images are 4 wide"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        nl_means_denoise(**{"x": torch.zeros(1, 3, 5, 4), "h": 0.1, **arguments})


@pytest.mark.parametrize(("mode", "patch_size", "weights"), [("fast", 2, "uniform"), ("centred", 3, "gaussian")])
def test_in_a_block_of_mixed_precision_it_is_computed_in_single(monkeypatch, mode, patch_size, weights):
    """PyTorch's path, which other devices take: a convolution would be in bfloat16."""
    x = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(_nl_means, "_AverageCPU", _nl_means._Average)

    def result_and_gradient() -> tuple[torch.Tensor, torch.Tensor]:
        image = x.clone().requires_grad_()
        result = nl_means_denoise(image, 0.3, patch_size=patch_size, patch_distance=2, mode=mode, patch_weights=weights)
        return result, torch.autograd.grad(result.square().sum(), image)[0]

    expected = result_and_gradient()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = result_and_gradient()
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other)
