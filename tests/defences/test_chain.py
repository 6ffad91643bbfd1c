"""Compose: every stage on what the one before made, and differentiated there, in every estimator."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from art.defences.preprocessor import GaussianAugmentation, Preprocessor, SpatialSmoothing
from art.estimators.classification.scikitlearn import ScikitlearnLogisticRegression
from conftest import tiny_classifier
from sklearn.linear_model import LogisticRegression

from art_denoise import AsFlat, AsNumPy, AsPyTorch, Compose, DefensiveNoiseDefence, NLMeansDefence, ROFDefence
from art_denoise.defences.chain import defences_after

SHAPE = (3, 8, 8)
NOISE = np.random.default_rng(0).normal(0, 0.05, SHAPE)


class Square(Preprocessor):
    """x², whose derivative 2x tells which input it was taken at; NumPy only, one class at a time."""

    def __init__(self) -> None:
        super().__init__(is_fitted=True, apply_fit=False, apply_predict=True)

    def __call__(self, x, y=None):
        return x**2, y

    def estimate_gradient(self, x, grad):
        assert x.shape == grad.shape
        return 2 * x * grad


@pytest.fixture
def x() -> np.ndarray:
    return np.random.default_rng(1).uniform(0.1, 0.9, (5, *SHAPE)).astype(np.float32)


@pytest.fixture
def y() -> np.ndarray:
    return np.eye(4, dtype=np.float32)[[0, 1, 2, 3, 0]]


def test_order(x):
    chain = Compose([DefensiveNoiseDefence(NOISE), ROFDefence(), Square()])
    noisy = np.clip(x + NOISE.astype(np.float32), 0, 1)
    np.testing.assert_allclose(chain(x, "y")[0], ROFDefence()(noisy)[0] ** 2, atol=1e-6)
    np.testing.assert_allclose(chain.forward(torch.from_numpy(x))[0].numpy(), chain(x)[0], atol=1e-6)
    assert chain(x, "y")[1] == "y"


def test_stages_are_differentiated_where_they_were_applied(x):
    """x² twice is x⁴; with the raw input at every stage, as ART's base class has it, the slope would be 4x²."""
    chain = Compose([Square(), Square()])
    np.testing.assert_allclose(chain.estimate_gradient(x, np.ones_like(x)), 4 * x**3, rtol=1e-5)
    several = np.stack([np.ones_like(x), 3 * np.ones_like(x)], axis=1)
    np.testing.assert_allclose(chain.estimate_gradient(x, several)[:, 1], 12 * x**3, rtol=1e-5)
    tensor = torch.from_numpy(x).requires_grad_()
    chain.forward(tensor)[0].sum().backward()
    np.testing.assert_allclose(tensor.grad.numpy(), 4 * x**3, rtol=1e-5)


@pytest.mark.parametrize(
    "stages",
    [
        [ROFDefence(0.1, eps=0, max_iter=20), NLMeansDefence(0.3)],
        [DefensiveNoiseDefence(NOISE), ROFDefence(0.1, eps=0, max_iter=20)],
        [Square(), ROFDefence(0.1, eps=0, max_iter=20), Square()],
        [Compose([Square(), NLMeansDefence(0.3)]), ROFDefence(0.1, eps=0, max_iter=20)],
    ],
)
def test_gradient_is_the_slope(stages, x):
    x = x * 0.5 + 0.25  # away from the ends, where noise is clipped
    chain = Compose(stages)
    rng = np.random.default_rng(3)
    seed, direction = rng.normal(size=(2, *x.shape)).astype(np.float32)
    gradient = chain.estimate_gradient(x, seed)
    ahead, behind = (float(np.sum(chain(x + s * 2e-3 * direction)[0] * seed, dtype=float)) for s in (1, -1))
    assert float(np.sum(gradient * direction)) == pytest.approx((ahead - behind) / 4e-3, rel=0.02)
    classifier = tiny_classifier(SHAPE, preprocessing_defences=chain)
    assert classifier.all_framework_preprocessing
    y = np.eye(4, dtype=np.float32)[[0, 1, 2, 3, 0]]
    expected = chain.estimate_gradient(x, tiny_classifier(SHAPE).loss_gradient(chain(x)[0], y))
    np.testing.assert_allclose(classifier.loss_gradient(x, y), expected, atol=1e-5)


def test_what_art_does_to_two_stages_elsewhere(x):
    """On scikit-learn's estimators a list of two has a wrong gradient, the composition of the same two a right one."""
    rows, labels = x.reshape(5, -1), np.array([0, 1, 2, 3, 0])
    model = LogisticRegression().fit(rows, labels)
    stages = [AsFlat(Square(), SHAPE), AsFlat(Square(), SHAPE)]
    plain = ScikitlearnLogisticRegression(model, clip_values=(0, 1)).class_gradient(rows**4)
    expected = plain * (4 * rows**3)[:, None]

    def gradient(defences: list) -> np.ndarray:
        return ScikitlearnLogisticRegression(model, clip_values=(0, 1), preprocessing_defences=defences).class_gradient(
            rows
        )

    np.testing.assert_allclose(gradient([Compose(stages)]), expected, rtol=1e-4, atol=1e-6)
    assert not np.allclose(gradient(stages), expected, rtol=0.05)


