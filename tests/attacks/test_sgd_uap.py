"""SGDUAP: one step by hand, the clipped loss, defences in the loop, and defences that draw at random."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from art.preprocessing.expectation_over_transformation.natural_corruptions.gaussian_noise.pytorch import (
    EoTGaussianNoisePyTorch,
)
from conftest import RandomShift, tiny_classifier

from art_denoise import SGDUAP, NLMeansDefence, ROFDefence

SHAPE = (3, 8, 8)


@pytest.fixture
def x() -> np.ndarray:
    return np.random.default_rng(1).uniform(0, 1, (24, *SHAPE)).astype(np.float32)


@pytest.mark.parametrize("norm", [np.inf, 2])
def test_first_step_by_hand(x, norm):
    """With one batch v is one step along the gradient of the mean of ART's own cross-entropy."""
    classifier = tiny_classifier(SHAPE)
    labels = classifier.predict(x).argmax(1)
    eps = 0.05 if norm == np.inf else 0.5
    attack = SGDUAP(
        classifier, max_iter=1, batch_size=24, eps=eps, norm=norm, step_size=0.5, beta=1e6, seed=0, verbose=False
    )
    result = attack.craft(x)
    inside = (x > 0) & (x < 1)
    gradient = (classifier.loss_gradient(x, np.eye(4)[labels]) * inside).mean(0)
    expected = np.sign(gradient) if norm == np.inf else gradient / np.linalg.norm(gradient)
    np.testing.assert_allclose(result.array, 0.5 * eps * expected, atol=1e-5)


def test_images_beyond_beta_have_no_say(x):
    """An image whose cross-entropy is above `beta` is left out of the gradient."""
    classifier = tiny_classifier(SHAPE)
    labels = np.full(24, 0)
    scores = classifier.predict(x)
    losses = np.log(np.exp(scores).sum(1)) - scores[:, 0]
    beta = float(np.median(losses))
    attack = SGDUAP(classifier, max_iter=1, batch_size=24, eps=0.05, beta=beta, verbose=False)
    below = losses < beta
    assert 0 < below.sum() < 24
    gradient = classifier.loss_gradient(x[below], np.eye(4)[labels[below]]).mean(0)
    result = attack.craft(x, y=labels).array
    clear = np.abs(gradient) > 1e-3 * np.abs(gradient).max()
    np.testing.assert_array_equal(np.sign(result)[clear], np.sign(gradient)[clear])


def test_labels_may_be_given_one_hot(x):
    arguments = {"max_iter": 1, "batch_size": 24, "eps": 0.05, "verbose": False}
    labels = np.arange(24) % 4
    given, onehot, predicted = (
        SGDUAP(tiny_classifier(SHAPE), **arguments).craft(x, y=y).array for y in (labels, np.eye(4)[labels], None)
    )
    np.testing.assert_array_equal(given, onehot)
    assert not np.array_equal(given, predicted)
    with pytest.raises(ValueError, match=r"`y` must be labels \(24,\)"):
        SGDUAP(tiny_classifier(SHAPE), **arguments).craft(x, y=labels[:5])


@pytest.mark.parametrize("defence", [ROFDefence(0.1), NLMeansDefence(0.1)])
def test_through_a_defence_it_fools_the_defended_classifier_more(x, defence):
    """The decisive attack: crafted through the denoiser it fools what an attack that does not know of it leaves."""
    x = np.clip(0.25 + 0.5 * x, 0, 1)
    arguments = {"max_iter": 8, "batch_size": 8, "eps": 0.03, "verbose": False}
    defended = tiny_classifier(SHAPE, preprocessing_defences=[defence])
    labels = defended.predict(x).argmax(1)
    fooled = {}
    for name, source in (("oblivious", tiny_classifier(SHAPE)), ("knowing", defended)):
        v = SGDUAP(source, **arguments).craft(x)
        fooled[name] = np.mean(defended.predict(v.add_to(x)).argmax(1) != labels)
    assert fooled["knowing"] > fooled["oblivious"]


