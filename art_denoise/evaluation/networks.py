"""The three networks on the photographs: what they are, and their weights, trained once and kept in the cache."""

from __future__ import annotations

from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from art_denoise.classifiers import RECIPES, Model, build_network, load_weights, networks
from art_denoise.classifiers.models import PAPER_NAMES, TITLES
from art_denoise.data import PHOTOGRAPHS, Crops, photographs, splits
from art_denoise.data.photographs import CROP_SIZE
from art_denoise.evaluation import training
from art_denoise.evaluation.store import cached_weights, file_digest, key_of, source_digest, weights_file
from art_denoise.evaluation.training import Schedule, train

#: Options of the networks: the VGG networks are a quarter as wide as the paper's, with batch norm.
BUILD: dict[str, dict[str, Any]] = {
    "inception_v1": {},
    "vgg16": {"width": 0.25, "batch_norm": True},
    "vgg19": {"width": 0.25, "batch_norm": True},
}


def photograph_model(name: str, crops: Crops, schedule: Schedule, *, seed: int = 0, device_type: str = "gpu") -> Model:
    """Return one of the paper's networks as a model of the photographs; it is trained by :func:`trained_weights`.

    :param name: One of `BUILD`.
    :param crops: Training crops.
    :param seed: Seed of the weights and of everything that training draws.
    :param device_type: "gpu" (falls back to the CPU) or "cpu": where it is trained.
    """
    file = _weights_file(name, crops, schedule, seed, device_type)

    def build() -> torch.nn.Module:
        return build_network(name, num_classes=len(PHOTOGRAPHS), **BUILD[name])

    def make() -> torch.nn.Module:
        network = build()
        load_weights(network, file)
        return network

    return Model(
        name,
        name=name,
        text=PAPER_NAMES[name],
        title=TITLES[name],
        make=make,
        sketch=build,
        digest=lambda: file_digest(file) if file.is_file() else "to be trained",
        recipe=RECIPES[name],
        input_size=CROP_SIZE,
        resize=CROP_SIZE,
        find_categories=lambda: PHOTOGRAPHS,
        outputs=len(PHOTOGRAPHS),
    )


def trained_weights(
    name: str,
    crops: Crops,
    schedule: Schedule,
    *,
    seed: int = 0,
    device_type: str = "gpu",
    progress: str | None = None,
) -> Path:
    """Return the file of a network's weights, trained now if it is not in the cache.

    Parameters as for :func:`photograph_model`.

    :param progress: Name of the progress bar; None shows none.
    """

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
                device="cuda" if device_name(device_type) != "cpu" else "cpu",
                progress=progress,
            )

    return cached_weights(_weights_file(name, crops, schedule, seed, device_type), trained)


def device_name(device_type: str) -> str:
    """Return the name of the device that "gpu" or "cpu" stands for here."""
    return torch.cuda.get_device_name() if device_type == "gpu" and torch.cuda.is_available() else "cpu"


def _weights_file(name: str, crops: Crops, schedule: Schedule, seed: int, device_type: str) -> Path:
    """Return the place of a network's weights, named by all that they depend on."""
    depends = {
        "network": [name, BUILD[name], len(PHOTOGRAPHS)],
        "recipe": asdict(RECIPES[name]),
        "schedule": asdict(schedule),
        "crops": crops.fingerprint,
        "seed": seed,
        "source": source_digest(training, networks, photographs, splits),
        "versions": {
            "device": device_name(device_type),
            **{package: version(package) for package in ("torch", "torchvision")},
        },
    }
    return weights_file(f"photographs-{name}", key_of(depends))
