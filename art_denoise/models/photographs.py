"""The paper's three networks for the photographs: what they are, and how they are trained from scratch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from art_denoise.data.photographs import PHOTOGRAPHS
from art_denoise.data.sets import Split
from art_denoise.models.networks import RECIPES, build_network
from art_denoise.models.schedule import Schedule
from art_denoise.models.training import train

#: Options of the networks: the VGG networks are a quarter as wide as the paper's, with batch norm.
BUILD: dict[str, dict[str, Any]] = {
    "inception_v1": {},
    "vgg16": {"width": 0.25, "batch_norm": True},
    "vgg19": {"width": 0.25, "batch_norm": True},
}


def photograph_network(name: str) -> torch.nn.Module:
    """Build a network for the classes of the photographs, with the weights it is initialised with.

    :param name: One of `BUILD`.
    """
    return build_network(name, num_classes=len(PHOTOGRAPHS), **BUILD[name])


def train_on_photographs(
    name: str,
    crops: Split,
    schedule: Schedule,
    *,
    seed: int = 0,
    device: torch.device | str = "cpu",
    told: Callable[[int], object] = lambda count: None,
) -> torch.nn.Module:
    """Train a network on crops of the photographs, and return it in evaluation mode.

    :param name: One of `BUILD`.
    :param crops: Training crops.
    :param schedule: How long and how fast.
    :param seed: Seed of the weights and of everything that training draws.
    :param device: Where it is trained.
    :param told: Is told how many steps were done since it was told last.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return train(
            photograph_network(name),
            crops,
            mean=RECIPES[name].mean,
            std=RECIPES[name].std,
            schedule=schedule,
            seed=seed,
            device=device,
            told=told,
        )
