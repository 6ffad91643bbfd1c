"""How often images go through a network: what an attack takes, whatever machine it runs on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from art.estimators.classification import PyTorchClassifier


@contextmanager
def passes_of(classifier: PyTorchClassifier) -> Iterator[dict[str, int]]:
    """Count the images that go through a classifier's network, for as long as this lasts.

    :return: `forward`, how many do; and `gradient`, of how many of them a gradient may be wanted.
    """
    counted = {"forward": 0, "gradient": 0}

    def count(_: torch.nn.Module, inputs: tuple[Any, ...]) -> None:
        counted["forward"] += len(inputs[0])
        counted["gradient"] += len(inputs[0]) if torch.is_grad_enabled() and inputs[0].requires_grad else 0

    # ART's own wrapper: of a sequence it calls the layers, and not the network.
    hook = classifier._model.register_forward_pre_hook(count)
    try:
        yield counted
    finally:
        hook.remove()
