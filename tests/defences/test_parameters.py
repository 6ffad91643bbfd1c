"""Parameters of the single defences: what they refuse, and what changing them does."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from art_denoise import DefensiveNoiseDefence, NLMeansDefence, ROFDefence


@pytest.mark.parametrize(
    ("defence", "kwargs", "message"),
    [
        (ROFDefence, {"weight": -1}, "`weight` must be finite and >= 0.*got -1"),
        (ROFDefence, {"weight": 1e7}, "`weight` must be finite and >= 0 and <= 1e\\+06"),
        (ROFDefence, {"solver": "newton"}, "`solver`"),
        (ROFDefence, {"solver": "converged", "tol": 0}, "`tol`"),
        (ROFDefence, {"eps": -1}, "`eps`"),
        (ROFDefence, {"max_iter": 0}, "`max_iter`"),
        (ROFDefence, {"max_iter": 2**63}, r"`max_iter` must be below 2\*\*63"),
        (ROFDefence, {"weight": 10**400}, "`weight` must be finite"),
        (ROFDefence, {"clip_values": (Fraction(1), Fraction(1, 2))}, "Invalid 'clip_values': min >= max"),
        (NLMeansDefence, {"h": 0}, "`h` must be finite and > 0.*got 0"),
        (NLMeansDefence, {"patch_size": 0}, "`patch_size`"),
        (NLMeansDefence, {"patch_distance": -1}, "`patch_distance`"),
        (NLMeansDefence, {"mode": "slow"}, "`mode`"),
        (NLMeansDefence, {"mode": "centred"}, "`patch_size` must be odd"),
        (NLMeansDefence, {"sigma": -1}, "`sigma`"),
        (DefensiveNoiseDefence, {"noise": np.zeros((0, 8, 9))}, r"`noise` must be an array \(C, H, W\)"),
        (DefensiveNoiseDefence, {"noise": np.zeros((8, 9))}, r"`noise` must be an array \(C, H, W\)"),
        (DefensiveNoiseDefence, {"noise": np.full((3, 8, 9), 10.0)}, "divide noise made for 0 to 255 by 255"),
    ],
)
def test_refused_own_parameters(defence, kwargs, message):
    with pytest.raises(ValueError, match=message):
        defence(**kwargs)


def test_change_the_solver_and_change_it_back(images):
    defence = ROFDefence(eps=1e-3)
    before = defence(images)[0]
    defence.set_params(solver="converged", tol=1e-5)
    assert np.abs(defence(images)[0] - before).max() > 1e-3
    defence.set_params(solver="chambolle")
    np.testing.assert_array_equal(defence(images)[0], before)


def test_noise_for_other_images():
    with pytest.raises(ValueError, match=r"\(3, 37, 31\), got images \(3, 8, 9\)"):
        DefensiveNoiseDefence(np.zeros((3, 37, 31)))(np.zeros((2, 3, 8, 9)))


def test_noise_not_set():
    defence = DefensiveNoiseDefence()
    assert not defence.is_fitted
    with pytest.raises(ValueError, match=r"`noise` is not set.*fit"):
        defence(np.zeros((2, 3, 8, 9)))


def test_numbers_of_any_kind(images):
    """Fractions, and images of more digits than PyTorch has."""
    result = ROFDefence(Fraction(1, 10), clip_values=(Fraction(0), Fraction(1)))(images.astype(np.longdouble))[0]
    np.testing.assert_array_equal(result, ROFDefence(0.1)(images)[0])


def test_a_gradient_of_no_classes(images):
    with pytest.raises(
        ValueError, match=r"one more axis of at least one class after the first, got \(2, 0, 3, 37, 31\)"
    ):
        ROFDefence().estimate_gradient(images, np.zeros((2, 0, 3, 37, 31)))
