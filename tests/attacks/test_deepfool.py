"""DeepFool: equal to ART's and to the closed form of a linear network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from art.attacks.evasion import DeepFool
from art.estimators.classification import PyTorchClassifier
from conftest import tiny_classifier

from art_denoise import ROFDefence, SharedForwardDeepFool

SHAPE = (3, 8, 8)


@pytest.fixture
def x() -> np.ndarray:
    return np.random.default_rng(1).uniform(0.2, 0.8, (5, *SHAPE)).astype(np.float32)


def linear_classifier(weight: np.ndarray, bias: np.ndarray) -> PyTorchClassifier:
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(weight.shape[1], len(weight)))
    with torch.no_grad():
        network[1].weight.copy_(torch.from_numpy(weight))
        network[1].bias.copy_(torch.from_numpy(bias))
    return PyTorchClassifier(network, torch.nn.CrossEntropyLoss(), SHAPE, len(weight), device_type="cpu")


@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("nb_grads", [2, 3, 4])
def test_linear_network_in_closed_form(x, batch_size, nb_grads):
    """On a linear network one step reaches the nearest boundary: orthogonal, of length |margin| / ‖w‖.

    With `nb_grads` below the number of classes, the nearest to the classes that score highest. ART's steps are then of
    the wrong length: it takes the label's logit from the label's place among the classes considered.
    """
    rng = np.random.default_rng(2)
    weight, bias = rng.normal(size=(4, 192)).astype(np.float32), rng.normal(size=4).astype(np.float32)
    classifier = linear_classifier(weight, bias)
    overshoot = 0.02
    attack = SharedForwardDeepFool(
        classifier, max_iter=10, epsilon=overshoot, nb_grads=nb_grads, batch_size=batch_size, verbose=False
    )
    result = attack.generate(x)
    logits = x.reshape(5, -1) @ weight.T + bias
    for image, perturbed, scores in zip(x, result, logits, strict=True):
        label = scores.argmax()
        others = scores.argsort()[::-1][1:nb_grads]
        margins = {k: (scores[label] - scores[k]) / np.linalg.norm(weight[k] - weight[label]) for k in others}
        nearest = min(margins, key=margins.get)
        direction = (weight[nearest] - weight[label]) / np.linalg.norm(weight[nearest] - weight[label])
        expected = (1 + overshoot) * margins[nearest] * direction
        np.testing.assert_allclose((perturbed - image).ravel(), expected, atol=2e-3 * np.abs(expected).max())
        assert classifier.predict(perturbed[None]).argmax() == nearest


@pytest.mark.parametrize("batch_size", [1, 2, 5])
@pytest.mark.parametrize("max_iter", [1, 3, 50])
def test_equals_arts(x, batch_size, max_iter):
    classifier = tiny_classifier(SHAPE)
    arguments = {"max_iter": max_iter, "epsilon": 0.02, "nb_grads": 4, "verbose": False}
    expected = DeepFool(classifier, batch_size=1, **arguments).generate(x)
    result = SharedForwardDeepFool(classifier, batch_size=batch_size, **arguments).generate(x)
    assert np.abs(expected - x).max() > 1e-3
    np.testing.assert_allclose(result, expected, atol=2e-5)


def test_goes_through_the_defence(x):
    defended = tiny_classifier(SHAPE, preprocessing_defences=[ROFDefence(0.1)])
    result = SharedForwardDeepFool(defended, max_iter=20, epsilon=0.02, verbose=False).generate(x)
    fooled = defended.predict(result).argmax(1) != defended.predict(x).argmax(1)
    assert fooled.mean() > 0.5
    plain = SharedForwardDeepFool(tiny_classifier(SHAPE), max_iter=20, epsilon=0.02, verbose=False).generate(x)
    assert not np.allclose(result, plain, atol=1e-3)


def test_input_is_not_changed_and_range_is_kept(x):
    before = x.copy()
    result = SharedForwardDeepFool(tiny_classifier(SHAPE), max_iter=20, verbose=False).generate(x)
    np.testing.assert_array_equal(x, before)
    assert result.dtype == np.float32
    assert result.min() >= 0
    assert result.max() <= 1


def test_one_class_is_none(x):
    with pytest.raises(ValueError, match="`nb_grads` must be >= 2"):
        SharedForwardDeepFool(tiny_classifier(SHAPE), nb_grads=1, verbose=False).generate(x)


def test_single_output_is_refused(x):
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 1))
    classifier = PyTorchClassifier(network, torch.nn.BCEWithLogitsLoss(), SHAPE, 2, device_type="cpu")
    with pytest.raises(ValueError, match=r"logits \(N, K\), K >= 2, got \(1, 1\)"):
        SharedForwardDeepFool(classifier, verbose=False).generate(x)
