"""Statistics over stored labels: intervals of a share, and paired comparisons on the same images.

Everything is computed from integers with the standard library, as SciPy takes longer to import than a report to write.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

#: Confidence of every interval.
CONFIDENCE = 0.95

#: Perturbations, each of a seed of its own, below which nothing is said of others.
FEWEST_SEEDS = 5

#: In the place of a predicted label: the image was not attacked, and says nothing.
NOT_ATTACKED = -1

#: In the place of a predicted label: the attack ended in an error, which is no merit of a defence. It counts as wrong.
ATTACK_FAILED = -2


def over_draws(drawn: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return labels that are right for an image that is classified right with each draw, else the first wrong one.

    :param drawn: Predicted labels by draw, int64 (D, N).
    :param truth: True labels, int64 (N,).
    :return: int64 (N,).
    """
    first_wrong: np.ndarray = np.argmax(drawn != truth, axis=0)
    found: np.ndarray = np.take_along_axis(drawn, first_wrong[None], axis=0)[0]
    return found


_Z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)


@dataclass(frozen=True)
class Share:
    """A share of images, e.g. an accuracy: `count` out of `n`, with a Wilson interval, all as fractions of 1."""

    count: int
    n: int

    @property
    def value(self) -> float:
        return self.count / self.n

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval by Wilson (1927): it stays inside [0, 1] and holds its level near 0 and 1."""
        p, z2n = self.value, _Z**2 / self.n
        centre, half = p + z2n / 2, _Z * ((p * (1 - p) + z2n / 4) / self.n) ** 0.5
        # At the ends the two cancel but for rounding.
        low = 0.0 if self.count == 0 else (centre - half) / (1 + z2n)
        high = 1.0 if self.count == self.n else (centre + half) / (1 + z2n)
        return low, high


@dataclass(frozen=True)
class Shares:
    """The same share with several seeds, on the same images.

    Its spread is that of the perturbations. It says nothing of images that were not there, which the interval does.

    :param shares: One for each seed that there are results for, at least one.
    :param asked: Number of seeds that were asked for.
    :param interval: 95 % interval over images and perturbations, see :func:`two_way_interval`; None: of too few seeds.
    """

    shares: tuple[Share, ...]
    asked: int
    interval: tuple[float, float] | None = None

    @property
    def value(self) -> float:
        """The mean over the seeds."""
        return sum(share.value for share in self.shares) / len(self.shares)

    @property
    def spread(self) -> tuple[float, float]:
        """The lowest and the highest over the seeds."""
        values = [share.value for share in self.shares]
        return min(values), max(values)


@dataclass(frozen=True)
class PairedDifference:
    """Two classifications of the same `n` images: how many only the first, and only the second, got right."""

    only_first: int
    only_second: int
    n: int

    @property
    def value(self) -> float:
        """Accuracy of the first less that of the second, as a fraction of 1."""
        return (self.only_first - self.only_second) / self.n

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of Agresti & Min (2005), doi:10.1002/sim.1781: Wald's, with half an image more in each cell."""
        first, second, n = self.only_first + 0.5, self.only_second + 0.5, self.n + 2
        centre = (first - second) / n
        half = _Z * (first + second - (first - second) ** 2 / n) ** 0.5 / n
        return max(-1.0, centre - half), min(1.0, centre + half)

    @property
    def p_value(self) -> float:
        """Two-sided exact McNemar test (1947) that the two are right equally often; 1 where they never differ."""
        differing = self.only_first + self.only_second
        term = total = 1
        for k in range(min(self.only_first, self.only_second)):
            # From C(n, k) to C(n, k + 1), without rounding.
            term = term * (differing - k) // (k + 1)
            total += term
        # Twice the smaller tail, which counts the middle twice where there is one.
        return min(1.0, 2 * total / 2**differing)


@dataclass(frozen=True)
class PairedDifferences:
    """The same comparison with several seeds, on the same images.

    :param differences: One for each seed that there are results for, at least one.
    :param asked: Number of seeds that were asked for.
    """

    differences: tuple[PairedDifference, ...]
    asked: int

    @property
    def value(self) -> float:
        """The mean over the seeds."""
        return sum(difference.value for difference in self.differences) / len(self.differences)

    @property
    def spread(self) -> tuple[float, float]:
        """The lowest and the highest over the seeds."""
        values = [difference.value for difference in self.differences]
        return min(values), max(values)

    @property
    def p_value(self) -> float:
        """The largest of the seeds' p-values: below a level, the two differ with every seed.

        Counts are not pooled: the same images come again with every seed, and would be counted as others. If the seeds
        point in both directions, no difference is one with every seed, and this is 1.
        """
        low, high = self.spread
        return 1.0 if low < 0 < high else max(difference.p_value for difference in self.differences)


