"""The contract: what every exported defence keeps, whatever the images and wherever ART puts it."""

from __future__ import annotations

import inspect
import pickle

import numpy as np
import pytest
import torch
from art.attacks.evasion import FastGradientMethod
from art.defences.preprocessor import Preprocessor
from art.defences.preprocessor.preprocessor import PreprocessorPyTorch
from art.defences.trainer import AdversarialTrainer
from conftest import tiny_classifier

from art_denoise import AsNumPy, AsPyTorch, Compose, DefensiveNoiseDefence, NLMeansDefence, ROFDefence, defences

NOISE = np.random.default_rng(0).normal(0, 0.02, (3, 37, 31)).astype(np.float32)


def noise_defence(**kwargs) -> DefensiveNoiseDefence:
    noise = NOISE if kwargs.get("channels_first", True) else NOISE.transpose(1, 2, 0)
    return DefensiveNoiseDefence(noise, **kwargs)


#: One or more of each exported class, made with the parameters that all defences share.
EXAMPLES = {
    "rof": ROFDefence,
    "rof_converged": lambda **kwargs: ROFDefence(solver="converged", **kwargs),
    "nlm": NLMeansDefence,
    "nlm_centred": lambda **kwargs: NLMeansDefence(mode="centred", patch_size=3, **kwargs),
    "noise": noise_defence,
    "compose": lambda **kwargs: Compose([noise_defence(**kwargs), ROFDefence(**kwargs)]),
    "as_numpy": lambda **kwargs: AsNumPy(ROFDefence(**kwargs)),
    "as_pytorch": lambda **kwargs: AsPyTorch(AsNumPy(NLMeansDefence(**kwargs)), gradient="estimate"),
}
DEFENCES = ("rof", "rof_converged", "nlm", "nlm_centred", "noise")


def make(name: str, **kwargs):
    return EXAMPLES[name](device_type="cpu", **kwargs)


@pytest.fixture(params=EXAMPLES)
def name(request) -> str:
    return request.param


def test_every_exported_class_is_here():
    exported = {cls for cls in map(defences.__dict__.get, defences.__all__) if inspect.isclass(cls)}
    here = {type(make(name)) for name in EXAMPLES}
    # AsFlat takes features instead of images: see tests/defences/test_adapters.py.
    assert exported == here | {defences.AsFlat}
    assert all(issubclass(cls, Preprocessor) for cls in exported)


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
    if not isinstance(defence, PreprocessorPyTorch):
        pytest.skip("takes no tensors")
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
    if not isinstance(make(name), PreprocessorPyTorch):
        return
    strided = torch.from_numpy(images).permute(2, 3, 0, 1).contiguous().permute(2, 3, 0, 1)
    np.testing.assert_array_equal(make(name).forward(strided)[0].numpy(), make(name)(images)[0])


@pytest.mark.parametrize("chunk_size", [1, 3, 7, None])
def test_batch_and_chunks_do_not_matter(name, images, chunk_size):
    many = np.concatenate([images, images[::-1] * 0.5, images * 0.7])
    alone = np.concatenate([make(name)(image[None])[0] for image in many])
    np.testing.assert_array_equal(make(name, chunk_size=chunk_size)(many)[0], alone)


@pytest.mark.parametrize("name", DEFENCES)
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


@pytest.mark.parametrize("name", DEFENCES)
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


@pytest.mark.parametrize("name", sorted(set(EXAMPLES) - {"noise", "compose"}))
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


@pytest.mark.parametrize("name", DEFENCES)
def test_set_params(name, images):
    defence = make(name)
    defence.set_params(clip_values=(0, 255))
    np.testing.assert_array_equal(defence(images * 255)[0], make(name, clip_values=(0, 255))(images * 255)[0])
    with pytest.raises(ValueError, match="min >= max"):
        defence.set_params(gradient="identity", clip_values=(1, 0))
    assert defence.gradient == "exact"  # all or none
    assert defence.clip_values == (0, 255)
    defence.set_params(apply_fit=True, apply_predict=False)
    assert (defence.apply_fit, defence.apply_predict) == (True, False)
    with pytest.raises(TypeError, match="`apply_fit` must be True or False"):
        defence.set_params(apply_fit=1)


def test_params_are_all_there_is(name, images):
    """`params` are the arguments of the constructor, each can be set, and they make an equal defence."""
    defence = make(name)
    assert sorted(defence.params) == sorted(inspect.signature(type(defence)).parameters)
    values = {parameter: getattr(defence, parameter) for parameter in defence.params}
    defence.set_params(**values)
    np.testing.assert_array_equal(type(defence)(**values)(images)[0], defence(images)[0])
    with pytest.raises(TypeError, match=r"`wieght` is no parameter of .*: use "):
        defence.set_params(wieght=1)
    with pytest.raises(TypeError, match="wieght"):
        type(defence)(**values, wieght=1)


