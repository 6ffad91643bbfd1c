"""Statistics over stored labels: intervals of a share, and paired comparisons on the same images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

#: Confidence of every interval.
CONFIDENCE = 0.95


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
        bounds = binomtest(self.count, self.n).proportion_ci(CONFIDENCE, method="wilson")
        return float(bounds.low), float(bounds.high)


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
    def p_value(self) -> float:
        """Two-sided exact McNemar test (1947) that the two are right equally often; 1 where they never differ."""
        discordant = self.only_first + self.only_second
        return float(binomtest(self.only_first, discordant).pvalue) if discordant else 1.0


def accuracy(predicted: np.ndarray, labels: np.ndarray) -> Share:
    """Share of the images whose predicted label, int (N,), is the true one, int (N,)."""
    _check_lengths(predicted, labels)
    return Share(int(np.sum(predicted == labels)), len(labels))


def paired_difference(first: np.ndarray, second: np.ndarray, labels: np.ndarray) -> PairedDifference:
    """Compare two arrays of predicted labels, int (N,), of the same images with the true labels, int (N,)."""
    _check_lengths(first, labels)
    _check_lengths(second, labels)
    right, also_right = first == labels, second == labels
    return PairedDifference(int(np.sum(right & ~also_right)), int(np.sum(~right & also_right)), len(labels))


def _check_lengths(predicted: np.ndarray, labels: np.ndarray) -> None:
    if predicted.shape != labels.shape or labels.ndim != 1 or not len(labels):
        raise ValueError(
            f"predicted and true labels must have the same length, at least 1, got {predicted.shape} and {labels.shape}"
        )
