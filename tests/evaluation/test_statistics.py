"""Intervals and paired tests, against figures worked out elsewhere."""

from __future__ import annotations

import numpy as np
import pytest

from art_denoise.evaluation.statistics import Share, accuracy, paired_difference


def test_wilson_interval():
    # Newcombe (1998), doi:10.1002/(SICI)1097-0258(19980430)17:8<857::AID-SIM777>3.0.CO;2-E, Table I, method 3.
    for count, n, low, high in [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611)]:
        assert Share(count, n).interval == pytest.approx((low, high), abs=1e-4)
    assert Share(81, 263).value == pytest.approx(81 / 263)


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


@pytest.mark.parametrize(("predicted", "labels"), [([1, 2], [1]), ([], []), ([[1]], [[1]])])
def test_bad_input(predicted, labels):
    with pytest.raises(ValueError, match="the same length"):
        accuracy(np.array(predicted), np.array(labels))
