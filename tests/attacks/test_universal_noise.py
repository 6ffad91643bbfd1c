"""Controls: of the right size, of no direction."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import tiny_classifier

from art_denoise import Perturbation, UniversalNoise
from art_denoise.attacks import random_direction, random_signs

SHAPE = (3, 8, 8)


@pytest.fixture
def delta() -> Perturbation:
    array = np.random.default_rng(0).normal(0, 0.02, (3, 37, 31)).astype(np.float32)
    return Perturbation(array, attack="DeepFoolUAP", source="vgg16", norm="inf", eps=0.1)


def test_random_signs():
    noise = random_signs((3, 37, 31), 0.1, seed=1)
    np.testing.assert_allclose(np.abs(noise.array), 0.1, rtol=1e-6)
    assert abs(np.sign(noise.array).mean()) < 4 / np.sqrt(noise.array.size)
    assert noise.eps == 0.1
    np.testing.assert_array_equal(noise.array, random_signs((3, 37, 31), 0.1, seed=1).array)
    assert not np.array_equal(noise.array, random_signs((3, 37, 31), 0.1, seed=2).array)


def test_random_direction_has_the_same_norms(delta):
    noise = random_direction(delta, seed=1)
    assert noise.linf == delta.linf
    assert noise.l2 == pytest.approx(delta.l2, rel=1e-6)
    cosine = float(np.vdot(noise.array, delta.array)) / delta.l2**2
    assert abs(cosine) < 4 / np.sqrt(delta.array.size)
    assert abs(noise.array.mean()) < 4 * delta.array.std() / np.sqrt(delta.array.size)
    assert "DeepFoolUAP" in noise.attack
    assert not np.array_equal(noise.array, random_direction(delta, seed=2).array)


def test_as_an_attack():
    x = np.random.default_rng(1).uniform(0, 1, (24, *SHAPE)).astype(np.float32)
    classifier = tiny_classifier(SHAPE)
    attack = UniversalNoise(classifier, eps=0.3, seed=4)
    assert attack.fooling_rate is None
    adversarial = attack.generate(x)
    np.testing.assert_allclose(adversarial, np.clip(x + attack.noise, 0, 1), atol=1e-6)
    np.testing.assert_allclose(np.abs(attack.noise), 0.3, rtol=1e-6)
    labels = classifier.predict(x).argmax(1)
    assert attack.fooling_rate == np.mean(classifier.predict(adversarial).argmax(1) != labels) > 0
    like = Perturbation(np.random.default_rng(2).normal(0, 0.05, SHAPE).astype(np.float32))
    matched = UniversalNoise(classifier, like=like).craft(x)
    assert matched.linf == like.linf
    assert matched.fooling_rates["images drawn for"] <= 1


def test_units_are_the_classifiers():
    x = np.random.default_rng(1).uniform(0, 255, (4, *SHAPE)).astype(np.float32)
    attack = UniversalNoise(tiny_classifier(SHAPE, clip_values=(0, 255)))
    np.testing.assert_allclose(np.abs(attack.noise), 10, rtol=1e-6)
    assert attack.craft(x).linf == pytest.approx(10 / 255)


def test_bad_input():
    classifier = tiny_classifier(SHAPE)
    with pytest.raises(ValueError, match="`eps` = 10 is larger than the range"):
        UniversalNoise(classifier, eps=10).craft(np.zeros((1, *SHAPE), dtype=np.float32))
    with pytest.raises(ValueError, match="`eps`"):
        UniversalNoise(classifier, eps=0)
    with pytest.raises(TypeError, match="`like` must be a Perturbation, got ndarray"):
        UniversalNoise(classifier, like=np.zeros(SHAPE))
    with pytest.raises(ValueError, match=r"`like` must be of the classifier's shape \(3, 8, 8\)"):
        UniversalNoise(classifier, like=random_signs((3, 4, 4), 0.1)).craft(np.zeros((1, *SHAPE), dtype=np.float32))
    with pytest.raises(ValueError, match="`eps`"):
        random_signs(SHAPE, 10)
