"""Eq. 1: which draws are accepted, and what they average to."""

from __future__ import annotations

import pytest
import torch

from art_denoise.filters import mean_accepted_noise


def two_sides(x: torch.Tensor) -> torch.Tensor:
    """Class 1 where the mean of an image is above one half."""
    mean = x.flatten(1).mean(1)
    return 20 * torch.stack([0.5 - mean, mean - 0.5], dim=1)


@pytest.fixture
def problem():
    """Six images near the boundary: three on the wrong side of it by 0.02, three on the right side."""
    x = torch.full((6, 1, 3, 3), 0.5)
    x[:3] -= 0.02
    x[3:] += 0.02
    return x, torch.ones(6, dtype=torch.long)


def test_flip_averages_the_draws_that_turn_wrong_into_right(problem):
    estimate = mean_accepted_noise(two_sides, *problem, sigma=0.1, draws=2000, batch_size=97)
    assert estimate.drawn == 3 * 2000  # the three images that are wrong
    # The mean of nine normal draws of 0.1 is normal with 0.1 / 3; it has to exceed 0.02.
    normal = torch.distributions.Normal(0.0, 0.1 / 3)
    accepted = 1 - normal.cdf(torch.tensor(0.02))
    assert estimate.accepted / estimate.drawn == pytest.approx(float(accepted), abs=0.03)
    # Mean of a normal truncated from below (Mills ratio); the same for every pixel, as the classifier sees their mean.
    expected = (0.1 / 3) ** 2 * torch.exp(normal.log_prob(torch.tensor(0.02))) / accepted
    torch.testing.assert_close(estimate.mean, torch.full((1, 3, 3), float(expected)), atol=0.01, rtol=0)


def test_loss_accepts_half_of_the_draws_on_every_image(problem):
    estimate = mean_accepted_noise(two_sides, *problem, sigma=0.1, draws=500, accept="loss")
    assert estimate.drawn == 6 * 500
    assert estimate.accepted / estimate.drawn == pytest.approx(0.5, abs=0.04)
    assert (estimate.mean > 0).all()


def test_does_not_depend_on_the_batches(problem):
    first = mean_accepted_noise(two_sides, *problem, sigma=0.1, draws=20, batch_size=7)
    second = mean_accepted_noise(two_sides, *problem, sigma=0.1, draws=20, batch_size=1000)
    torch.testing.assert_close(first.mean, second.mean)
    assert first.accepted == second.accepted


def test_seed(problem):
    def mean(seed: int) -> torch.Tensor:
        return mean_accepted_noise(two_sides, *problem, sigma=0.1, draws=20, seed=seed).mean

    assert torch.equal(mean(1), mean(1))
    assert not torch.equal(mean(1), mean(2))


def test_the_global_generator_is_left_alone(problem):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    mean_accepted_noise(two_sides, *problem, sigma=0.1, draws=2)
    assert torch.equal(torch.get_rng_state(), before)


def test_nothing_accepted_says_why(problem):
    x, y = problem
    with pytest.raises(ValueError, match=r"none of 6 draws helped.*`sigma`"):
        mean_accepted_noise(two_sides, x - 0.4, y, sigma=0.001, draws=1)
    with pytest.raises(ValueError, match="every image is classified correctly already"):
        mean_accepted_noise(two_sides, x + 0.4, y, sigma=0.1, draws=1)


@pytest.mark.parametrize("arguments", [{"sigma": 0}, {"draws": 0}, {"accept": "both"}, {"batch_size": 0}])
def test_bad_input(problem, arguments):
    with pytest.raises(ValueError, match=f"`{next(iter(arguments))}`"):
        mean_accepted_noise(two_sides, *problem, **{"sigma": 0.1, "draws": 1, **arguments})


def test_lengths_must_agree(problem):
    with pytest.raises(ValueError, match="same length"):
        mean_accepted_noise(two_sides, problem[0], problem[1][:3], sigma=0.1, draws=1)
