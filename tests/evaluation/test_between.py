"""Two runs beside each other: only what both have is compared, image by image."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from art_denoise.cli import main
from art_denoise.evaluation.experiment import Section
from art_denoise.evaluation.report.between import between
from art_denoise.evaluation.results import Results
from art_denoise.evaluation.statistics import NOT_ATTACKED, holm, paired_difference
from tests.results_by_hand import ATTACKED, CLEAN, N, experiment, labels_with, results, saved


def some(images: slice = slice(None), **changes: np.ndarray) -> Results:
    """Return results of some images, some rows of which have other labels."""
    whole = results()
    labels = {c: changes.get(c.condition.text, label)[images] for c, label in whole.labels.items()}
    names, truth = whole.images.names[images], whole.images.labels[images]
    return replace(whole, labels=labels, images=replace(whole.images, names=names, labels=truth, groups=None))


def test_a_run_does_not_differ_from_itself():
    table = between(results(), results())
    assert len(table.rows) == len(results().labels)
    for row in table.rows:
        assert row.values[0] == row.values[1]
        assert row.values[2].points == 0
        assert row.values[2].p == 1
    assert table.note.startswith(f"Of the {N} images that are in both, image by image")


def test_differences_are_of_the_same_images():
    # The one has the first 150 images, the other all but the first 50, in another order.
    one, other = some(slice(0, 150)), some(slice(None, 49, -1), v0=labels_with(160, 20))
    table = between(one, other, ("old", "new"))
    row = next(row for row in table.rows if row.name.text == "v0 on inception_v1")
    whole = results()
    clean = next(cell for cell in whole.labels if cell.condition == CLEAN and cell.target == "inception_v1")
    shared = slice(50, 150)
    wanted = paired_difference(labels_with(160, 20)[shared], whole.labels[clean][shared], whole.images.labels[shared])
    assert row.values[2].difference == wanted
    assert row.values[0].share.n == row.values[1].share.n == 100
    assert "Of the 100 images that are in both (150 and 150 are in one)" in table.note
    every = [row.values[2] for row in table.rows]
    assert [value.corrected for value in every] == holm([value.p for value in every])
    assert table.title == "new compared with old"


def test_images_that_were_not_attacked_say_nothing():
    labels = labels_with(100)
    labels[:40] = NOT_ATTACKED
    table = between(results(), some(**{ATTACKED.text: labels}))
    counts = {row.name.text: row.values[0].share.n for row in table.rows}
    assert counts["v0 + δ, IncV1 (oblivious) on inception_v1"] == N - 40
    assert counts["v0 on inception_v1"] == N


def test_cells_of_one_run_only_are_counted():
    few = experiment(sections=(Section("", (CLEAN,)),), comparisons=(), transfers=(), sweeps=())
    table = between(results(), results(few))
    assert [row.name.text for row in table.rows] == ["v0"]
    assert f"{len(results().labels) - 1} and 0 cells are in one of them only." in table.note


def test_what_cannot_be_compared_is_refused():
    whole = results()
    other = replace(whole, images=replace(whole.images, names=tuple(f"x{i}" for i in range(N))))
    with pytest.raises(ValueError, match="the runs have no image in common"):
        between(whole, other)
    other = replace(whole, images=replace(whole.images, labels=(whole.images.labels + (np.arange(N) == 7)) % 8))
    with pytest.raises(ValueError, match=r"1 of 200 images have another label in each run, the first of them '.*'"):
        between(whole, other)
    with pytest.raises(ValueError, match="the runs have no cell in common"):
        between(whole, replace(whole, labels={}))


def test_the_command_prints_the_table(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    saved(results(), tmp_path / "a")
    saved(results(), tmp_path / "b")
    assert main(["diff", "a", "b"]) == 0
    assert capsys.readouterr().out.startswith("b compared with a\n")
    assert main(["diff", "a", "c"]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("Error: ")
