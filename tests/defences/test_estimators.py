"""Every kind of estimator ART has, with every defence: predictions, gradients and training.

The table of the documentation is written from the results: `python -m pytest tests/defences/test_estimators.py
--estimators-table docs/estimators.md`, in an environment that has the libraries of all estimators.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from art.estimators import classification, object_detection, regression
from conftest import tiny_classifier
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from art_denoise import AsFlat, AsNumPy, DefensiveNoiseDefence, NLMeansDefence, ROFDefence, check_chain

SHAPE = (3, 8, 8)
CLASSES = 4
X = np.random.default_rng(0).uniform(0.1, 0.9, (12, *SHAPE)).astype(np.float32)
Y = np.arange(12) % CLASSES
ONE_HOT = np.eye(CLASSES, dtype=np.float32)[Y]

#: ART's loss gradient of logistic regression takes its prediction at images that are preprocessed once more.
TWICE = "approximate: ART defends twice"

DEFENCES = ("ROFDefence", "NLMeansDefence", "DefensiveNoiseDefence")


def _last(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1))


def _flat(x: np.ndarray) -> np.ndarray:
    return x.reshape(len(x), -1)


@dataclass(frozen=True)
class Case:
    """One row of the table."""

    estimator: str
    #: Makes the estimator with a list of preprocessors; the same model each time.
    make: Callable[[Sequence[Any]], Any]
    given_as: str = "`{defence}()`"
    wrap: Callable[[Any], Any] = lambda defence: defence
    x: np.ndarray = field(default_factory=lambda: X)
    y: Any = field(default_factory=lambda: ONE_HOT)
    #: Of the defence, as the estimator's data are.
    options: dict[str, Any] = field(default_factory=dict)
    loss: str = "exact"
    classes: str = "exact"
    training: str = "✓"
    #: What `fit` takes where it is not `y`.
    targets: Any = None
    needs: tuple[str, ...] = ()

    def defence(self, name: str, **options: Any) -> Any:
        options = {"device_type": "cpu", **self.options, **options}
        noise = np.random.default_rng(1).normal(0, 0.03, self.x.shape[1:] if self.x.ndim == 4 else SHAPE)
        # Strong filters: a gradient that misses them is far off.
        return {
            "ROFDefence": lambda: ROFDefence(0.2, **options),
            "NLMeansDefence": lambda: NLMeansDefence(0.3, **options),
            "DefensiveNoiseDefence": lambda: DefensiveNoiseDefence(noise, **options),
        }[name]()


def torch_regressor(defences: Sequence[Any]) -> Any:
    mean = torch.nn.Linear(CLASSES, 1, bias=False)
    torch.nn.init.constant_(mean.weight, 1 / CLASSES)
    return regression.PyTorchRegressor(
        torch.nn.Sequential(tiny_classifier(SHAPE).model, mean),
        torch.nn.MSELoss(),
        SHAPE,
        clip_values=(0, 1),
        preprocessing_defences=list(defences),
        device_type="cpu",
    )


def trainable(make: Callable[..., Any]) -> Callable[[Sequence[Any]], Any]:
    """Give a PyTorch estimator the optimiser that its `fit` needs."""

    def made(defences: Sequence[Any]) -> Any:
        estimator = make(defences)
        estimator.set_params(optimizer=torch.optim.SGD(estimator.model.parameters(), lr=0.01))
        return estimator

    return made


def ensemble(defences: Sequence[Any]) -> Any:
    members = [tiny_classifier(SHAPE, seed=seed, preprocessing_defences=list(defences)) for seed in (0, 1)]
    return classification.EnsembleClassifier(members, channels_first=True, clip_values=(0, 1))


def black_box(kind: str) -> Callable[[Sequence[Any]], Any]:
    model = tiny_classifier(SHAPE)

    def made(defences: Sequence[Any]) -> Any:
        extra = {"channels_first": True} if kind.endswith("NeuralNetwork") else {}
        return getattr(classification, kind)(
            model.predict, SHAPE, CLASSES, clip_values=(0, 1), preprocessing_defences=list(defences), **extra
        )

    return made


def sklearn(kind: str, model: Callable[[], Any]) -> Callable[[Sequence[Any]], Any]:
    def made(defences: Sequence[Any]) -> Any:
        fitted = model().fit(_flat(X), Y)
        return getattr(classification.scikitlearn, kind)(
            fitted, clip_values=(0, 1), preprocessing_defences=list(defences)
        )

    return made


def xgboost(defences: Sequence[Any]) -> Any:
    from xgboost import XGBClassifier

    model = XGBClassifier(n_estimators=3, max_depth=3).fit(_flat(X), Y)
    return classification.XGBoostClassifier(
        model, clip_values=(0, 1), preprocessing_defences=list(defences), nb_features=192, nb_classes=CLASSES
    )


def lightgbm(defences: Sequence[Any]) -> Any:
    import lightgbm as lgb

    booster = lgb.train(
        {"objective": "multiclass", "num_class": CLASSES, "min_data_in_leaf": 1, "verbose": -1},
        lgb.Dataset(_flat(X), Y),
        num_boost_round=2,
    )
    return classification.LightGBMClassifier(booster, clip_values=(0, 1), preprocessing_defences=list(defences))


def catboost(defences: Sequence[Any]) -> Any:
    from catboost import CatBoostClassifier

    model = CatBoostClassifier(iterations=3, verbose=False, allow_writing_files=False).fit(_flat(X), Y)
    return classification.CatBoostARTClassifier(
        model, clip_values=(0, 1), preprocessing_defences=list(defences), nb_features=192
    )


def keras_model(outputs: int, activation: str | None) -> Any:
    import keras

    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.layers.Input((8, 8, 3)),
            keras.layers.Conv2D(6, 3, activation="tanh", kernel_initializer="he_normal"),
            keras.layers.Flatten(),
            keras.layers.Dense(outputs, activation=activation),
        ]
    )


def tensorflow_v2(defences: Sequence[Any]) -> Any:
    import tensorflow as tf

    return classification.TensorFlowV2Classifier(
        keras_model(CLASSES, None),
        CLASSES,
        (8, 8, 3),
        tf.keras.losses.CategoricalCrossentropy(from_logits=True),
        optimizer=tf.keras.optimizers.SGD(0.01),
        clip_values=(0, 1),
        preprocessing_defences=list(defences),
    )


def keras_classifier(defences: Sequence[Any]) -> Any:
    model = keras_model(CLASSES, "softmax")
    model.compile("sgd", "categorical_crossentropy")
    return classification.KerasClassifier(model, clip_values=(0, 1), preprocessing_defences=list(defences))


class Detector:
    """A Faster R-CNN with random weights, images of 0 to 255; its sampling of boxes is seeded."""

    x = np.random.default_rng(4).uniform(30, 220, (2, 3, 48, 40)).astype(np.float32)
    y = tuple(
        {"boxes": np.array([[4.0, 5.0, 30.0, 33.0]], np.float32), "labels": np.array([k]), "scores": np.ones(1)}
        for k in (1, 2)
    )
    _model: Any = None

    @classmethod
    def make(cls, defences: Sequence[Any]) -> Any:
        from torchvision.models.detection import fasterrcnn_mobilenet_v3_large_320_fpn

        if cls._model is None:
            torch.manual_seed(0)
            cls._model = fasterrcnn_mobilenet_v3_large_320_fpn(
                weights=None, weights_backbone=None, num_classes=3, min_size=64, max_size=64
            )
        return object_detection.PyTorchFasterRCNN(
            cls._model,
            input_shape=(3, 48, 40),
            clip_values=(0, 255),
            channels_first=True,
            preprocessing_defences=list(defences),
            optimizer=torch.optim.SGD(cls._model.parameters(), lr=0.0),  # the model is shared
            device_type="cpu",
        )


FLAT = {
    "given_as": "`AsFlat({defence}(), image_shape)`",
    "wrap": lambda defence: AsFlat(defence, SHAPE),
    "x": _flat(X),
    "classes": "exact",
}
LAST = {"options": {"channels_first": False}, "x": _last(X), "needs": ("tensorflow",)}
NONE = {"loss": "none", "classes": "none"}

CASES = [
    Case("PyTorchClassifier", trainable(lambda d: tiny_classifier(SHAPE, preprocessing_defences=list(d)))),
    Case("PyTorchRegressor", trainable(torch_regressor), y=np.arange(12, dtype=np.float32), classes="none"),
    Case("EnsembleClassifier", ensemble, "`{defence}()`, to its members", training="not by ART"),
    Case(
        "PyTorchFasterRCNN",
        Detector.make,
        "`{defence}()`, which sees images in 0–1",
        x=Detector.x,
        y=Detector.y,
        loss="identity",
        classes="none",
        targets=list(Detector.y),
    ),
    Case(
        "PyTorchFasterRCNN",
        Detector.make,
        "`AsNumPy({defence}())`, which sees the detector's range",
        AsNumPy,
        x=Detector.x,
        y=Detector.y,
        options={"clip_values": (0, 255)},
        classes="none",
        targets=list(Detector.y),
    ),
    Case("TensorFlowV2Classifier", tensorflow_v2, **LAST),
    Case("KerasClassifier", keras_classifier, **LAST),
    Case("BlackBoxClassifier", black_box("BlackBoxClassifier"), training="not by ART", **NONE),
    Case(
        "BlackBoxClassifierNeuralNetwork", black_box("BlackBoxClassifierNeuralNetwork"), training="not by ART", **NONE
    ),
    Case(
        "ScikitlearnLogisticRegression",
        sklearn("ScikitlearnLogisticRegression", LogisticRegression),
        **FLAT | {"loss": TWICE},
    ),
    Case("ScikitlearnSVC", sklearn("ScikitlearnSVC", lambda: LinearSVC(max_iter=100_000)), **FLAT),
    Case(
        "ScikitlearnRandomForestClassifier",
        sklearn("ScikitlearnRandomForestClassifier", lambda: RandomForestClassifier(5, random_state=0)),
        **FLAT | NONE,
    ),
    Case("XGBoostClassifier", xgboost, training="ignored by ART", targets=Y, needs=("xgboost",), **FLAT | NONE),
    Case("LightGBMClassifier", lightgbm, training="not by ART", needs=("lightgbm",), **FLAT | NONE),
    Case("CatBoostARTClassifier", catboost, targets=Y, needs=("catboost",), **FLAT | NONE),
]


@pytest.fixture(params=CASES, ids=lambda case: f"{case.estimator}-{case.wrap.__name__.strip('<>')}")
def case(request) -> Case:
    return request.param


@pytest.fixture(params=DEFENCES)
def name(request) -> str:
    return request.param


@pytest.fixture
def cell(case, name, record_property):
    """Name the cell of the table that a test fills; skip where the estimator's library is missing."""

    def fill(quantity: str) -> None:
        record_property("estimators_table", [case.estimator, case.given_as.format(defence="…"), quantity, name])
        for module in case.needs:
            pytest.importorskip(module, reason=f"{module} is not installed")

    return fill


