"""Intervals and paired tests, against figures worked out elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from art_denoise.evaluation.statistics import (
    PairedDifference,
    PairedDifferences,
    Share,
    Shares,
    accuracy,
    changed,
    cluster_interval,
    holm,
    over_draws,
    paired_difference,
    two_way_interval,
)


def test_an_image_is_right_if_it_is_with_each_draw():
    drawn = np.array([[0, 1, 2, 0], [0, 3, 2, 1], [0, 1, 3, 1]])
    # All right; wrong in the second; wrong in the third; right in the first only.
    assert over_draws(drawn, np.array([0, 1, 2, 0])).tolist() == [0, 3, 3, 1]
    assert over_draws(drawn[:1], np.array([1, 1, 1, 1])).tolist() == drawn[0].tolist()


def test_wilson_interval():
    # Newcombe (1998), doi:10.1002/(SICI)1097-0258(19980430)17:8<857::AID-SIM777>3.0.CO;2-E, Table I, method 3.
    for count, n, low, high in [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611)]:
        assert Share(count, n).interval == pytest.approx((low, high), abs=1e-4)
    assert Share(81, 263).value == pytest.approx(81 / 263)


def test_intervals_are_those_of_scipy():
    rng = np.random.default_rng(1)
    for n in (1, 2, 7, 532, 10_000):
        for count in {0, n, *rng.integers(0, n + 1, 5).tolist()}:
            bounds = binomtest(count, n).proportion_ci(0.95, method="wilson")
            # Rounding alone.
            assert Share(count, n).interval == pytest.approx((bounds.low, bounds.high), rel=1e-12, abs=1e-14)


def test_mcnemar_is_that_of_scipy():
    rng = np.random.default_rng(2)
    for first, second in [(0, 1), (5, 5), (6, 5), (0, 40), (1000, 1100), *rng.integers(1, 60, (20, 2)).tolist()]:
        expected = binomtest(first, first + second).pvalue
        assert PairedDifference(first, second, 5000).p_value == pytest.approx(expected, rel=1e-9)


def test_mcnemar_of_many_images():
    # By the normal approximation with continuity correction, (|b - c| - 1) / sqrt(b + c): 2 (1 - Φ(2.2316...)).
    assert PairedDifference(25_250, 24_750, 100_000).p_value == pytest.approx(0.0256, abs=1e-4)


def test_several_seeds():
    shares = Shares((Share(10, 40), Share(20, 40), Share(30, 40)), asked=4)
    assert shares.value == 0.5
    assert shares.spread == (0.25, 0.75)
    # 2 / 2**6 and 2 / 2**5: the largest, so that they differ with every seed if it is small.
    differences = PairedDifferences((PairedDifference(6, 0, 100), PairedDifference(5, 0, 100)), asked=2)
    assert differences.value == pytest.approx(0.055)
    assert differences.spread == (0.05, 0.06)
    assert differences.p_value == 2 / 2**5
    both_ways = PairedDifferences((PairedDifference(60, 0, 100), PairedDifference(0, 60, 100)), asked=2)
    assert both_ways.p_value == 1
    with_none = PairedDifferences((PairedDifference(60, 0, 100), PairedDifference(3, 3, 100)), asked=2)
    assert with_none.p_value == 1


def test_mcnemar():
    labels = np.zeros(30, dtype=int)
    first, second = labels.copy(), labels.copy()
    second[:9] = 1  # only the first is right
    first[9:11] = 1  # only the second is right
    first[11:15] = second[11:15] = 1
    difference = paired_difference(first, second, labels)
    assert (difference.only_first, difference.only_second, difference.n) == (9, 2, 30)
    assert difference.value == pytest.approx(7 / 30)
    # Exact binomial: 2 · Σ_{k ≤ 2} C(11, k) / 2¹¹ = 2 · 67 / 2048
    assert difference.p_value == pytest.approx(2 * 67 / 2048)
    assert paired_difference(first, first, labels).p_value == 1


def test_accuracy():
    assert accuracy(np.array([1, 2, 3]), np.array([1, 0, 3])) == Share(2, 3)


def test_fooling_rate():
    """A label that changes from wrong to wrong is fooled too."""
    assert changed(np.array([1, 2, 3, 5]), np.array([1, 0, 3, 4])) == Share(2, 4)


@pytest.mark.parametrize(("predicted", "labels"), [([1, 2], [1]), ([], []), ([[1]], [[1]])])
def test_bad_input(predicted, labels):
    with pytest.raises(ValueError, match="the same length"):
        accuracy(np.array(predicted), np.array(labels))


def test_holms_correction():
    """By hand; and what a review of the photographs' report found of 15 comparisons."""
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []
    of_15 = holm([0.0091, 0.0026, 0.0201, *[0.6] * 12])
    assert of_15[:3] == pytest.approx([14 * 0.0091, 15 * 0.0026, 13 * 0.0201])


