"""AsPyTorch, AsNumPy and AsFlat: the wrapped preprocessor's results on every path, with the gradient asked for."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from art.attacks.evasion import ProjectedGradientDescent
from art.defences.preprocessor import FeatureSqueezing, LabelSmoothing, Preprocessor, SpatialSmoothing
from art.estimators.classification.scikitlearn import ScikitlearnLogisticRegression
from conftest import tiny_classifier
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline

from art_denoise import AsFlat, AsNumPy, AsPyTorch, NLMeansDefence, ROFDefence

SHAPE = (3, 8, 8)


class Scale(Preprocessor):
    """Multiplies by a factor, in place and in float64, as careless preprocessors do; knows its own gradient."""

    params = ["factor"]  # noqa: RUF012

    def __init__(self, factor: float = 0.5) -> None:
        super().__init__(is_fitted=True, apply_fit=True, apply_predict=True)
        self.factor = factor

    def __call__(self, x, y=None):
        x *= np.float32(self.factor)
        return x.astype(np.float64), y

    def estimate_gradient(self, x, grad):
        assert x.shape == grad.shape, "one class at a time"
        return grad * self.factor


class Halve(Preprocessor):
    """Drops every other row and column."""

    def __init__(self) -> None:
        super().__init__(is_fitted=True, apply_fit=True, apply_predict=True)

    def __call__(self, x, y=None):
        return x[:, :, ::2, ::2], y

    def estimate_gradient(self, x, grad):
        result = np.zeros_like(x)
        result[:, :, ::2, ::2] = grad
        return result


@pytest.fixture
def x() -> np.ndarray:
    return np.random.default_rng(1).uniform(0.1, 0.9, (5, *SHAPE)).astype(np.float32)


@pytest.fixture
def y() -> np.ndarray:
    return np.eye(4, dtype=np.float32)[[0, 1, 2, 3, 0]]


def smoothing() -> SpatialSmoothing:
    return SpatialSmoothing(window_size=3, channels_first=True)


def test_a_numpy_preprocessor_in_a_pytorch_chain(x):
    chain = [AsPyTorch(smoothing()), ROFDefence()]
    classifier = tiny_classifier(SHAPE, preprocessing_defences=chain)
    expected = tiny_classifier(SHAPE).predict(ROFDefence()(smoothing()(x)[0])[0])
    np.testing.assert_allclose(classifier.predict(x), expected, atol=1e-5)
    with pytest.raises(NotImplementedError):  # what it is for
        tiny_classifier(SHAPE, preprocessing_defences=[smoothing(), ROFDefence()]).predict(x)


def test_attacks_use_the_fast_implementation(x):
    attack = ProjectedGradientDescent(tiny_classifier(SHAPE, preprocessing_defences=[AsPyTorch(smoothing())]))
    assert type(attack._attack).__name__ == "ProjectedGradientDescentPyTorch"


def test_gradient_by_the_identity(x, y):
    classifier = tiny_classifier(SHAPE, preprocessing_defences=[AsPyTorch(smoothing())])
    at_smoothed = tiny_classifier(SHAPE).loss_gradient(smoothing()(x)[0], y)
    np.testing.assert_allclose(classifier.loss_gradient(x, y), at_smoothed, atol=1e-6)


@pytest.mark.parametrize("gradient", ["identity", "estimate"])
def test_gradient_by_the_preprocessors_own_estimate(gradient, x, y):
    classifier = tiny_classifier(SHAPE, preprocessing_defences=[AsPyTorch(Scale(), gradient)])
    factor = 0.5 if gradient == "estimate" else 1.0
    plain = tiny_classifier(SHAPE)
    np.testing.assert_allclose(classifier.loss_gradient(x, y), plain.loss_gradient(x * 0.5, y) * factor, atol=1e-6)
    np.testing.assert_allclose(classifier.class_gradient(x), plain.class_gradient(x * 0.5) * factor, atol=1e-6)
    # On arrays, for all other estimators; of one class and of several.
    grads = plain.class_gradient(x)
    wrapped = AsPyTorch(Scale(), gradient)
    np.testing.assert_allclose(wrapped.estimate_gradient(x, grads[:, 0]), grads[:, 0] * factor)
    np.testing.assert_allclose(wrapped.estimate_gradient(x, grads), grads * factor)


def test_nothing_of_the_caller_is_changed(x):
    before = x.copy()
    tensor = torch.from_numpy(x).requires_grad_()
    result, _ = AsPyTorch(Scale()).forward(tensor)
    assert result.dtype == torch.float32
    assert tensor.grad is None
    np.testing.assert_array_equal(x, before)


def test_arrays_are_not_tensors(x):
    for wrapped in (AsPyTorch(smoothing()), AsFlat(smoothing(), SHAPE)):
        with pytest.raises(TypeError, match=r"must be a tensor, got ndarray: call the preprocessor on arrays"):
            wrapped.forward(x.reshape(5, -1) if isinstance(wrapped, AsFlat) else x)


def test_shapes_may_change_where_the_gradient_is_estimated(x):
    tensor = torch.from_numpy(x).requires_grad_()
    result, _ = AsPyTorch(Halve(), gradient="estimate").forward(tensor)
    assert result.shape == (5, 3, 4, 4)
    result.sum().backward()
    np.testing.assert_array_equal(tensor.grad[:, :, ::2, ::2], 1)
    assert tensor.grad.sum() == result.numel()
    with pytest.raises(ValueError, match=r"Halve makes .* use gradient='estimate'"):
        AsPyTorch(Halve()).forward(tensor)
    assert AsPyTorch(Halve()).forward(tensor.detach())[0].shape == (5, 3, 4, 4)


def test_labels_reach_the_preprocessor_and_come_back(x, y):
    smooth = AsPyTorch(LabelSmoothing(max_value=0.7))
    _, labels = smooth.forward(torch.from_numpy(x), torch.from_numpy(y))
    np.testing.assert_allclose(labels.numpy(), LabelSmoothing(max_value=0.7)(x, y)[1])
    boxes = [{"boxes": torch.zeros(1, 4)}]
    assert AsPyTorch(smoothing()).forward(torch.from_numpy(x), boxes)[1] is boxes


def test_float64_results_on_numpy_2(x):
    """ART's own FeatureSqueezing returns float64 there, which no float32 network takes."""
    classifier = tiny_classifier(SHAPE, preprocessing_defences=[AsPyTorch(FeatureSqueezing((0, 1), bit_depth=3))])
    assert classifier.predict(x).dtype == np.float32
    assert AsPyTorch(FeatureSqueezing((0, 1), bit_depth=3))(x)[0].dtype == np.float32