def scores(case: Case, predicted: Any) -> np.ndarray:
    """What an estimator returns, as one array; the boxes of a detector vary in number."""
    if isinstance(predicted, list):
        return np.concatenate([np.concatenate([p["scores"], p["boxes"].ravel()]) for p in predicted])
    return np.asarray(predicted)


def test_prediction(case, name, cell, record_property):
    """A defended estimator predicts what the estimator predicts for defended images."""
    cell("prediction")
    wrapped = case.wrap(case.defence(name))
    in_units = 255.0 if case.loss == "identity" else 1.0  # see `Detector`
    defended = wrapped(case.x / np.float32(in_units))[0] * np.float32(in_units)
    expected = scores(case, case.make([]).predict(defended))
    predicted = scores(case, case.make([wrapped]).predict(case.x))
    np.testing.assert_allclose(predicted, expected, rtol=1e-3, atol=1e-4)
    if case.loss != "none" and not set(np.unique(expected)) <= {0, 1}:  # not only labels, which may stay the same
        assert not np.allclose(predicted, scores(case, case.make([]).predict(case.x)), rtol=1e-3, atol=1e-4)
    record_property("estimators_cell", "✓")


def compare(case: Case, name: str, gradient: Callable[[Any, np.ndarray], np.ndarray], claim: str) -> None:
    """Compare a gradient with that at the defended image, taken back through the defence, or not."""
    wrapped = case.wrap(case.defence(name))
    in_units = np.float32(255.0 if case.loss == "identity" else 1.0)
    defended = wrapped(case.x / in_units)[0] * in_units
    through = gradient(case.make([wrapped]), case.x)
    at_defended = gradient(case.make([]), defended)
    exact = wrapped.estimate_gradient(case.x / in_units, at_defended)
    expected = exact if claim == "exact" else at_defended
    assert np.abs(expected).max() > 0
    np.testing.assert_allclose(through, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())
    if name != "DefensiveNoiseDefence":
        assert np.linalg.norm(exact - at_defended) > 0.05 * np.linalg.norm(exact)  # they can be told apart


