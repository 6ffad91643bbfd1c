"""How long work takes, from a few timed batches on this machine."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from art.estimators.classification import PyTorchClassifier

from art_denoise.choices import DeviceType
from art_denoise.data.sets import Split
from art_denoise.evaluation.batching import seconds_of
from art_denoise.evaluation.building import build_chain
from art_denoise.evaluation.experiment import Preprocessor
from art_denoise.evaluation.graph import Work
from art_denoise.models.find import Model

#: Images of the batches that are timed, and those that the gradient is taken for.
_TIMED, _TIMED_GRADIENT = 16, 8


class Timing:
    """Seconds that work takes, each kind measured when it is first asked for.

    Networks whose weights are not there are timed with random ones.

    :param models: The networks by name.
    :param split: Images to time with.
    :param device_type: "gpu" or "cpu".
    """

    def __init__(self, models: Mapping[str, Model], split: Split, device_type: DeviceType) -> None:
        self._models, self._device_type = models, device_type
        # Pictures, if there are any, else noise: the time does not depend on it, but that of denoisers may a little.
        self._few = split.first(_TIMED)
        if self._few.images.std() == 0:
            noise = np.random.default_rng(0).integers(0, 256, self._few.images.shape, dtype=np.uint8)
            self._few = replace(self._few, images=noise)
        self._networks: dict[str, tuple[float, float]] = {}
        self._chains: dict[tuple[Preprocessor, ...], tuple[float, float]] = {}

    def seconds(self, work: Work) -> float:
        """Return about how long work takes."""
        if work.network is None:
            return 0.0
        forward, backward = self._of_network(work.network)
        if work.through:
            filtering, differentiating = self._of_chain(work.through)
            forward, backward = forward + filtering, backward + differentiating
        return work.forward * forward + work.backward * backward

    def _of_network(self, name: str) -> tuple[float, float]:
        if name not in self._networks:
            classifier, size = self._models[name].classifier(self._device_type, sketch=True), len(self._few)
            forward = seconds_of(classifier, self._few, size, repeats=1) / size
            self._networks[name] = forward, _seconds_of_gradient(classifier, self._few)
        return self._networks[name]

    def _of_chain(self, through: tuple[Preprocessor, ...]) -> tuple[float, float]:
        if through not in self._chains:
            chain = build_chain(through, device_type=self._device_type, input_shape=self._few.images.shape[1:])
            x = torch.from_numpy(np.divide(self._few.images, 255, dtype=np.float32))
            for _ in range(2):  # compiled in the first
                x = x.detach().requires_grad_()
                start = time.perf_counter()
                filtered = x
                for preprocessor in chain:
                    filtered = preprocessor.forward(filtered)[0]
                middle = time.perf_counter()
                if filtered.requires_grad:
                    filtered.sum().backward()
                end = time.perf_counter()
            self._chains[through] = (middle - start) / len(x), (end - start) / len(x)
        return self._chains[through]


def _seconds_of_gradient(classifier: PyTorchClassifier, few: Split) -> float:
    """Return the seconds that an image's gradient takes, with its forward pass."""
    count = min(len(few), _TIMED_GRADIENT)
    x = torch.from_numpy(np.divide(few.images[:count], 255, dtype=np.float32)).to(classifier.device)
    x.requires_grad_()
    for _ in range(2):  # the first time takes longer
        start = time.perf_counter()
        logits = classifier._model(classifier._apply_preprocessing(x, y=None, fit=False, no_grad=False)[0])[-1]
        torch.autograd.grad(logits.max(dim=1).values.sum(), x)[0].cpu()
    return (time.perf_counter() - start) / count
