"""A preprocessor as an augmentation of MAITE: every image as alone, in the kind and at the place that it had."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from art.defences.preprocessor import Preprocessor, SpatialSmoothing

from art_denoise import AsAugmentation, Compose, NLMeansDefence, ROFDefence


def images(*shapes: tuple[int, int, int]) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [generator.random(shape, dtype=np.float32) for shape in shapes]


def test_images_of_any_shapes_stay_at_their_places():
    given = images((3, 9, 7), (3, 8, 8), (3, 9, 7), (1, 8, 8))
    targets, metadata = [2, 0, 1, 1], [{"id": at} for at in range(4)]
    results, kept, described = AsAugmentation(ROFDefence())((given, targets, metadata))
    assert kept is targets
    assert described is metadata
    for result, image in zip(results, given, strict=True):
        np.testing.assert_array_equal(result, ROFDefence()(image[None])[0][0])
        assert result.dtype == np.float32


def test_what_is_given_stays_as_it_is():
    (image,) = images((3, 9, 7))
    before = image.copy()
    AsAugmentation(Compose([ROFDefence(), NLMeansDefence()]))(([image], [0], [{}]))
    np.testing.assert_array_equal(image, before)


def test_integers_are_rounded_and_tensors_stay_tensors():
    (image,) = images((3, 9, 7))
    bytes_ = (255 * image).astype(np.uint8)
    defence = ROFDefence(clip_values=(0, 255))
    augmentation = AsAugmentation(defence)
    (array, tensor), _, _ = augmentation(([bytes_, torch.from_numpy(bytes_)], [0, 1], [{}, {}]))
    expected = np.rint(defence(bytes_[None].astype(np.float32))[0][0])
    assert array.dtype == np.uint8
    assert tensor.dtype == torch.uint8
    np.testing.assert_array_equal(array, expected)
    np.testing.assert_array_equal(tensor.numpy(), expected)


def test_any_preprocessor_of_art():
    smoothing = SpatialSmoothing(window_size=3, channels_first=True)
    (image,) = images((3, 9, 7))
    (result,), _, _ = AsAugmentation(smoothing)(([image], [0], [{}]))
    np.testing.assert_array_equal(result, smoothing(image[None])[0][0])


def test_it_is_named():
    assert AsAugmentation(ROFDefence()).metadata == {"id": repr(ROFDefence())}
    assert AsAugmentation(ROFDefence(), name="ROF").metadata == {"id": "ROF"}


def test_it_keeps_to_the_protocols():
    protocols = pytest.importorskip("maite.protocols.image_classification", reason="needs maite")
    detection = pytest.importorskip("maite.protocols.object_detection", reason="needs maite")
    assert isinstance(AsAugmentation(ROFDefence()), protocols.Augmentation)
    assert isinstance(AsAugmentation(ROFDefence()), detection.Augmentation)


def test_a_model_is_evaluated_behind_it():
    tasks = pytest.importorskip("maite.tasks", reason="needs maite")

    class Bright:
        metadata = {"id": "is it bright?"}  # noqa: RUF012

        def __call__(self, batch):
            return [np.eye(2)[int(np.mean(image) > 0.5)] for image in batch]

    class Right:
        metadata = {"id": "accuracy"}  # noqa: RUF012

        def reset(self):
            self.right = []

        def update(self, predictions, targets, *_):
            self.right += [int(np.argmax(p) == np.argmax(t)) for p, t in zip(predictions, targets, strict=True)]

        def compute(self):
            return {"accuracy": float(np.mean(self.right))}

    class Data:
        metadata = {"id": "two of each"}  # noqa: RUF012

        def __len__(self):
            return 4

        def __getitem__(self, at):
            if at >= 4:
                raise IndexError(at)
            return np.full((3, 8, 8), at % 2, dtype=np.float32), np.eye(2)[at % 2], {"id": at}

    class Inverted(Preprocessor):
        def __call__(self, x, y=None):
            return 1 - x, y

    for defence, accuracy in ((ROFDefence(), 1.0), (Inverted(), 0.0)):
        found, _, _ = tasks.evaluate(
            model=Bright(), dataset=Data(), metric=Right(), batch_size=3, augmentation=AsAugmentation(defence)
        )
        assert found["accuracy"] == accuracy


class Doubled(Preprocessor):
    def __call__(self, x, y=None):
        return np.concatenate([x, x]), y


@pytest.mark.parametrize(
    ("made", "batch", "error", "message"),
    [
        (lambda: AsAugmentation(ROFDefence), None, TypeError, "`preprocessor` must be an ART preprocessor, got"),
        (lambda: AsAugmentation(ROFDefence(), name=3), None, TypeError, "`name` must be a word or None, got 3"),
        (lambda: AsAugmentation(ROFDefence()), [1, 2], TypeError, r"must be \(images, targets, metadata\)"),
        (lambda: AsAugmentation(ROFDefence()), ([*images((1, 3, 8)), np.ones(3)], [], []), ValueError, "image 1 is of"),
        (lambda: AsAugmentation(Doubled()), (images((1, 8, 8)), [0], [{}]), ValueError, "Doubled makes 2 of 1"),
    ],
)
def test_bad_input(made, batch, error, message):
    with pytest.raises(error, match=message):
        made()(batch)
