"""What our defences promise beyond the contract: messages, labels of any kind, images of different sizes, memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from defence_examples import DEFENCES, EXAMPLES, make

from art_denoise import DefensiveNoiseDefence


@pytest.fixture(params=EXAMPLES)
def name(request) -> str:
    return request.param


@pytest.mark.parametrize("name", DEFENCES)
def test_a_chunk_too_large_for_the_memory_is_halved(name, images, monkeypatch, caplog):
    many = np.concatenate([images] * 5)
    expected, _ = make(name)(many)
    defence, filtered = make(name), []

    def scarce(x: torch.Tensor) -> torch.Tensor:
        if len(x) > 3:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        filtered.append(len(x))
        return type(defence)._filter(defence, x)

    monkeypatch.setattr(defence, "_filter", scarce)
    with caplog.at_level("INFO", logger="art_denoise"):
        np.testing.assert_array_equal(defence(many)[0], expected)
    assert filtered == [2, 2, 2, 2, 2]  # from ten, by way of five
    told = [record.getMessage() for record in caplog.records if "does not suffice" in record.getMessage()]
    assert told == [
        f"the memory of the GPU does not suffice for {of} images at once: {to}" for of, to in ((10, 5), (5, 2))
    ]

    def none(x: torch.Tensor) -> torch.Tensor:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(defence, "_filter", none)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        defence(many)


@pytest.mark.parametrize("name", DEFENCES)
def test_progress_only_when_asked_for(name, images, capsys):
    make(name)(images)
    assert capsys.readouterr().err == ""
    make(name, verbose=True, chunk_size=1)(images)
    assert "Defence: 100%" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (np.zeros((3, 8, 9)), ValueError, r"\(3, 8, 9\): add a batch axis, `x\[None\]`"),
        (np.zeros((24, 28, 28)), ValueError, r"of grey images add an axis of one channel, `x\[:, None\]`"),
        (np.zeros((28, 28)), ValueError, r"one grey image is x\[None, None\]"),
        (np.zeros((2, 64)), ValueError, r"Feature vectors detected.*\(2, 64\)"),
        (np.zeros((2, 5, 3, 8, 9)), ValueError, r"Unrecognized input dim.*\(2, 5, 3, 8, 9\).*`x\.swapaxes\(1, 2\)`"),
        (np.zeros((2, 5, 8, 9, 3)), ValueError, r"like \(N, F, H, W, C\): use channels_first=False"),
        (np.zeros((2, 2, 3, 5, 8, 9)), ValueError, r"make the axes before .* one, with `x\.reshape`"),
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


@pytest.mark.parametrize("y", [None, "labels", [{"boxes": np.zeros((1, 4))}], np.zeros((2, 3, 4)), np.array(["a"])])
def test_labels_of_any_kind_pass_through(name, y, images):
    assert make(name)(images, y)[1] is y


def test_images_of_different_sizes(name, images):
    if name in ("noise", "compose"):
        pytest.skip("the noise is for one size")
    ragged = np.empty(3, dtype=object)
    ragged[:] = [images[0], images[1, :, :20, :9].astype(np.float64), images[0, :1]]
    kept = [image.copy() for image in ragged]
    defence = make(name)
    result, y = defence(ragged, "labels")
    assert result.dtype == object
    assert result.shape == (3,)
    assert y == "labels"
    gradient = defence.estimate_gradient(ragged, ragged)
    for i, image in enumerate(ragged):
        np.testing.assert_array_equal(image, kept[i])
        assert result[i].dtype == np.float32
        np.testing.assert_array_equal(result[i], make(name)(image[None])[0][0])
        np.testing.assert_allclose(gradient[i], defence.estimate_gradient(image[None], image[None])[0], atol=1e-6)
    with pytest.raises(ValueError, match=r"image 1 of 2: .*got \(1, 37, 31\)"):
        defence(np.array([images[0], images[0, 0]], dtype=object))


@pytest.mark.parametrize("channels_first", [True, False])
def test_videos_are_defended_frame_by_frame(name, channels_first, images):
    frames = np.concatenate([images, images[:, ::-1] * 0.5, images[:1]])[: 2 * 2]  # of two videos, two each
    frames = np.ascontiguousarray(frames if channels_first else frames.transpose(0, 2, 3, 1))
    defence = make(name, channels_first=channels_first)

    def as_videos(x: np.ndarray) -> np.ndarray:
        x = x.reshape(2, 2, *x.shape[1:])
        return x.swapaxes(1, 2) if channels_first else x

    videos = as_videos(frames)
    result, _ = defence(videos)
    assert result.shape == videos.shape
    np.testing.assert_array_equal(result, as_videos(defence(frames)[0]))
    grad = frames[::-1].copy()
    expected = as_videos(defence.estimate_gradient(frames, grad))
    np.testing.assert_array_equal(defence.estimate_gradient(videos, as_videos(grad)), expected)
    wrong = videos.swapaxes(1, 2)
    if channels_first:
        wrong = np.concatenate([wrong] * 3, axis=1)
        with pytest.raises(ValueError, match=r"looks like \(N, F, C, H, W\): use `x\.swapaxes\(1, 2\)`"):
            defence(wrong)
        np.testing.assert_array_equal(defence(wrong.swapaxes(1, 2))[0][:, :, :2], result)


def test_images_of_one_size_in_an_object_array(name, images):
    np.testing.assert_array_equal(make(name)(images.astype(object))[0].astype(np.float32), make(name)(images)[0])


def test_arrays_of_unequal_rows():
    with pytest.raises(TypeError, match=r"images of different sizes go into an object array \(N,\)"):
        make("rof")([np.zeros((3, 4, 4)), np.zeros((3, 5, 5))])


@pytest.mark.parametrize("name", sorted(set(EXAMPLES) - {"as_numpy"}))
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_tensors_on_another_device(name, images):
    x = torch.from_numpy(images).cuda().requires_grad_()
    result, _ = make(name).forward(x)
    assert result.device == x.device
    np.testing.assert_allclose(result.detach().cpu().numpy(), make(name)(images)[0], atol=2e-3)
    result.sum().backward()
    assert x.grad.device == x.device


def test_a_misspelt_parameter(name):
    defence = make(name)
    message = rf"`wieght` is no parameter of {type(defence).__name__}: use {defence.params[0]}"
    with pytest.raises(TypeError, match=message):
        defence.set_params(wieght=1)


@pytest.mark.parametrize("name", DEFENCES)
@pytest.mark.parametrize(
    "kept",
    [
        lambda x: np.ascontiguousarray(x[:, ::-1])[:, ::-1],
        lambda x: np.ascontiguousarray(x[..., ::-1])[..., ::-1],
        lambda x: x.astype(">f4"),
        lambda x: np.asfortranarray(x),
    ],
)
def test_arrays_as_they_come(name, images, kept):
    """From BGR to RGB is a view with negative strides; files of other machines have other orders of bytes."""
    np.testing.assert_array_equal(make(name)(kept(images))[0], make(name)(images)[0])


@pytest.mark.parametrize(
    "kept",
    [
        lambda v: np.ascontiguousarray(v[::-1])[::-1],
        lambda v: v.astype(">f4"),
        lambda v: torch.from_numpy(v).bfloat16(),
        lambda v: torch.from_numpy(v).half(),
    ],
)
def test_noise_as_it_comes(kept):
    v = (np.arange(-96, 96).reshape(3, 8, 8) / 1024).astype(np.float32)
    x = np.full((2, 3, 8, 8), 0.5, dtype=np.float32)
    np.testing.assert_allclose(DefensiveNoiseDefence(kept(v))(x)[0], x + v, atol=2e-4)
