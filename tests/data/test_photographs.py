"""The photographs: every class in every split, no pixel in two."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from art_denoise.data import PHOTOGRAPHS, Photographs, load_photographs
from art_denoise.data.photographs import CROP_SIZE, SHARES, block_grid, load_photograph


@pytest.fixture(scope="module")
def splits():
    return load_photographs()


def block_of(name: str) -> tuple[str, int, int, int]:
    """Photograph, row, column and side, from the name of a crop."""
    photograph, corner, _, side = name.split(" ")
    row, column = corner.split(",")
    return photograph, int(row), int(column), int(side)


def test_every_class_has_its_share_of_every_split(splits):
    assert set(splits) == set(SHARES)
    for name, crops in splits.items():
        assert crops.images.shape == (len(PHOTOGRAPHS) * SHARES[name], 3, CROP_SIZE, CROP_SIZE)
        assert crops.images.dtype == np.uint8
        assert np.array_equal(np.bincount(crops.labels), np.full(len(PHOTOGRAPHS), SHARES[name]))


def test_no_pixel_of_a_photograph_is_in_two_blocks(splits):
    used = {name: np.zeros(load_photograph(name).shape[:2], dtype=int) for name in PHOTOGRAPHS}
    for crops in splits.values():
        for name in crops.names:
            photograph, row, column, side = block_of(name)
            used[photograph][row : row + side, column : column + side] += 1
    for name, count in used.items():
        assert count.max() == 1, name
        assert count.mean() > 0.6, name  # most of it is used


def test_a_crop_shows_its_block(splits):
    crops = splits["test"]
    for i in range(0, len(crops), 57):
        photograph, row, column, side = block_of(crops.names[i])
        assert photograph == PHOTOGRAPHS[crops.labels[i]]
        block = load_photograph(photograph)[row : row + side, column : column + side]
        assert np.abs(block.mean((0, 1)) - crops.images[i].mean((1, 2))).max() < 3
        rows = np.linspace(0, side - 1, CROP_SIZE).round().astype(int)
        nearest = block[rows][:, rows].transpose(2, 0, 1).astype(float)
        assert np.abs(nearest - crops.images[i]).mean() < 12


def test_the_same_again_and_another_seed(splits):
    shares = {"train": 2, "test": 3}
    again, other = load_photographs(shares=shares), load_photographs(shares=shares, seed=1)
    assert load_photographs(shares=shares)["train"].fingerprint == again["train"].fingerprint
    assert again["train"].fingerprint != other["train"].fingerprint
    assert again["train"].fingerprint != again["test"].fingerprint


def test_the_crops_to_craft_on_are_drawn_from_those_for_training():
    images = Photographs(shares={"train": 3, "test": 1}, craft_images=20, seed=2).load(Path("nowhere"))
    assert list(images.splits) == ["train", "craft", "test"]
    train, craft = images.splits["train"], images.splits["craft"]
    assert len(set(craft.names)) == len(craft) == 20
    places = [train.names.index(name) for name in craft.names]
    np.testing.assert_array_equal(craft.images, train.images[places])
    np.testing.assert_array_equal(craft.labels, train.labels[places])
    assert places != sorted(places)
    every = Photographs(shares={"train": 3, "test": 1}, seed=2)
    assert every.counts == {"train": 57, "craft": 57, "test": 19}
    # A number leaves out the last of the same order.
    assert every.load(Path("nowhere")).splits["craft"].names[:20] == craft.names


def test_images_are_those_of_earlier_versions():
    """The fingerprints that `find_setting` found at commit 60dd95e, with Pillow 13.0 and scikit-image 0.26."""
    shares = {"train": 3, "tune": 1, "noise-fit": 2, "test": 2}
    assert Photographs(shares=shares, craft_images=10, seed=5).record() == {
        "fingerprints": {
            "train": "585777016daeeac2",
            "craft": "7c0d704460053991",
            "tune": "9636b2bd96edc595",
            "noise-fit": "845ac01243c7a075",
            "test": "2c9ca05b41e2fa00",
        }
    }
    # The order of the shares is the order in which blocks are drawn; that of the splits is always the same.
    turned = Photographs(shares=dict(reversed(shares.items())), craft_images=10, seed=5)
    assert list(turned.counts) == list(turned.load(Path("nowhere")).splits) == ["train", "craft", *list(shares)[1:]]


def test_the_plan_says_how_many_crops_there_are():
    assert Photographs(craft_images=80).describe({}) == [
        "Images: crops of 19 photographs: 608 for train, 80 of them for craft, 152 for tune, 228 for noise-fit, "
        "532 for test."
    ]


@pytest.mark.parametrize(("height", "width", "count"), [(300, 451, 80), (7, 5, 35), (10, 1000, 3), (64, 64, 1)])
def test_block_grid_is_as_coarse_as_it_can_be(height, width, count):
    grid = block_grid(height, width, count)
    side = grid[0, 2]
    assert len(grid) >= count
    assert (grid[:, 0] + side <= height).all()
    assert (grid[:, 1] + side <= width).all()
    assert len(np.unique(grid, axis=0)) == len(grid)
    assert (height // (side + 1)) * (width // (side + 1)) < count


def test_bad_input():
    with pytest.raises(ValueError, match="`name` must be one of astronaut"):
        load_photograph("lena")
    with pytest.raises(ValueError, match=r"`shares\['test'\]` must be >= 1, got 0"):
        load_photographs(shares={"train": 1, "test": 0})
    with pytest.raises(ValueError, match="`crop_size`"):
        load_photographs(crop_size=0)
    with pytest.raises(ValueError, match=r"`shares\['test'\]` must be >= 1, got 0"):
        Photographs(shares={"train": 1, "test": 0})
    with pytest.raises(ValueError, match=r"`shares` must be of 'train' and 'test'.*got {'test': 1}"):
        Photographs(shares={"test": 1})
    with pytest.raises(ValueError, match="`shares` must be of 'train' and 'test'"):
        Photographs(shares={"train": 1, "craft": 1, "test": 1})
    with pytest.raises(ValueError, match="`craft_images` must be <= 608, the training crops, got 1000"):
        Photographs(craft_images=1000)
    with pytest.raises(ValueError, match="`craft_images` must be >= 1, got 0"):
        Photographs(craft_images=0)
    with pytest.raises(TypeError, match=r"`craft_images` must be an integer, got 0\.5"):
        Photographs(craft_images=0.5)
    with pytest.raises(ValueError, match="`count` must be from 1 to the number of pixels, 20, got 21"):
        block_grid(4, 5, 21)
