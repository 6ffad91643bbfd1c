"""Splits are disjoint and reproducible; fingerprints change with what they hold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from art_denoise.data.splits import disjoint_split, fingerprint


@given(
    shares=st.dictionaries(st.text(min_size=1, max_size=3), st.integers(0, 9), max_size=5),
    spare=st.integers(0, 9),
    seed=st.integers(0, 99),
)
def test_splits_are_disjoint_and_of_the_size_asked_for(shares, spare, seed):
    count = sum(shares.values()) + spare
    splits = disjoint_split(count, shares, np.random.default_rng(seed))
    assert {name: len(items) for name, items in splits.items()} == shares
    items = np.concatenate([np.empty(0, dtype=int), *splits.values()])
    assert len(set(items.tolist())) == len(items)
    assert ((items >= 0) & (items < count)).all()


def test_seed():
    def split(seed: int) -> np.ndarray:
        return disjoint_split(100, {"a": 50}, np.random.default_rng(seed))["a"]

    assert np.array_equal(split(1), split(1))
    assert not np.array_equal(split(1), split(2))


def test_too_many():
    with pytest.raises(ValueError, match="`shares` ask for 5 items, but there are only 4"):
        disjoint_split(4, {"a": 2, "b": 3}, np.random.default_rng(0))


def test_fingerprint():
    a = np.arange(6, dtype=np.uint8)
    same = fingerprint(a)
    assert fingerprint(a.copy()) == same
    assert len({same, fingerprint(a.reshape(2, 3)), fingerprint(a.astype(np.int64)), fingerprint(a[::-1])}) == 4
