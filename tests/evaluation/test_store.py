"""What is stored is found again, and nothing is half-written."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

import art_denoise.defences
import art_denoise.filters
from art_denoise import Perturbation
from art_denoise._files import write_text
from art_denoise.evaluation import store
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


#: What no test here looks at.
WORK = None


@pytest.fixture
def open_folder(tmp_path):
    """Open the run folder of a configuration, having closed the one before."""
    opened = []

    def open_one(config=None, **kwargs) -> RunFolder:
        for folder in opened:
            folder.close()
        opened.append(RunFolder(tmp_path, config or {}, **kwargs))
        return opened[-1]

    yield open_one
    for folder in opened:
        folder.close()


def labels_of(folder: RunFolder, key: str, predict, count: int = 3) -> list[int]:
    return folder.labels("cell", key, count, WORK, predict).tolist()


def test_labels_are_predicted_once(tmp_path, open_folder):
    calls = []

    def predict(start):
        calls.append(start)
        yield np.array([3, 1])
        yield np.array([2])

    for _ in range(2):
        folder = open_folder({"a": 1})
        assert labels_of(folder, "key", predict) == [3, 1, 2]
    assert calls == [0]
    assert folder.labels("cell", "key", 3, WORK, predict).dtype == np.int64
    assert json.loads((tmp_path / "cells" / "cell.json").read_text())["key"] == "key"


def test_what_another_key_replaces_stays_beside_it(tmp_path, open_folder):
    """Changed and changed back, nothing is computed a third time."""
    folder, calls = open_folder(), []

    def predict(start):
        calls.append(start)
        yield np.full(3, len(calls))

    assert labels_of(folder, "one", predict) == [1, 1, 1]
    assert labels_of(folder, "two", predict) == [2, 2, 2]
    assert sorted(f.name for f in (tmp_path / "cells").iterdir()) == ["cell.json", "cell.one.json"]
    assert labels_of(folder, "one", predict) == [1, 1, 1]
    assert labels_of(folder, "two", predict) == [2, 2, 2]
    assert len(calls) == 2
    assert sorted(f.name for f in (tmp_path / "cells").iterdir()) == ["cell.json", "cell.one.json"]


def test_an_interrupted_prediction_goes_on_from_its_checkpoint(tmp_path, open_folder, monkeypatch):
    monkeypatch.setattr(store, "_CHECKPOINT_SECONDS", 0.0)
    starts = []

    def interrupted(start):
        starts.append(start)
        yield np.array([5])
        yield np.array([6])
        raise KeyboardInterrupt

    folder = open_folder()
    with pytest.raises(KeyboardInterrupt):
        labels_of(folder, "key", interrupted)

    def rest(start):
        starts.append(start)
        yield np.array([7])

    assert labels_of(open_folder(), "key", rest) == [5, 6, 7]
    assert starts == [0, 2]
    assert [f.name for f in (tmp_path / "cells").iterdir()] == ["cell.json"]


def test_too_few_labels_are_noticed(open_folder):
    with pytest.raises(AssertionError, match="cell: 1 labels for 3 images"):
        labels_of(open_folder(), "key", lambda start: iter([np.array([1])]))


def test_records_are_made_once(open_folder):
    calls = []

    def make():
        calls.append(1)
        return {"batch_size": 8}

    for _ in range(2):
        assert open_folder().record("trial", "key", WORK, make) == {"batch_size": 8}
    assert len(calls) == 1


def test_perturbations_are_made_once(tmp_path, open_folder):
    calls = []

    def make(checkpoint):
        calls.append(1)
        checkpoint.parent.mkdir(exist_ok=True)
        checkpoint.touch()
        array = np.full((1, 2, 2), len(calls), dtype=np.float32)
        return Perturbation(array, attack="none", provenance={"passes": 1})

    folder = open_folder()
    first, second = (folder.perturbation("delta", "key", WORK, make) for _ in range(2))
    np.testing.assert_array_equal(first.array, second.array)
    assert first.provenance == second.provenance == {"passes": 1, "key": "key"}
    assert first.attack == second.attack == "none"
    assert [f.name for f in (tmp_path / "perturbations").iterdir()] == ["delta.safetensors"]
    assert len(calls) == 1
    other = folder.perturbation("delta", "other", WORK, make)
    assert other.array.max() == 2
    back = folder.perturbation("delta", "key", WORK, make)
    np.testing.assert_array_equal(back.array, first.array)
    assert len(calls) == 2


def test_another_configuration_is_refused_unless_it_is_a_change(tmp_path, open_folder):
    config = {"options": {"seed": 0, "eps": (1, 2)}, "version": "1"}
    changed = {"options": {"seed": 1, "eps": (1, 2)}, "version": "2"}
    open_folder({"options": {"seed": 7}})
    open_folder(config)  # nothing was there that could be lost
    open_folder(config).record("trial", "key", WORK, lambda: {})
    before = (tmp_path / "config.json").read_text()
    message = r"other choices \(options\.seed: 0 there, 1 now; version: 1 there, 2 now\).*allow the `change`"
    with pytest.raises(ValueError, match=message):
        open_folder(changed)
    assert (tmp_path / "config.json").read_text() == before
    open_folder(changed, change=True)
    assert json.loads((tmp_path / "config.json").read_text())["version"] == "2"


def test_two_at_work_in_one_folder(tmp_path, open_folder):
    """The second is refused, be it a process or not; the folder of one that was killed is free."""
    first = open_folder()
    with pytest.raises(ValueError, match="another process is at work in"):
        RunFolder(tmp_path, {})
    program = (
        "import sys, time; from art_denoise.evaluation.store import RunFolder\n"
        f"folder = RunFolder({str(tmp_path)!r}, {{}})\nprint('open', flush=True)\ntime.sleep(60)"
    )
    refused = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "another process is at work in" in refused.stderr
    first.close()
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "open\n"
    with pytest.raises(ValueError, match="another process is at work in"):
        RunFolder(tmp_path, {})
    process.kill()
    process.communicate()
    RunFolder(tmp_path, {}).close()


def test_what_a_killed_process_was_writing_is_cleared(tmp_path, open_folder):
    (tmp_path / "cells").mkdir()
    (tmp_path / "cells" / "cell.json.123.part").write_text("{")
    open_folder()
    assert not list(tmp_path.rglob("*.part"))


def test_damaged_files_are_made_again_or_named(tmp_path, open_folder):
    folder = open_folder()
    for part, name in (("cells", "cell.json"), ("perturbations", "delta.safetensors")):
        (tmp_path / part).mkdir()
        (tmp_path / part / name).write_text('{"key": "ke')
    assert labels_of(folder, "key", lambda start: iter([np.array([1])]), count=1) == [1]
    made = folder.perturbation("delta", "key", WORK, lambda _: Perturbation(np.ones((1, 2, 2), dtype=np.float32)))
    np.testing.assert_array_equal(Perturbation.load(tmp_path / "perturbations" / "delta.safetensors").array, made.array)
    (tmp_path / "config.json").write_text("")
    with pytest.raises(ValueError, match=r"config\.json is damaged"):
        open_folder()


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"cannot write .*file/run/config\.json"):
        write_text(tmp_path / "file" / "run" / "config.json", "")
    with pytest.raises(OSError, match=r"cannot write .*file/delta\.safetensors"):
        Perturbation(np.ones((1, 2, 2), dtype=np.float32)).save(tmp_path / "file" / "delta.safetensors")


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

    place = weights_file("net", "key")
    file = cached_weights(place, train)
    assert file == place
    assert cached_weights(place, train) == file
    assert cached_weights(weights_file("net", "other"), train) != file
    assert len(calls) == 2
    assert [f.name for f in file.parent.iterdir() if "part" in f.name] == []


def test_weights_that_cannot_be_kept_are_not_trained(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"cannot write .*file/weights/net\.safetensors"):
        cached_weights(tmp_path / "file" / "weights" / "net.safetensors", lambda: pytest.fail("trained"))
