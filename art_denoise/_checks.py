"""Checks of arguments, shared by filters, defences and attacks: one error that names argument, rule and value."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any


def check_number(
    name: str, value: Any, *, low: float = -math.inf, high: float = math.inf, low_open: bool = False
) -> float:
    """Return a finite real number as a float, or raise.

    :param name: Name of the argument, for the message.
    :param low: Least value allowed; with `low_open` the value must be greater.
    :param high: Greatest value allowed.
    :raises TypeError: If `value` is not a real number (a bool is none).
    :raises ValueError: If it is not finite or outside the interval.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"`{name}` must be a number, got {value!r}")
    number = float(value)
    # Compared rather than asked whether it is finite: numbers of a graph that is being compiled can be compared.
    if not -math.inf < number < math.inf or number < low or number > high or (low_open and number == low):
        rules = ["finite"]
        if low > -math.inf:
            rules.append(f"{'>' if low_open else '>='} {low:g}")
        if high < math.inf:
            rules.append(f"<= {high:g}")
        raise ValueError(f"`{name}` must be {' and '.join(rules)}, got {value!r}")
    return number


def check_integer(name: str, value: Any, *, low: int) -> int:
    """Return an integer of at least `low`, or raise `TypeError` or `ValueError` naming the argument."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"`{name}` must be an integer, got {value!r}")
    if value < low:
        raise ValueError(f"`{name}` must be >= {low}, got {value!r}")
    return int(value)


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> str:
    """Return a value that is one of the choices, or raise `ValueError` naming the argument and the choices."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"`{name}` must be {' or '.join(map(repr, choices))}, got {value!r}")
    return str(value)


def check_flag(name: str, value: Any) -> bool:
    """Return a bool, or raise `TypeError` naming the argument."""
    if not isinstance(value, bool):
        raise TypeError(f"`{name}` must be True or False, got {value!r}")
    return value


def check_filter_input(x: Any) -> None:
    """Raise unless `x` is a float tensor (N, C, H, W) with at least one channel and one pixel."""
    import torch  # not where only numbers are checked, as on the command line

    if not isinstance(x, torch.Tensor) or not x.is_floating_point():
        kind = f"a {x.dtype} tensor" if isinstance(x, torch.Tensor) else type(x).__name__
        raise TypeError(f"`x` must be a floating-point torch tensor, got {kind}: use `x.float()` or `torch.from_numpy`")
    if x.ndim != 4:
        raise ValueError(f"`x` must be (N, C, H, W), got {tuple(x.shape)}")
    if 0 in x.shape[1:]:
        raise ValueError(f"`x` must have at least one channel and one pixel, got {tuple(x.shape)}")
