"""Numbers as others can hold them: NumPy's as Python's, PyTorch's as NumPy's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch


def plain(value: Any) -> Any:
    """Return a value with Python's numbers in the place of NumPy's, in lists, tuples and mappings, too."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {name: plain(inner) for name, inner in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map(plain, value))
    return value


def array_of(tensor: torch.Tensor) -> np.ndarray:
    """Return the values of a tensor, wherever it is; those of bfloat16, which NumPy does not have, as float32."""
    whole = tensor.detach().cpu()
    array: np.ndarray = (whole.float() if whole.dtype is torch.bfloat16 else whole).numpy()
    return array
