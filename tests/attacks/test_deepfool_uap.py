"""DeepFoolUAP: the paper's algorithm step by step, its variant for batches, and its parameters."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from art.attacks.evasion import UniversalPerturbation
from art.estimators.classification import PyTorchClassifier
from conftest import RandomShift, tiny_classifier

from art_denoise import DeepFoolUAP, ROFDefence

SHAPE = (3, 8, 8)


@pytest.fixture
def x() -> np.ndarray:
    return np.random.default_rng(1).uniform(0, 1, (24, *SHAPE)).astype(np.float32)


def unclipped(classifier: PyTorchClassifier) -> PyTorchClassifier:
    """The same network without a range: ART's DeepFool then clips nothing."""
    return PyTorchClassifier(classifier.model, classifier.loss, SHAPE, classifier.nb_classes, device_type="cpu")


def authors_deepfool(classifier: PyTorchClassifier, image: np.ndarray) -> tuple[np.ndarray, int]:
    """DeepFool as the authors wrote it, from ART's class gradients: the perturbation and the steps it took."""
    label = classifier.predict(image[None]).argmax()
    total, steps = np.zeros_like(image), 0
    while steps < 10:
        at = (image + 1.02 * total)[None]
        scores = classifier.predict(at)[0]
        if scores.argmax() != label:
            break
        slopes = classifier.class_gradient(at)[0]
        ways = [(scores[k] - scores[label], slopes[k] - slopes[label]) for k in range(len(scores)) if k != label]
        margin, slope = min(ways, key=lambda way: abs(way[0]) / np.linalg.norm(way[1]))
        total += abs(margin) / np.linalg.norm(slope) ** 2 * slope
        steps += 1
    return 1.02 * total, steps


def by_hand(classifier: PyTorchClassifier, x: np.ndarray, eps: float, norm: float, passes: int, seed: int):
    """Algorithm 1 of the paper, an image at a time; returns v after each pass."""
    free = unclipped(classifier)
    v, after = np.zeros(SHAPE, dtype=np.float32), []
    original = classifier.predict(x).argmax(1)
    for k in range(passes):
        for i in np.random.default_rng([seed, k]).permutation(len(x)):
            if free.predict((x[i] + v)[None]).argmax() == original[i]:
                shortest, steps = authors_deepfool(free, x[i] + v)
                if steps < 9:
                    v = v + shortest
                    v = np.clip(v, -eps, eps) if norm == np.inf else v * min(1, eps / np.linalg.norm(v))
        after.append(v)
    return after


@pytest.mark.parametrize(("norm", "eps"), [(np.inf, 0.05), (2, 0.4)])
def test_is_the_papers_algorithm(x, norm, eps):
    classifier = tiny_classifier(SHAPE)
    expected = by_hand(classifier, x, eps, norm, passes=2, seed=5)
    attack = DeepFoolUAP(classifier, max_iter=2, delta=0, eps=eps, norm=norm, seed=5, measurements=1, verbose=False)
    result = attack.craft(x)
    original = classifier.predict(x).argmax(1)
    rates = [np.mean(classifier.predict(np.clip(x + v, 0, 1)).argmax(1) != original) for v in expected]
    assert [record["fooling_rate"] for record in attack.history] == pytest.approx(rates)
    best = expected[1] if rates[1] >= rates[0] else expected[0]
    np.testing.assert_allclose(result.array, best, atol=1e-4 * eps)
    assert result.norm == ("inf" if norm == np.inf else "2")
    assert (result.linf if norm == np.inf else result.l2) <= eps * (1 + 1e-5)


def test_fools_more_than_random_signs(x):
    classifier = tiny_classifier(SHAPE)
    attack = DeepFoolUAP(classifier, max_iter=5, delta=0.4, eps=0.05, seed=1, verbose=False)
    attack.craft(x)
    labels = classifier.predict(x).argmax(1)
    signs = 0.05 * np.random.default_rng(2).choice([-1, 1], (50, 1, *SHAPE)).astype(np.float32)
    changed = [classifier.predict(np.clip(x + s, 0, 1)).argmax(1) != labels for s in signs]
    assert attack.fooling_rate > np.mean(changed) + 0.1


