"""Networks that compute in half precision."""

from __future__ import annotations

import torch
from art.estimators.classification import PyTorchClassifier

from art_denoise.models import Model, wrap


class HalfPrecision(torch.nn.Module):
    """A network whose convolutions and products are computed in half precision, and its logits returned in single."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        dtype = torch.float16 if x.is_cuda else torch.bfloat16
        with torch.autocast(x.device.type, dtype=dtype):
            return self.network(x).float()


def in_half_precision(model: Model, classifier: PyTorchClassifier) -> PyTorchClassifier:
    """Return a classifier that computes in half precision.

    :param model: The model.
    :param classifier: The same, built.
    """
    return wrap(
        HalfPrecision(classifier.model),
        model.recipe,
        num_classes=classifier.nb_classes,
        input_size=model.input_size,
        device_type="gpu" if classifier.device.type == "cuda" else "cpu",
    )
