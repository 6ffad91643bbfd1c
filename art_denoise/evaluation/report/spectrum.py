"""What is done to small differences between images so that they can be seen: magnified, averaged, transformed."""

from __future__ import annotations

import math

import numpy as np


def magnification(difference: np.ndarray) -> int:
    """Return by how much a difference can be magnified about grey without leaving the range, a whole number from 1.

    :param difference: As a share of the value range, of any shape.
    """
    largest = float(np.abs(difference).max(initial=0.0))
    # A difference of 10/255 was computed, and may be a little more.
    return max(1, math.floor(0.5 / largest + 1e-3)) if largest > 0 else 1


def about_grey(difference: np.ndarray, times: float) -> np.ndarray:
    """Return a difference as a picture in [0, 1]: magnified so many times, zero as mid-grey."""
    found: np.ndarray = np.clip(0.5 + times * difference, 0, 1)
    return found


def amplitudes(differences: np.ndarray) -> np.ndarray:
    """Return the amplitude spectrum of differences, (H, W), frequency zero at [H // 2, W // 2].

    The root of the mean over images and channels of |F|², where F is the discrete Fourier transform divided by H · W: a
    wave a · cos(...) of a whole number of periods is a / 2 at its frequency and at its opposite, and a constant c is
    |c| at zero. The squares of all add up to the mean square of the differences (Parseval).

    :param differences: (M, C, H, W).
    """
    height, width = differences.shape[-2:]
    transformed = np.fft.fft2(differences.astype(np.float64)) / (height * width)
    power = np.square(np.abs(transformed)).mean((0, 1))
    found: np.ndarray = np.fft.fftshift(np.sqrt(power))
    return found


def edges(count: int) -> tuple[float, float]:
    """Return where the outer edges of the pixels of a centred spectrum are, in cycles per pixel.

    :param count: Pixels along the axis.
    """
    first = -(count // 2)
    return (first - 0.5) / count, (first + count - 0.5) / count


def share_left(left: np.ndarray, added: np.ndarray) -> float:
    """Return how large what is left is as a share of what was added, both in the Euclidean norm over everything."""
    size = float(np.linalg.norm(added))
    return float(np.linalg.norm(left)) / size if size > 0 else math.nan