def test_applied_when_the_wrapped_one_says_so(x):
    for inner in (smoothing(), LabelSmoothing()):
        wrapped = AsPyTorch(inner)
        assert (wrapped.apply_fit, wrapped.apply_predict) == (inner.apply_fit, inner.apply_predict)
    silent = AsNumPy(ROFDefence(apply_predict=False))
    np.testing.assert_array_equal(
        tiny_classifier(SHAPE, preprocessing_defences=[silent]).predict(x), tiny_classifier(SHAPE).predict(x)
    )


def test_as_numpy_is_numpy_to_art(x, y):
    defended = tiny_classifier(SHAPE, preprocessing_defences=[ROFDefence(0.2)])
    hidden = tiny_classifier(SHAPE, preprocessing_defences=[AsNumPy(ROFDefence(0.2))])
    assert defended.all_framework_preprocessing
    assert not hidden.all_framework_preprocessing
    np.testing.assert_allclose(hidden.predict(x), defended.predict(x), atol=1e-5)
    np.testing.assert_allclose(hidden.loss_gradient(x, y), defended.loss_gradient(x, y), atol=1e-6)
    np.testing.assert_allclose(hidden.class_gradient(x), defended.class_gradient(x), atol=1e-5)


@pytest.mark.parametrize("inner", [ROFDefence(0.2), NLMeansDefence(0.3), AsNumPy(ROFDefence(0.2)), smoothing()])
def test_flat_features_are_images(inner, x):
    flat = AsFlat(inner, SHAPE)
    rows = x.reshape(5, -1)
    expected = inner(x)[0].reshape(5, -1)
    np.testing.assert_array_equal(flat(rows)[0], expected)
    np.testing.assert_array_equal(flat.forward(torch.from_numpy(rows))[0].numpy(), expected)
    grad = np.random.default_rng(2).normal(size=rows.shape).astype(np.float32)
    pulled = inner.estimate_gradient(x, grad.reshape(x.shape)).reshape(5, -1)
    np.testing.assert_allclose(flat.estimate_gradient(rows, grad), pulled, atol=1e-6)
    several = np.stack([grad, 2 * grad], axis=1)
    np.testing.assert_allclose(flat.estimate_gradient(rows, several)[:, 1], 2 * pulled, atol=1e-5)
    tensor = torch.from_numpy(rows).requires_grad_()
    flat.forward(tensor)[0].backward(torch.from_numpy(grad))
    np.testing.assert_allclose(tensor.grad.numpy(), pulled, atol=1e-6)


def test_no_rows_at_all():
    flat = AsFlat(ROFDefence(), SHAPE)
    none = np.zeros((0, 192), dtype=np.float32)
    assert flat(none)[0].shape == flat.estimate_gradient(none, none).shape == (0, 192)
    assert flat.forward(torch.from_numpy(none))[0].shape == (0, 192)


