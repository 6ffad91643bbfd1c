"""What ART's own tests expect of a preprocessor, in our words; each test names the one of ART it stands for.

ART does not install its tests. These would fail where those would if ROFDefence or NLMeansDefence stood in the place of
the preprocessor they are about.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from art.attacks.evasion import DeepFool, FastGradientMethod
from art.estimators.classification import BlackBoxClassifier
from conftest import tiny_classifier
from estimators import Detector

from art_denoise import (
    SGDUAP,
    DeepFoolUAP,
    DefensiveNoiseDefence,
    NLMeansDefence,
    ROFDefence,
    SharedForwardDeepFool,
)

SHAPE = (3, 8, 8)


@pytest.fixture
def x() -> np.ndarray:
    return np.random.default_rng(1).uniform(0.1, 0.9, (6, *SHAPE)).astype(np.float32)


@pytest.fixture
def y() -> np.ndarray:
    return np.eye(4, dtype=np.float32)[[0, 1, 2, 3, 0, 1]]


@pytest.fixture(params=["rof", "nlm", "noise"])
def make(request):
    """Builds a defence as ART's fixtures do, with keywords only."""

    def build(channels: int = 3, **kwargs):
        if request.param == "noise":
            shape = (channels, 8, 8) if kwargs.get("channels_first", True) else (8, 8, channels)
            return DefensiveNoiseDefence(np.random.default_rng(0).normal(0, 0.05, shape), **kwargs)
        return ROFDefence(0.2, **kwargs) if request.param == "rof" else NLMeansDefence(0.2, **kwargs)

    return build


@pytest.mark.parametrize("channels", [1, 3])
def test_total_variation_of_one_and_three_channels(make, channels):
    """tests/defences/test_variance_minimization.py: test_one_channel, test_three_channels."""
    x = np.random.default_rng(2).random((2, 8, 8, channels)).astype(np.float32)
    before = x.copy()
    defence = make(channels, channels_first=False)
    result, _ = defence(x)
    assert result.shape == x.shape
    assert (result >= 0).all()
    assert (result <= 1).all()
    assert not np.array_equal(result, before)
    np.testing.assert_array_equal(x, before)


def test_total_variation_goes_down():
    """test_variance_minimization_pytorch.py (development branch): what it is there for, and the effect of λ."""
    x = np.random.default_rng(3).random((3, *SHAPE)).astype(np.float32)

    def total_variation(images: np.ndarray) -> np.ndarray:
        return sum(np.abs(np.diff(images, axis=axis)).sum((1, 2, 3)) for axis in (2, 3))

    variations = [total_variation(ROFDefence(weight)(x)[0]) for weight in (0.0, 0.05, 0.2, 1.0)]
    np.testing.assert_allclose(variations[0], total_variation(x), rtol=1e-6)
    assert all((after < before).all() for before, after in itertools.pairwise(variations))


def test_iterations_converge(x):
    """test_variance_minimization_pytorch.py (development branch): more iterations change less and less."""
    results = [ROFDefence(0.1, eps=0, max_iter=n)(x)[0] for n in (1, 10, 100, 1000)]
    steps = [np.abs(a - b).max() for a, b in itertools.pairwise(results)]
    assert steps[0] > steps[1] > steps[2]


def test_reproducible_whatever_the_random_state(make, x):
    """test_variance_minimization_pytorch.py (development branch): there with a seed, here always."""
    results = []
    for seed in (1, 2):
        np.random.seed(seed)  # noqa: NPY002
        torch.manual_seed(seed)
        results.append(make()(x)[0])
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize("channels_first", [True, False])
@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_constant_images_stay(value, channels_first):
    """tests/defences/preprocessor/test_spatial_smoothing.py: test_spatial_smoothing_image_data, whose images are."""
    x = np.full((2, 3, 5, 6) if channels_first else (2, 5, 6, 3), value, dtype=np.float32)
    for defence in (ROFDefence, NLMeansDefence):
        np.testing.assert_allclose(defence(channels_first=channels_first)(x)[0], x, atol=1e-6)


@pytest.mark.parametrize("shape", [(2, 3, 5, 3, 8, 8), (2, 5, 3, 8, 8), (2, 64)])
def test_what_is_no_image(make, shape):
    """test_spatial_smoothing.py: test_non_spatial_data_error."""
    with pytest.raises(ValueError, match="Unrecognized input dimension"):
        make()(np.zeros(shape, dtype=np.float32))


