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
    try:
        number = float(value)
    except OverflowError:
        number = math.inf if value == abs(value) else -math.inf
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
    if int(value) >= 2**63:
        raise ValueError(f"`{name}` must be below 2**63, as compiled code has it, got {value!r}")
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

    if not isinstance(x, torch.Tensor):
        make = "torch.from_numpy(x)" if type(x).__module__ == "numpy" else "torch.as_tensor(x)"
        dtype = str(getattr(x, "dtype", "float"))
        remedy = f"`{make}`" if dtype.startswith("float") else f"`{make}{_to_floats(dtype)}`"
        raise TypeError(f"`x` must be a floating-point torch tensor, got {type(x).__name__}: use {remedy}")
    if x.dtype not in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        dtype = str(x.dtype).removeprefix("torch.")
        why = ", as parameters are in units of the value range" if "/" in _to_floats(dtype) else ""
        raise TypeError(
            f"`x` must be a floating-point torch tensor, got a {x.dtype} tensor: use `x{_to_floats(dtype)}`{why}"
        )
    shape = tuple(x.shape)
    if x.ndim == 2:
        raise ValueError(f"`x` must be (N, C, H, W), got {shape}: give one grey image as `x[None, None]`")
    if x.ndim == 3:
        raise ValueError(
            f"`x` must be (N, C, H, W), got {shape}: give a stack of grey images as `x[:, None]`, one image of "
            f"{shape[0]} channels as `x[None]`"
        )
    if x.ndim == 5:
        raise ValueError(
            f"`x` must be (N, C, H, W), got {shape}: give the frames of videos (N, C, F, H, W) as "
            "`x.movedim(2, 1).flatten(0, 1)`, those of (N, F, C, H, W) as `x.flatten(0, 1)`"
        )
    if x.ndim != 4:
        raise ValueError(f"`x` must be (N, C, H, W), got {shape}")
    if 0 in shape[1:]:
        raise ValueError(f"`x` must have at least one channel and one pixel, got {shape}")


def _to_floats(dtype: str) -> str:
    """Return what, written after `x`, makes floats in units of the value range of numbers of a type."""
    # Whole numbers are 0 to the greatest of their type; of signed ones nobody knows, and most are bytes once read.
    ends = {"bool": None, "int16": 32767, "uint16": 65535, "uint32": 2**32 - 1, "uint64": 2**64 - 1}
    if dtype.startswith("float") or ends.get(dtype, 255) is None:
        return ".float()"
    return f".float() / {ends.get(dtype, 255)}"
