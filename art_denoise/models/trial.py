"""A network is tried on one image; if it fails, it is looked what it takes in its place."""

from __future__ import annotations

from typing import Any

import torch

#: Sides of images that networks are commonly made for, the most common first.
_COMMON_SIZES = (224, 32, 299, 256, 64, 96, 128, 160, 331, 384, 448, 512, 28)


def number_of_logits(network: torch.nn.Module, size: int, name: str) -> int:
    """Return how many logits a network returns for one image.

    :param network: The network, in evaluation mode.
    :param size: Side of the image, in pixels.
    :param name: What the network is called in messages.
    :raises ValueError: If it fails, with what it takes as far as that can be seen, or does not return logits (N, K),
        K >= 2.
    """
    try:
        logits = _answer(network, size)
    except Exception as error:
        raise ValueError(
            f"model {name} fails for an image (1, 3, {size}, {size}) in [0, 1] ({type(error).__name__}: {error}): "
            f"{_remedy(network, size)}"
        ) from error
    if not isinstance(logits, torch.Tensor) or logits.ndim != 2 or len(logits) != 1 or logits.shape[1] < 2:
        got = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise ValueError(
            f"model {name} must return logits (N, K), K >= 2, for images (N, 3, H, W); for one image it returns {got}"
        )
    return int(logits.shape[1])


def _answer(network: torch.nn.Module, size: int, *, count: int = 1, channels: int = 3) -> Any:
    with torch.no_grad():
        return network(torch.zeros(count, channels, size, size))


def _takes(network: torch.nn.Module, size: int, **other: int) -> bool:
    try:
        _answer(network, size, **other)
    except Exception:
        return False
    return True


def _remedy(network: torch.nn.Module, size: int) -> str:
    """Say what to do about a network that fails for an image, by what it does not fail for."""
    kinds = {tensor.dtype for tensor in network.parameters() if tensor.is_floating_point()} - {torch.float32}
    if kinds:
        return (
            f"its weights are of {' and '.join(sorted(map(str, kinds)))}, and images are of torch.float32; let what "
            "makes it return `network.float()`"
        )
    places = {tensor.device.type for tensor in (*network.parameters(), *network.buffers())} - {"cpu"}
    if places:
        return f"its weights are on {' and '.join(sorted(places))}; let what makes it leave them on the CPU"
    for other in _COMMON_SIZES:
        if other != size and _takes(network, other):
            return (
                f"it takes images of {other} × {other}; give `input_size` = {other}, or the size that it is meant for"
            )
    if _takes(network, size, channels=1):
        return "it takes images of one channel; put it behind a module that makes grey images of those in colour"
    if _takes(network, size, count=2):
        return "it takes two images but not one; put it behind a module that does"
    return (
        "it takes neither other sizes, nor one channel, nor two images; run it by itself on "
        f"torch.zeros(1, 3, {size}, {size}) to see why, or give the size that it is meant for as `input_size`"
    )