def test_repr_names_every_parameter(name):
    defence = make(name)
    assert repr(defence).startswith(f"{type(defence).__name__}({defence.params[0]}=")
    assert all(f"{parameter}=" in repr(defence) for parameter in defence.params)


def test_pickle(name, images):
    defence = make(name)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(defence))(images)[0], defence(images)[0])


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


def test_images_of_one_size_in_an_object_array(name, images):
    np.testing.assert_array_equal(make(name)(images.astype(object))[0].astype(np.float32), make(name)(images)[0])


def test_arrays_of_unequal_rows():
    with pytest.raises(TypeError, match=r"images of different sizes go into an object array \(N,\)"):
        make("rof")([np.zeros((3, 4, 4)), np.zeros((3, 5, 5))])


def test_video(name):
    with pytest.raises(ValueError, match="Unrecognized input dimension"):
        make(name)(np.zeros((2, 5, 3, 37, 31), dtype=np.float32))


def test_feature_vectors(name):
    with pytest.raises(ValueError, match=r"Feature vectors detected.*Unrecognized input dimension.*AsFlat\(defence"):
        make(name)(np.zeros((2, 64), dtype=np.float32))


@pytest.mark.parametrize("name", sorted(set(EXAMPLES) - {"as_numpy"}))
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_tensors_on_another_device(name, images):
    x = torch.from_numpy(images).cuda().requires_grad_()
    result, _ = make(name).forward(x)
    assert result.device == x.device
    np.testing.assert_allclose(result.detach().cpu().numpy(), make(name)(images)[0], atol=2e-3)
    result.sum().backward()
    assert x.grad.device == x.device


def defended(name: str, **kwargs):
    classifier = tiny_classifier((3, 37, 31), preprocessing_defences=[make(name, **kwargs)])
    classifier.set_params(optimizer=torch.optim.SGD(classifier.model.parameters(), lr=0.01))
    return classifier


@pytest.mark.parametrize("apply_predict", [True, False])
@pytest.mark.parametrize("apply_fit", [True, False])
def test_art_applies_it_when_it_says_so(name, apply_fit, apply_predict, images):
    """A network that watches what reaches it, at training and at prediction."""
    classifier = defended(name, apply_fit=apply_fit, apply_predict=apply_predict)
    reached = []
    classifier.model[0].register_forward_pre_hook(lambda _, inputs: reached.append(inputs[0].detach().numpy()))
    denoised = make(name)(images)[0]
    classifier.predict(images)
    np.testing.assert_allclose(reached[-1], denoised if apply_predict else images, atol=1e-6)
    classifier.fit(images, np.eye(4, dtype=np.float32)[:2], batch_size=2, nb_epochs=1)
    seen = reached[-1][reached[-1].mean((1, 2, 3)).argsort()]  # `fit` shuffles
    expected = denoised if apply_fit else images
    np.testing.assert_allclose(seen, expected[expected.mean((1, 2, 3)).argsort()], atol=1e-6)


def test_adversarial_training(name, images):
    classifier = defended(name, apply_fit=True)
    before = [parameter.detach().clone() for parameter in classifier.model.parameters()]
    trainer = AdversarialTrainer(classifier, FastGradientMethod(classifier, eps=0.05), ratio=0.5)
    trainer.fit(images, np.eye(4, dtype=np.float32)[:2], batch_size=2, nb_epochs=1)
    assert all(torch.isfinite(parameter).all() for parameter in classifier.model.parameters())
    assert any(not torch.equal(a, b) for a, b in zip(before, classifier.model.parameters(), strict=True))


def test_an_estimator_with_it_can_be_cloned(name, images):
    classifier = defended(name)
    clone = classifier.clone_for_refitting()
    assert [type(d) for d in clone.preprocessing_defences] == [type(make(name))]
    clone.model.load_state_dict(classifier.model.state_dict())
    np.testing.assert_allclose(clone.predict(images), classifier.predict(images), atol=1e-6)
    assert type(make(name)).__name__ in repr(classifier)


def test_an_estimator_with_it_can_be_pickled(name, images, tmp_path, monkeypatch):
    monkeypatch.setattr("art.config.ART_DATA_PATH", str(tmp_path))
    classifier = defended(name)
    again = pickle.loads(pickle.dumps(classifier))
    np.testing.assert_allclose(again.predict(images), classifier.predict(images), atol=1e-6)
