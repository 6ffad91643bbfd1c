"""What attackers leave of real photographs behind a denoiser: figures of a review by attack, on a small network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from art.estimators.classification import PyTorchClassifier
from torch.nn import functional

from art_denoise import NLMeansDefence
from art_denoise.data import PHOTOGRAPHS, load_photographs
from art_denoise.data.photographs import CROP_SIZE
from art_denoise.evaluation.defence import evaluate_defence
from art_denoise.evaluation.experiment import Knowledge
from art_denoise.models.training import augment

SHAPE = (3, CROP_SIZE, CROP_SIZE)

#: Images that are attacked.
COUNT = 30


def network() -> torch.nn.Module:
    layers: list[torch.nn.Module] = []
    for before, after in ((3, 24), (24, 48), (48, 96)):
        layers += [torch.nn.Conv2d(before, after, 3, stride=2, padding=1), torch.nn.BatchNorm2d(after), torch.nn.ReLU()]
    return torch.nn.Sequential(
        *layers, torch.nn.AdaptiveAvgPool2d(4), torch.nn.Flatten(), torch.nn.Linear(96 * 16, len(PHOTOGRAPHS))
    )


@pytest.fixture(scope="module")
def photographs():
    return load_photographs()


@pytest.fixture(scope="module")
def classifier(photographs) -> PyTorchClassifier:
    """A small network, trained on the photographs for some seconds."""
    torch.manual_seed(0)
    found, split = network(), photographs["train"]
    images = torch.from_numpy(split.images).float() / 255
    labels = torch.from_numpy(split.labels)
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(found.parameters(), 2e-3)
    for _ in range(8):
        for part in torch.randperm(len(images), generator=generator).split(32):
            optimizer.zero_grad()
            functional.cross_entropy(found(augment(images[part], generator)), labels[part]).backward()
            optimizer.step()
    return PyTorchClassifier(
        found.eval(),
        torch.nn.CrossEntropyLoss(),
        SHAPE,
        len(PHOTOGRAPHS),
        clip_values=(0.0, 1.0),
        device_type="cpu",
    )


@pytest.mark.long
def test_the_gradient_of_non_local_means_is_worth_more_than_the_identity(classifier, photographs):
    """At 4/255 the exact gradient leaves at most as many right as the identity; at 32/255 it leaves none."""
    split, defence = photographs["test"], NLMeansDefence()
    x = split.images.astype(np.float32) / 255
    right = np.flatnonzero(classifier.predict(defence(x)[0]).argmax(1) == split.labels)
    chosen = right[np.linspace(0, len(right) - 1, COUNT).astype(int)]
    assert len(np.unique(chosen)) == COUNT
    attacks = [f"pgd:max_iter=10,eps=4,knowledge={knowledge}" for knowledge in ("bpda", "exact")]
    results = evaluate_defence(
        classifier,
        [defence],
        x[chosen],
        split.labels[chosen],
        eps=4 / 255,
        attacks=[*attacks, "pgd:max_iter=10,eps=32,knowledge=exact"],
        verbose=False,
    )
    assert not results.failures
    left = {
        (cell.knowledge, round(255 * cell.condition.threat.eps)): int(np.sum(labels == results.images.labels))
        for cell, labels in results.labels.items()
        if cell.condition.threat is not None and cell.condition.defence
    }
    assert left[Knowledge.EXACT, 4] <= left[Knowledge.BPDA, 4] < COUNT
    assert left[Knowledge.EXACT, 32] == 0
