"""What is stored is found again, and nothing is half-written."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from art_denoise import Perturbation
from art_denoise.evaluation.store import RunFolder, cached_weights, key_of, write_text


def test_keys_change_with_every_part():
    values = [{"a": 1}, {"a": 2}, {"b": 1}, {"a": [1]}, {"a": 1, "b": None}]
    assert len({key_of(v) for v in values}) == len(values)
    assert key_of({"a": 1, "b": 2}) == key_of({"b": 2, "a": 1})


def test_a_failed_write_leaves_the_old_file(tmp_path):
    write_text(tmp_path / "deep" / "file", "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(tmp_path / "deep" / "file", "new \udc80")
    assert (tmp_path / "deep" / "file").read_text() == "old"


def test_labels_are_predicted_once(tmp_path):
    calls = []

    def predict():
        calls.append(1)
        return np.array([3, 1, 2]), 0.5

    for _ in range(2):
        labels = RunFolder(tmp_path, {"a": 1}).labels("cell", "key", predict)
        assert labels.dtype == np.int64
        assert labels.tolist() == [3, 1, 2]
    assert len(calls) == 1
    RunFolder(tmp_path, {"a": 1}).labels("cell", "another key", predict)
    assert len(calls) == 2
    assert json.loads((tmp_path / "cells" / "cell.json").read_text())["key"] == "another key"


def test_an_interrupted_prediction_leaves_nothing(tmp_path):
    def predict():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        RunFolder(tmp_path, {}).labels("cell", "key", predict)
    assert not (tmp_path / "cells").exists()


def test_perturbations_are_made_once(tmp_path):
    calls = []

    def make():
        calls.append(1)
        return Perturbation(np.ones((1, 2, 2), dtype=np.float32), {"attack": "none"})

    folder = RunFolder(tmp_path, {})
    first, second = (folder.perturbation("delta", "key", make) for _ in range(2))
    np.testing.assert_array_equal(first.array, second.array)
    assert first.provenance == second.provenance == {"attack": "none", "key": "key"}
    assert len(calls) == 1
    folder.perturbation("delta", "other", make)
    assert len(calls) == 2


def test_another_configuration_is_refused(tmp_path):
    RunFolder(tmp_path, {"options": {"seed": 0, "eps": (1, 2)}, "version": "1"})
    RunFolder(tmp_path, {"options": {"seed": 0, "eps": (1, 2)}, "version": "1"})
    before = (tmp_path / "config.json").read_text()
    with pytest.raises(ValueError, match=r"other choices \(options\.seed: 0 there, 1 now; version: 1 there, 2 now\)"):
        RunFolder(tmp_path, {"options": {"seed": 1, "eps": (1, 2)}, "version": "2"})
    assert (tmp_path / "config.json").read_text() == before


def test_weights_are_trained_once():
    calls = []

    def train():
        calls.append(1)
        return torch.nn.Linear(2, 2)

    file = cached_weights("net", "key", train)
    assert cached_weights("net", "key", train) == file
    assert cached_weights("net", "other", train) != file
    assert len(calls) == 2
    assert [f.name for f in file.parent.iterdir() if "part" in f.name] == []
