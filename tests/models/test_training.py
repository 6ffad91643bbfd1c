"""Training: views stay images, and a network learns."""

from __future__ import annotations

import re
from contextlib import nullcontext

import numpy as np
import pytest
import torch

from art_denoise.data.sets import Split
from art_denoise.models.training import Schedule, augment, train


def test_views_are_images_of_the_same_shape_and_all_differ():
    x = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0)).expand(8, -1, -1, -1)
    views = augment(x, torch.Generator().manual_seed(1))
    assert views.shape == x.shape
    assert views.min() >= 0
    assert views.max() <= 1
    assert len({view.numpy().tobytes() for view in views}) == 8
    assert torch.equal(views, augment(x, torch.Generator().manual_seed(1)))


def test_colour_tells_nothing_after_augmentation():
    """Red and blue crops of the same brightness cannot be told apart by their mean colour."""
    red, blue = (torch.zeros(500, 3, 8, 8) for _ in range(2))
    red[:, 0] = blue[:, 2] = 0.6
    generator = torch.Generator().manual_seed(0)
    means = [augment(x, generator).mean((2, 3)) for x in (red, blue)]
    redness = [m[:, 0] - m[:, 2] for m in means]
    correct = ((redness[0] > 0).float().mean() + (redness[1] < 0).float().mean()) / 2
    assert correct < 0.85  # 1.0 without the colour changes


def stripes(n: int) -> Split:
    """Crops of horizontal (label 0) and vertical (label 1) stripes."""
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 2
    wave = (np.arange(16) // 2 % 2 * 200).astype(np.uint8)
    images = np.stack([np.broadcast_to(wave if k else wave[:, None], (3, 16, 16)) for k in labels])
    noise = rng.integers(0, 50, images.shape).astype(np.uint8)
    return Split(images + noise, labels.astype(np.int64), fingerprint=f"{n} stripes")


def network() -> torch.nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return torch.nn.Sequential(
            torch.nn.Conv2d(3, 8, 5, padding=2),
            torch.nn.ReLU(),
            torch.nn.AdaptiveAvgPool2d(1),
            torch.nn.Flatten(),
            torch.nn.Linear(8, 2),
        )


@pytest.mark.parametrize("images", [1, 3, 5, 6])
def test_too_few_steps_are_refused(images):
    """PyTorch divides by zero for five, and for fewer falls before it rises."""
    schedule = Schedule(epochs=1, views=1, batch_size=1)
    told = pytest.raises(ValueError, match=f"makes {images} steps of {images} images.*more `epochs`")
    with told if images < 6 else nullcontext():
        train(network(), stripes(images), mean=(0.5,) * 3, std=(0.2,) * 3, schedule=schedule)


def test_a_network_learns_and_the_same_seed_gives_the_same_weights():
    crops = stripes(40)
    schedule = Schedule(epochs=6, views=4, batch_size=16, learning_rate=2e-2)
    arguments = {"mean": (0.5,) * 3, "std": (0.5,) * 3, "schedule": schedule}
    trained, again, other = (train(network(), crops, seed=s, **arguments) for s in (0, 0, 1))
    assert not trained.training
    x = (torch.from_numpy(crops.images).float() / 255 - 0.5) / 0.5
    with torch.no_grad():
        correct = (trained(x).argmax(1).numpy() == crops.labels).mean()
    assert correct > 0.9
    weights, same, different = (n.state_dict()["0.weight"] for n in (trained, again, other))
    assert torch.equal(weights, same)
    assert not torch.equal(weights, different)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"epochs": 0}, "`epochs` must be >= 1, got 0"),
        ({"views": 1.5}, "`views` must be an integer, got 1.5"),
        ({"batch_size": -1}, "`batch_size` must be >= 1, got -1"),
        ({"learning_rate": 0}, "`learning_rate` must be finite and > 0, got 0"),
        ({"weight_decay": -0.1}, "`weight_decay` must be finite and >= 0, got -0.1"),
    ],
)
def test_a_schedule_that_makes_no_sense_is_refused(given, message):
    with pytest.raises((TypeError, ValueError), match=f"^{re.escape(message)}$"):
        Schedule(**given)
