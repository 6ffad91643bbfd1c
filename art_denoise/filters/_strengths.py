"""Strengths of filters: one number for all images, or a tensor with one for each."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from art_denoise._checks import check_number

#: Greatest strength. Nothing of an image is left long before it.
MOST = 1e6


def check_strength(name: str, value: Any, count: int | None = None, *, positive: bool) -> None:
    """Raise unless a strength is a number, or a tensor with one for each image; its values are looked at by `of_each`.

    :param name: Name of the argument, for messages.
    :param count: How many images there are; None if that is not known.
    :param positive: Whether it must be greater than 0.
    :raises TypeError: If it is neither.
    :raises ValueError: If the number is out of its interval, or the tensor has another shape or requires a gradient.
    """
    if not isinstance(value, torch.Tensor):
        check_number(name, value, low=0, high=MOST, low_open=positive)
        return
    if not value.is_floating_point():
        raise TypeError(f"`{name}` must be a number or a tensor of floats, got one of {value.dtype}")
    if value.ndim != 1 or (count is not None and len(value) != count):
        images = "" if count is None else f" of {count}"
        raise ValueError(
            f"`{name}` must be a number, or a tensor (N,) with one for each image{images}, got {tuple(value.shape)}"
        )
    if value.requires_grad:
        raise ValueError(f"`{name}` has no gradient, but requires one: use `{name}.detach()`")


def for_operator(value: float | torch.Tensor) -> tuple[float, torch.Tensor | None]:
    """Return a strength as operators take it: a number, and, if there is one for each image, a tensor."""
    return (0.0, value) if isinstance(value, torch.Tensor) else (float(value), None)


def of_each(
    name: str, strength: float, strengths: torch.Tensor | None, count: int, *, least: float, positive: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the strength of each image, (count,) float64, and which are below the least that changes anything.

    Those are replaced by the least, which can be computed with. None stands for no image.

    :raises ValueError: If one of them is out of its interval.
    """
    if strengths is None:
        # The public functions filter no images by a number that changes nothing.
        return np.full(count, strength), None
    values = strengths.detach().cpu().to(torch.float64).resolve_neg().numpy()
    wrong = ~(np.isfinite(values) & (values <= MOST) & ((values > 0) if positive else (values >= 0)))
    if wrong.any():
        k = int(wrong.argmax())
        rule = f"finite and {'>' if positive else '>='} 0 and <= {MOST:g}"
        raise ValueError(f"`{name}` must be {rule} for each image, got {values[k]:g} for image {k}")
    small = values < least
    return np.maximum(values, least), np.flatnonzero(small) if small.any() else None
