"""The harness that gives damaged files to every reader: whole ones are read, faults are seen, processes may die."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT))

from fuzz import __main__ as command  # noqa: E402
from fuzz import child, targets  # noqa: E402
from fuzz.mutations import mutated  # noqa: E402

#: Begun anew in a process of its own, and ends as it is told by the seconds that it is given.
DYING = """
import json, os, signal, sys, time
from pathlib import Path
_, name, folder, seconds, seed, engine = sys.argv
Path(folder, "current.bin").write_bytes(b"what was read")
Path(folder, "noted.json").write_text(json.dumps({"tried": 7, "outcomes": {"read": 5, "odd": 2}, "faults": []}))
if name == "killed":
    os.kill(os.getpid(), signal.SIGSEGV)
if name == "silent":
    time.sleep(60)
"""


@pytest.mark.parametrize("name", command.NAMES)
def test_every_reader_stands_whole_and_damaged_files(tmp_path, name):
    """Some of each kind are read, and some are answered otherwise, in this process."""
    target = targets.TARGETS[name]
    corpus = target.corpus(tmp_path)
    session, rng = child._Session(tmp_path, tmp_path / f"current{target.ending}"), random.Random(0)
    for data in corpus:
        session.one_input(target, data)
    assert session.outcomes["read"] > 0
    for _ in range(25):
        session.one_input(target, mutated(rng.choice(corpus), corpus, rng))
    assert session.faults == {}
    assert session.tried == len(corpus) + 25
    assert len(session.outcomes) > 1


@pytest.mark.parametrize(
    ("error", "fault"),
    [(KeyError("a"), "KeyError in "), (MemoryError(), "MemoryError in "), (ValueError("odd"), None), (OSError(), None)],
)
def test_what_a_reader_should_not_raise_is_kept(tmp_path, error, fault):
    def read(file):
        raise error

    session = child._Session(tmp_path, tmp_path / "current.x")
    session.one_input(targets.Target(".x", read, lambda folder: []), b"bad")
    assert [one["what"].startswith(fault) for one in session.faults.values()] == ([True] if fault else [])
    if fault:
        noted = json.loads((tmp_path / "noted.json").read_text())
        assert (tmp_path / noted["faults"][0]["file"]).read_bytes() == b"bad"


def test_room_that_was_made_is_a_fault_whatever_it_is_called(tmp_path):
    def read(file):
        try:
            raise MemoryError
        except MemoryError as error:
            raise ValueError("it is damaged") from error

    with pytest.raises(MemoryError):
        targets.Target(".x", read, lambda folder: []).outcome(tmp_path / "x")


@pytest.mark.parametrize(
    ("name", "fault"),
    [("killed", "killed by SIGSEGV"), ("silent", "no end after 1 seconds"), ("well", None)],
)
def test_processes_that_die_or_fall_silent(tmp_path, monkeypatch, name, fault):
    (tmp_path / "dying.py").write_text(DYING)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(command, "_CHILD", "dying")
    monkeypatch.setattr(command, "_LONGEST", 1)
    found = command.fuzz(name, 0.1, found=tmp_path / "found")
    assert (found["tried"], found["outcomes"]) == (7, 2)
    assert [one["what"] for one in found["faults"]] == ([fault] if fault else [])
    assert [file.read_bytes() for file in (tmp_path / "found").glob("*")] == ([b"what was read"] if fault else [])


def test_the_command(tmp_path, monkeypatch, capsys):
    one = {"engine": "random", "tried": 5, "outcomes": 2, "faults": []}
    asked = []
    monkeypatch.setattr(command, "fuzz", lambda name, seconds, **kwargs: asked.append((name, seconds)) or one)
    arguments = ["--seconds", "3", "--json", str(tmp_path / "summary.json"), "pt", "lists"]
    assert command.main(arguments) == 0
    assert asked == [("pt", 3), ("lists", 3)]
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["inputs"], summary["faults"], set(summary["targets"])) == (10, 0, {"pt", "lists"})
    one["faults"] = [{"what": "KeyError in x.py:3", "text": "'a'", "file": "found-1.pt"}]
    assert command.main(["pt"]) == 1
    assert "KeyError in x.py:3 'a'" in capsys.readouterr().out
    assert set(command.NAMES) == set(targets.TARGETS)
    with pytest.raises(SystemExit):
        command.main(["no such"])
