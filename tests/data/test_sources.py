"""Every source of images keeps the same promises: the photographs, a folder, and one that is neither."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from folders import write_folder

from art_denoise.data import ImageSet, ImageSource, Photographs, Split, find_images
from art_denoise.data.decoding import Framing
from art_denoise.data.sets import PURPOSES
from art_denoise.data.splits import fingerprint


@dataclass(frozen=True)
class Noises(ImageSource):
    """All that somebody has to write for images that are in no folder, here random ones."""

    counts: dict[str, int]
    seed: int = 0
    title = "pictures of noise, 3 classes"
    noun = "picture"

    def load(self, folder, *, skip_broken=False, workers=None, progress=True) -> ImageSet:
        return self.outline()

    def outline(self) -> ImageSet:
        rng, splits = np.random.default_rng(self.seed), {}
        for purpose, count in self.counts.items():
            images = rng.integers(0, 256, (count, 3, 9, 9), dtype=np.uint8)
            labels = rng.integers(0, 3, count)
            names = tuple(f"{purpose} {i}" for i in range(count))
            splits[purpose] = Split(images, labels, fingerprint(images, labels), names=names)
        return ImageSet(self.title, self.noun, splits, lambda: {0: "red", 1: "green", 2: "blue"})

    def record(self) -> dict:
        return {"fingerprints": {purpose: split.fingerprint for purpose, split in self.outline().splits.items()}}


def make(kind: str, root: Path, seed: int = 0) -> ImageSource:
    """A source of few images; those of a folder are written to `root`."""
    if kind == "photographs":
        return Photographs(shares={"train": 2, "tune": 1, "noise-fit": 1, "test": 2}, craft_images=5, seed=seed)
    if kind == "noises":
        return Noises({"craft": 4, "tune": 2, "noise-fit": 3, "test": 5}, seed)
    if not (root / "pets").is_dir():
        write_folder(root / "pets", ["cats", "dogs"], 6)
    sizes = {"craft": 4, "tune": 1, "noise-fit": 2, "test": None}
    return find_images(str(root / "pets"), sizes=sizes, framing=Framing(27, 24), num_classes=2, seed=seed)


@pytest.fixture(params=["photographs", "folder", "noises"])
def kind(request) -> str:
    return request.param


@pytest.fixture
def source(kind, tmp_path) -> ImageSource:
    return make(kind, tmp_path)


def test_the_images_are_as_the_source_says(source, tmp_path):
    images = source.load(tmp_path / "kept", progress=False)
    assert (images.title, images.noun) == (source.title, source.noun)
    assert {purpose: len(split) for purpose, split in images.splits.items()} == source.counts
    assert list(images.splits) == list(source.counts) == [p for p in PURPOSES if p in source.counts]
    assert images.test is images.splits["test"]
    for split in images.splits.values():
        assert (split.images.dtype, split.labels.dtype) == (np.uint8, np.int64)
        assert split.images.shape == (len(split), 3, *images.test.images.shape[2:])
        assert len(set(split.names)) == len(split)
        assert re.fullmatch("[0-9a-f]{16}", split.fingerprint)
        assert set(split.labels.tolist()) <= set(images.names)
    assert len({split.fingerprint for split in images.splits.values()}) == len(images.splits)


def test_the_outline_has_the_shape_of_the_images_and_decodes_nothing(source, tmp_path):
    outline = source.outline()
    assert not (tmp_path / "kept").exists()
    images = source.load(tmp_path / "kept", progress=False)
    assert (outline.title, outline.noun, outline.names) == (images.title, images.noun, images.names)
    assert list(outline.splits) == list(images.splits)
    assert len({split.fingerprint for split in outline.splits.values()}) == len(images.splits)
    for purpose, split in outline.splits.items():
        loaded = images.splits[purpose]
        assert (split.images.shape, split.images.dtype) == (loaded.images.shape, loaded.images.dtype)
        np.testing.assert_array_equal(split.labels, loaded.labels)
        assert split.names == loaded.names
        assert (split.fingerprint == loaded.fingerprint) == np.array_equal(split.images, loaded.images)


def test_the_record_is_the_same_for_the_same_images_and_no_other(kind, source, tmp_path):
    record = source.record()
    assert json.loads(json.dumps(record)) == record == make(kind, tmp_path).record()
    assert list(record["fingerprints"]) == list(source.counts)
    other = make(kind, tmp_path, seed=1).record()
    assert all(record["fingerprints"][purpose] != other["fingerprints"][purpose] for purpose in ("craft", "test"))


def test_the_plan_is_told_what_there_is_to_decode(kind, source, tmp_path):
    kept, in_files = tmp_path / "kept", kind == "folder"
    assert source.ready(kept) == dict.fromkeys(source.counts, not in_files)
    expected, seconds = source.bytes_to_decode(source.counts), source.seconds_to_decode(source.counts)
    assert (seconds > 0) == in_files
    lines = source.describe(source.ready(kept))
    for purpose, count in source.counts.items():
        assert any(re.search(rf"\b{count}\b.*\b{purpose}\b|\b{purpose}: {count}\b", line) for line in lines)
    assert not kept.exists()
    source.load(kept, progress=False)
    assert sum(file.stat().st_size for file in kept.glob("*.bytes")) == expected
    assert source.ready(kept) == dict.fromkeys(source.counts, True)


def test_files_are_listed_with_their_labels(kind, source, tmp_path):
    listing = source.listing()
    assert json.loads(json.dumps(listing)) == listing
    if kind != "folder":
        assert listing == {}
        return
    images = source.load(tmp_path / "kept", progress=False)
    assert list(listing) == list(source.counts)
    for purpose, listed in listing.items():
        assert tuple(listed["files"]) == images.splits[purpose].names
        assert listed["labels"] == images.splits[purpose].labels.tolist()
        assert listed["fingerprint"] == source.record()["fingerprints"][purpose]
        assert all(Path(listed["root"], name).is_file() for name in listed["files"])


def test_the_first_images_keep_their_names_and_digests():
    images = np.arange(4 * 3, dtype=np.uint8).reshape(4, 3, 1, 1)
    split = Split(images, np.arange(4), "f", ("a", "b", "c", "d"), ("1", "2", "3", "4"))
    few = split.first(3)
    assert len(few) == 3
    assert (few.fingerprint, few.digests, few.names) == ("f", ("a", "b", "c"), ("1", "2", "3"))
    np.testing.assert_array_equal(few.images, images[:3])
    assert split.first(9).names == split.names


def test_a_source_has_to_load():
    class Nothing(ImageSource):
        title, noun, counts = "nothing", "image", {"test": 0}

    with pytest.raises(TypeError, match="abstract method"):
        Nothing()
