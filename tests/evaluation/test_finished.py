"""A finished run is known in a moment, and only as long as nothing changes that its results may depend on."""

from __future__ import annotations

import json
import platform
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from results_by_hand import results, saved

import art_denoise
from art_denoise.evaluation import finished
from art_denoise.evaluation.finished import finished_results, mark, stamp_of, unmark
from art_denoise.evaluation.options import Machine, Options

STUDY = "art_denoise.evaluation.from_options.table1"


@pytest.fixture
def folder(tmp_path) -> Path:
    saved(results(), tmp_path)
    mark(tmp_path, "stamp")
    return tmp_path


def test_what_was_finished_is_found(folder):
    assert finished_results(folder, "stamp").labels
    assert finished_results(folder, "other") is None
    assert finished_results(folder, None) is None
    unmark(folder)
    unmark(folder)
    assert finished_results(folder, "stamp") is None


def test_other_or_damaged_results_are_not_what_was_finished(folder):
    file = folder / "results.json"
    file.write_text(file.read_text() + "\n")
    assert finished_results(folder, "stamp") is None
    file.unlink()
    assert finished_results(folder, "stamp") is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"stamp": "stamp"}'])
def test_a_damaged_mark_is_none(folder, text):
    (folder / "finished.json").write_text(text)
    assert finished_results(folder, "stamp") is None


@pytest.mark.parametrize(
    "changed",
    [
        lambda o, m, s: (replace(o, seed=1), m, s),
        lambda o, m, s: (replace(o, quick=True), m, s),
        lambda o, m, s: (replace(o, defences=("rof",)), m, s),
        lambda o, m, s: (o, replace(m, threads=3), s),
        lambda o, m, s: (o, replace(m, device="cpu"), s),
        lambda o, m, s: (o, replace(m, mixed_precision=True), s),
        lambda o, m, s: (o, m, "art_denoise.evaluation.from_options.evaluation"),
    ],
)
def test_the_stamp_moves_with_what_is_asked(changed):
    asked = (Options(), Machine(), STUDY)
    assert stamp_of(*asked) == stamp_of(*asked)
    assert stamp_of(*changed(*asked)) != stamp_of(*asked)


def test_the_stamp_does_not_move_with_how_fast_and_loud_it_is(tmp_path):
    quiet = Machine(progress=False, jobs=3, workers=1, decoded_dir=tmp_path)
    assert stamp_of(Options(), quiet, STUDY) == stamp_of(Options(), Machine(), STUDY)
    # The defaults are the same choices as when they are given.
    assert stamp_of(Options().filled(), Machine(), STUDY) == stamp_of(Options(), Machine(), STUDY)


def test_the_stamp_moves_with_the_environment(monkeypatch):
    before = stamp_of(Options(), Machine(), STUDY)
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    with_threads = stamp_of(Options(), Machine(), STUDY)
    monkeypatch.setattr(platform, "node", lambda: "elsewhere")
    elsewhere = stamp_of(Options(), Machine(), STUDY)
    monkeypatch.setattr(finished, "version", lambda name: "0")
    assert len({before, with_threads, elsewhere, stamp_of(Options(), Machine(), STUDY)}) == 4


def test_the_stamp_moves_with_the_code(monkeypatch, tmp_path):
    package = tmp_path / "art_denoise"
    shutil.copytree(Path(art_denoise.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(finished, "__file__", str(package / "evaluation" / "finished.py"))
    before = stamp_of(Options(), Machine(), STUDY)
    assert before is not None
    for module in ("filters/rof.py", "evaluation/tasks/score.py", "_random.py"):
        file = package / module
        file.write_text(file.read_text(encoding="utf-8") + "\nCHANGED = 1\n", encoding="utf-8")
        after = stamp_of(Options(), Machine(), STUDY)
        assert after != before
        before = after


@pytest.mark.parametrize(
    "options",
    [
        {"defences": ("mine.py:defence",)},
        {"defences": ("rof+mine.py:defence:strength=2",)},
        {"attacks": ("mine.py:attack",)},
        {"sources": ("inception_v1", "mine.npy")},
        {"data": "images"},
    ],
)
def test_nothing_is_known_of_files(monkeypatch, tmp_path, options):
    monkeypatch.chdir(tmp_path)
    for name in ("mine.py", "mine.npy"):
        (tmp_path / name).write_text("")
    assert stamp_of(Options(**options), Machine(), STUDY) is None


def test_a_mark_holds_no_more_than_is_needed(folder):
    assert set(json.loads((folder / "finished.json").read_text())) == {"stamp", "results"}
    mark(folder, None)
    assert finished_results(folder, "stamp") is not None