def loss_gradient_defended_twice(case: Case, name: str) -> np.ndarray:
    """ART's formula for logistic regression, with its prediction for the image that was defended twice."""
    wrapped, plain = case.wrap(case.defence(name)), case.make([])
    errors = plain.predict(wrapped(wrapped(case.x)[0])[0]) - case.y
    return wrapped.estimate_gradient(case.x, (errors @ plain.model.coef_ / CLASSES).astype(np.float32))


def test_loss_gradient(case, name, cell, record_property):
    cell("loss gradient")
    if case.loss == "none":
        assert not hasattr(case.make([]), "loss_gradient")
    else:

        def gradient(estimator: Any, x: np.ndarray) -> np.ndarray:
            torch.manual_seed(0)  # for the detector's sampling
            return estimator.loss_gradient(x, list(case.y) if isinstance(case.y, tuple) else case.y)

        if case.loss == TWICE:
            with pytest.raises(AssertionError):
                compare(case, name, gradient, "exact")
            expected = loss_gradient_defended_twice(case, name)
            np.testing.assert_allclose(
                gradient(case.make([case.wrap(case.defence(name))]), case.x), expected, atol=1e-6
            )
        else:
            compare(case, name, gradient, case.loss)
    record_property("estimators_cell", case.loss)


def test_class_gradient(case, name, cell, record_property):
    cell("class gradient")
    if case.classes == "none":
        assert not hasattr(case.make([]), "class_gradient")
    else:
        compare(case, name, lambda estimator, x: estimator.class_gradient(x), case.classes)
        compare(case, name, lambda estimator, x: estimator.class_gradient(x, label=2), case.classes)
    record_property("estimators_cell", case.classes)


