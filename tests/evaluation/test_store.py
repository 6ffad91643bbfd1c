"""What is stored is found again, and nothing is half-written."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import art_denoise.defences
import art_denoise.filters
from art_denoise import Perturbation
from art_denoise._files import write_text
from art_denoise.evaluation.store import RunFolder, cached_weights, file_digest, key_of, source_digest, weights_file


def test_keys_change_with_every_part():
    values = [{"a": 1}, {"a": 2}, {"b": 1}, {"a": [1]}, {"a": 1, "b": None}]
    assert len({key_of(v) for v in values}) == len(values)
    assert key_of({"a": 1, "b": 2}) == key_of({"b": 2, "a": 1})


def test_a_failed_write_leaves_the_old_file(tmp_path):
    write_text(tmp_path / "deep" / "file", "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(tmp_path / "deep" / "file", "new \udc80")
    assert (tmp_path / "deep" / "file").read_text() == "old"
    assert [f.name for f in (tmp_path / "deep").iterdir()] == ["file"]


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

    def make(checkpoint):
        calls.append(1)
        checkpoint.parent.mkdir(exist_ok=True)
        checkpoint.touch()
        return Perturbation(np.ones((1, 2, 2), dtype=np.float32), attack="none", provenance={"passes": 1})

    folder = RunFolder(tmp_path, {})
    first, second = (folder.perturbation("delta", "key", make) for _ in range(2))
    np.testing.assert_array_equal(first.array, second.array)
    assert first.provenance == second.provenance == {"passes": 1, "key": "key"}
    assert first.attack == second.attack == "none"
    assert [f.name for f in (tmp_path / "perturbations").iterdir()] == ["delta.safetensors"]
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


def test_damaged_files_are_made_again_or_named(tmp_path):
    folder = RunFolder(tmp_path, {})
    for part, name in (("cells", "cell.json"), ("perturbations", "delta.safetensors")):
        (tmp_path / part).mkdir()
        (tmp_path / part / name).write_text('{"key": "ke')
    assert folder.labels("cell", "key", lambda: (np.array([1]), 0.0)).tolist() == [1]
    made = folder.perturbation("delta", "key", lambda _: Perturbation(np.ones((1, 2, 2), dtype=np.float32)))
    np.testing.assert_array_equal(Perturbation.load(tmp_path / "perturbations" / "delta.safetensors").array, made.array)
    (tmp_path / "config.json").write_text("")
    with pytest.raises(ValueError, match=r"config\.json is damaged"):
        RunFolder(tmp_path, {})


def test_digests_change_with_the_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "b").write_bytes(b"2")
    assert file_digest(tmp_path / "a") != file_digest(tmp_path / "b")
    assert source_digest(art_denoise.filters) != source_digest(art_denoise.defences)
    assert source_digest(art_denoise) == source_digest(art_denoise)


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