def test_flat_features_in_a_pipeline_of_scikit_learn():
    digits, labels = load_digits(return_X_y=True)
    flat = AsFlat(ROFDefence(weight=0.1, clip_values=(0, 16)), image_shape=(1, 8, 8))
    denoised = flat(digits[:300])[0]
    np.testing.assert_array_equal(flat.fit_transform(digits[:300]), denoised)
    expected = GaussianNB().fit(denoised, labels[:300]).predict(flat(digits[300:])[0])
    pipeline = make_pipeline(flat, GaussianNB()).fit(digits[:300], labels[:300])
    np.testing.assert_array_equal(pipeline.predict(digits[300:]), expected)
    # Copied for each fold, and set by name.
    grid = {"asflat__preprocessor": [ROFDefence(weight=weight, clip_values=(0, 16)) for weight in (1e-4, 10.0)]}
    search = GridSearchCV(pipeline, grid, cv=2, error_score="raise").fit(digits[:300], labels[:300])
    assert search.best_params_["asflat__preprocessor"].weight == 1e-4
    assert flat.preprocessor.weight == 0.1
    with pytest.raises(ValueError, match=r"`x` must be features \(N, 64\)"):
        flat.transform(digits[:, :-1])


def test_flat_features_of_another_number(x):
    flat = AsFlat(ROFDefence(), (1, 8, 8))
    with pytest.raises(ValueError, match=r"features \(N, 64\), the pixels of images \(1, 8, 8\), got \(5, 192\)"):
        flat(x.reshape(5, -1))
    with pytest.raises(ValueError, match=r"got \(5, 3, 8, 8\)"):
        flat.forward(torch.from_numpy(x))


def test_digits_with_scikit_learn():
    """The example of the documentation, on scikit-learn's digits of 0 to 16."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    x = x.astype(np.float32)
    model = LogisticRegression(max_iter=2000).fit(x[:1000], y[:1000])
    defence = AsFlat(ROFDefence(0.05, clip_values=(0, 16)), image_shape=(1, 8, 8))
    classifier = ScikitlearnLogisticRegression(model, clip_values=(0, 16), preprocessing_defences=[defence])
    assert np.mean(classifier.predict(x[1000:]).argmax(1) == y[1000:]) > 0.8


@pytest.mark.parametrize("wrapped", [AsPyTorch(smoothing()), AsNumPy(ROFDefence()), AsFlat(ROFDefence(), SHAPE)])
def test_parameters_pickle_and_repr(wrapped, x):
    images = x.reshape(5, -1) if isinstance(wrapped, AsFlat) else x
    again = pickle.loads(pickle.dumps(wrapped))
    np.testing.assert_array_equal(again(images)[0], wrapped(images)[0])
    assert repr(wrapped).startswith(f"{type(wrapped).__name__}(preprocessor=")
    with pytest.raises(TypeError, match="`weight` is no parameter"):
        again.set_params(weight=1)
    with pytest.raises(TypeError, match="`preprocessor` must be"):
        again.set_params(preprocessor=7)
    assert again.preprocessor != 7


def test_fit_is_passed_on(x):
    seen = {}

    class Fitted(Scale):
        def fit(self, x, y=None, **kwargs):
            seen.update(x=x, y=y, **kwargs)
            self._is_fitted = True

    wrapped = AsPyTorch(Fitted())
    wrapped.preprocessor._is_fitted = False
    assert not wrapped.is_fitted
    wrapped.fit(x, "labels", extra=1)
    assert wrapped.is_fitted
    assert seen["x"] is x
    assert (seen["y"], seen["extra"]) == ("labels", 1)


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: AsPyTorch(ROFDefence()), TypeError, "one for PyTorch already, ROFDefence: put it into the list as it"),
        (lambda: AsPyTorch(SpatialSmoothing), TypeError, "must be an ART preprocessor, got SpatialSmoothing"),
        (lambda: AsPyTorch(smoothing(), gradient="exact"), ValueError, "`gradient` must be 'identity' or 'estimate'"),
        (lambda: AsNumPy(smoothing()), TypeError, "must be one for PyTorch, got SpatialSmoothing: use it as it is"),
        (lambda: AsFlat(ROFDefence(), (8, 8)), ValueError, r"`image_shape` must be three numbers.*got \(8, 8\)"),
        (lambda: AsFlat(ROFDefence(), (0, 8, 8)), ValueError, "`image_shape` must be >= 1, got 0"),
        (lambda: AsFlat(None, SHAPE), TypeError, "must be an ART preprocessor, got NoneType"),
    ],
)
def test_bad_arguments(build, error, message):
    with pytest.raises(error, match=message):
        build()