def test_random_defences_are_averaged(x):
    """More draws bring the gradient of a random defence nearer to the mean; one draw is warned of."""
    classifier = tiny_classifier(SHAPE, preprocessing_defences=[RandomShift(0.5)])
    image, label = torch.from_numpy(x[:1]), torch.tensor([0])

    def step(samples: int, seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        attack = SGDUAP(classifier, eps=0.5, norm=2, eot_samples=samples, verbose=False)
        noise, _, _ = attack._update(torch.zeros(SHAPE), image, label, 0)
        return noise.flatten() / noise.norm()

    mean = step(1000, 0)
    few = np.mean([float(step(1, seed) @ mean) for seed in range(1, 9)])
    many = np.mean([float(step(50, seed) @ mean) for seed in range(1, 4)])
    assert many > few
    assert many > 0.9
    with pytest.warns(RuntimeWarning, match="something else each time.*eot_samples=10"):
        SGDUAP(classifier, max_iter=1, eps=0.1, verbose=False).craft(x)


def test_arts_repeating_preprocessors(x):
    """ART's EoT preprocessors return several copies of each image: all are averaged."""
    eot = EoTGaussianNoisePyTorch(nb_samples=3, std=(0.0, 0.0), clip_values=(0.0, 1.0))
    repeated = tiny_classifier(SHAPE, preprocessing_defences=[eot])
    arguments = {"max_iter": 2, "eps": 0.05, "eot_samples": 1, "verbose": False}
    attack = SGDUAP(repeated, **arguments)
    plain = SGDUAP(tiny_classifier(SHAPE), **arguments)
    inside = np.clip(x, 0.1, 0.9)
    np.testing.assert_allclose(attack.craft(inside).array, plain.craft(inside).array, atol=1e-6)
    assert attack.fooling_rate == plain.fooling_rate


def test_random_defences_leave_the_callers_generators_alone(x):
    classifier = tiny_classifier(SHAPE, preprocessing_defences=[RandomShift(0.1)])
    torch.manual_seed(3)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first = SGDUAP(classifier, max_iter=2, eot_samples=2, verbose=False).craft(x)
    assert torch.equal(torch.get_rng_state(), before[0])
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002
    torch.manual_seed(99)
    np.testing.assert_array_equal(
        SGDUAP(classifier, max_iter=2, eot_samples=2, verbose=False).craft(x).array, first.array
    )


@pytest.mark.parametrize("name", ["step_size", "beta", "eot_samples"])
def test_bad_parameters(name):
    with pytest.raises(ValueError, match=f"`{name}`"):
        SGDUAP(tiny_classifier(SHAPE), **{name: 0})


@pytest.mark.parametrize("loss", ["margin", "cosine"])
def test_other_losses_climb_what_they_say(x, loss):
    """One small step of the mean over one batch: up, along the gradient by finite differences."""
    classifier = tiny_classifier(SHAPE)
    x = 0.25 + 0.5 * x
    clean = classifier.predict(x)
    labels = clean.argmax(1)

    def climbed(noise):
        scores = classifier.predict((x + noise).astype(np.float32)).astype(np.float64)
        if loss == "cosine":
            sizes = np.linalg.norm(scores, axis=1) * np.linalg.norm(clean, axis=1)
            return float(-np.mean(np.sum(scores * clean, axis=1) / sizes))
        own = scores[np.arange(24), labels]
        return float(np.mean(np.where(np.eye(4)[labels] == 1, -np.inf, scores).max(1) - own))

    made = SGDUAP(classifier, max_iter=4, batch_size=24, eps=0.05, norm=2, loss=loss, beta=1e6, verbose=False).craft(x)
    random = np.random.default_rng(0).normal(size=SHAPE)
    random *= np.linalg.norm(made.array) / np.linalg.norm(random)
    assert climbed(made.array) > climbed(0 * random)
    assert climbed(made.array) - climbed(0 * random) > 3 * abs(climbed(random) - climbed(0 * random))


def test_gradients_are_aggregated_over_a_search_in_small_batches(x):
    """By hand: the sum of the gradients on the way, and one step of it."""
    classifier = tiny_classifier(SHAPE)
    labels = torch.from_numpy(classifier.predict(x).argmax(1))
    images, zero = torch.from_numpy(x), torch.zeros(SHAPE)
    attack = SGDUAP(classifier, eps=0.05, batch_size=24, search_size=10, searches=2, verbose=False)
    torch.manual_seed(3)
    noise, _, updates = attack._update(zero, images, labels, 0)
    torch.manual_seed(3)
    plain = SGDUAP(classifier, eps=0.05, batch_size=24, verbose=False)
    at, total = zero, torch.zeros(SHAPE)
    for _ in range(2):
        for part in torch.randperm(24).split(10):
            gradient, _ = plain._gradient(at, images[part], labels[part])
            total += gradient
            at = (at + 0.5 * 0.05 * gradient.sign()).clamp(-0.05, 0.05)
    assert torch.equal(noise, 0.5 * 0.05 * total.sign())
    assert updates == 24
    assert not torch.equal(noise, plain._update(zero, images, labels, 0)[0])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"loss": "hinge"}, "`loss` must be .*cosine"),
        ({"search_size": 0}, "`search_size` must be >= 1"),
        ({"searches": 0}, "`searches` must be >= 1"),
    ],
)
def test_own_parameters_are_checked(given, said):
    with pytest.raises(ValueError, match=said):
        SGDUAP(tiny_classifier(SHAPE), **given)
