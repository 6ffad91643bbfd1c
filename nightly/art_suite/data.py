"""What ART's tests load from the network or from files that its source distribution lacks, made on the spot."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits

#: Training and test images, their labels, and the value range, as ART's loaders return them.
DataSet = tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray], float, float]

_TRAINED = 1200


def grey_digits() -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's 1797 handwritten digits in MNIST's size: (N, 28, 28) in [0, 1] and labels (N,)."""
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    pixels = np.kron(digits.images[order] / 16, np.ones((3, 3)))
    return np.pad(pixels, ((0, 0), (2, 2), (2, 2))).astype(np.float32), digits.target[order]


def coloured_digits() -> tuple[np.ndarray, np.ndarray]:
    """The same digits in CIFAR-10's size, each in a colour of its own: (N, 32, 32, 3) in [0, 1] and labels (N,)."""
    grey, labels = grey_digits()
    colours = np.random.default_rng(1).uniform(0.5, 1, (len(grey), 1, 1, 3))
    coloured = np.pad(grey, ((0, 0), (2, 2), (2, 2)))[..., None] * colours
    return coloured.astype(np.float32), labels


def in_place_of_mnist(raw: bool = False) -> DataSet:
    """What `art.utils.load_mnist` returns."""
    pixels, labels = grey_digits()
    return _as_art(pixels if raw else pixels[..., None], labels, raw)


def in_place_of_cifar10(raw: bool = False) -> DataSet:
    """What `art.utils.load_cifar10` returns."""
    return _as_art(*coloured_digits(), raw)


def _as_art(pixels: np.ndarray, labels: np.ndarray, raw: bool) -> DataSet:
    if raw:
        pixels = np.rint(255 * pixels).astype(np.uint8)
    else:
        labels = np.eye(10, dtype=np.float32)[labels]
    return (
        (pixels[:_TRAINED], labels[:_TRAINED]),
        (pixels[_TRAINED:], labels[_TRAINED:]),
        0.0,
        255.0 if raw else 1.0,
    )


def write_files(root: Path) -> None:
    """Write the weights and answers that ART's tests read below their root folder, where they are not there.

    The networks are those of ART's `tests/utils.py`; their weights are trained here for a few seconds.
    """
    models = root / "utils" / "resources" / "models"
    answers = root / "utils" / "data" / "mnist" / "api_output.txt"
    models.mkdir(parents=True, exist_ok=True)
    answers.parent.mkdir(parents=True, exist_ok=True)

    grey, labels = grey_digits()
    pooled = _trained(
        torch.nn.Sequential(
            torch.nn.Conv2d(1, 1, 7),
            torch.nn.ReLU(),
            torch.nn.MaxPool2d(4),
            torch.nn.Flatten(),
            torch.nn.Linear(25, 10),
        ),
        grey[:, None],
        labels,
    )
    found = pooled.state_dict()
    _save(models, "MNIST", found["0.weight"].permute(2, 3, 1, 0), found["0.bias"], found["4.weight"].T, found["4.bias"])
    coloured, labels = coloured_digits()
    for name, pixels, features in (
        ("NO_MPOOL_MNIST", grey[:, None], 1296),
        ("NO_MPOOL_CIFAR10", coloured.transpose(0, 3, 1, 2), 1600),
    ):
        strided = _trained(
            torch.nn.Sequential(
                torch.nn.Conv2d(pixels.shape[1], 16, 4, stride=3),
                torch.nn.ReLU(),
                torch.nn.Flatten(),
                torch.nn.Linear(features, 10),
            ),
            pixels,
            labels,
        )
        _save(models, name, *strided.state_dict().values())
    answers.write_text(json.dumps({"values": labels[_TRAINED:].tolist()}), encoding="utf-8")


def _trained(model: torch.nn.Sequential, pixels: np.ndarray, labels: np.ndarray) -> torch.nn.Sequential:
    """Train a small network on the training images for 200 steps, always from the same start."""
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        bound = 1 / max(1, parameter[0].numel()) ** 0.5
        torch.nn.init.uniform_(parameter.data, -bound, bound, generator=generator)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
    x, y = torch.from_numpy(np.ascontiguousarray(pixels[:_TRAINED])), torch.from_numpy(labels[:_TRAINED])
    for _ in range(200):
        chosen = torch.randint(len(x), (128,), generator=generator)
        loss = torch.nn.functional.cross_entropy(model(x[chosen]), y[chosen])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model


def _save(folder: Path, name: str, *parameters: torch.Tensor) -> None:
    for kind, value in zip(("W_CONV2D", "B_CONV2D", "W_DENSE", "B_DENSE"), parameters, strict=True):
        np.save(folder / f"{kind}_{name}.npy", value.numpy())
