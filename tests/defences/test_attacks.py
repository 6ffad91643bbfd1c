"""ART's attacks through the defences: they finish, keep to their bounds, and those with a gradient use it.

On scikit-learn's digits, whose dark background lies at the end of the range: the hardest images for the gradient of a
denoiser.
"""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from art.attacks.evasion import (
    AutoAttack,
    AutoProjectedGradientDescent,
    CarliniL2Method,
    DeepFool,
    FastGradientMethod,
    HopSkipJump,
    ProjectedGradientDescent,
    SquareAttack,
    UniversalPerturbation,
)
from art.estimators.classification import PyTorchClassifier
from sklearn.datasets import load_digits

from art_denoise import Compose, DefensiveNoiseDefence, NLMeansDefence, ROFDefence
from art_denoise._random import drawn_from

EPS = 0.15
DEFENCES = {
    "rof": lambda gradient: ROFDefence(0.1, gradient=gradient),
    "rof_converged": lambda gradient: ROFDefence(0.1, solver="converged", gradient=gradient),
    "nlm": lambda gradient: NLMeansDefence(0.3, gradient=gradient),
    "nlm_centred": lambda gradient: NLMeansDefence(0.3, mode="centred", patch_size=3, gradient=gradient),
    "noise and rof": lambda gradient: Compose(
        [
            DefensiveNoiseDefence(np.random.default_rng(0).normal(0, 0.03, (1, 8, 8)), gradient=gradient),
            ROFDefence(0.1, gradient=gradient),
        ]
    ),
}


@functools.cache
def digits() -> tuple[np.ndarray, np.ndarray, torch.nn.Module]:
    """Digits (1797, 1, 8, 8) in [0, 1], their labels, and a network trained on the first 1 400."""
    x, y = load_digits(return_X_y=True)
    x = (x / 16).astype(np.float32).reshape(-1, 1, 8, 8)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = torch.nn.Sequential(
            torch.nn.Conv2d(1, 16, 3, padding=1),
            torch.nn.ReLU(),
            torch.nn.Conv2d(16, 32, 3, padding=1, stride=2),
            torch.nn.ReLU(),
            torch.nn.Flatten(),
            torch.nn.Linear(512, 10),
        )
        optimiser = torch.optim.Adam(network.parameters(), 3e-3)
        for _ in range(8):
            for start in range(0, 1400, 64):
                optimiser.zero_grad()
                logits = network(torch.from_numpy(x[start : start + 64]))
                labels = torch.from_numpy(y[start : start + 64])
                torch.nn.functional.cross_entropy(logits, labels).backward()
                optimiser.step()
    return x, y, network.eval()


def classifier(*defences) -> PyTorchClassifier:
    return PyTorchClassifier(
        digits()[2],
        torch.nn.CrossEntropyLoss(),
        (1, 8, 8),
        10,
        clip_values=(0, 1),
        preprocessing_defences=list(defences),
        device_type="cpu",
    )


def accuracy(estimator: PyTorchClassifier, x: np.ndarray, y: np.ndarray) -> float:
    return float(np.mean(estimator.predict(x).argmax(1) == y))


def small_auto_attack(estimator: PyTorchClassifier, **kwargs) -> AutoAttack:
    """ART's ensemble, with fewer iterations than its 100 and its 5 000 of Square."""
    options = {"estimator": estimator, "eps": EPS, "batch_size": 16, "verbose": False}
    pgd = {"max_iter": 10, "nb_random_init": 1, "eps_step": 0.05}
    return AutoAttack(
        estimator,
        eps=EPS,
        attacks=[
            AutoProjectedGradientDescent(loss_type="cross_entropy", **options, **pgd),
            AutoProjectedGradientDescent(loss_type="difference_logits_ratio", **options, **pgd),
            SquareAttack(max_iter=50, **options),
        ],
        **kwargs,
    )


QUIET = {"verbose": False}
ATTACKS = {
    "FGM": (lambda c: FastGradientMethod(c, eps=EPS), EPS),
    "PGD": (lambda c: ProjectedGradientDescent(c, eps=EPS, eps_step=0.03, max_iter=10, **QUIET), EPS),
    "Auto-PGD": (
        lambda c: AutoProjectedGradientDescent(c, eps=EPS, eps_step=0.05, max_iter=10, nb_random_init=1, **QUIET),
        EPS,
    ),
    "AutoAttack": (small_auto_attack, EPS),
    "DeepFool": (lambda c: DeepFool(c, max_iter=20, **QUIET), None),
    "Carlini & Wagner": (
        lambda c: CarliniL2Method(c, max_iter=10, binary_search_steps=3, initial_const=1.0, batch_size=16, **QUIET),
        None,
    ),
    "Square": (lambda c: SquareAttack(c, eps=EPS, max_iter=100, batch_size=16, **QUIET), EPS),
    "HopSkipJump": (lambda c: HopSkipJump(c, max_iter=3, max_eval=200, init_eval=10, batch_size=16, **QUIET), None),
    "Universal": (
        lambda c: UniversalPerturbation(
            c,
            attacker="deepfool",
            attacker_params={"max_iter": 10, "verbose": False},
            eps=0.4,
            max_iter=10,
            delta=0.2,
            **QUIET,
        ),
        0.4,
    ),
}


# ART's universal perturbation predicts images that it has not clipped.
@pytest.mark.filterwarnings("ignore:.*lie outside `clip_values`:RuntimeWarning")
@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("name", ["rof", "nlm", pytest.param("noise and rof", marks=pytest.mark.long)])
def test_attacks_run_through_the_defences(name, attack):
    x, y, _ = digits()
    x, y = x[1400:1416], y[1400:1416]
    before = x.copy()
    defended = classifier(DEFENCES[name]("exact"))
    build, eps = ATTACKS[attack]
    with drawn_from(0):
        adversarial = build(defended).generate(x, np.eye(10, dtype=np.float32)[y])
    assert adversarial.shape == x.shape
    assert adversarial.dtype == np.float32
    assert np.isfinite(adversarial).all()
    assert adversarial.min() >= 0
    assert adversarial.max() <= 1
    if eps is not None:
        assert np.abs(adversarial - x).max() <= eps + 1e-6
    assert accuracy(defended, adversarial, y) < accuracy(defended, x, y) - 0.1
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("eps", [0.05, EPS])
@pytest.mark.parametrize("name", DEFENCES)
def test_pgd_uses_the_gradient(name, eps):
    """The exact gradient finds at least what BPDA finds, and more than an attack that ignores the defence."""
    x, y, _ = digits()
    x, y = x[1400:1500], y[1400:1500]
    target = classifier(DEFENCES[name]("exact"))

    def under_attack(source: PyTorchClassifier) -> float:
        attack = ProjectedGradientDescent(source, eps=eps, eps_step=eps / 6, max_iter=20, **QUIET)
        return accuracy(target, attack.generate(x, np.eye(10, dtype=np.float32)[y]), y)

    exact = under_attack(target)
    assert exact <= under_attack(classifier(DEFENCES[name]("identity")))
    assert exact < under_attack(classifier())
    assert exact < accuracy(target, x, y) - 0.05
