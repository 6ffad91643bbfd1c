"""Attacks that go by the mean of a defence's draws, whatever ART makes of the classifier."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from art.estimators.classification import PyTorchClassifier
from conftest import tiny_classifier
from fake_defences import Draws, Fake

from art_denoise._random import drawn_from
from art_denoise.defences.chain import with_defences
from art_denoise.evaluation.art_attacks import attack_images
from art_denoise.evaluation.checking import check_attack
from art_denoise.evaluation.components import parse_attack
from art_denoise.evaluation.expectation import draws, mean_of_draws

SHAPE = (3, 8, 8)


class Drops(Fake):
    """Leaves one pixel in eight as it is: the gradient of one draw says next to nothing."""

    def change(self, x):
        return torch.where(torch.rand(x.shape) < 1 / 8, 2 * x, 0.5 + 0 * x)


@pytest.fixture
def classifier():
    return tiny_classifier(SHAPE)


@pytest.fixture
def x() -> np.ndarray:
    return np.random.default_rng(0).uniform(0.3, 0.7, (4, *SHAPE)).astype(np.float32)


@pytest.mark.parametrize("asked", ["predict", "loss_gradient", "class_gradient"])
def test_what_is_asked_for_is_the_mean_of_draws(classifier, x, asked):
    y = np.eye(4)[[0, 1, 2, 3]]
    given = (x, y) if asked == "loss_gradient" else (x,)
    with with_defences(classifier, [Draws()]):
        with drawn_from(7):
            each = [getattr(classifier, asked)(*given) for _ in range(3)]
        with drawn_from(7), mean_of_draws(classifier, 3):
            mean = getattr(classifier, asked)(*given)
        assert not np.allclose(each[0], each[1])
    assert np.allclose(mean, np.mean(each, axis=0), atol=1e-6)
    assert mean.dtype == each[0].dtype


def test_classifiers_of_other_classes_ask_as_often_and_no_more(x):
    class Own(PyTorchClassifier):
        def loss_gradient(self, x, y, **kwargs):
            return super().loss_gradient(x, y, **kwargs)

    tiny = tiny_classifier(SHAPE)
    own = Own(tiny.model, torch.nn.CrossEntropyLoss(), SHAPE, 4, clip_values=(0, 1), device_type="cpu")
    seen = []
    own.model.register_forward_hook(lambda *_: seen.append(1))
    own.loss_gradient(x, np.eye(4)[[0] * 4])
    once = len(seen)
    before = PyTorchClassifier.loss_gradient, Own.loss_gradient
    with mean_of_draws(own, 5):
        own.loss_gradient(x, np.eye(4)[[0] * 4])
        # What an attack makes of it is a classifier of ART's own class.
        tiny.loss_gradient(x, np.eye(4)[[0] * 4])
    assert len(seen) == (1 + 5 + 5) * once
    assert (PyTorchClassifier.loss_gradient, Own.loss_gradient) == before


def test_everything_is_put_back_after_an_error(classifier, x):
    before = dict(vars(PyTorchClassifier))
    with pytest.raises(RuntimeError), mean_of_draws(classifier, 2):
        raise RuntimeError
    assert dict(vars(PyTorchClassifier)) == before


@pytest.mark.parametrize("name", ["pgd:max_iter=4", "apgd:max_iter=4,nb_random_init=1", "fgsm", "mifgsm:max_iter=4"])
def test_the_mean_does_more_harm_than_one_draw(classifier, name):
    """Margins on average over many draws that the attack has not seen."""
    x = np.random.default_rng(1).uniform(0.3, 0.7, (24, *SHAPE)).astype(np.float32)
    y = classifier.predict(x).argmax(1)

    def left(samples: str) -> float:
        attack = parse_attack(f"{name}{',' if ':' in name else ':'}{samples}").attack
        with with_defences(classifier, [Drops()]):
            attacked = attack_images(classifier, attack, eps=0.1, x=x, y=y)
            with drawn_from(99):
                scores = np.mean([classifier.predict(attacked) for _ in range(200)], axis=0)
        own = scores[np.arange(len(y)), y]
        scores[np.arange(len(y)), y] = -np.inf
        return float(np.mean(own - scores.max(1)))

    # Margins fall by their difference of what one draw finds on.
    assert left("eot_samples=32") < left("eot_samples=1") - 1e-4


@pytest.mark.parametrize(("defence", "samples"), [([], 1), ([Drops()], 8)])
def test_draws_are_seen_and_averaged_without_being_asked_for(classifier, x, defence, samples):
    y = classifier.predict(x).argmax(1)
    with with_defences(classifier, defence):
        assert draws(classifier, x) == bool(defence)
        found, same, other = (
            attack_images(classifier, parse_attack(text).attack, eps=0.1, x=x, y=y)
            for text in ("fgsm", f"fgsm:eot_samples={samples}", f"fgsm:eot_samples={samples + 3}")
        )
    assert np.array_equal(found, same)
    assert np.array_equal(found, other) == (not defence)


def test_the_number_of_draws_is_checked(classifier, x):
    with pytest.raises(ValueError, match="`eot_samples` must be >= 1, got 0"):
        check_attack(parse_attack("pgd:eot_samples=0"), "pgd:eot_samples=0")
    with pytest.raises(ValueError, match=r"pgd has no parameter 'eot_sample', but eot_samples"):
        check_attack(parse_attack("pgd:eot_sample=3"), "pgd:eot_sample=3")
