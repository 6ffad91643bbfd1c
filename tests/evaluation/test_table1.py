"""The whole evaluation, tiny: every step runs, everything is stored, and a second run computes nothing."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import numpy as np
import pytest

from art_denoise import SGDUAP, DefensiveNoiseDefence, Perturbation, ROFDefence
from art_denoise.attacks import _crafting
from art_denoise.evaluation import networks, tasks
from art_denoise.evaluation.options import Machine, Options
from art_denoise.evaluation.report import comparisons, table, write_report
from art_denoise.evaluation.rows import COMPARISONS, PAPER_ROWS
from art_denoise.evaluation.table1 import run_table1

pytestmark = pytest.mark.long

COLUMNS = {"inception_v1": "IncV1", "vgg16": "VGG16", "vgg19": "VGG19"}

QUIET = Machine(device="cpu", progress=False)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return folder, run_table1(folder, Options.quick(), QUIET)


def test_every_cell_has_a_label_for_every_image(run):
    _, result = run
    n = 2 * 19
    assert len(result.labels) == n
    names = {row.cell(column) for row in result.rows for column in COLUMNS}
    added = ["clean", "signs", *(f"{kind}-{source}" for kind in ("deepfool", "sgd") for source in COLUMNS)]
    names |= {f"transfer-{name}-to-{target}" for name in added for target in COLUMNS}
    assert set(result.predicted) == names
    for labels in result.predicted.values():
        assert labels.shape == (n,)
        assert labels.dtype == np.int64
        assert set(labels.tolist()) <= set(range(19))


def test_run_folder(run):
    folder, result = run
    config = json.loads((folder / "config.json").read_text())
    assert config["options"]["eps"] == pytest.approx(10 / 255)
    assert config["data"]["test"]
    assert config["versions"]["torch"]
    cells = {f.stem: json.loads(f.read_text()) for f in (folder / "cells").glob("*.json")}
    assert {name: cell["labels"] for name, cell in cells.items()} == {
        name: labels.tolist() for name, labels in result.predicted.items()
    }
    for kind, attack in (("deepfool", "DeepFoolUAP"), ("sgd", "SGDUAP"), ("sgd-rof", "SGDUAP"), ("sgd-nlm", "SGDUAP")):
        deltas = [
            Perturbation.load(folder / "perturbations" / f"delta-{kind}-{column}.safetensors") for column in COLUMNS
        ]
        assert [delta.source for delta in deltas] == list(COLUMNS)
        assert {delta.attack for delta in deltas} == {attack}
        assert all(0 < delta.linf <= 10 / 255 + 1e-6 for delta in deltas)
    assert not list(folder.rglob("*.checkpoint"))
    assert not list(folder.rglob("*.part"))


def test_a_second_run_computes_nothing(run, monkeypatch):
    folder, result = run

    def computed(*args, **kwargs):
        pytest.fail("computed again")

    for name in ("DeepFoolUAP", "SGDUAP", "predicted_labels", "best_batch_size"):
        monkeypatch.setattr(tasks, name, computed)
    monkeypatch.setattr(networks, "train", computed)
    monkeypatch.setattr(DefensiveNoiseDefence, "fit", computed)
    again = run_table1(folder, Options.quick(), QUIET)
    for name, labels in result.predicted.items():
        np.testing.assert_array_equal(again.predicted[name], labels)


def test_a_lost_cell_is_computed_again(run):
    folder, result = run
    cell = folder / "cells" / "uap-rof-vgg16.json"
    cell.unlink()
    again = run_table1(folder, Options.quick(), QUIET)
    np.testing.assert_array_equal(again.predicted["uap-rof-vgg16"], result.predicted["uap-rof-vgg16"])
    assert cell.is_file()


def test_an_interrupted_run_goes_on(run, tmp_path, monkeypatch):
    _, result = run
    scored = []
    predict = tasks.predicted_labels

    def interrupted(*args, **kwargs):
        if len(scored) == 3:
            raise KeyboardInterrupt
        scored.append(1)
        return predict(*args, **kwargs)

    monkeypatch.setattr(tasks, "predicted_labels", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_table1(tmp_path, Options.quick(), QUIET)
    assert len(list((tmp_path / "cells").iterdir())) == 3
    monkeypatch.setattr(tasks, "predicted_labels", predict)
    again = run_table1(tmp_path, Options.quick(), QUIET)
    for name, labels in result.predicted.items():
        np.testing.assert_array_equal(again.predicted[name], labels)


def test_more_crops_than_there_are_is_refused(tmp_path):
    with pytest.raises(ValueError, match="`craft_images` must be <= 38, the training crops, got 100"):
        run_table1(tmp_path, replace(Options.quick(), craft_images=100), QUIET)


def test_other_choices_are_refused(run):
    folder, _ = run
    with pytest.raises(ValueError, match=r"options\.noise_draws: 2 there, 3 now"):
        run_table1(folder, replace(Options.quick(), noise_draws=3), QUIET)


def test_the_defence_sees_the_perturbed_image(run, monkeypatch, tmp_path):
    """v0 → + δ, clip → D, not the other way round."""
    _, result = run
    images = np.divide(result.images.test.images, 255, dtype=np.float32)
    seen = []
    forward = ROFDefence.forward
    monkeypatch.setattr(
        ROFDefence, "forward", lambda self, x, y=None: seen.append(x.detach().numpy()) or forward(self, x, y)
    )
    run_table1(tmp_path, Options.quick(), QUIET)
    for column in COLUMNS:
        expected = np.clip(images + result.perturbations["deepfool"][column].array, 0, 1)
        batches = [x for x in seen if any(np.array_equal(x[0], image) for image in expected)]
        assert batches, column
        for image in expected:
            assert any(np.array_equal(image, other) for x in seen for other in x), column


def test_an_interrupted_crafting_goes_on(run, tmp_path, monkeypatch):
    """Stopped in the middle of crafting, the run goes on from the checkpoint and ends with the same perturbation."""
    _, result = run
    monkeypatch.setattr(_crafting, "_CHECKPOINT_SECONDS", 0.0)
    update, calls = SGDUAP._update, []

    def interrupted(self, *args):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return update(self, *args)

    monkeypatch.setattr(SGDUAP, "_update", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_table1(tmp_path, Options.quick(), QUIET)
    assert len(list((tmp_path / "perturbations").glob("delta-sgd-*.checkpoint"))) == 1
    again = run_table1(tmp_path, Options.quick(), QUIET)
    assert not list(tmp_path.rglob("*.checkpoint"))
    for kind, deltas in result.perturbations.items():
        for column, delta in deltas.items():
            np.testing.assert_array_equal(again.perturbations[kind][column].array, delta.array)


def test_crafted_through_the_denoiser_is_another(run):
    _, result = run
    for column in COLUMNS:
        arrays = [result.perturbations[kind][column].array for kind in ("sgd", "sgd-rof", "sgd-nlm")]
        assert len({array.tobytes() for array in arrays}) == 3


def test_transfer(run):
    """Labels changed by each perturbation on each network; the target's are those of the table."""
    _, result = run
    changed = {
        source: int(np.sum(result.predicted[f"sgd-{source}"] != result.predicted["clean"])) for source in COLUMNS
    }
    matrix = result.transfer["sgd"]
    assert {source: matrix.shares[source]["inception_v1"].count for source in COLUMNS} == changed
    assert matrix.targets == list(COLUMNS)
    assert matrix.sources == [*COLUMNS, "random signs"]
    signs = np.sum(result.predicted["signs"] != result.predicted["clean"])
    assert matrix.shares["random signs"]["inception_v1"].count == signs
    assert result.transfer["deepfool"].published["vgg16"]["vgg16"] == 78.3


