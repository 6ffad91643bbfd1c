"""Whether the kernels for a GPU can be used on a device."""

from __future__ import annotations

import importlib.util
import warnings
from functools import cache
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import torch

#: First version of Triton with roundings to the nearest float.
_FIRST = (3, 0)


def usable(x: torch.Tensor) -> bool:
    """Return whether x is on a GPU that Triton makes kernels for; where it fails to, a warning says so, once."""
    return x.is_cuda and _usable_on(x.device.index or 0)


@cache
def _usable_on(device: int) -> bool:
    if not installed():
        return False
    try:
        _try(torch.device("cuda", device))
    except Exception as error:
        # As where there is no compiler of C, or the GPU is too old.
        warnings.warn(
            f"Triton makes no kernels for {torch.cuda.get_device_name(device)} ({type(error).__name__}: {error}): the "
            "filters run there in many operations of PyTorch, which takes several times as long",
            RuntimeWarning,
            stacklevel=2,
        )
        return False
    return True


@cache
def installed() -> bool:
    """Return whether there is a Triton that is new enough."""
    if importlib.util.find_spec("triton") is None:
        return False
    for name in ("triton", "pytorch-triton-rocm", "pytorch-triton-xpu", "pytorch-triton"):
        try:
            return tuple(int(part) for part in version(name).split(".")[:2]) >= _FIRST
        except (PackageNotFoundError, ValueError):
            continue
    return False


def _try(device: torch.device) -> None:
    """Filter an image of one pixel with the smallest kernel, which raises where there cannot be any."""
    from art_denoise.filters._rof_chambolle_triton import ChambolleTriton  # with Triton, where it is needed

    ChambolleTriton.run(torch.zeros((1, 1, 1), device=device), np.ones(1), 0.0, 1)
