"""Every kind of estimator ART has, with every defence: predictions, gradients and training.

The table of the documentation is written from the results: `python -m pytest tests/defences/test_estimators.py
--estimators-table docs/estimators.md`, in an environment that has the libraries of all estimators.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from estimators import CASES, CLASSES, DEFENCES, TWICE, Case, Detector

from art_denoise import check_chain


@pytest.fixture(params=CASES, ids=lambda case: f"{case.estimator}-{case.wrap.__name__.strip('<>')}")
def case(request) -> Case:
    return request.param


@pytest.fixture(params=DEFENCES)
def name(request) -> str:
    return request.param


def skip_without_library(case: Case) -> None:
    for module in case.needs:
        pytest.importorskip(module, reason=f"{module} is not installed")


@pytest.fixture
def cell(case, name, record_property):
    """Name the cell of the table that a test fills; skip where the estimator's library is missing."""

    def fill(quantity: str) -> None:
        record_property("estimators_table", [case.estimator, case.given_as.format(defence="…"), quantity, name])
        skip_without_library(case)

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
    skip_without_library(case)
    with warnings.catch_warnings():
        warnings.simplefilter("error" if case.loss in ("exact", "none") else "ignore", UserWarning)
        check_chain(case.make([case.wrap(case.defence(name))]))
