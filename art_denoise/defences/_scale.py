"""Whether values that lie outside a range are noise in it, which is clipped, or images of another scale."""

from __future__ import annotations

import torch
from torch.nn import functional

#: What lies outside by no more than this, in widths of the range, is rounding.
_ROUNDING = 1e-3

#: Share of values a whole width outside, or more, from which on they are of another scale. Gaussian noise of a standard
#: deviation of one width on black and white images takes 18 % of them there, attacks on images in the range next to
#: none. Few values may exceed that by chance, hence the second number, over the square root of how many there are.
_SHARE, _BY_CHANCE = 0.2, 1.5

#: The same for the means of squares of this many pixels a side, which noise leaves in the range, and images of another
#: scale do not.
_SIDE, _SHARE_OF_SQUARES, _FAR_FOR_SQUARES = 4, 0.05, 1.02

#: Widths outside that no noise reaches, and the share of values there from which on they are of another scale: thin
#: white lines on black are enough.
_FAR, _SHARE_FAR = 10.0, 1e-3


def share_outside(images: torch.Tensor, low: float, high: float) -> float:
    """Return the share of values that lie outside a range by more than rounding, 0 to 1."""
    return _share(_outside(images, low, high) > _ROUNDING)


def are_of_another_scale(images: torch.Tensor, low: float, high: float) -> bool:
    """Whether images are of another scale beyond doubt, rather than noisy images in the range.

    :param images: Images (N, C, H, W), at least one value, all finite.
    :param low: Least value of the range.
    :param high: Greatest value of the range.
    """
    outside = _outside(images, low, high)
    if _share(outside >= _FAR) >= _SHARE_FAR:
        return True
    if _share(outside >= 1 - _ROUNDING) > _SHARE + _BY_CHANCE / images.numel() ** 0.5:
        return True
    if min(images.shape[2:]) < _SIDE:
        return False
    squares = _outside(functional.avg_pool2d(images, _SIDE), low, high)
    return _share(squares > _FAR_FOR_SQUARES) > _SHARE_OF_SQUARES


def likely_range(least: float, greatest: float) -> str | None:
    """Return the usual range, as one writes it, of images with these least and greatest values; None if there is none.

    Standardised images have none.
    """
    if -1.01 <= least < 0 and greatest <= 1.01:
        return "(-1, 1)"
    if least < -_ROUNDING or greatest <= 1.01:
        return None
    return next((f"(0, {end})" for end in (255, 65535) if 2 < greatest <= end), None)


def _outside(images: torch.Tensor, low: float, high: float) -> torch.Tensor:
    """Return how far values lie outside, in widths of the range; below 0 inside."""
    return torch.maximum(low - images, images - high) / (high - low)


def _share(which: torch.Tensor) -> float:
    return float(which.float().mean())