def two_way_interval(right: np.ndarray, *, resamples: int = 2000, seed: int = 0) -> tuple[float, float]:
    """Return a 95 % interval of the mean over perturbations and images, both of which might have been others.

    The percentile bootstrap of Owen (2007), "The pigeonhole bootstrap", doi:10.1214/07-AOAS122: rows and columns are
    drawn with replacement, each by themselves. It is a little too wide rather than too narrow.

    :param right: Whether an image is classified right, bool (S, N): perturbations by images.
    :param resamples: Number of draws.
    :param seed: Seed of the draws: the same values have the same interval.
    :raises ValueError: If there are fewer perturbations than :data:`FEWEST_SEEDS`.
    """
    rows, columns = right.shape
    if rows < FEWEST_SEEDS:
        raise ValueError(f"`right` must be of at least {FEWEST_SEEDS} perturbations, got {rows}")
    rng = np.random.default_rng(seed)
    of_rows = rng.multinomial(rows, np.full(rows, 1 / rows), size=resamples)
    of_columns = rng.multinomial(columns, np.full(columns, 1 / columns), size=resamples)
    means = np.einsum("rn,rn->r", of_rows @ right.astype(float), of_columns) / (rows * columns)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


def cluster_interval(
    right: np.ndarray, groups: np.ndarray, *, resamples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Return a 95 % interval of a share over images that come in groups, such as the crops of a photograph.

    The percentile bootstrap over groups (Davison & Hinkley 1997, section 3.8): images of a group are alike, and groups,
    not images, might have been others. With few groups, some 20, it is a little too narrow.

    :param right: Whether an image is classified right, bool (N,).
    :param groups: Which group it is of, int (N,).
    :param resamples: Number of draws.
    :param seed: Seed of the draws: the same values have the same interval.
    :raises ValueError: If there are fewer than two groups.
    """
    _, of = np.unique(groups, return_inverse=True)
    sizes = np.bincount(of)
    if len(sizes) < 2:
        raise ValueError(f"`groups` must be at least 2, got {len(sizes)}")
    counts = np.bincount(of, weights=right)
    drawn = np.random.default_rng(seed).multinomial(len(sizes), np.full(len(sizes), 1 / len(sizes)), size=resamples)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile((drawn @ counts) / (drawn @ sizes), [tail, 1 - tail])
    return float(low), float(high)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number by Holm (1979), in the order in which they are given.

    Below a level, a corrected one is significant with no more than that chance of any false one among all of them.

    :param p_values: One for each test of a family.
    """
    count, corrected, largest = len(p_values), [0.0] * len(p_values), 0.0
    for rank, i in enumerate(sorted(range(count), key=lambda i: p_values[i])):
        # No smaller than that of a test with a smaller p-value.
        largest = max(largest, min(1.0, (count - rank) * p_values[i]))
        corrected[i] = largest
    return corrected


def accuracy(predicted: np.ndarray, labels: np.ndarray) -> Share:
    """Return the share of images whose predicted label is the true one.

    :param predicted: Predicted labels, int (N,); images that were not attacked are left out.
    :param labels: True labels, int (N,).
    :raises ValueError: If they are not of the same length, at least 1.
    """
    _check_lengths(predicted, labels)
    return Share(int(np.sum(predicted == labels)), int(np.sum(predicted != NOT_ATTACKED)))


def changed(predicted: np.ndarray, clean: np.ndarray) -> Share:
    """Return the share of images whose predicted label is another than that of the clean image: the fooling rate.

    :param predicted: Labels predicted for the attacked images, int (N,); those that were not attacked are left out.
    :param clean: Labels predicted for the clean ones, int (N,).
    :raises ValueError: If they are not of the same length, at least 1.
    """
    _check_lengths(predicted, clean)
    there = predicted != NOT_ATTACKED
    return Share(int(np.sum((predicted != clean) & there)), int(np.sum(there)))


def paired_difference(first: np.ndarray, second: np.ndarray, labels: np.ndarray) -> PairedDifference:
    """Compare two classifications of the same images, those left out that were not attacked in one of the two.

    :param first: Predicted labels of the one, int (N,).
    :param second: Predicted labels of the other, int (N,).
    :param labels: True labels, int (N,).
    :raises ValueError: If they are not of the same length, at least 1.
    """
    _check_lengths(first, labels)
    _check_lengths(second, labels)
    there = (first != NOT_ATTACKED) & (second != NOT_ATTACKED)
    right, also_right = first == labels, second == labels
    return PairedDifference(
        int(np.sum(right & ~also_right & there)), int(np.sum(~right & also_right & there)), int(np.sum(there))
    )


def _check_lengths(predicted: np.ndarray, labels: np.ndarray) -> None:
    if predicted.shape != labels.shape or labels.ndim != 1 or not len(labels):
        raise ValueError(
            f"predicted and true labels must have the same length, at least 1, got {predicted.shape} and {labels.shape}"
        )
