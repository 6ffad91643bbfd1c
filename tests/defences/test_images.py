"""What every defence keeps, whatever the images: shape, dtype, range, layout, independence; and what it refuses."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

from art_denoise import DefensiveNoiseDefence, NLMeansDefence, ROFDefence

NOISE = np.random.default_rng(0).normal(0, 0.02, (3, 37, 31)).astype(np.float32)


def make(name: str, **kwargs):
    if name == "noise":
        noise = NOISE if kwargs.get("channels_first", True) else NOISE.transpose(1, 2, 0)
        return DefensiveNoiseDefence(noise, device_type="cpu", **kwargs)
    if name == "rof_converged":
        return ROFDefence(solver="converged", device_type="cpu", **kwargs)
    if name == "nlm_centred":
        return NLMeansDefence(mode="centred", patch_size=3, device_type="cpu", **kwargs)
    return {"rof": ROFDefence, "nlm": NLMeansDefence}[name](device_type="cpu", **kwargs)


@pytest.fixture(params=["rof", "rof_converged", "nlm", "nlm_centred", "noise"])
def name(request) -> str:
    return request.param


def test_changes_images_and_keeps_shape_dtype_range(name, images):
    before = images.copy()
    result, y = make(name)(images, "labels")
    assert result.shape == images.shape
    assert result.dtype == np.float32
    assert result.min() >= 0
    assert result.max() <= 1
    assert np.abs(result - images).max() > 1e-3
    assert y == "labels"
    assert np.array_equal(images, before)
    assert not np.shares_memory(result, images)


def test_array_and_tensor_give_the_same(name, images):
    defence = make(name)
    result, _ = defence.forward(torch.from_numpy(images))
    np.testing.assert_array_equal(result.numpy(), defence(images)[0])


def test_channels_last(name, images):
    result, _ = make(name, channels_first=False)(np.ascontiguousarray(images.transpose(0, 2, 3, 1)))
    np.testing.assert_array_equal(result.transpose(0, 3, 1, 2), make(name)(images)[0])


@pytest.mark.parametrize("clip_values", [(0, 255), (-1.0, 1.0), (0.0, 65535.0), (100, 101)])
def test_the_range_does_not_matter(name, images, clip_values):
    low, high = clip_values
    result, _ = make(name, clip_values=clip_values)(images * (high - low) + low)
    assert result.min() >= low
    assert result.max() <= high
    # Rounding to float32 in another range moves a borderline stop or cut-off.
    np.testing.assert_allclose((result - low) / (high - low), make(name)(images)[0], atol=2e-3)
    assert np.abs((result - low) / (high - low) - make(name)(images)[0]).mean() < 1e-4


def test_uint8(name, images):
    bytes_ = np.round(images * 255).astype(np.uint8)
    result, _ = make(name, clip_values=(0, 255))(bytes_)
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, make(name, clip_values=(0, 255))(bytes_.astype(np.float32))[0])


@pytest.mark.parametrize("dtype", [np.float64, np.float16, ">f4"])
def test_other_floats_give_float32(name, images, dtype):
    result, _ = make(name)(images.astype(dtype))
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, make(name)(images.astype(dtype).astype(np.float32))[0])


def test_strides(name, images):
    expected = make(name)(np.ascontiguousarray(images[:, ::-1, :, ::-1]))[0]
    np.testing.assert_array_equal(make(name)(images[:, ::-1, :, ::-1])[0], expected)
    strided = torch.from_numpy(images).permute(2, 3, 0, 1).contiguous().permute(2, 3, 0, 1)
    np.testing.assert_array_equal(make(name).forward(strided)[0].numpy(), make(name)(images)[0])


@pytest.mark.parametrize("chunk_size", [1, 3, 7, None])
def test_batch_and_chunks_do_not_matter(name, images, chunk_size):
    many = np.concatenate([images, images[::-1] * 0.5, images * 0.7])
    alone = np.concatenate([make(name)(image[None])[0] for image in many])
    np.testing.assert_array_equal(make(name, chunk_size=chunk_size)(many)[0], alone)


def test_a_chunk_too_large_for_the_memory_is_halved(name, images, monkeypatch):
    many = np.concatenate([images] * 5)
    expected, _ = make(name)(many)
    defence, filtered = make(name), []

    def scarce(x: torch.Tensor) -> torch.Tensor:
        if len(x) > 3:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        filtered.append(len(x))
        return type(defence)._filter(defence, x)

    monkeypatch.setattr(defence, "_filter", scarce)
    np.testing.assert_array_equal(defence(many)[0], expected)
    assert filtered == [2, 2, 2, 2, 2]  # from ten, by way of five

    def none(x: torch.Tensor) -> torch.Tensor:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(defence, "_filter", none)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        defence(many)


def test_progress_only_when_asked_for(name, images, capsys):
    make(name)(images)
    assert capsys.readouterr().err == ""
    make(name, verbose=True, chunk_size=1)(images)
    assert "Defence: 100%" in capsys.readouterr().err


def test_twice_the_same(name, images):
    defence = make(name)
    first = defence(images)[0]
    defence(images * 0.5)
    np.testing.assert_array_equal(defence(images)[0], first)


@pytest.mark.parametrize("name", ["rof", "rof_converged", "nlm"])
@pytest.mark.parametrize("shape", [(2, 1, 5, 4), (2, 3, 1, 9), (2, 3, 1, 1), (1, 5, 6, 7), (0, 3, 5, 4)])
def test_unusual_shapes(name, shape):
    x = np.random.default_rng(1).random(shape).astype(np.float32)
    result, _ = make(name)(x)
    assert result.shape == shape
    assert result.dtype == np.float32
    assert np.isfinite(result).all()


def test_values_a_little_outside_the_range_are_clipped_first(name, images):
    """Attacks that do not clip step out of the range; what is filtered is what they would be clipped to."""
    beyond = images * 1.4 - 0.2
    assert beyond.min() < 0
    assert beyond.max() > 1
    np.testing.assert_array_equal(make(name)(beyond)[0], make(name)(np.clip(beyond, 0, 1))[0])


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (np.zeros((3, 8, 9)), ValueError, r"\(3, 8, 9\): add a batch axis, `x\[None\]`"),
        (np.zeros((2, 64)), ValueError, r"Feature vectors detected.*\(2, 64\)"),
        (np.zeros((2, 5, 3, 8, 9)), ValueError, r"Unrecognized input dimension.*\(2, 5, 3, 8, 9\)"),
        (np.zeros((2, 8, 9, 3)), ValueError, "use channels_first=False"),
        (np.zeros((2, 3, 0, 9)), ValueError, "at least one channel and one pixel"),
        (np.full((1, 3, 8, 9), np.nan), ValueError, "`x` must be finite"),
        (np.full((1, 3, 8, 9), np.inf), ValueError, "`x` must be finite"),
        (np.full((1, 3, 8, 9), 200, dtype=np.uint8), ValueError, r"\(0, 1\), got values from 200 to 200.*clip_values"),
        (np.full((1, 3, 8, 9), -1.0), ValueError, "in units of `clip_values`"),
        (np.full((1, 3, 8, 9), "a"), TypeError, "array of real numbers"),
        (np.zeros((1, 3, 8, 9), dtype=complex), TypeError, "array of real numbers"),
    ],
)
def test_refused_images(name, x, error, message):
    with pytest.raises(error, match=message):
        make(name)(x)


def test_channels_first_given_as_last(name):
    with pytest.raises(ValueError, match="use channels_first=True"):
        make(name, channels_first=False)(np.zeros((2, 3, 8, 9)))


def test_noise_for_other_images():
    with pytest.raises(ValueError, match=r"\(3, 37, 31\), got images \(3, 8, 9\)"):
        make("noise")(np.zeros((2, 3, 8, 9)))


def test_noise_not_set():
    defence = DefensiveNoiseDefence()
    assert not defence.is_fitted
    with pytest.raises(ValueError, match=r"`noise` is not set.*fit"):
        defence(np.zeros((2, 3, 8, 9)))


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"clip_values": (1, 0)}, ValueError, "Invalid 'clip_values': min >= max"),
        ({"clip_values": (0, 0.5, 1)}, ValueError, "'clip_values' should be a tuple of 2 floats or arrays"),
        ({"clip_values": None}, ValueError, "'clip_values' should be a tuple of 2 floats or arrays"),
        ({"clip_values": (0, np.nan)}, ValueError, "'clip_values' should be"),
        ({"channels_first": 1}, TypeError, "`channels_first` must be True or False"),
        ({"gradient": "none"}, ValueError, "`gradient` must be 'exact' or 'identity', got 'none'"),
        ({"chunk_size": 0}, ValueError, "`chunk_size` must be >= 1"),
        ({"apply_fit": "no"}, TypeError, "`apply_fit`"),
        ({"verbose": 1}, TypeError, "`verbose` must be True or False"),
    ],
)
def test_refused_parameters(name, kwargs, error, message):
    with pytest.raises(error, match=message):
        make(name, **kwargs)


@pytest.mark.parametrize(
    ("defence", "kwargs", "message"),
    [
        (ROFDefence, {"weight": -1}, "`weight` must be finite and >= 0.*got -1"),
        (ROFDefence, {"weight": 1e7}, "`weight` must be finite and >= 0 and <= 1e\\+06"),
        (ROFDefence, {"solver": "newton"}, "`solver`"),
        (ROFDefence, {"solver": "converged", "tol": 0}, "`tol`"),
        (ROFDefence, {"eps": -1}, "`eps`"),
        (ROFDefence, {"max_iter": 0}, "`max_iter`"),
        (NLMeansDefence, {"h": 0}, "`h` must be finite and > 0.*got 0"),
        (NLMeansDefence, {"patch_size": 0}, "`patch_size`"),
        (NLMeansDefence, {"patch_distance": -1}, "`patch_distance`"),
        (NLMeansDefence, {"mode": "slow"}, "`mode`"),
        (NLMeansDefence, {"mode": "centred"}, "`patch_size` must be odd"),
        (NLMeansDefence, {"sigma": -1}, "`sigma`"),
        (DefensiveNoiseDefence, {"noise": np.zeros((0, 8, 9))}, r"`noise` must be an array \(C, H, W\)"),
        (DefensiveNoiseDefence, {"noise": np.zeros((8, 9))}, r"`noise` must be an array \(C, H, W\)"),
        (DefensiveNoiseDefence, {"noise": np.full((3, 8, 9), 10.0)}, "divide noise made for 0 to 255 by 255"),
    ],
)
def test_refused_own_parameters(defence, kwargs, message):
    with pytest.raises(ValueError, match=message):
        defence(**kwargs)


def test_set_params(name, images):
    defence = make(name)
    defence.set_params(clip_values=(0, 255))
    np.testing.assert_array_equal(defence(images * 255)[0], make(name, clip_values=(0, 255))(images * 255)[0])
    with pytest.raises(TypeError, match="`wieght` is no parameter"):
        defence.set_params(wieght=1)
    with pytest.raises(ValueError, match="min >= max"):
        defence.set_params(gradient="identity", clip_values=(1, 0))
    assert defence.gradient == "exact"  # all or none
    assert defence.clip_values == (0, 255)


def test_change_the_solver_and_change_it_back(images):
    defence = ROFDefence(eps=1e-3)
    before = defence(images)[0]
    defence.set_params(solver="converged", tol=1e-5)
    assert np.abs(defence(images)[0] - before).max() > 1e-3
    defence.set_params(solver="chambolle")
    np.testing.assert_array_equal(defence(images)[0], before)


def test_pickle(name, images):
    defence = make(name)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(defence))(images)[0], defence(images)[0])


def test_repr_names_every_parameter(name):
    defence = make(name)
    assert all(f"{parameter}=" in repr(defence) for parameter in [*defence.params, "apply_fit", "apply_predict"])