def test_videos(make):
    """test_spatial_smoothing.py: test_spatial_smoothing_video_data; here constant frames."""
    x = np.full((2, 3, 4, 8, 8), 0.5, dtype=np.float32)
    assert make()(x)[0].shape == x.shape
    assert make(channels_first=False)(np.moveaxis(x, 1, -1))[0].shape == (2, 4, 8, 8, 3)


def test_feature_vectors(make):
    """test_variance_minimization.py: test_failure_feature_vectors."""
    with pytest.raises(ValueError, match="Feature vectors detected"):
        make()(np.random.default_rng(4).random((10, 3)))


def test_limits_of_the_range(make):
    """test_spatial_smoothing.py: test_triple_clip_values_error, test_relation_clip_values_error."""
    message = "'clip_values' should be a tuple of 2 floats or arrays containing the allowed data range."
    with pytest.raises(ValueError, match=message):
        make(clip_values=(0, 1, 2))
    with pytest.raises(ValueError, match=r"Invalid 'clip_values': min >= max."):
        make(clip_values=(1, 0))


def test_gradient_of_an_image(make, x):
    """test_spatial_smoothing.py: test_estimate_gradient; of loss_gradient's and of class_gradient's shape."""
    grads = np.random.default_rng(5).normal(size=(6, 4, *SHAPE)).astype(np.float32)
    defence = make()
    assert defence.estimate_gradient(x, grads[:, 0]).shape == x.shape
    assert defence.estimate_gradient(x, grads).shape == grads.shape


@pytest.mark.parametrize("device_type", ["gpu", "cpu"])
def test_state_of_a_pytorch_preprocessor(make, device_type):
    """tests/defences/preprocessor/test_preprocessor.py: test_preprocessor_pytorch_init."""
    defence = make(device_type=device_type, apply_fit=True, apply_predict=False)
    assert defence.is_fitted
    assert defence.apply_fit
    assert not defence.apply_predict
    assert defence.device.type == ("cuda" if device_type == "gpu" and torch.cuda.is_available() else "cpu")


def test_noise_keeps_the_number_of_images(x, y):
    """tests/defences/test_gaussian_augmentation.py: test_no_augmentation_fixed_size, with labels."""
    noise = np.random.default_rng(6).normal(0, 0.05, SHAPE).astype(np.float32)
    result, labels = DefensiveNoiseDefence(noise)(x, y)
    assert result.shape == x.shape
    np.testing.assert_allclose(result - x, np.broadcast_to(noise, x.shape), atol=0.12)
    assert labels is y


CHAINS = {
    "one": lambda: [ROFDefence(0.1)],
    "two": lambda: [ROFDefence(0.1), NLMeansDefence(0.2)],
    "three": lambda: [NLMeansDefence(0.1), ROFDefence(0.05), NLMeansDefence(0.3)],
}


@pytest.mark.parametrize("chain", CHAINS)
def test_defences_forward(chain, x):
    """tests/modelsFrameworks/test_pytorch.py: _test_preprocessing_defences_forward, by hand, one after another."""
    defences = CHAINS[chain]()
    images = x
    for defence in defences:
        images, _ = defence(images)
    plain = tiny_classifier(SHAPE)
    defended = tiny_classifier(SHAPE, preprocessing_defences=defences)
    np.testing.assert_allclose(defended.predict(x), plain.predict(images), atol=1e-5)


@pytest.mark.parametrize("chain", CHAINS)
def test_defences_backward(chain, x, y):
    """test_pytorch.py: _test_preprocessing_defences_backward, back through each at the input it had."""
    defences = CHAINS[chain]()
    inputs = [x]
    for defence in defences:
        inputs.append(defence(inputs[-1])[0])
    plain = tiny_classifier(SHAPE)
    loss, classes = plain.loss_gradient(inputs[-1], y), plain.class_gradient(inputs[-1])
    for defence, stage_input in zip(defences[::-1], inputs[-2::-1], strict=True):
        loss, classes = (defence.estimate_gradient(stage_input, grad) for grad in (loss, classes))
    defended = tiny_classifier(SHAPE, preprocessing_defences=defences)
    np.testing.assert_allclose(defended.loss_gradient(x, y), loss, atol=1e-5)
    np.testing.assert_allclose(defended.class_gradient(x), classes, atol=1e-5)


