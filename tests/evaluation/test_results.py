"""Results by themselves: read again, as rows, one by one, and nothing else needed for it."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from results_by_hand import (
    ATTACKED,
    AWARE,
    ROF,
    SIGNS,
    SOURCES,
    UAP,
    N,
    counts,
    experiment,
    labels_with,
    results,
    saved,
    shown_images,
    truth,
)

from art_denoise._documents import as_document
from art_denoise.evaluation.experiment import Cell, Condition, Source
from art_denoise.evaluation.report import render
from art_denoise.evaluation.results import Results


def test_one_record_a_cell():
    asked = experiment(seeds=(0, 1))
    found = results(asked).records()
    assert [r["correct"] for r in found] == list(counts(asked).values())
    identities = Counter(
        tuple(
            r[k] for k in ("row", "attack", "knowledge", "defence", "noise", "eps", "norm", "target", "source", "seed")
        )
        for r in found
    )
    assert set(identities.values()) == {1}


def test_a_record():
    asked = experiment()
    (found,) = [
        r
        for r in results(asked).records()
        if r["row"] == "D_ROF(v0 + δ knowing D_ROF)" and r["source"] == "vgg16" and r["knowledge"] == "exact"
    ]
    right = counts(asked)[Cell(Condition(AWARE, ROF), "inception_v1", "vgg16", 0)]
    low, high = found.pop("low"), found.pop("high")
    assert low < found["accuracy"] < high
    assert found == {
        "section": "More",
        "row": "D_ROF(v0 + δ knowing D_ROF)",
        "attack": "deepfool-uap:max_iter=3",
        "knowledge": "exact",
        "knows_draws": False,
        "defence": "rof:weight=10/255",
        "noise": None,
        "eps": 10,
        "norm": "inf",
        "target": "inception_v1",
        "source": "vgg16",
        "seed": 0,
        "correct": right,
        "n": N,
        "accuracy": pytest.approx(100 * right / N),
        "published": None,
        "missing": None,
    }


def test_what_an_attacker_knows_is_that_of_the_cell():
    found = {(r["row"], r["source"], r["target"]): r for r in results().records() if r["knowledge"] != "bpda"}
    assert found["v0", None, "inception_v1"]["knowledge"] is None
    assert found["v0 + random signs", None, "inception_v1"]["knowledge"] is None
    assert found["v0 + δ", "inception_v1", "inception_v1"]["knowledge"] == "oblivious"
    assert found["v0 + δ", "vgg16", "inception_v1"]["knowledge"] == "transfer"
    # The other network is a target of its own where perturbations are scored on every network.
    assert found["v0 + δ", "vgg16", "vgg16"]["knowledge"] == "oblivious"
    assert found["v0", None, "inception_v1"]["published"] == 69.4
    assert found["v0 + δ", "vgg16", "inception_v1"]["published"] == 28.7
    assert found["v0 + δ", "inception_v1", "inception_v1"]["published"] is None


def test_records_of_cells_without_labels():
    asked = experiment()
    cells = asked.cells()
    labels = {cell: labels_with(right) for cell, right in counts(asked).items() if cell not in cells[:2]}
    found = results(asked, labels, missing={cells[0]: "the disk is full"}).records()
    assert [r["missing"] for r in found[:3]] == ["the disk is full", "not computed yet", None]
    assert found[0]["accuracy"] is None
    assert len(found) == len(cells)


def test_a_perturbation_from_a_file_has_no_attack_of_this_package():
    asked = experiment(sources=(*SOURCES, Source("theirs.npy", "theirs", stands_for=UAP.attack)))
    attacks = {r["source"]: r["attack"] for r in results(asked).records() if r["row"] == "v0 + δ"}
    assert attacks == {
        "inception_v1": "deepfool-uap:max_iter=3",
        "vgg16": "deepfool-uap:max_iter=3",
        "theirs.npy": "from a file",
    }


def test_every_image_in_every_cell(tmp_path):
    names = ["=1+1", 'a "b", c', "a\nb", *(f"{i}.png" for i in range(N - 3))]
    found = results()
    found = replace(found, images=replace(found.images, names=tuple(names)))
    found.write_per_image(tmp_path / "new" / "images.csv")
    with (tmp_path / "new" / "images.csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == N * len(found.labels)
    # A formula is no formula, and a record is one line.
    assert [line["image"] for line in lines[:N]] == ["'=1+1", names[1], "a b", *names[3:]]
    for i, (cell, labels) in enumerate(found.labels.items()):
        of_cell = lines[i * N : (i + 1) * N]
        assert {(line["row"], line["target"], line["source"], line["seed"]) for line in of_cell} == {
            (cell.condition.text, cell.target, cell.source or "", "0")
        }
        assert [int(line["predicted_label"]) for line in of_cell] == labels.tolist()
        assert [int(line["true_label"]) for line in of_cell] == truth().tolist()
        assert [line["right"] == "1" for line in of_cell] == (labels == truth()).tolist()


def test_names_of_files_that_are_no_text(tmp_path):
    found = results()
    found = replace(found, images=replace(found.images, names=("\udc80.png", *found.images.names[1:])))
    found.write_per_image(tmp_path / "images.csv")
    assert rb"\x80.png,0,v0" in (tmp_path / "images.csv").read_bytes()


def test_what_was_saved_is_loaded(tmp_path):
    found = results(experiment(seeds=(0, 1)), missing={})
    some = next(iter(found.labels))
    found = replace(found, drawn={some: np.stack([found.labels[some], found.labels[some][::-1]])})
    saved(found, tmp_path)
    again = Results.load(tmp_path)
    assert set(again.drawn) == {some}
    np.testing.assert_array_equal(again.drawn[some], found.drawn[some])
    assert again.experiment == found.experiment
    assert again.records() == found.records()
    for cell, labels in found.labels.items():
        np.testing.assert_array_equal(again.labels[cell], labels)
    assert again.made == found.made
    assert again.examples is not None
    np.testing.assert_array_equal(again.examples.magnified, found.examples.magnified)
    for name in ("text", "markdown", "latex", "html", "csv", "json"):
        assert render(again, name) == render(found, name)


def test_shown_images_are_saved_and_loaded(tmp_path):
    found = results(shown=(shown_images(), shown_images("vgg16", sure=False)))
    saved(found, tmp_path)
    again = Results.load(tmp_path)
    assert len(again.shown) == 2
    for one, other in zip(found.shown, again.shown, strict=True):
        for name, value in vars(one).items():
            np.testing.assert_equal(getattr(other, name), value)
    assert again.shown[1].confidence is None
    assert render(again, "json") == render(found, "json")
    # Pictures are no figures: what is gone is left out.
    (tmp_path / "examples" / f"{found.shown[0].key}.safetensors").unlink()
    assert [one.cell.source for one in Results.load(tmp_path).shown] == ["vgg16"]


def test_results_that_were_written_before_there_were_shown_images(tmp_path):
    saved(results(), tmp_path)
    file = tmp_path / "results.json"
    document = json.loads(file.read_text(encoding="utf-8"))
    assert document["content"].pop("shown") == []
    file.write_text(as_document({"content": document["content"]}, document["schema"]))
    again = Results.load(tmp_path)
    assert again.shown == ()
    assert again.records() == results().records()


@pytest.fixture
def folder(tmp_path):
    saved(results(), tmp_path)
    return tmp_path


def _changed(file, old, new):
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda file: file.write_bytes(file.read_bytes()[:-100]), "is damaged"),
        (lambda file: file.write_bytes(b""), "is damaged"),
        (lambda file: file.write_bytes(b"\xff\x00\xfe" * 40), "is damaged"),
        (lambda file: file.write_text("null"), "is damaged"),
        (lambda file: file.write_text("[]"), "is damaged"),
        (lambda file: file.write_text("{}"), "is damaged"),
        (lambda file: _changed(file, "69.4", "99.4"), "is damaged"),
        (lambda file: _changed(file, '"schema":4', '"schema":7'), r"is damaged, or of another .* schema 7, not 4"),
    ],
)
def test_damaged_results_are_one_sentence(folder, damage, said):
    damage(folder / "results.json")
    with pytest.raises(ValueError, match=said) as caught:
        Results.load(folder)
    message = str(caught.value)
    assert str(folder / "results.json") in message
    assert "run the same command again" in message
    assert "\n" not in message
    # Saved again, they are whole, whatever was there.
    with pytest.warns(RuntimeWarning, match=r"results\.json is damaged"):
        saved(results(), folder)
    assert Results.load(folder).records() == results().records()


def test_results_of_another_version(folder):
    file = folder / "results.json"
    document = json.loads(file.read_text(encoding="utf-8"))
    del document["content"]["failures"]
    file.write_text(as_document({"content": document["content"]}, document["schema"]))
    with pytest.raises(ValueError, match="was written by another version of this package"):
        Results.load(folder)


def test_no_results(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no results\.json: give the folder of a run"):
        Results.load(tmp_path)


def test_labels_that_are_gone_or_damaged(folder):
    found = results()
    keys = saved(found, folder)
    file = folder / "labels" / f"{keys[Cell(ATTACKED, 'inception_v1', 'vgg16', 0)]}.safetensors"
    content = file.read_bytes()
    for damage in (lambda: file.write_bytes(content[:-8] + b"\1" * 8), file.unlink):
        damage()
        with pytest.raises(ValueError, match=r"the labels of v0 \+ δ on inception_v1, crafted on vgg16.*again"):
            Results.load(folder)


def test_nothing_heavy_is_imported(folder):
    """Results are loaded, and told in every format that is text, without PyTorch, ART, SciPy or matplotlib."""
    program = """
import json, sys
from art_denoise.evaluation.results import Results
import art_denoise.evaluation.report as report
found = Results.load(sys.argv[1])
found.records()
found.write_per_image(sys.argv[2])
for name in report.renderers.names():
    assert report.render(found, name)
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder), str(folder / "images.csv")],
        capture_output=True,
        text=True,
        check=True,
    )
    heavy = {"torch", "torchvision", "art", "scipy", "matplotlib", "numba", "skimage", "sklearn", "pandas", "PIL"}
    assert not heavy & set(json.loads(done.stdout))


def test_the_page_needs_jinja_alone_when_it_is_written():
    program = "import sys, art_denoise.evaluation.report; print('jinja2' in sys.modules, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_cells_that_the_experiment_does_not_ask_for_are_told_of():
    found = results()
    extra = Cell(Condition(SIGNS, ROF), "inception_v1", None, 0)
    more = replace(found, labels={**found.labels, extra: labels_with(111)})
    assert more.records()[-1]["correct"] == 111
    assert more.records()[-1]["row"] == "D_ROF(v0 + random signs)"
