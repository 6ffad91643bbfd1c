"""BestPGD: within its bound, the best point it came by, each image by itself, and an average over what is drawn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from art.attacks.evasion import ProjectedGradientDescent
from art.defences.preprocessor.preprocessor import PreprocessorPyTorch
from art.estimators.classification import PyTorchClassifier

from art_denoise import BestPGD, ROFDefence
from art_denoise.defences.chain import with_defences

SHAPE, CLASSES = (3, 12, 12), 5


class Noise(PreprocessorPyTorch):
    """Draws at random."""

    def __init__(self, size: float = 0.1) -> None:
        super().__init__(device_type="cpu")
        self.size = size

    def forward(self, x, y=None):
        return x + self.size * torch.randn_like(x), y


def classifier(clip_values=(0.0, 1.0)) -> PyTorchClassifier:
    low, high = clip_values
    generator = torch.Generator().manual_seed(0)

    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first = torch.nn.Conv2d(3, 8, 3, padding=1, bias=False)
            self.second = torch.nn.Linear(8 * 36, CLASSES, bias=False)
            for parameter in self.parameters():
                parameter.data = torch.randn(parameter.shape, generator=generator) / parameter[0].numel() ** 0.5

        def forward(self, x):
            x = (x - low) / (high - low) - 0.5
            return 10 * self.second(torch.nn.functional.max_pool2d(self.first(x).tanh(), 2).flatten(1))

    return PyTorchClassifier(
        Network().eval(), torch.nn.CrossEntropyLoss(), SHAPE, CLASSES, clip_values=clip_values, device_type="cpu"
    )


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(1).uniform(size=(24, *SHAPE)).astype(np.float32)


def labels(net: PyTorchClassifier, x: np.ndarray) -> np.ndarray:
    return net.predict(x).argmax(axis=1)


@pytest.mark.parametrize(("norm", "eps"), [(np.inf, 0.02), ("inf", 0.2), (2, 0.3)])
def test_within_the_bound_and_the_range(images, norm, eps):
    net = classifier()
    attacked = BestPGD(net, norm=norm, eps=eps, max_iter=5, verbose=False).generate(images)
    added = (attacked - images).reshape(len(images), -1).astype(float)
    sizes = np.linalg.norm(added, ord=np.inf if norm == "inf" else norm, axis=1)
    assert sizes.max() <= eps * (1 + 1e-5)
    assert sizes.max() > 0
    assert (attacked.min() >= 0, attacked.max() <= 1, attacked.dtype) == (True, True, np.float32)


def test_at_least_as_strong_as_the_last_iterate_of_arts(images):
    net = classifier()
    truth = labels(net, images)
    for eps in (0.01, 0.02, 0.03):
        arts = ProjectedGradientDescent(net, eps=eps, eps_step=eps / 8, max_iter=20, verbose=False)
        ours = BestPGD(net, eps=eps, max_iter=20, verbose=False).generate(images, truth)
        left = int(np.sum(labels(net, ours) == truth))
        assert left <= int(np.sum(labels(net, arts.generate(images, truth)) == truth))
    assert 0 < left < len(images) or eps == 0.03


def test_what_is_wrong_already_is_left_as_it_is(images):
    net = classifier()
    truth = labels(net, images)
    truth[::2] = (truth[::2] + 1) % CLASSES
    attacked = BestPGD(net, eps=0.1, max_iter=3, verbose=False).generate(images, truth)
    assert np.array_equal(attacked[::2], images[::2])


def test_a_step_that_overshoots_does_not_lose_what_was_found():
    """Where the last iterate is classified right again, the one before is the result."""

    class Valley(torch.nn.Module):
        def forward(self, x):
            mean = x.mean((1, 2, 3))
            # Wrong between 0.45 and 0.49 only, and uphill towards it from 0.5.
            inside = 0.02 - (mean - 0.47).abs()
            return torch.stack([torch.zeros_like(mean), 100 * inside], 1)

    net = PyTorchClassifier(Valley(), torch.nn.CrossEntropyLoss(), SHAPE, 2, clip_values=(0.0, 1.0), device_type="cpu")
    x, truth = np.full((1, *SHAPE), 0.5, dtype=np.float32), np.array([0])
    attack = BestPGD(net, eps=0.3, eps_step=0.04, max_iter=30, num_random_init=0, verbose=False)
    assert labels(net, x) == truth
    assert labels(net, attack.generate(x, truth)) != truth


def test_no_image_depends_on_another(images):
    net = classifier()
    attack = BestPGD(net, eps=0.02, max_iter=4, num_random_init=2, verbose=False)
    whole = attack.generate(images)
    attack.set_params(batch_size=5)
    np.testing.assert_allclose(attack.generate(images), whole, atol=1e-6)


def test_the_same_seed_gives_the_same_and_global_generators_are_left_alone(images):
    net = classifier()
    truth = labels(net, images)
    with with_defences(net, [Noise()]):
        state = torch.random.get_rng_state()
        first, second = (BestPGD(net, eps=0.02, max_iter=3, verbose=False).generate(images, truth) for _ in range(2))
        assert torch.equal(torch.random.get_rng_state(), state)
        other = BestPGD(net, eps=0.02, max_iter=3, seed=1, verbose=False).generate(images, truth)
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


def test_draws_are_averaged(images, monkeypatch):
    """Against what draws at random, more draws do more harm, and they are taken without being asked for."""
    net = classifier()
    truth = labels(net, images)

    def left(samples: int | None) -> float:
        with with_defences(net, [Noise(0.5)]):
            attack = BestPGD(net, eps=0.1, max_iter=10, num_random_init=0, eot_samples=samples, verbose=False)
            attacked = attack.generate(images, truth)
            torch.manual_seed(0)
            return float(np.mean([np.mean(labels(net, attacked) == truth) for _ in range(20)]))

    assert left(None) == left(8)
    assert left(16) < left(1)


def test_defences_are_attacked_with_it(images):
    net, defence = classifier(), ROFDefence()
    with with_defences(net, [defence]):
        truth = labels(net, images)
        behind = BestPGD(net, eps=0.02, max_iter=10, verbose=False).generate(images, truth)
        left = int(np.sum(labels(net, behind) == truth))
    alone = BestPGD(net, eps=0.02, max_iter=10, verbose=False).generate(images, truth)
    with with_defences(net, [defence]):
        assert left < int(np.sum(labels(net, alone) == truth))


def test_another_value_range_is_the_same_attack(images):
    ours = BestPGD(classifier(), eps=0.02, max_iter=4, verbose=False).generate(images)
    theirs = BestPGD(classifier((0.0, 255.0)), eps=0.02 * 255, max_iter=4, verbose=False).generate(255 * images)
    assert float(np.mean(np.abs(theirs / 255 - ours) > 1e-4)) < 0.02


def test_labels_may_be_one_hot(images):
    net = classifier()
    truth = labels(net, images)
    attack = BestPGD(net, eps=0.02, max_iter=3, verbose=False)
    assert np.array_equal(attack.generate(images, truth), attack.generate(images, np.eye(CLASSES)[truth]))
    assert np.array_equal(attack.generate(images, truth), attack.generate(images))


def test_a_gradient_that_is_not_finite_spoils_no_image(images):
    class Root(PreprocessorPyTorch):
        def __init__(self):
            super().__init__(device_type="cpu")

        def forward(self, x, y=None):
            # Of slope infinity, times 0: not a number.
            return x + 0 * (x - x.detach()).sqrt(), y

    net = classifier()
    with with_defences(net, [Root()]):
        attacked = BestPGD(net, eps=0.02, max_iter=3, verbose=False).generate(images)
    assert np.isfinite(attacked).all()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"eps": 0}, "`eps` must be finite and > 0, got 0"),
        ({"eps_step": -1.0}, "`eps_step`"),
        ({"norm": 1}, "`norm` must be np.inf or 2, got 1"),
        ({"max_iter": 0}, "`max_iter` must be >= 1"),
        ({"num_random_init": -1}, "`num_random_init` must be >= 0"),
        ({"loss": "hinge"}, "`loss` must be 'cross-entropy' or 'margin' or 'both'"),
        ({"momentum": 2}, "`momentum`"),
        ({"eot_samples": 0}, "`eot_samples` must be >= 1"),
        ({"batch_size": 0}, "`batch_size` must be >= 1"),
        ({"seed": -1}, "`seed` must be >= 0"),
    ],
)
def test_what_makes_no_sense_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        BestPGD(classifier(), **given)


def test_images_and_labels_have_to_fit(images):
    attack = BestPGD(classifier(), verbose=False)
    with pytest.raises(ValueError, match="`x` must be images"):
        attack.generate(images[:, :2])
    with pytest.raises(ValueError, match="`y` must be as many labels as `x` are images, got 3 for 24"):
        attack.generate(images, np.array([0, 1, 2]))


def test_it_says_its_parameters():
    attack = BestPGD(classifier(), eps=0.5)
    attack.set_params(eps=0.25, momentum=0.5)
    assert {name: getattr(attack, name) for name in ("eps", "momentum", "max_iter")} == {
        **{"eps": 0.25, "momentum": 0.5, "max_iter": 40}
    }