@pytest.mark.parametrize("chain", CHAINS)
def test_fgsm_through_a_chain(chain, x, y):
    """test_pytorch.py: test_fgsm_defences; the step is the sign of the gradient of the whole chain."""
    defended = tiny_classifier(SHAPE, preprocessing_defences=CHAINS[chain]())
    adversarial = FastGradientMethod(defended, eps=0.05).generate(x, y)
    expected = x + 0.05 * np.sign(defended.loss_gradient(x, y))
    np.testing.assert_allclose(adversarial, np.clip(expected, 0, 1), atol=1e-6)


def test_replacing_the_defences(x):
    """tests/estimators/classification/test_deeplearning_common.py: test_defences_predict."""
    classifier = tiny_classifier(SHAPE)
    plain = classifier.predict(x)
    classifier.set_params(preprocessing_defences=ROFDefence(0.2))
    rof = classifier.predict(x)
    classifier.set_params(preprocessing_defences=[NLMeansDefence(0.2)])
    nlm = classifier.predict(x)
    classifier.set_params(preprocessing_defences=None)
    np.testing.assert_array_equal(classifier.predict(x), plain)
    assert not np.allclose(rof, plain, atol=1e-3)
    assert not np.allclose(nlm, rof, atol=1e-3)


def test_black_box_with_three(x):
    """tests/estimators/classification/test_blackbox.py: test_defences_predict."""
    defences = CHAINS["three"]()
    images = x
    for defence in defences:
        images, _ = defence(images)
    predict = tiny_classifier(SHAPE).predict
    classifier = BlackBoxClassifier(predict, SHAPE, 4, clip_values=(0, 1), preprocessing_defences=defences)
    np.testing.assert_allclose(classifier.predict(x), predict(images), atol=1e-5)


def test_detector_with_a_defence():
    """tests/estimators/object_detection/test_pytorch_faster_rcnn.py: test_preprocessing_defences, and the scale.

    The detector's images are of 0 to 255, and it hands PyTorch preprocessors images in [0, 1]: the same weight must
    mean the same strength.
    """
    seen = {}

    class Watched(ROFDefence):
        def forward(self, x, y=None):
            seen["x"] = x
            seen["result"], y = super().forward(x, y)
            return seen["result"], y

    detector = Detector.make([Watched(0.1)])
    predictions = detector.predict(Detector.x)
    assert [set(p) for p in predictions] == [{"boxes", "labels", "scores"}] * 2
    np.testing.assert_allclose(seen["x"].numpy(), Detector.x / 255, atol=1e-6)
    expected = ROFDefence(0.1, clip_values=(0, 255))(Detector.x)[0] / 255
    np.testing.assert_allclose(seen["result"].numpy(), expected, atol=2e-3)


def test_arrays_and_tensors_agree(make, x):
    """tests/preprocessing/test_standardisation_mean_std.py: the same from NumPy and PyTorch, values and gradients."""
    defence = make()
    tensor = torch.from_numpy(x).requires_grad_()
    result, _ = defence.forward(tensor)
    np.testing.assert_array_equal(result.detach().numpy(), defence(x)[0])
    grad = np.random.default_rng(7).normal(size=x.shape).astype(np.float32)
    result.backward(torch.from_numpy(grad))
    np.testing.assert_array_equal(tensor.grad.numpy(), defence.estimate_gradient(x, grad))


def test_deepfool_of_a_defended_classifier(x):
    """tests/attacks/test_deepfool.py: images change, stay in the range, the input is not touched; ours like ART's."""
    classifier = tiny_classifier(SHAPE, preprocessing_defences=[ROFDefence(0.1)])
    labels = classifier.predict(x).argmax(1)
    for attack in (DeepFool, SharedForwardDeepFool):
        before = x.copy()
        adversarial = attack(classifier, max_iter=20, verbose=False).generate(x)
        assert (classifier.predict(adversarial).argmax(1) != labels).mean() > 0.5
        assert adversarial.min() >= 0
        assert adversarial.max() <= 1
        np.testing.assert_array_equal(x, before)


def test_universal_perturbation_of_a_defended_classifier(x):
    """tests/attacks/test_universal_perturbation.py: one perturbation for all, within its bound."""
    classifier = tiny_classifier(SHAPE, preprocessing_defences=[ROFDefence(0.1)])
    before = x.copy()
    for attack in (DeepFoolUAP, SGDUAP):
        adversarial = attack(classifier, eps=0.3, max_iter=2, verbose=False).generate(x)
        assert 0 < np.abs(adversarial - x).max() <= 0.3 + 1e-6
        assert adversarial.min() >= 0
        assert adversarial.max() <= 1
        assert adversarial.dtype == np.float32
    np.testing.assert_array_equal(x, before)
