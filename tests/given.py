"""What property tests give to defences: numbers in every form, and what a call answers."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st


def answer(call: Callable[[], Any]) -> Any:
    """Return what a call returns, or None if it raises an error that names an argument; anything else is raised."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "ROF did not converge|the gradient of ROF did not", RuntimeWarning)
            warnings.filterwarnings("ignore", ".*lie outside `clip_values`", RuntimeWarning)
            return call()
    except (TypeError, ValueError) as error:
        if re.search(r"`\w+|'clip_values'", str(error)):
            return None
        raise


def same(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two results are the same to the bit, in values, shape and type."""
    return bool(a.dtype == b.dtype and np.array_equal(a, b))


#: Some are numbers, in any form, some are extreme, some are none.
NUMBERS: list[Any] = [
    *(0, 1, 2, 3, 5, -1, 10**30, 10**400, -(10**400), 2**63 - 1, 2**63, 2**31),
    *(0.0, -0.0, 0.01, 0.1, 1.0, 1.5, 1e-320, 1e-45, 1e-40, 1e-31, 1e-13, 1e6, 1e7, 1e39, 1e300, -0.1),
    *(float("nan"), float("inf"), -float("inf")),
    *(np.float32(0.1), np.float64(0.1), np.float16(0.1), np.longdouble(0.1), np.int64(3), np.uint8(3), np.bool_(True)),
    *(np.float32("nan"), np.array(0.1), np.array([0.1]), np.array(3)),
    *(Fraction(1, 10), Fraction(3), Decimal("0.1"), 0.1 + 0j, 1 + 2j),
    *(None, True, False, "", "0.1", "exact", b"0.1", [], [0.1], (0, 1), {}, object(), float, len),
    *(torch.tensor(0.1), torch.tensor([0.1]), torch.tensor([0.1, 0.2]), torch.tensor(3), torch.tensor([True, False])),
    *(torch.tensor([float("nan"), 0.1]), torch.tensor([0.1, 0.2], requires_grad=True), torch.tensor([1e-45, 1e6])),
]

numbers = st.sampled_from(NUMBERS)
