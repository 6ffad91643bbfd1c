"""One image where a filter takes many, as transforms of data sets have it."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

import torch

_Filter = TypeVar("_Filter", bound=Callable[..., Any])

#: Numbers of channels that an image (C, H, W) may have; of others three axes are most likely a stack of grey images.
_CHANNELS = (1, 3, 4)


def takes_one_image(denoise: _Filter) -> _Filter:
    """Let a filter of images (N, C, H, W) take one image (C, H, W), too, and return one."""

    @wraps(denoise)
    def either(x: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(x, torch.Tensor) or x.ndim != 3 or x.shape[0] not in _CHANNELS:
            return denoise(x, *args, **kwargs)
        result = denoise(x[None], *args, **kwargs)
        return tuple(part[0] for part in result) if isinstance(result, tuple) else result[0]

    return cast("_Filter", either)
