"""Labels come out the same however they are batched, from wherever they are begun, and as ART predicts them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from art.defences.preprocessor import GaussianAugmentation
from conftest import tiny_classifier

from art_denoise import AsPyTorch, DefensiveNoiseDefence, Perturbation, ROFDefence
from art_denoise.data.sets import Split
from art_denoise.evaluation import batching
from art_denoise.evaluation.added import ForAll, OneByOne, artefact_of, perturbation_of
from art_denoise.evaluation.batching import best_batch_size
from art_denoise.evaluation.half_precision import in_half_precision
from art_denoise.evaluation.scoring import UnitImages, drawn_from_all, predicted_labels, unit_batch
from art_denoise.models import Model

N = 11


@pytest.fixture
def split() -> Split:
    rng = np.random.default_rng(0)
    return Split(rng.integers(0, 256, (N, 3, 8, 8), dtype=np.uint8), rng.integers(0, 4, N), "fingerprint")


@pytest.fixture
def perturbation() -> Perturbation:
    return Perturbation(np.random.default_rng(1).uniform(-0.2, 0.2, (3, 8, 8)).astype(np.float32))


def labels(classifier, split, size, **kwargs) -> np.ndarray:
    return np.concatenate([*predicted_labels(classifier, split, size, **kwargs)])


@pytest.mark.parametrize("size", [1, 4, 11, 50])
def test_labels_do_not_depend_on_the_batch_or_the_beginning(split, perturbation, size):
    classifier = tiny_classifier()
    defences = [DefensiveNoiseDefence(-perturbation.array, device_type="cpu"), ROFDefence(device_type="cpu")]
    # By hand, in the order: + δ and clip, + v_def, denoise.
    x = np.clip(split.images.astype(np.float32) / 255 + perturbation.array, 0, 1)
    for defence in defences:
        x = defence(x)[0]
    expected = classifier.predict(x).argmax(axis=1)
    assert len(set(expected.tolist())) > 1
    told: list[int] = []
    for start in (0, 3):
        found = labels(
            classifier, split, size, added=ForAll(perturbation), defences=defences, start=start, told=told.append
        )
        assert found.dtype == np.int64
        assert found.tolist() == expected[start:].tolist()
    assert sum(told) == N + N - 3
    assert classifier.preprocessing_defences is None  # as it was


class Seen(ROFDefence):
    """Keeps what it is given."""

    def __init__(self) -> None:
        super().__init__(device_type="cpu")
        self.seen: list[np.ndarray] = []

    def forward(self, x, y=None):
        self.seen.append(x.detach().numpy().copy())
        return super().forward(x, y)


def test_the_defence_sees_the_perturbed_image(split):
    """v0 → + δ, clip → + v_def → D → standardise: each of them sees what the one before has made."""
    delta = np.full((3, 8, 8), 0.4, dtype=np.float32)
    classifier = tiny_classifier(preprocessing=((0.3,) * 3, (0.2,) * 3))
    inputs: list[np.ndarray] = []
    classifier.model[0].register_forward_pre_hook(lambda module, given: inputs.append(given[0].detach().numpy().copy()))
    seen = Seen()
    noise = DefensiveNoiseDefence(np.full((3, 8, 8), -0.1, dtype=np.float32), device_type="cpu")
    labels(classifier, split, 4, added=ForAll(Perturbation(delta)), defences=[noise, seen])

    attacked = np.clip(split.images.astype(np.float32) / 255 + delta, 0, 1)
    assert (attacked == 1).any()  # clipping has something to do
    before_denoising = noise(attacked)[0]
    np.testing.assert_allclose(np.concatenate(seen.seen), before_denoising, atol=1e-6)
    denoised = ROFDefence(device_type="cpu")(before_denoising)[0]
    np.testing.assert_allclose(np.concatenate(inputs), (denoised - 0.3) / 0.2, atol=1e-4)


class Parts:
    """Attacked images in parts, which counts what is read."""

    def __init__(self, images: np.ndarray, size: int) -> None:
        self.images, self.size, self.read = images, size, []
        self.where = np.split(np.arange(len(images)), range(size, len(images), size))

    def __call__(self, number: int) -> np.ndarray:
        self.read.append(number)
        return self.images[number * self.size : (number + 1) * self.size]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 10, 11, 40])
@pytest.mark.parametrize("batch", [1, 3, 4, 11])
def test_images_attacked_one_by_one_are_found_by_their_place(split, size, batch):
    attacked = np.random.default_rng(2).uniform(0, 1, split.images.shape).astype(np.float32)
    parts = Parts(attacked, size)
    added = OneByOne(parts.where, parts)
    clean = unit_batch(split, slice(0, N))
    for first in range(0, N, batch):
        which = slice(first, min(first + batch, N))
        np.testing.assert_array_equal(added.add_to(clean[which], which), attacked[which])
    # In order, each is read once.
    assert parts.read == list(range(-(-N // size)))
    # And from anywhere.
    which = slice(5, 9)
    np.testing.assert_array_equal(OneByOne(parts.where, parts).add_to(clean[which], which), attacked[which])


def test_images_that_were_not_attacked_are_as_they_are(split):
    clean = unit_batch(split, slice(0, N))
    where = [np.array([0, 3]), np.array([7])]
    attacked = [np.ones((2, *clean.shape[1:]), np.float32), np.zeros((1, *clean.shape[1:]), np.float32)]
    expected = clean.copy()
    expected[[0, 3]], expected[7] = 1, 0
    for batch in (1, 4, N):
        added = OneByOne(where, lambda number: attacked[number])
        found = [added.add_to(clean[i : i + batch], slice(i, min(i + batch, N))) for i in range(0, N, batch)]
        np.testing.assert_array_equal(np.concatenate(found), expected)


def test_labels_of_images_attacked_one_by_one(split):
    classifier = tiny_classifier()
    attacked = np.random.default_rng(3).uniform(0, 1, split.images.shape).astype(np.float32)
    expected = classifier.predict(attacked).argmax(axis=1)
    assert expected.tolist() != classifier.predict(unit_batch(split, slice(0, N))).argmax(axis=1).tolist()
    for start in (0, 4):
        parts = Parts(attacked, 4)
        found = labels(classifier, split, 2, added=OneByOne(parts.where, parts), start=start)
        assert found.tolist() == expected[start:].tolist()


def test_what_defences_draw_is_of_the_seed_and_the_place(split):
    """The same labels when they are predicted again, and when that is begun in the middle."""
    classifier = tiny_classifier()
    images = Split(np.tile(split.images, (4, 1, 1, 1)), np.tile(split.labels, 4), "")
    defences = [AsPyTorch(GaussianAugmentation(sigma=0.5, augmentation=False, apply_fit=False, apply_predict=True))]

    def found(start: int = 0, seed: int = 0) -> list[int]:
        return labels(classifier, images, 2, defences=defences, start=start, seed=seed).tolist()

    whole = found()
    np.random.default_rng(0).random(3)
    np.random.seed(5)  # noqa: NPY002 - whatever was drawn before
    before = np.random.get_state()[1].tolist()  # noqa: NPY002
    assert found() == whole
    for start in (8, 16, 40):
        assert found(start) == whole[start:]
    assert found(seed=1) != whole
    # The same image in another place is another draw.
    assert len({tuple(whole[i : i + N]) for i in range(0, 4 * N, N)}) > 1
    # Nothing is left behind.
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002


def test_images_are_clipped_after_the_perturbation(split):
    half = Perturbation(np.full((3, 8, 8), 0.5, dtype=np.float32))
    expected = np.clip(split.images / 255 + 0.5, 0, 1)
    np.testing.assert_allclose(
        ForAll(half).add_to(unit_batch(split, slice(0, 2)), slice(0, 2)), expected[:2], atol=1e-6
    )
    told: list[int] = []
    lazily = UnitImages(split, half, told.append)
    assert len(lazily) == N
    chosen = np.array([7, 2])
    np.testing.assert_allclose(lazily[chosen], expected[chosen], atol=1e-6)
    np.testing.assert_array_equal(UnitImages(split)[3:5], unit_batch(split, slice(3, 5)))
    assert told == [2]


def test_a_perturbation_is_kept_as_it_is(perturbation):
    given = perturbation.with_record(seed=3, source="vgg16", provenance={"passes": 2})
    back = perturbation_of(artefact_of(given))
    np.testing.assert_array_equal(back.array, given.array)
    assert back.array.dtype == np.float32
    assert (back.seed, back.source, back.provenance, back.value_range) == (3, "vgg16", {"passes": 2}, (0, 1))


class Timed:
    """A classifier that takes as long as it is told to, and runs out of memory beyond a size."""

    def __init__(self, seconds, most: int = 10**9, device: str = "cuda") -> None:
        self.device, self.seconds, self.most, self.sizes, self.clock = torch.device(device), seconds, most, [], 0.0

    def predict(self, x, batch_size):
        if len(x) > self.most:
            raise torch.cuda.OutOfMemoryError("none left")
        self.sizes.append(len(x))
        self.clock += self.seconds(len(x))
        return np.zeros((len(x), 2))


def zeros(count: int) -> Split:
    return Split(np.zeros((count, 3, 2, 2), dtype=np.uint8), np.zeros(count, dtype=int), "")


@pytest.mark.parametrize(
    ("seconds", "most", "expected"),
    [
        (lambda n: 1 + 0.01 * n, 10**9, 100),  # the more the better: all there are
        (lambda n: n, 10**9, 16),  # no gain: the fewest
        (lambda n: 1 + n if n <= 32 else 2 * n, 10**9, 16),  # a gain that is not worth it
        (lambda n: 10 + n if n <= 32 else 2 * n, 10**9, 32),
        (lambda n: 1 + 0.01 * n, 20, 16),  # memory for twenty
        (lambda n: 1 + 0.01 * n, 3, 2),  # memory for three
    ],
)
def test_on_a_gpu_the_batch_size_is_found_by_trial(monkeypatch, seconds, most, expected):
    classifier = Timed(seconds, most)
    monkeypatch.setattr(batching.time, "perf_counter", lambda: classifier.clock)
    assert best_batch_size(classifier, zeros(100)) == expected
    assert max(classifier.sizes) <= min(100, most)


def test_memory_that_is_too_small_for_one_image_is_an_error():
    with pytest.raises(torch.cuda.OutOfMemoryError):
        best_batch_size(Timed(lambda n: n, 0), zeros(9))


def test_on_a_cpu_the_same_images_go_together_on_every_machine():
    def size(count: int, side: int) -> int:
        images = np.broadcast_to(np.uint8(0), (count, 3, side, side))
        classifier = Timed(lambda n: n, device="cpu")
        found = best_batch_size(classifier, Split(images, np.zeros(count), ""))
        assert classifier.sizes == []  # nothing is timed
        return found

    at_224 = size(1000, 224)
    assert 1 <= at_224 <= 16
    assert size(1000, 112) == 4 * at_224
    assert size(5, 16) == 5
    assert size(3, 4000) == 1


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
def test_half_precision(split, scale, same):
    model = half_model(scale)
    classifier = model.classifier("cpu")
    half = in_half_precision(model, classifier)
    x = unit_batch(split, slice(0, N))
    logits = half.predict(x)
    assert logits.dtype == np.float32
    assert not np.array_equal(logits, classifier.predict(x))  # it is half precision
    assert np.array_equal(labels(half, split, N), labels(classifier, split, N)) == same
    # Its gradient is there, too.
    assert np.any(half.loss_gradient(x, np.eye(4)[split.labels]))


def test_images_are_drawn_from_all(tmp_path):
    """Sorted by class, as folders are, the first would be of few classes."""
    labels = np.repeat(np.arange(10), 30)
    images = np.memmap(tmp_path / "images", dtype=np.uint8, mode="w+", shape=(300, 3, 2, 2))
    images[:] = np.arange(300)[:, None, None, None] % 256
    split = Split(images, labels, "f")
    few = drawn_from_all(split, 40)
    assert len(few) == len(few.images) == 40
    assert set(few.labels) == set(range(10))
    # In a random order: so are the first of them.
    assert len(set(few.labels[:10])) > 4
    again = drawn_from_all(split, 40)
    assert np.array_equal(again.images, few.images)
    # Each with its own label: image i holds i, but for the last 44, which begin anew.
    numbers = few.images[:, 0, 0, 0].astype(int)
    numbers[few.labels * 30 > numbers + 30] += 256
    assert np.array_equal(numbers // 30, few.labels)
    assert len(drawn_from_all(split, 1000)) == 300