def test_training(case, name, cell, record_property, monkeypatch):
    """`fit` trains on defended images if, and only if, `apply_fit` says so."""
    cell("training")
    seen = []
    for apply_fit in (True, False):
        defence = case.defence(name, apply_fit=apply_fit)
        run = type(defence)._filter
        monkeypatch.setattr(defence, "_filter", lambda x, d=defence, run=run: seen.append(len(x)) or run(d, x))
        estimator = case.make([case.wrap(defence)])
        if case.training == "not by ART":
            with pytest.raises(NotImplementedError):
                estimator.fit(case.x, case.y)
        else:
            extra = {"nb_epochs": 1, "batch_size": 4} if hasattr(estimator, "get_activations") else {}
            estimator.fit(case.x, case.y if case.targets is None else case.targets, **extra)
            assert bool(seen) == (apply_fit and case.training == "✓")
        seen.clear()
    record_property("estimators_cell", case.training)


def test_labels_of_a_detector_are_not_touched(name):
    case = next(case for case in CASES if case.estimator == "PyTorchFasterRCNN")
    y = [{key: value.copy() for key, value in label.items()} for label in Detector.y]
    torch.manual_seed(0)
    case.make([case.defence(name)]).loss_gradient(case.x, y)
    for label, before in zip(y, Detector.y, strict=True):
        assert label.keys() == before.keys()
        for key, value in label.items():
            np.testing.assert_array_equal(value, before[key])


def test_every_chain_of_the_table_passes_the_check(case, name):
    for module in case.needs:
        pytest.importorskip(module)
    with warnings.catch_warnings():
        warnings.simplefilter("error" if case.loss in ("exact", "none") else "ignore", UserWarning)
        check_chain(case.make([case.wrap(case.defence(name))]))
