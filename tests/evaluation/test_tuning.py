"""How strong defences may be: from how strengths are written to the files that evaluate goes on with."""

from __future__ import annotations

import numpy as np
import pytest
from folders import machine_of, options_of, write_project
from results_by_hand import N, labels_with, results

from art_denoise.cli import main
from art_denoise.cli.chosen import tomllib
from art_denoise.evaluation.components import parse_defence
from art_denoise.evaluation.experiment import Cell, Network
from art_denoise.evaluation.from_options import strengths
from art_denoise.evaluation.report import all_tables
from art_denoise.evaluation.report.table import Missing
from art_denoise.evaluation.results import Results
from art_denoise.evaluation.run import run
from art_denoise.evaluation.strengths import as_written, tuned
from art_denoise.evaluation.studies.tuning import BASELINES, STRENGTHS, strengths_of, tuning

NET = Network("net", "Net")


def test_strengths_are_those_in_parentheses_or_those_known():
    assert strengths_of("rof:weight=(5,10)") == ["rof:weight=5", "rof:weight=10"]
    assert strengths_of("mine.py:f:a=1,b=(0.1, 0.2)") == ["mine.py:f:a=1,b=0.1", "mine.py:f:a=1,b=0.2"]
    assert strengths_of("nlm") == [f"nlm:h={h}" for h in STRENGTHS["nlm"][1]]
    for text in BASELINES:
        found = [parse_defence(one) for one in strengths_of(text)]
        assert len(set(found)) == len(found) > 2
    for text in (f"{__file__}:f", "art:GaussianAugmentation", "rof:weight=5"):
        with pytest.raises(ValueError, match=r"write the strengths .* in parentheses"):
            strengths_of(text)
    with pytest.raises(ValueError, match="one parameter is the strength"):
        strengths_of("nlm:h=(1,2),patch_size=(2,3)")


def test_each_family_is_a_section_of_images_for_tuning():
    texts = [*strengths_of("rof:weight=(5,10)"), *strengths_of("nlm:h=(0.01,0.02,0.03)")]
    asked = tuning(NET, [parse_defence(text) for text in texts])
    assert asked.scored_on == "tune"
    assert [(s.title, len(s.conditions)) for s in asked.sections] == [("No defence", 1), ("D_ROF", 2), ("D_nlm", 3)]
    assert len(asked.cells()) == 6


def test_the_strongest_that_is_not_too_dear_is_chosen():
    texts = strengths_of("rof:weight=(2,5,12,20)") + strengths_of("nlm:h=(0.1,0.2)")
    asked = tuning(NET, [parse_defence(text) for text in texts])
    # Of N = 200 images, two are a point. Not every strength costs more than the one before.
    right = dict(zip(asked.cells(), (160, 159, 157, 158, 147, 140, 100), strict=True))
    found = results(asked, {cell: labels_with(count) for cell, count in right.items()}, made=(), examples=None)
    assert N == 200
    chosen = tuned(found, (0.7, 2, 5, 7))
    written = {
        title: [None if one.defence is None else one.difference.value * 100 for one in of]
        for title, of in chosen.items()
    }
    assert written["D_ROF"] == pytest.approx([0.5, 1, 1, 6.5])
    assert written["D_nlm"] == [None] * 4
    assert as_written(chosen, 2) == ["rof:weight=12/255"]
    (table,) = all_tables(found)["strengths"]
    assert [row.name.text for row in table.rows] == ["D_ROF", "D_nlm"]
    assert table.rows[0].values[1].name.text == "rof:weight=12/255: 1.0"
    assert isinstance(table.rows[1].values[0], Missing)
    assert "200 tuning crops" in all_tables(found)["accuracy"][0].title


@pytest.mark.long
def test_from_a_folder_to_the_file_that_evaluate_goes_on_with(tmp_path, capsys, monkeypatch):
    project = write_project(tmp_path)
    options = options_of(project, defences=("rof:weight=1", "rof:weight=200"), attacks=None)
    found = run(project / "run", options, machine_of(project), strengths)
    # The images are those for tuning, and the same as read again.
    assert len(found.images) == found.images.counts["tune"] != found.images.counts["test"]
    again = Results.load(project / "run")
    for cell in found.labels:
        assert np.array_equal(again.labels[cell], found.labels[cell])
    assert len(found.labels[Cell(found.experiment.conditions[0], found.experiment.target.key)]) == len(found.images)
    monkeypatch.chdir(tmp_path)
    arguments = [
        *("tune", "--data", str(project / "images"), "--model", f"{project / 'mine.py'}:net", "--input-size", "16"),
        *("--defence", "rof:weight=(1,2)", "--tune-images", "8", "--noise-images", "0", "--test-images", "8"),
        *("--craft-images", "8", "--out", "runs/strengths", "--no-preflight"),
    ]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert "How strong each defence may be for what it costs on clean images" in printed
    assert "art-denoise evaluate --config runs/strengths/tuned-5.toml" in printed
    written = tomllib.loads((tmp_path / "runs/strengths/tuned-5.toml").read_text())
    assert written["defence"] == ["rof:weight=2/255"]
    assert main(["evaluate", "--config", "runs/strengths/tuned-5.toml", "--attack", "random-signs"]) == 0
    assert "D_ROF(v0 + random signs)" in capsys.readouterr().out
    with pytest.raises(ValueError, match="`tune_images` must be >= 1"):
        run(project / "other", options_of(project, tune_images=0), machine_of(project), strengths)
