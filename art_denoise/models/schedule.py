"""How networks are trained."""

from __future__ import annotations

import math
from dataclasses import dataclass

from art_denoise._checks import check_integer, check_number


@dataclass(frozen=True)
class Schedule:
    """How long and how fast a network is trained: `views` augmented views of every image in each of `epochs` passes.

    :param epochs: Passes.
    :param views: Views of every image in a pass.
    :param batch_size: Views in a step.
    :param learning_rate: Greatest learning rate.
    :param weight_decay: Weight decay of AdamW.
    """

    epochs: int = 5
    views: int = 6
    batch_size: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 0.05

    def __post_init__(self) -> None:
        for name in ("epochs", "views", "batch_size"):
            check_integer(name, getattr(self, name), low=1)
        check_number("learning_rate", self.learning_rate, low=0, low_open=True)
        check_number("weight_decay", self.weight_decay, low=0)

    def steps(self, images: int) -> int:
        """Return the number of steps for so many images."""
        return self.epochs * math.ceil(images * self.views / self.batch_size)
