"""The three networks on the photographs: what they are, their weights from the cache, and the classifiers."""

from __future__ import annotations

from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from art.estimators.classification import PyTorchClassifier

import art_denoise.data
from art_denoise import classifiers
from art_denoise.classifiers import RECIPES, build_network, load_weights, wrap
from art_denoise.data import PHOTOGRAPHS, Crops
from art_denoise.data.photographs import CROP_SIZE
from art_denoise.evaluation import training
from art_denoise.evaluation.store import cached_weights, key_of, source_digest
from art_denoise.evaluation.training import Schedule, train

#: Options of the networks: the VGG networks are a quarter as wide as the paper's, with batch norm.
BUILD: dict[str, dict[str, Any]] = {
    "inception_v1": {},
    "vgg16": {"width": 0.25, "batch_norm": True},
    "vgg19": {"width": 0.25, "batch_norm": True},
}


def trained_weights(name: str, crops: Crops, schedule: Schedule, *, seed: int = 0, progress: str | None = None) -> Path:
    """Return the file of a network's weights, trained now if it is not in the cache.

    :param name: One of `BUILD`.
    :param crops: Training crops.
    :param seed: Seed of the weights and of everything that training draws.
    :param progress: Name of the progress bar; None shows none.
    """
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    depends = {
        "network": [name, BUILD[name], len(PHOTOGRAPHS)],
        "recipe": asdict(RECIPES[name]),
        "schedule": asdict(schedule),
        "crops": crops.fingerprint,
        "seed": seed,
        "source": source_digest(training, classifiers, art_denoise.data),
        "versions": {"device": device, **{package: version(package) for package in ("torch", "torchvision")}},
    }

    def trained() -> torch.nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = build_network(name, num_classes=len(PHOTOGRAPHS), **BUILD[name])
            return train(
                network,
                crops,
                mean=RECIPES[name].mean,
                std=RECIPES[name].std,
                schedule=schedule,
                seed=seed,
                device="cuda" if torch.cuda.is_available() else "cpu",
                progress=progress,
            )

    return cached_weights(f"photographs-{name}", key_of(depends), trained)


def load_classifier(name: str, weights: Path) -> PyTorchClassifier:
    """Return a network as a classifier of the photographs' crops.

    :param name: One of `BUILD`.
    :param weights: File of its weights.
    """
    network = build_network(name, num_classes=len(PHOTOGRAPHS), **BUILD[name])
    load_weights(network, weights)
    return wrap(network, RECIPES[name], num_classes=len(PHOTOGRAPHS), input_size=CROP_SIZE)
