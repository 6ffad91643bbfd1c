"""Gradients that are passed through where the true derivative would hide what attacks need to see."""

from __future__ import annotations

from typing import Any

import torch


class StraightThrough(torch.autograd.Function):
    """Backward pass differentiable approximation (Athalye et al. 2018, arXiv:1802.00420) by the identity."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, result: torch.Tensor) -> torch.Tensor:
        return result.view_as(result)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None]:
        return grads[0], None


def clip(x: torch.Tensor, low: float, high: float) -> torch.Tensor:
    """Clip, and pass the gradient through.

    Chambolle's iterates overshoot a little, and where an overshoot beyond the end of the range is clipped the true
    derivative is 0. On images with areas at an end of the range (digits, documents, dark backgrounds) that hides the
    gradient of half of the pixels: attacks by it came out weaker than attacks that ignore the defence.
    """
    return StraightThrough.apply(x, x.detach().clamp(low, high))
