"""Universal perturbations through ART, with the faster DeepFool inside."""

from __future__ import annotations

import random

import numpy as np
import pytest
from art.attacks.evasion import DeepFool
from conftest import tiny_classifier

from art_denoise import ROFDefence, craft_universal_perturbation

SHAPE = (3, 8, 8)


@pytest.fixture
def x() -> np.ndarray:
    return np.random.default_rng(1).uniform(0, 1, (24, *SHAPE)).astype(np.float32)


def test_fools_within_its_bound(x):
    classifier = tiny_classifier(SHAPE)
    delta = craft_universal_perturbation(classifier, x, eps=0.05, passes=5, target_fooling_rate=0.6, seed=1)
    assert delta.array.shape == SHAPE
    assert delta.array.dtype == np.float32
    assert delta.linf <= 0.05 * (1 + 1e-6)
    fooled = np.mean(classifier.predict(x + delta.array).argmax(1) != classifier.predict(x).argmax(1))
    assert fooled == pytest.approx(delta.provenance["crafting_fooling_rate"])
    signs = 0.05 * np.random.default_rng(2).choice([-1, 1], (50, 1, *SHAPE)).astype(np.float32)
    changed = [classifier.predict(x + s).argmax(1) != classifier.predict(x).argmax(1) for s in signs]
    assert fooled > np.mean(changed) + 0.1


def test_saturated_pixels_do_not_erase_it(x):
    """ART's attack clips every image and so loses the perturbation where the last image is black or white."""
    black = np.where(np.random.default_rng(3).random(x.shape) < 0.5, 0, x).astype(np.float32)
    delta = craft_universal_perturbation(tiny_classifier(SHAPE), black, eps=0.1, passes=3, seed=1)
    assert 0.35 < np.mean(delta.array < -0.01) < 0.65


def test_seed_and_state(x):
    classifier = tiny_classifier(SHAPE)
    random.seed(5)
    state = random.getstate()
    first = craft_universal_perturbation(classifier, x, eps=0.2, passes=1, seed=3)
    assert random.getstate() == state
    assert np.array_equal(classifier.clip_values, (0.0, 1.0))
    assert np.abs(DeepFool(classifier, max_iter=2, verbose=False).generate(x[:1])).max() <= 1  # as before: clipped
    np.testing.assert_array_equal(
        craft_universal_perturbation(classifier, x, eps=0.2, passes=1, seed=3).array, first.array
    )
    other = craft_universal_perturbation(classifier, x, eps=0.2, passes=1, seed=4)
    assert not np.array_equal(other.array, first.array)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"eps": 10}, "`eps` must be finite and > 0 and <= 1, got 10"),
        ({"eps": 0}, "`eps`"),
        ({"passes": 0}, "`passes` must be >= 1"),
        ({"target_fooling_rate": 2}, "`target_fooling_rate`"),
    ],
)
def test_bad_input(x, kwargs, message):
    with pytest.raises(ValueError, match=message):
        craft_universal_perturbation(tiny_classifier(SHAPE), x, **kwargs)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: (x * 255).astype(np.uint8), "`x` must be floats within 0 and 1, got uint8"),
        (lambda x: x * 255, "`x` must be floats within 0 and 1"),
        (lambda x: x[:0], "N >= 1"),
        (lambda x: x[0], r"`x` must be images \(N, C, H, W\)"),
    ],
)
def test_bad_images(x, change, message):
    with pytest.raises(ValueError, match=message):
        craft_universal_perturbation(tiny_classifier(SHAPE), change(x))


def test_another_range_is_refused(x):
    with pytest.raises(ValueError, match=r"clip_values=\(0, 1\), got"):
        craft_universal_perturbation(tiny_classifier(SHAPE, clip_values=(0, 255)), x)


def test_through_a_defence(x):
    """DeepFool's steps leave the range far behind where the margins are wide; the defence still sees images."""
    defence = ROFDefence(0.1)
    classifier = tiny_classifier(SHAPE, preprocessing_defences=[defence])
    classifier.model[-1].bias.data[0] += 4
    delta = craft_universal_perturbation(classifier, x, eps=0.1, passes=2, seed=1)
    assert delta.linf <= 0.1 * (1 + 1e-6)
    assert list(classifier.preprocessing_defences) == [defence]
    plain = tiny_classifier(SHAPE)
    plain.model[-1].bias.data[0] += 4
    other = craft_universal_perturbation(plain, x, eps=0.1, passes=2, seed=1)
    assert not np.allclose(delta.array, other.array, atol=1e-3)


def test_a_perturbation_of_zero_is_an_error(x):
    classifier = tiny_classifier(SHAPE)
    for parameter in classifier.model.parameters():
        parameter.data.zero_()
    classifier.model[-1].bias.data[0] = 1  # always class 0, with no slope
    with pytest.raises(ValueError, match="stayed zero"):
        craft_universal_perturbation(classifier, x[:2], passes=1)
