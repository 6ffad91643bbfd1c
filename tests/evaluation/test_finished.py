"""A finished run is known in a moment, and only as long as nothing changes that its results may depend on."""

from __future__ import annotations

import json
import os
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
from art_denoise.evaluation.run_folder import keep_choices, keep_listing

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


@pytest.mark.parametrize("text", ["", "{", "[]", '{"stamp": "stamp"}', "[" * 100_000])
def test_a_damaged_mark_is_none(folder, text):
    (folder / "finished.json").write_text(text)
    with pytest.warns(RuntimeWarning, match=r"finished\.json is damaged .*written anew when everything has been"):
        assert finished_results(folder, "stamp") is None
    assert not (folder / "finished.json").exists()


@pytest.mark.parametrize("name", ["config.json", "splits.json"])
def test_a_run_with_another_document_is_not_what_was_finished(folder, name):
    keep_choices(folder, {"options": {}})
    keep_listing(folder, {"test": {}})
    mark(folder, "stamp")
    assert finished_results(folder, "stamp") is not None
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content.replace(b"{}", b"[]"))
    assert finished_results(folder, "stamp") is None
    (folder / name).unlink()
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
        {"model": "mine.py:net"},
        {"data": "images", "model": "mine.py:net"},
        # Nowhere to be found as they are written.
        {"sources": ("a+b/mine.npy:units=255",)},
        {"sources": ("a,b/mine.npy",)},
        {"sources": ("a,b/mine.npz",)},
        {"data": "images", "classes": "gone.json"},
    ],
)
def test_nothing_is_known_of_code_and_of_files_that_are_not_found(monkeypatch, tmp_path, options):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("")
    (tmp_path / "images").mkdir()
    assert stamp_of(Options(**options), Machine(), STUDY) is None


def test_the_stamp_moves_with_the_files_that_are_read(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    image, weights = tmp_path / "images" / "n01" / "1.png", tmp_path / "torch" / "hub" / "checkpoints" / "net.pth"
    perturbation, classes = tmp_path / "mine.npy", tmp_path / "classes.json"
    for file in (image, weights, perturbation, classes):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"before")
    options = Options(data="images", sources=("inception_v1", "mine.npy:units=255"), classes="classes.json")

    def stamp() -> str:
        found = stamp_of(options, Machine(), STUDY)
        assert found is not None
        assert found == stamp_of(options, Machine(), STUDY)
        return found

    stamps = [stamp()]
    for file in (image, weights, perturbation, classes):
        file.write_bytes(b"longer than before")
        stamps.append(stamp())
    # As long as before, at another time.
    os.utime(image, ns=(1, 1))
    stamps.append(stamp())
    # Other content of the same length and time, as programs that copy leave it.
    image.write_bytes(b"longer than BEFORE")
    os.utime(image, ns=(1, 1))
    stamps.append(stamp())
    (tmp_path / "images" / "n02").symlink_to(image.parent)
    stamps.append(stamp())
    image.rename(image.with_name("2.png"))
    stamps.append(stamp())
    assert len(set(stamps)) == len(stamps)


def test_a_folder_of_weights_of_ones_own_is_the_one_that_is_listed(tmp_path):
    (tmp_path / "weights").mkdir()
    asked = Options(data=str(tmp_path)), Machine(weights_dir=tmp_path / "weights"), STUDY
    before = stamp_of(*asked)
    (tmp_path / "weights" / "net.pth").write_bytes(b"")
    assert before is not None
    assert stamp_of(*asked) != before


def test_a_mark_holds_no_more_than_is_needed(folder):
    assert set(json.loads((folder / "finished.json").read_text())) == {"schema", "sha256", "stamp", "files"}
    mark(folder, None)
    assert finished_results(folder, "stamp") is not None