def test_controls_have_the_size_of_what_they_control():
    array = np.random.default_rng(0).normal(0, 0.02, (3, 8, 8)).astype(np.float32)
    control = tasks.random_direction_of_noise(array, np.random.default_rng(1))
    assert np.linalg.norm(control) == pytest.approx(np.linalg.norm(array), rel=1e-5)
    cosine = np.sum(control * array) / np.linalg.norm(array) ** 2
    assert abs(cosine) < 0.3


def test_report(run):
    folder, result = run
    text = write_report(result, folder)
    report = folder / "report"
    for name in ("table1.txt", "table1.md", "table1.tex", "table1.csv", "table1.json", "transfer.csv", "index.html"):
        assert (report / name).stat().st_size > 0
    for figure in ("examples", "transfer-deepfool", "transfer-sgd"):
        assert (report / "figures" / f"{figure}.png").read_bytes().startswith(b"\x89PNG")
    assert text == (report / "table1.txt").read_text()
    for row in result.rows:
        assert row.text in text
        assert f"| {row.text} |" in (report / "table1.md").read_text()
    page = (report / "index.html").read_text()
    assert "<script" not in page
    assert all(row.text in page for row in PAPER_ROWS)

    with (report / "table1.csv").open() as file:
        records = list(csv.DictReader(file))
    assert len(records) == len(result.rows) * 3
    first = records[0]
    correct = int(np.sum(result.predicted["clean"] == result.labels))
    assert (first["row"], first["column"], int(first["correct"]), int(first["n"])) == ("v0", "IncV1", correct, 38)
    assert float(first["low"]) <= float(first["accuracy"]) <= float(first["high"])
    assert float(first["paper"]) == 69.4


def test_figures_of_the_report_are_those_of_the_labels(run):
    _, result = run
    cells = {(c["row"], c["column"]): c for c in table(result)}
    for row in result.rows:
        for column, name in COLUMNS.items():
            labels = result.predicted[row.cell(column)]
            assert cells[row.text, name]["accuracy"] == pytest.approx(100 * np.mean(labels == result.labels), abs=0.01)
    pairs = comparisons(result)
    assert {p["what"] for p in pairs} == {text for _, _, text in COMPARISONS}
    for pair in pairs:
        assert pair["points"] == pytest.approx(100 * (pair["only_first"] - pair["only_second"]) / 38, abs=0.01)


def test_the_papers_figures():
    """Table 1 of the paper, row by row."""
    assert [row.paper for row in PAPER_ROWS] == [
        (69.4, 69.4, 69.4),
        (12.5, 28.7, 31.7),
        (56.3, 47.2, 49.1),
        (57.1, 51.2, 51.3),
        (57.7, 45.0, 46.9),
        (58.0, 47.7, 49.4),
    ]