def test_any_mixture_on_pytorch(x, y):
    smoothing = SpatialSmoothing(window_size=3, channels_first=True)
    chain = Compose([smoothing, ROFDefence(), smoothing])
    classifier = tiny_classifier(SHAPE, preprocessing_defences=chain, preprocessing=(0.4, 0.2))
    images = smoothing(ROFDefence()(smoothing(x)[0])[0])[0]
    expected = tiny_classifier(SHAPE, clip_values=(-9, 9)).predict((images - np.float32(0.4)) / np.float32(0.2))
    np.testing.assert_allclose(classifier.predict(x), expected, atol=1e-4)
    assert np.abs(classifier.loss_gradient(x, y)).max() > 0


def test_arts_own_pytorch_preprocessor(x, y):
    pytest.importorskip("kornia", reason="ART's SpatialSmoothingPyTorch needs kornia")
    from art.defences.preprocessor import SpatialSmoothingPyTorch

    stages = [SpatialSmoothingPyTorch(window_size=3, channels_first=True), ROFDefence(0.1)]
    chained = tiny_classifier(SHAPE, preprocessing_defences=stages)
    composed = tiny_classifier(SHAPE, preprocessing_defences=Compose(stages))
    np.testing.assert_allclose(composed.predict(x), chained.predict(x), atol=1e-6)
    np.testing.assert_allclose(composed.loss_gradient(x, y), chained.loss_gradient(x, y), atol=1e-6)
    by_arrays = Compose(stages).estimate_gradient(x, tiny_classifier(SHAPE).loss_gradient(Compose(stages)(x)[0], y))
    np.testing.assert_allclose(by_arrays, chained.loss_gradient(x, y), atol=1e-5)


def test_images_of_different_sizes(x):
    ragged = np.empty(2, dtype=object)
    ragged[:] = [x[0], x[1, :, :5, :7]]
    chain = Compose([ROFDefence(), NLMeansDefence()])
    result, _ = chain(ragged)
    np.testing.assert_array_equal(result[1], chain(ragged[1][None])[0][0])
    gradient = chain.estimate_gradient(ragged, ragged)
    np.testing.assert_allclose(gradient[1], chain.estimate_gradient(ragged[1][None], ragged[1][None])[0], atol=1e-6)


def test_flags_of_the_stages():
    chain = Compose([ROFDefence(apply_fit=True), NLMeansDefence(apply_fit=True)])
    assert chain.apply_fit
    assert chain.apply_predict
    with pytest.raises(ValueError, match="agree on `apply_fit`, got GaussianAugmentation True, ROFDefence False"):
        Compose([GaussianAugmentation(), ROFDefence()])


def test_fit_goes_from_stage_to_stage(x):
    seen = []

    class Watch(Square):
        def fit(self, x, y=None, **kwargs):
            seen.append((x, kwargs))

    Compose([Watch(), Watch()]).fit(x, None, epochs=2)
    np.testing.assert_array_equal(seen[0][0], x)
    np.testing.assert_allclose(seen[1][0], x**2)
    assert seen[1][1] == {"epochs": 2}


def test_parameters_pickle_and_repr(x):
    chain = Compose([Square(), ROFDefence()])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(chain))(x)[0], chain(x)[0])
    assert "ROFDefence(weight=" in repr(chain)
    assert chain.is_fitted
    assert not Compose([DefensiveNoiseDefence(), ROFDefence()]).is_fitted
    chain.set_params(preprocessors=[ROFDefence()])
    np.testing.assert_array_equal(chain(x)[0], ROFDefence()(x)[0])
    with pytest.raises(ValueError, match="at least one"):
        chain.set_params(preprocessors=[])
    assert len(chain.preprocessors) == 1


@pytest.mark.parametrize("stages", [[], None, ROFDefence()])
def test_no_stages(stages):
    with pytest.raises(ValueError, match="`preprocessors` must be a list of at least one"):
        Compose(stages)


def test_stages_that_are_none():
    with pytest.raises(TypeError, match="`preprocessors` must be ART preprocessors, got 'ROF'"):
        Compose(["ROF"])


def test_what_follows_a_defence_in_a_chain():
    noise, rof, nlm = DefensiveNoiseDefence(NOISE), ROFDefence(), NLMeansDefence()
    assert defences_after(noise, [noise, rof, nlm]) == [rof, nlm]
    assert defences_after(noise, [rof]) is None
    assert defences_after(noise, [AsNumPy(noise), rof]) == [rof]
    (composed, last) = defences_after(noise, [Compose([rof, noise, nlm, rof]), nlm])
    assert composed.preprocessors == [nlm, rof]
    assert last is nlm
    assert defences_after(noise, [Compose([rof, noise]), nlm]) == [nlm]


def test_fit_of_the_noise_inside_a_composition(x):
    """The noise is fitted through what follows it, wherever it stands."""
    rng = np.random.default_rng(3)
    x = rng.uniform(0.1, 0.9, (40, *SHAPE)).astype(np.float32)
    y = rng.integers(0, 4, 40)
    noises = []
    for composed in (True, False):
        noise = DefensiveNoiseDefence()
        chain = [noise, ROFDefence(0.1)]
        classifier = tiny_classifier(SHAPE, preprocessing_defences=Compose(chain) if composed else chain)
        noise.fit(x, y, classifier=classifier, accept="loss", sigma=0.1, draws=5)
        noises.append(noise.noise)
    np.testing.assert_array_equal(*noises)


def test_as_pytorch_inside(x):
    smoothing = SpatialSmoothing(window_size=3, channels_first=True)
    np.testing.assert_array_equal(Compose([AsPyTorch(smoothing)])(x)[0], smoothing(x)[0])
