"""A device or a type that the caller has made PyTorch's default changes nothing, and breaks nothing of ours."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from art.estimators.classification import BlackBoxClassifier
from conftest import tiny_classifier
from defence_examples import EXAMPLES, make

from art_denoise import SGDUAP, BestPGD, DeepFoolUAP, DefensiveNoiseDefence, ROFDefence, SharedForwardDeepFool

X = np.random.default_rng(0).random((6, 3, 8, 8), dtype=np.float32)
Y = np.arange(6) % 4
WEIGHTS = np.random.default_rng(1).normal(size=(192, 4)).astype(np.float32)

QUIET = {"verbose": False}
ATTACKS = {
    "BestPGD": lambda c: BestPGD(c, max_iter=2, eot_samples=2, **QUIET),
    "BestPGD, norm 2": lambda c: BestPGD(c, norm=2, eps=0.5, max_iter=2, loss="margin", **QUIET),
    "SharedForwardDeepFool": lambda c: SharedForwardDeepFool(c, **QUIET),
    "DeepFoolUAP": lambda c: DeepFoolUAP(c, eps=0.3, max_iter=1, **QUIET),
    "SGDUAP": lambda c: SGDUAP(c, eps=0.3, max_iter=1, search_size=2, **QUIET),
    "SGDUAP, cosine": lambda c: SGDUAP(c, eps=0.3, max_iter=1, loss="cosine", **QUIET),
}


@pytest.fixture(params=["meta", "float64", "float16"])
def default(request):
    """What is on the device "meta" has no values: whoever takes the default cannot compute."""

    class Default:
        def __enter__(self):
            if request.param == "meta":
                torch.set_default_device("meta")
            else:
                torch.set_default_dtype(getattr(torch, request.param))

        def __exit__(self, *_):
            torch.set_default_device(None)
            torch.set_default_dtype(torch.float32)

    return Default()


@pytest.mark.parametrize("name", EXAMPLES)
def test_defences(name, images, default):
    expected = make(name)(images)[0], make(name).estimate_gradient(images, images)
    with default:
        found = make(name)(images)[0], make(name).estimate_gradient(images, images)
    for wanted, got in zip(expected, found, strict=True):
        assert got.dtype == np.float32
        np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("x", [X, (255 * X).astype(np.uint8)])
def test_fitting(x, default):
    # ART's own classifier for PyTorch does not take the device "meta".
    classifier = BlackBoxClassifier(lambda z: z.reshape(len(z), -1) @ WEIGHTS, (3, 8, 8), 4, clip_values=(0, 1))

    def fitted() -> np.ndarray:
        defence = DefensiveNoiseDefence(device_type="cpu")
        defence.fit(x, Y, classifier=classifier, accept="loss", draws=2)
        return defence.noise

    expected = fitted()
    with default:
        found = fitted()
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", ATTACKS)
def test_attacks(name, default):
    classifier = tiny_classifier(preprocessing_defences=[ROFDefence(device_type="cpu")])
    expected = ATTACKS[name](classifier).generate(X)
    assert np.abs(expected - X).max() > 1e-3
    with default:
        found = ATTACKS[name](classifier).generate(X)
    np.testing.assert_array_equal(found, expected)
