"""The photographs: every class in every split, no pixel in two."""

from __future__ import annotations

import numpy as np
import pytest

from art_denoise.data import PHOTOGRAPHS, load_photographs
from art_denoise.data.photographs import CROP_SIZE, SHARES, block_grid, load_photograph


@pytest.fixture(scope="module")
def splits():
    return load_photographs()


def test_every_class_has_its_share_of_every_split(splits):
    assert set(splits) == set(SHARES)
    for name, crops in splits.items():
        assert crops.images.shape == (len(PHOTOGRAPHS) * SHARES[name], 3, CROP_SIZE, CROP_SIZE)
        assert crops.images.dtype == np.uint8
        assert np.array_equal(np.bincount(crops.labels), np.full(len(PHOTOGRAPHS), SHARES[name]))


def test_no_pixel_of_a_photograph_is_in_two_blocks(splits):
    for label, name in enumerate(PHOTOGRAPHS):
        used = np.zeros(load_photograph(name).shape[:2], dtype=int)
        for crops in splits.values():
            for row, column, side in crops.origins[crops.labels == label]:
                used[row : row + side, column : column + side] += 1
        assert used.max() == 1, name
        assert used.mean() > 0.6, name  # most of it is used


def test_a_crop_shows_its_block(splits):
    crops = splits["test"]
    for i in range(0, len(crops), 57):
        row, column, side = crops.origins[i]
        block = load_photograph(PHOTOGRAPHS[crops.labels[i]])[row : row + side, column : column + side]
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
    with pytest.raises(ValueError, match="`count` must be from 1 to the number of pixels, 20, got 21"):
        block_grid(4, 5, 21)
