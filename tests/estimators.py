"""The estimators of ART that the defences are tested in, small, each with the same weights every time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from art.estimators import classification, object_detection, regression
from conftest import tiny_classifier
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from art_denoise import AsFlat, AsNumPy, DefensiveNoiseDefence, NLMeansDefence, ROFDefence

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
