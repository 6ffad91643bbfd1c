"""A defended classifier in HEART: it filters once, and its attacks see the filter's gradient."""

from __future__ import annotations

import numpy as np
import pytest
from art.defences.preprocessor.preprocessor import Preprocessor
from heart_library.attacks.attack import JaticAttack
from heart_library.estimators.classification.pytorch import JaticPyTorchClassifier

from nightly import defended


@pytest.fixture(params=sorted(defended.DEFENCES))
def defence(request: pytest.FixtureRequest) -> Preprocessor:
    return defended.DEFENCES[request.param]()


def test_the_classifier_filters_once_and_has_the_gradient_of_the_filter(defence):
    defended.assert_defended(JaticPyTorchClassifier(**defended.options(defence)), defence)


def test_a_call_in_the_manner_of_maite_filters_once(defence):
    x, _ = defended.images()
    classifier = JaticPyTorchClassifier(**defended.options(defence))
    plain = JaticPyTorchClassifier(**defended.options(None))
    np.testing.assert_allclose(classifier(list(x)), plain(list(defence(x)[0])), atol=1e-5)


def test_the_attack_sees_the_filter(defence):
    classifier = JaticPyTorchClassifier(**defended.options(defence))
    x, labels = defended.images()
    found, _, metadata = JaticAttack(defended.attack(classifier), norm=2)(data=(list(x), np.eye(4)[labels], [{}] * 6))
    np.testing.assert_allclose(np.stack(found), defended.perturbed(defence), atol=1e-5)
    assert np.abs(np.stack(found) - defended.perturbed(None)).max() > 0.05
    assert all(item["delta"] > 0 for item in metadata)
