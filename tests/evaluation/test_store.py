"""What is kept is verified whenever it is read; what is damaged is set aside; nothing else is touched."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from sums import Sum, run

from art_denoise._files import replacing
from art_denoise.evaluation.artefact import Artefact
from art_denoise.evaluation.store import BusyError, Lock, Store, read_artefact


@dataclass(frozen=True)
class Kept:
    key: str
    folder: str = "labels"


TASK, OTHER = Kept("0123456789abcdef"), Kept("fedcba9876543210")
ARTEFACT = Artefact({"seconds": 1.5, "name": "δ"}, {"labels": np.arange(7), "floats": np.ones((2, 3), np.float32)})


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "run")
    store.write(TASK, ARTEFACT)
    return store


def test_what_is_written_is_read(store):
    found = store.read(TASK)
    assert found.record == ARTEFACT.record
    assert all(np.array_equal(found.arrays[name], array) for name, array in ARTEFACT.arrays.items())
    assert found.arrays["floats"].dtype == np.float32
    assert TASK in store
    assert OTHER not in store
    assert store.read(OTHER) is None


def test_an_artefact_may_have_no_arrays(store):
    store.write(OTHER, Artefact.absent("no draw helped"))
    assert store.read(OTHER).why_absent == "no draw helped"
    assert store.read(TASK).why_absent is None


def test_any_flipped_bit_is_noticed(store):
    file = store.file(TASK)
    content = file.read_bytes()
    for at in range(len(content)):
        flipped = bytearray(content)
        flipped[at] ^= 1 << at % 8
        file.write_bytes(flipped)
        with pytest.raises(ValueError, match=r"cannot be read|of schema|of another key|not what was written"):
            read_artefact(file, TASK.key)


def test_what_is_damaged_is_set_aside(store):
    file = store.file(TASK)
    content = bytearray(file.read_bytes())
    content[-1] ^= 4
    file.write_bytes(content)
    with pytest.warns(RuntimeWarning, match="is damaged"):
        assert store.read(TASK) is None
    assert TASK not in store
    assert file.with_name(f"{file.name}.damaged").read_bytes() == content


@pytest.mark.parametrize("content", [b"", b"{}", b'{"labels": null}', b"\x08\0\0\0\0\0\0\0{}      "])
def test_files_of_another_form_are_set_aside(store, content):
    store.file(TASK).write_bytes(content)
    with pytest.warns(RuntimeWarning, match="is damaged"):
        assert store.read(TASK) is None


def test_a_file_under_another_key_is_not_taken(store):
    os.replace(store.file(TASK), store.file(OTHER))
    with pytest.warns(RuntimeWarning, match="another key, 0123456789abcdef"):
        assert store.read(OTHER) is None


def test_another_schema_is_told(store, monkeypatch):
    monkeypatch.setattr("art_denoise.evaluation.store.SCHEMA", 2)
    with pytest.raises(ValueError, match="schema 1, not 2"):
        read_artefact(store.file(TASK))


def test_files_are_flushed_before_they_have_their_name(store, monkeypatch):
    order = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (order.append("flush"), fsync(handle))[1])
    monkeypatch.setattr(os, "replace", lambda a, b: (order.append("name"), replace(a, b))[1])
    store.write(OTHER, ARTEFACT)
    assert order[:2] == ["flush", "name"]


def test_cleaning_deletes_only_what_this_package_left(store):
    with replacing(store.file(TASK)) as left, replacing(store.file(TASK)) as other:
        left.touch()
        other.touch()
    assert left != other
    film, deep = store.path / "labels" / "film.mkv.part", store.path / "a" / "b" / "x.part"
    deep.parent.mkdir(parents=True)
    for file in (left, film, deep):
        file.write_text("precious")
    store.clean()
    assert not left.exists()
    assert film.exists()
    assert deep.exists()


def test_a_checkpoint_goes_when_the_result_is_there(store):
    there = store.checkpoint(OTHER)
    beside = [there.with_name(f"{there.name}{tail}") for tail in ("", ".1", ".12", ".mine", ".1.77.part")]
    for file in beside:
        file.write_text("half of it")
    store.write(OTHER, ARTEFACT)
    assert [file.exists() for file in beside] == [False, False, False, True, True]


def test_cleaning_takes_checkpoints_whose_result_is_there(store):
    """A process that was killed between the two has left them; those of what is not there yet stay."""
    done, going = store.checkpoint(TASK), store.checkpoint(OTHER)
    files = [file.with_name(f"{file.name}{tail}") for file in (done, going) for tail in ("", ".1", ".mine")]
    for file in files:
        file.write_text("half of it")
    store.clean()
    assert [file.exists() for file in files] == [False, False, True, True, True, True]


def test_a_checkpoint_is_deleted_after_those_with_a_number(store, monkeypatch):
    """They are found by it: had a process that is killed deleted it first, they would stay for ever."""
    there = store.checkpoint(OTHER)
    for tail in ("", ".1", ".2"):
        there.with_name(f"{there.name}{tail}").write_text("half of it")
    gone, unlink = [], Path.unlink
    monkeypatch.setattr(Path, "unlink", lambda file, **kwargs: (gone.append(file.name), unlink(file, **kwargs))[1])
    store.begin_anew(OTHER)
    assert len(gone) == 3
    assert gone[-1] == there.name


def test_two_processes_in_one_folder(tmp_path):
    code = "import sys; from pathlib import Path; from art_denoise.evaluation.store import Lock"
    code += "\nwith Lock(Path(sys.argv[1])): print('in')"
    with Lock(tmp_path):
        with pytest.raises(BusyError, match="another process is at work"), Lock(tmp_path):
            pass
        other = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
        assert "another process is at work" in other.stderr
    with Lock(tmp_path):
        pass


def test_what_cannot_be_kept_is_not_computed(tmp_path, monkeypatch):
    (tmp_path / "file").touch()

    def untouched(*_: object) -> None:
        pytest.fail("it was begun")

    monkeypatch.setattr(Sum, "run", untouched)
    with pytest.raises(
        OSError, match=r"nothing can be written in .*file.run.*: make it writable, or copy what is"
    ) as told:
        run(tmp_path / "file" / "run", [Sum(1)])
    assert told.value.errno == errno.ENOTDIR
    run(tmp_path / "file" / "run", [])


def test_looking_whether_something_can_be_kept_leaves_nothing(store):
    before = sorted(store.path.rglob("*"))
    store.check_writable()
    assert sorted(store.path.rglob("*")) == before


def test_stores_need_no_torch():
    code = "import sys, art_denoise.evaluation.store; sys.exit('torch' in sys.modules or 'art' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
