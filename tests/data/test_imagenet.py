"""A folder as a source: its files by name, what cannot be read, pictures that are there twice, how long it takes."""

from __future__ import annotations

import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from folders import write_folder

from art_denoise.data import FolderImages, find_images, imagenet
from art_denoise.data.decoded import BrokenImagesError
from art_denoise.data.decoding import Framing, decode_image

FRAMING = Framing(27, 24)


def pets(folder, **kwargs) -> FolderImages:
    sizes = {"craft": 4, "tune": 1, "noise-fit": 2, "test": None}
    return find_images(str(folder), sizes=sizes, framing=FRAMING, num_classes=2, **{"seed": 3, **kwargs})


@pytest.fixture
def folder(tmp_path):
    """Six cats and six dogs."""
    return write_folder(tmp_path / "pets", ["cats", "dogs"], 6)


def test_files_are_for_what_they_were_for_in_earlier_versions(folder):
    """What commit 60dd95e drew, and its fingerprints, which are of names and labels."""
    found = pets(folder)
    assert found.record() == {
        "fingerprints": {
            "craft": "2ea8663fc05775ef",
            "tune": "d4b0c60db40dd783",
            "noise-fit": "3b83814d2cce7ae9",
            "test": "bbe4ceebb52a1bcf",
        },
        "classes": "by alphabetical order of the folders, as there are as many as the model has classes",
        "framing": {"resize": 27, "crop": 24, "interpolation": "bilinear", "margin": "even"},
    }
    assert found.listing()["noise-fit"]["files"] == ["cats/cats_1.JPEG", "cats/cats_4.JPEG"]
    assert (found.title, found.noun) == ("images of pets, 2 classes", "image")


def test_every_image_is_that_of_its_name(folder, tmp_path):
    for split in pets(folder).load(tmp_path / "kept", progress=False).splits.values():
        for image, label, name in zip(split.images, split.labels, split.names, strict=True):
            np.testing.assert_array_equal(image, decode_image(folder / name, FRAMING))
            assert ["cats", "dogs"][label] == name.split("/")[0]


def test_links_that_lead_out_of_the_folder_are_told_of(folder, tmp_path):
    elsewhere = tmp_path / "elsewhere.JPEG"
    shutil.move(folder / "dogs" / "dogs_4.JPEG", elsewhere)
    (folder / "dogs" / "dogs_4.JPEG").symlink_to(elsewhere)
    remarks = pets(folder).load(tmp_path / "kept", progress=False).remarks
    assert len(remarks) == 1
    assert remarks[0].startswith("1 of ")
    assert remarks[0].endswith(" are not in the folder, links lead out of it: dogs/dogs_4.JPEG")


def test_what_cannot_be_read_is_told_at_once_or_left_out(folder, tmp_path):
    """Files for two purposes are broken: one error tells of both, and without them names and labels still fit."""
    found = pets(folder)
    for name in ("dogs/dogs_4.JPEG", "dogs/dogs_0.JPEG"):
        (folder / name).write_text("no picture")
    with pytest.raises(BrokenImagesError, match=r"2 of 12 images.*dogs_4\.JPEG.*dogs_0\.JPEG"):
        found.load(tmp_path / "kept", progress=False)
    images = found.load(tmp_path / "kept", skip_broken=True, progress=False)
    assert images.splits["craft"].names == ("cats/cats_2.JPEG", "dogs/dogs_1.JPEG", "dogs/dogs_5.JPEG")
    assert images.splits["craft"].labels.tolist() == [0, 1, 1]
    assert len(images.test) == found.counts["test"] - 1
    assert images.remarks == (
        "1 of 4 images for craft could not be read: dogs/dogs_4.JPEG",
        "1 of 5 images for test could not be read: dogs/dogs_0.JPEG",
    )


def test_a_picture_in_two_files_is_told_of(folder, tmp_path):
    shutil.copyfile(folder / "cats/cats_2.JPEG", folder / "cats/cats_3.JPEG")
    remarks = pets(folder).load(tmp_path / "kept", progress=False).remarks
    assert remarks == ("1 images for test are, pixel for pixel, among those for craft in another file",)


def test_classes_that_no_test_image_is_of_are_told_of(tmp_path):
    """A table of three classes is one of two where a folder of the validation images is not there."""
    for part, classes in (("train", ["c0", "c1", "c2"]), ("val", ["c0", "c2"])):
        write_folder(tmp_path / "images" / part, classes, 5, seed=len(part))
    sizes = {"craft": 3, "tune": 0, "noise-fit": 0, "test": 6}
    images = find_images(str(tmp_path / "images"), sizes=sizes, framing=FRAMING, num_classes=3, seed=0)
    remarks = images.load(tmp_path / "kept", progress=False).remarks
    assert "no image for test is of 1 of 3 classes: c1" in remarks


def test_the_plan_says_where_images_are(folder, tmp_path):
    found = pets(folder)
    ready = {**found.ready(tmp_path / "kept"), "craft": True}
    assert found.describe(ready) == [
        f"Images for craft: 4 of 12 in {folder}, decoded.",
        f"Images for tune: 1 of 12 in {folder}, not decoded yet.",
        f"Images for noise-fit: 2 of 12 in {folder}, not decoded yet.",
        f"Images for test: 5 of 12 in {folder}, not decoded yet.",
        f"Resized to 27 (bilinear), centre crop 24; 2 classes, {found.classes.rule}.",
    ]
    assert found.bytes_to_decode(["tune", "test"]) == 6 * 3 * 24 * 24


def test_the_time_that_decoding_takes_is_measured_on_a_few_files(folder, monkeypatch):
    """By a clock that only decoding moves, 0.5 s a file, also where it is broken; the first of all takes 100 s more."""
    clock, decoded = [0.0], []

    def decode(path, framing):
        clock[0] += 0.5 if decoded else 100.5
        decoded.append(path)
        raise ValueError("broken")

    monkeypatch.setattr(imagenet, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    monkeypatch.setattr(imagenet, "decode_image", decode)
    monkeypatch.setattr(imagenet, "_TIMED", 3)
    found = pets(folder)
    assert found.seconds_to_decode(["craft", "test"], workers=2) == pytest.approx((4 + 5) * 0.5 / 2)
    assert len(decoded) == 2 * (1 + 3)
    assert found.seconds_to_decode(["craft"], workers=1) == pytest.approx(4 * 0.5)
    assert found.seconds_to_decode([]) == 0


def test_folders_of_training_and_validation(tmp_path):
    for part in ("train", "val"):
        write_folder(tmp_path / "both" / part, ["cats", "dogs"], 6)
    found = pets(tmp_path / "both")
    assert {purpose: found.files(purpose)[0].name for purpose in found.counts} == {
        "craft": "train",
        "tune": "val",
        "noise-fit": "val",
        "test": "val",
    }
    assert found.describe(dict.fromkeys(found.counts, True))[0].startswith("Images for craft: 4 of 12 in")
