"""Labels come out the same however they are batched, from wherever they are begun, and as ART predicts them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import tiny_classifier

from art_denoise import DefensiveNoiseDefence, ROFDefence
from art_denoise.models import Model
from art_denoise.data.sets import Split
from art_denoise.evaluation import scoring
from art_denoise.evaluation.scoring import best_batch_size, in_half_precision, predicted_labels, unit_batch


@pytest.fixture
def split() -> Split:
    rng = np.random.default_rng(0)
    return Split(rng.integers(0, 256, (11, 3, 8, 8), dtype=np.uint8), rng.integers(0, 4, 11), "fingerprint")


@pytest.mark.parametrize("size", [1, 4, 11, 50])
def test_labels_do_not_depend_on_the_batch_or_the_beginning(split, size):
    classifier = tiny_classifier()
    noise = np.random.default_rng(1).uniform(-0.1, 0.1, (3, 8, 8)).astype(np.float32)
    defences = [DefensiveNoiseDefence(-noise, device_type="cpu"), ROFDefence(device_type="cpu")]
    x = np.clip(split.images.astype(np.float32) / 255 + noise, 0, 1)
    for defence in defences:
        x = defence(x)[0]
    expected = classifier.predict(x).argmax(axis=1)
    assert len(set(expected.tolist())) > 1
    told = []
    for start in (0, 3):
        parts = predicted_labels(classifier, split, size, added=noise, defences=defences, start=start, told=told.append)
        found = np.concatenate([*parts])
        assert found.dtype == np.int64
        assert found.tolist() == expected[start:].tolist()
    assert sum(told) == 11 + 8
    assert classifier.preprocessing_defences is None  # as it was


def test_images_are_clipped_after_the_perturbation(split):
    batch = unit_batch(split, slice(0, 2), np.full((3, 8, 8), 0.5, dtype=np.float32))
    np.testing.assert_allclose(batch, np.clip(split.images[:2] / 255 + 0.5, 0, 1), atol=1e-6)


class Timed:
    """A classifier that takes as long as it is told to, and runs out of memory beyond a size."""

    def __init__(self, seconds, most: int = 10**9) -> None:
        self.device, self.seconds, self.most, self.sizes, self.clock = torch.device("cpu"), seconds, most, [], 0.0

    def predict(self, x, batch_size):
        if len(x) > self.most:
            raise torch.cuda.OutOfMemoryError("none left")
        self.sizes.append(len(x))
        self.clock += self.seconds(len(x))
        return np.zeros((len(x), 2))


@pytest.mark.parametrize(
    ("seconds", "most", "expected"),
    [
        (lambda n: 1 + 0.01 * n, 10**9, 64),  # the more the better: all there are
        (lambda n: n, 10**9, 8),  # no gain: the fewest
        (lambda n: 1 + n if n <= 16 else 2 * n, 10**9, 16),
        (lambda n: 1 + 0.01 * n, 20, 16),  # memory for twenty
        (lambda n: 1 + 0.01 * n, 3, 2),  # memory for three
    ],
)
def test_the_batch_size_is_found_by_trial(monkeypatch, seconds, most, expected):
    classifier = Timed(seconds, most)
    monkeypatch.setattr(scoring.time, "perf_counter", lambda: classifier.clock)
    images = np.zeros((64, 3, 2, 2), dtype=np.uint8)
    assert best_batch_size(classifier, Split(images, np.zeros(64, dtype=int), "")) == expected
    assert max(classifier.sizes) <= min(64, most)


def test_memory_that_is_too_small_for_one_image_is_an_error():
    with pytest.raises(torch.cuda.OutOfMemoryError):
        best_batch_size(Timed(lambda n: n, 0), Split(np.zeros((9, 3, 2, 2), dtype=np.uint8), np.zeros(9), ""))


def test_the_trial_stays_within_the_memory_of_a_cpu(monkeypatch):
    classifier = Timed(lambda n: 1 + 0.001 * n)
    monkeypatch.setattr(scoring.time, "perf_counter", lambda: classifier.clock)
    images = np.broadcast_to(np.uint8(0), (1000, 3, 224, 224))
    assert best_batch_size(classifier, Split(images, np.zeros(1000), "")) == 16


def half_model(scale: float) -> Model:
    """A network whose logits differ by `scale`: half precision (8 bits) tells them apart only if that is large."""

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = torch.nn.Linear(192, 4)
            with torch.no_grad():
                self.linear.weight.copy_(torch.randn(4, 192, generator=torch.Generator().manual_seed(0)) * scale)
                self.linear.bias.copy_(torch.full((4,), 100.0))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.linear(x.flatten(1))

    network = Network()
    return Model("m", "m", "m", "m", lambda: network, lambda: network, lambda: "", input_size=8, outputs=4)


@pytest.mark.parametrize(("scale", "same"), [(10.0, True), (0.01, False)])
def test_half_precision_is_checked(split, scale, same):
    model = half_model(scale)
    classifier = model.classifier("cpu")
    half, differing = in_half_precision(model, classifier, split, 10 / 255)
    assert (differing == 0) == same
    x = unit_batch(split, slice(0, 11))
    logits = half.predict(x)
    assert logits.dtype == np.float32
    assert not np.array_equal(logits, classifier.predict(x))  # it is half precision
    single = np.concatenate([*predicted_labels(classifier, split, 11)])
    assert (np.concatenate([*predicted_labels(half, split, 11)]) == single).all() == same or not same