def test_saturated_pixels_do_not_erase_it(x):
    """ART's attack clips every image and so loses the perturbation where the last image is black or white."""
    x = x[:12]
    black = np.where(np.random.default_rng(3).random(x.shape) < 0.5, 0, x).astype(np.float32)
    arguments = {"max_iter": 3, "eps": 0.1, "verbose": False}
    attack = DeepFoolUAP(tiny_classifier(SHAPE), **arguments, seed=1)
    assert 0.35 < np.mean(attack.craft(black).array < -0.01) < 0.65
    deepfool = {"max_iter": 5, "epsilon": 0.02, "verbose": False}
    arts = UniversalPerturbation(tiny_classifier(SHAPE), **arguments, attacker_params=deepfool)
    arts.generate(black)
    assert np.mean(arts.noise < -0.01) < 0.35


def test_an_update_needs_a_boundary_crossed(x):
    """Where DeepFool's steps lead nowhere ART adds them all the same."""
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 2))
    with torch.no_grad():
        # The slope of the margin falls with the margin itself, so that no step ever reaches the boundary.
        network[1].weight.copy_(torch.stack([torch.ones(192), torch.zeros(192)]) * 1e-4)
        network[1].bias.copy_(torch.tensor([0.5, 0.0]))
    network.append(Ever())
    classifier = PyTorchClassifier(
        network, torch.nn.CrossEntropyLoss(), SHAPE, 2, clip_values=(0, 1), device_type="cpu"
    )
    attack = DeepFoolUAP(classifier, max_iter=1, verbose=False)
    with pytest.raises(ValueError, match=r"stayed zero: none of 24 images.*attacker_params=\{'max_iter': 50\}"):
        attack.craft(x)


class Ever(torch.nn.Module):
    """Keep the margin above 0: m → exp(m), whose slope is its value, so that a step takes m to m - 1 for ever."""

    def forward(self, scores: torch.Tensor) -> torch.Tensor:
        return torch.stack([(scores[:, 0] - scores[:, 1]).exp(), torch.zeros(len(scores))], dim=1)


@pytest.mark.parametrize("batch_size", [4, 24])
def test_a_batch_adds_what_its_images_add(x, batch_size):
    """The first batch from v = 0: the sum of what DeepFool finds for each image alone."""
    classifier = tiny_classifier(SHAPE)
    attack = DeepFoolUAP(classifier, max_iter=1, delta=0, eps=1.0, batch_size=batch_size, seed=2, verbose=False)
    attack._project = lambda noise: noise  # what is added, before it is bounded
    order = np.random.default_rng([2, 0]).permutation(len(x))[:batch_size]
    added, fooled, updates = attack._update(
        torch.zeros(SHAPE), torch.from_numpy(x[order]), torch.from_numpy(classifier.predict(x[order]).argmax(1)), 0
    )
    alone = [authors_deepfool(unclipped(classifier), image) for image in x[order]]
    crossed = [found for found, steps in alone if steps < 9]
    assert (fooled, updates) == (0, len(crossed))
    np.testing.assert_allclose(added.numpy(), np.sum(crossed, axis=0), atol=1e-4)


def test_through_a_defence(x):
    """DeepFool's steps leave the range far behind where the margins are wide; the defence still sees images."""
    defence = ROFDefence(0.1)
    classifier = tiny_classifier(SHAPE, preprocessing_defences=[defence])
    classifier.model[-1].bias.data[0] += 4
    plain = tiny_classifier(SHAPE)
    plain.model[-1].bias.data[0] += 4
    arguments = {"eps": 0.1, "max_iter": 2, "seed": 1, "verbose": False}
    through = DeepFoolUAP(classifier, **arguments).craft(x)
    assert through.linf <= 0.1 * (1 + 1e-6)
    assert list(classifier.preprocessing_defences) == [defence]
    assert not np.allclose(through.array, DeepFoolUAP(plain, **arguments).craft(x).array, atol=1e-3)