@given(st.lists(st.floats(0, 1), max_size=12))
def test_corrected_p_values_are_larger_and_keep_their_order(p_values):
    corrected = holm(p_values)
    assert all(p <= c <= 1 for p, c in zip(p_values, corrected, strict=True))
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    assert [corrected[i] for i in order] == sorted(corrected)


def test_an_interval_over_perturbations_and_images_holds_what_it_promises():
    """Of means of rows, columns and single values that are drawn anew, it holds the true one some 95 times in 100."""
    rng, held, widths = np.random.default_rng(0), 0, []
    for trial in range(200):
        logits = rng.normal(0, 0.8, (8, 1)) + rng.normal(0, 1.5, (1, 120)) + rng.logistic(size=(8, 120))
        low, high = two_way_interval(logits > 0, resamples=400, seed=trial)
        held += low <= 0.5 <= high
        widths.append(high - low)
    assert 180 <= held <= 200
    # Wider than that of the images alone.
    assert np.mean(widths) > 1.1 * np.subtract(*Share(60, 120).interval[::-1])


def test_images_of_the_same_picture_are_not_so_many():
    """The interval holds the true share as often as it says, where that of images by themselves does not."""
    rng = np.random.default_rng(0)
    held = alone = 0
    for trial in range(200):
        # 20 pictures of 28 crops, all of which are easy or hard together, and half of all are right.
        of_pictures = rng.uniform(0, 1, 20)
        groups = np.repeat(np.arange(20), 28)
        right = rng.uniform(size=560) < of_pictures[groups]
        low, high = cluster_interval(right, groups, resamples=400, seed=trial)
        held += low <= 0.5 <= high
        low, high = Share(int(right.sum()), 560).interval
        alone += low <= 0.5 <= high
    assert held >= 175
    assert alone < 130
    # Groups of one are images by themselves, whatever they are called.
    right = np.arange(400) < 100
    low, high = cluster_interval(right, 7 * np.arange(400)[::-1])
    assert (low, high) == pytest.approx(Share(100, 400).interval, abs=0.006)
    with pytest.raises(ValueError, match="`groups` must be at least 2, got 1"):
        cluster_interval(right, np.zeros(400, dtype=int))


def test_the_interval_is_the_same_for_the_same_values_and_of_no_width_where_nothing_differs():
    right = np.random.default_rng(1).uniform(size=(5, 40)) < 0.4
    assert two_way_interval(right) == two_way_interval(right.copy())
    assert two_way_interval(np.ones((5, 10), dtype=bool)) == (1.0, 1.0)
    with pytest.raises(ValueError, match="`right` must be of at least 5 perturbations, got 4"):
        two_way_interval(right[:4])


def test_the_interval_of_a_difference_holds_the_true_one_as_often_as_it_says():
    """Of 100 images 30 differ, 22 one way: the interval of Agresti and Min holds 0.14 in 94 to 97 % of samples."""
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(100, (0.22, 0.08, 0.70), size=4000)
    held = [low <= 0.14 <= high for low, high in (PairedDifference(b, c, 100).interval for b, c, _ in drawn.tolist())]
    assert 0.94 <= np.mean(held) <= 0.97


@pytest.mark.parametrize(("first", "second", "n"), [(0, 0, 10), (10, 0, 10), (0, 10, 10), (3, 5, 200)])
def test_the_interval_of_a_difference_is_about_it_and_possible(first, second, n):
    found = PairedDifference(first, second, n)
    low, high = found.interval
    assert -1 <= low <= found.value <= high <= 1
    assert low < high
    assert PairedDifference(second, first, n).interval == pytest.approx((-high, -low))