def test_random_defences_are_averaged(x):
    """What one image adds follows the mean of the draws the more of them there are; one draw is warned of."""
    classifier = tiny_classifier(SHAPE, preprocessing_defences=[RandomShift(0.5)])
    images = torch.from_numpy(x[:16])
    labels = torch.from_numpy(tiny_classifier(SHAPE).predict(x[:16]).argmax(1))

    def fooled(samples: int) -> int:
        torch.manual_seed(0)
        attack = DeepFoolUAP(classifier, eps=0.1, eot_samples=samples, verbose=False)
        return attack._update(torch.zeros(SHAPE), images, labels, 0)[1]

    # Nothing has been added: who is fooled already, is so by the draws alone.
    assert fooled(200) < fooled(1)
    with pytest.warns(RuntimeWarning, match="something else each time.*eot_samples=10"):
        DeepFoolUAP(classifier, max_iter=1, eps=0.1, verbose=False).craft(x)
    first, again = (
        DeepFoolUAP(classifier, max_iter=1, eps=0.1, eot_samples=3, verbose=False).craft(x).array for _ in range(2)
    )
    np.testing.assert_array_equal(first, again)


def test_labels_given_are_not_used(x):
    """The paper's rule is f(x + v) = f(x), whatever the true label."""
    arguments = {"max_iter": 1, "eps": 0.05, "verbose": False}
    with_labels = DeepFoolUAP(tiny_classifier(SHAPE), **arguments).craft(x, y=np.zeros(24, dtype=int))
    without = DeepFoolUAP(tiny_classifier(SHAPE), **arguments).craft(x)
    np.testing.assert_array_equal(with_labels.array, without.array)


def test_arts_arguments_in_arts_order(x):
    attack = DeepFoolUAP(tiny_classifier(SHAPE), "deepfool", {"max_iter": 5}, 0.3, 2, 0.1, np.inf, 2, False)
    assert isinstance(attack, UniversalPerturbation)
    assert (attack.delta, attack.max_iter, attack.eps, attack.batch_size) == (0.3, 2, 0.1, 2)
    assert attack.noise is attack.fooling_rate is attack.converged is None
    adversarial = attack.generate(x)
    assert adversarial.dtype == np.float32
    assert attack.noise.shape == (1, *SHAPE)
    np.testing.assert_allclose(adversarial, np.clip(x + attack.noise, 0, 1), atol=1e-6)
    attack.set_params(max_iter=1)
    assert attack.max_iter == 1


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"attacker": "pgd"}, "`attacker` must be 'deepfool', got 'pgd'"),
        ({"attacker_params": {"steps": 3}}, "`attacker_params` must be of max_iter.*got 'steps'"),
        ({"attacker_params": {"max_iter": 2}}, r"`attacker_params\['max_iter'\]` must be >= 3"),
        ({"attacker_params": {"nb_grads": 1}}, "nb_grads"),
        ({"attacker_params": {"epsilon": -1}}, "epsilon"),
    ],
)
def test_bad_parameters(kwargs, message):
    with pytest.raises(ValueError, match=message):
        DeepFoolUAP(tiny_classifier(SHAPE), **kwargs)


def test_stands_in_for_arts_deepfool(x, monkeypatch):
    """SharedForwardDeepFool inside of ART's own attack: the same perturbation as with ART's DeepFool."""
    noises = []
    for name in (UniversalPerturbation.attacks_dict["deepfool"], "art_denoise.attacks.deepfool.SharedForwardDeepFool"):
        monkeypatch.setitem(UniversalPerturbation.attacks_dict, "deepfool", name)
        random.seed(1)
        attack = UniversalPerturbation(
            tiny_classifier(SHAPE),
            attacker_params={"max_iter": 5, "epsilon": 0.02, "verbose": False},
            max_iter=1,
            eps=0.1,
            verbose=False,
        )
        attack.generate(x[:8])
        noises.append(attack.noise)
    np.testing.assert_allclose(noises[0], noises[1], atol=1e-4)
