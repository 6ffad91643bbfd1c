"""The whole table with a stranger's model on a stranger's folder: stored, changed, killed, planned."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from art_denoise import Perturbation
from art_denoise.data.decoding import Framing, decode_image
from art_denoise.evaluation import plan as planning
from art_denoise.evaluation import store, tasks
from art_denoise.evaluation.options import Machine, Options
from art_denoise.evaluation.plan import plan
from art_denoise.evaluation.report import sweep, table, write_report
from art_denoise.evaluation.setting import find_setting
from art_denoise.evaluation.table1 import run_table1

pytestmark = pytest.mark.long

EXAMPLE = Path(__file__).parents[2] / "examples" / "table1.py"

#: Tells the colours of the four classes' pictures by a small network fitted to them in closed form.
NETWORK = """
import torch

class Net(torch.nn.Module):
    categories = ["blue things", "green things", "grey things", "red things"]

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.features = torch.nn.Conv2d(3, 16, 5, stride=2)
        self.register_buffer("colours", torch.tensor([[.2, .2, .6], [.2, .6, .2], [.4, .4, .4], [.6, .2, .2]]))
        with torch.no_grad():
            self.features.weight.copy_(torch.randn(16, 3, 5, 5, generator=generator) / 20)
        self.mix = torch.nn.Linear(16, 4)
        with torch.no_grad():
            self.mix.weight.copy_(torch.randn(4, 16, generator=generator))

    def forward(self, x):
        near = -20 * torch.cdist(x.mean((2, 3)), self.colours)
        return near + self.mix(torch.tanh(self.features(x)).mean((2, 3)))

def net():
    torch.manual_seed(0)
    return Net()
"""

COLOURS = {
    "blue_things": (51, 51, 153),
    "green_things": (51, 153, 51),
    "grey_things": (102,) * 3,
    "red_things": (153, 51, 51),
}


def write_colours(root: Path, count: int) -> Path:
    """Write a folder of four classes of noisy coloured pictures."""
    rng = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        (root / name).mkdir(parents=True)
        for i in range(count):
            rough = np.clip(np.array(colour) + rng.normal(0, 45, (7, 6, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(rough).resize((30 + i, 41), Image.Resampling.BICUBIC).save(root / name / f"{i}.png")
    return root


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A folder of a model's file and images."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "mine.py").write_text(NETWORK)
    write_colours(folder / "images", 30)
    return folder


def options_of(own: Path, **kwargs) -> Options:
    given = {
        "model": f"{own / 'mine.py'}:net",
        "input_size": 24,
        "craft_images": 12,
        "tune_images": 20,
        "noise_images": 40,
        "craft_passes": 2,
        "sgd_passes": 2,
        "noise_draws": 3,
        "noise_accept": "loss",
        "eps": 40 / 255,
        **kwargs,
    }
    return Options.for_data(str(own / "images"), **given)


def arguments_of(own: Path, out: Path) -> list[str]:
    """Return the command that runs the same table, but for `eps`, which it does not have."""
    return [
        sys.executable, str(EXAMPLE), "--data", str(own / "images"), "--model", f"{own / 'mine.py'}:net",
        "--input-size", "24", "--craft-images", "12", "--tune-images", "20", "--noise-images", "40",
        "--craft-passes", "2", "--sgd-passes", "2", "--noise-draws", "3", "--noise-accept", "loss",
        "--decoded-dir", str(out.parent / f"{out.name}-decoded"), "--no-progress", "--sweep", "--out", str(out),
    ]  # fmt: skip


def machine_of(own: Path) -> Machine:
    return Machine(device="cpu", progress=False, decoded_dir=own / "decoded")


@pytest.fixture(scope="module")
def run(own):
    return own / "run", run_table1(own / "run", options_of(own, sweep=True), machine_of(own))


def test_the_table(own, run):
    _, result = run
    assert [column.text for column in result.columns] == ["mine"]
    assert result.target.categories[1] == "green things"
    assert result.images.title == "images of images, 4 classes"
    accuracies = {cell["row"]: cell["accuracy"] for cell in table(result)}
    assert accuracies["v0"] > 60
    assert accuracies["v0 + δ_SGD"] < accuracies["v0"] - 10
    assert {"D_ROF(v0 + δ + v_def)", "D_nlm(v0 + δ_SGD knowing D_nlm)", "D_nlm(v0 + random signs)"} <= set(accuracies)
    assert all(cell["paper"] is None for cell in table(result))
    assert result.checks["mine"]["accuracy"] > 60


def test_labels_are_those_of_the_model_on_the_files(own, run):
    """By a second route: files, in the order of the split, through the network itself."""
    _, result = run
    setting = find_setting(options_of(own, sweep=True), machine_of(own))
    root, files = setting.files.files("test")
    images = np.stack([decode_image(root / name, Framing(27, 24, margin="down")) for name in files])
    np.testing.assert_array_equal(images, result.images.test.images)
    logits = result.target.classifier("cpu").predict(images.astype(np.float32) / 255)
    assert logits.argmax(axis=1).tolist() == result.predicted["clean"].tolist()
    assert [sorted(COLOURS)[label] for label in result.labels] == [name.split("/")[0] for name in files]


def test_no_image_is_in_two_splits(run):
    _, result = run
    digests = [digest for split in result.images.splits.values() for digest in split.digests]
    assert len(digests) == len(set(digests)) == 120
    assert {p: len(s) for p, s in result.images.splits.items()} == {
        "craft": 12,
        "tune": 20,
        "noise-fit": 40,
        "test": 48,
    }


def test_the_sweep(run):
    folder, result = run
    write_report(result, folder)
    records = sweep(result)
    assert {r["images"] for r in records} == {"v0", "v0 + δ mine", "v0 + random signs"}
    assert {r["strength"] for r in records if r["denoiser"] == "ROF"} >= {0, 5, 10, 20}
    assert {r["strength"] for r in records if r["denoiser"] == "NL-means"} >= {0, 0.02, 0.05, 0.1}
    # The table's own strengths give the table's own figures, and none gives none.
    cells = {cell["row"]: cell["accuracy"] for cell in table(result)}
    at = {(r["denoiser"], r["strength"], r["images"]): r["accuracy"] for r in records}
    assert at["ROF", 10, "v0 + δ mine"] == cells["D_ROF(v0 + δ)"]
    assert at["NL-means", 0.05, "v0"] == cells["D_nlm(v0)"]
    assert at["ROF", 0, "v0"] == at["NL-means", 0, "v0"] == cells["v0"]
    report = folder / "report"
    assert (report / "sweep.csv").read_text().count("\n") == 1 + len(records)
    assert (report / "figures" / "sweep.png").read_bytes().startswith(b"\x89PNG")
    assert "Strength of the denoisers" in (report / "index.html").read_text()


def count_computed(monkeypatch) -> list[str]:
    """Return a list that fills with the names of what is computed."""
    computed: list[str] = []
    for name in ("labels", "perturbation", "record"):
        original = getattr(store.RunFolder, name)

        def counted(self, *args, original=original, **kwargs):
            made = args[-1]
            return original(self, *args[:-1], lambda *a: computed.append(args[0]) or made(*a), **kwargs)

        monkeypatch.setattr(store.RunFolder, name, counted)
    return computed


def test_nothing_is_computed_twice(own, run, monkeypatch):
    folder, result = run
    computed = count_computed(monkeypatch)
    again = run_table1(folder, options_of(own, sweep=True), machine_of(own))
    assert computed == []
    assert {k: v.tolist() for k, v in again.predicted.items()} == {k: v.tolist() for k, v in result.predicted.items()}


@pytest.mark.parametrize(
    ("changed", "computed_anew", "kept"),
    [
        ({"noise_draws": 4}, {"v_def-rof", "v_def-nlm-sigma8"}, {"clean", "uap-mine-net", "delta-sgd-mine-net"}),
        (
            {"nlm_h": 0.03},
            {"clean-nlm", "uap-nlm-mine-net", "delta-sgd-nlm-mine-net"},
            {"uap-rof-mine-net", "v_def-rof"},
        ),
        ({"sgd_passes": 1}, {"delta-sgd-mine-net", "sgd-mine-net"}, {"delta-deepfool-mine-net", "uap-rof-mine-net"}),
        ({"rows": "paper"}, set(), {"clean", "v_def-rof"}),
    ],
)
def test_a_change_computes_what_depends_on_it(own, run, monkeypatch, tmp_path, changed, computed_anew, kept):
    folder, result = run
    options = replace(options_of(own, sweep=True), **changed)
    with pytest.raises(ValueError, match=rf"other choices \(options\.{next(iter(changed))}.*allow the `change`"):
        run_table1(folder, options, machine_of(own))
    computed = count_computed(monkeypatch)
    run_table1(folder, options, machine_of(own), change=True)
    assert computed_anew <= set(computed)
    assert not kept & set(computed)
    computed.clear()
    again = run_table1(folder, options_of(own, sweep=True), machine_of(own), change=True)
    assert computed == []  # changed back, everything is still there
    assert again.predicted["clean"].tolist() == result.predicted["clean"].tolist()


def test_files_as_columns(own, tmp_path, monkeypatch):
    """Perturbations of others: their columns only, no crafting, no v_def."""
    array = np.random.default_rng(1).choice([-0.1, 0.1], (3, 24, 24)).astype(np.float32)
    Perturbation(array).save(tmp_path / "theirs.safetensors")
    np.save(tmp_path / "other.npy", -255 * array.transpose(1, 2, 0))
    sources = (str(tmp_path / "theirs.safetensors"), f"{tmp_path / 'other.npy'}:order=rgb,layout=HWC,units=255")
    sizes = {"craft_images": 0, "tune_images": 0, "noise_images": 0, "test_images": 10}
    options = options_of(own, sources=sources, **sizes)
    result = run_table1(tmp_path / "run", options, machine_of(own))
    text = write_report(result, tmp_path / "run")
    assert [row.key for row in result.rows] == [
        "clean", "uap", "uap-rof", "uap-nlm", "clean-rof", "clean-nlm", "signs", "signs-rof", "signs-nlm",
    ]  # fmt: skip
    assert "v_def: left out" in text
    assert "δ of theirs: from a file, L∞ 25.5/255." in text
    assert list(result.transfer) == ["deepfool"]
    x = result.images.test.images.astype(np.float32) / 255
    for key, sign in (("theirs", 1), ("other", -1)):
        expected = result.target.classifier("cpu").predict(np.clip(x + sign * array, 0, 1)).argmax(axis=1)
        assert result.predicted[f"uap-{key}"].tolist() == expected.tolist()


def test_columns_of_both_kinds_have_dashes(own, tmp_path):
    Perturbation(np.full((3, 24, 24), 0.05, dtype=np.float32)).save(tmp_path / "theirs.safetensors")
    model = f"{own / 'mine.py'}:net"
    options = options_of(own, sources=(model, str(tmp_path / "theirs.safetensors")), noise_images=0, test_images=10)
    result = run_table1(tmp_path / "run", options, machine_of(own))
    text = write_report(result, tmp_path / "run")
    line = next(line for line in text.splitlines() if line.startswith("  v0 + δ_SGD "))
    assert re.fullmatch(r"  v0 \+ δ_SGD +\d+\.\d \[.*\] +– *", line)
    assert "– where it would have to be crafted" in text
    cells = {(c["row"], c["column"]) for c in table(result)}
    assert ("v0 + δ", "theirs") in cells
    assert ("v0 + δ_SGD", "theirs") not in cells
    for name in ("table1.md", "table1.tex", "index.html"):
        assert "theirs" in (tmp_path / "run" / "report" / name).read_text()


def test_without_a_helpful_draw_there_are_no_rows_of_v_def(own, tmp_path):
    """A model that a draw of noise never turns right: the rest of the table is there, and it says why."""
    options = options_of(own, noise_accept="flip", noise_sigmas=(1e-6,), test_images=20, noise_knowing=True)
    result = run_table1(tmp_path / "run", options, machine_of(own))
    text = write_report(result, tmp_path / "run")
    assert not [row.key for row in result.rows if row.noise != "nothing"]
    assert "sgd-rof" in {row.key for row in result.rows}
    assert "v_def rof: left out, no defensive noise can be estimated" in text
    again = run_table1(tmp_path / "run", options, machine_of(own))
    assert again.noises["rof"].provenance["why"] == result.noises["rof"].provenance["why"]


def test_an_attack_that_does_nothing_is_told(own, tmp_path):
    for name, size in (("weak", 1e-4), ("strong", 0.5)):
        signs = np.random.default_rng(0).choice([-size, size], (3, 1, 1)).astype(np.float32)
        Perturbation(np.broadcast_to(signs, (3, 24, 24)).copy()).save(tmp_path / f"{name}.safetensors")
    sources = tuple(str(tmp_path / f"{name}.safetensors") for name in ("weak", "strong"))
    sizes = {"craft_images": 0, "tune_images": 0, "noise_images": 0, "rows": "paper"}
    result = run_table1(tmp_path / "run", options_of(own, sources=sources, **sizes), machine_of(own))
    text = write_report(result, tmp_path / "run")
    assert "δ of weak costs no accuracy that chance might not cost" in text
    assert "δ of strong costs no" not in text


def test_two_models_of_one_file_are_told_apart(own, tmp_path):
    (own / "two.py").write_text(NETWORK + "\n\ndef other():\n    return net()\n")
    sources = (f"{own / 'two.py'}:net", f"{own / 'two.py'}:other")
    setting = find_setting(replace(options_of(own), model=sources[0], sources=sources), machine_of(own))
    assert [column.text for column in setting.columns] == ["two-net", "two-other"]


def test_broken_images(own, tmp_path):
    images = write_colours(tmp_path / "images", 12)
    (images / "red_things" / "3.png").write_bytes(b"no picture")
    (images / "blue_things" / "5.png").write_bytes(b"")
    (images / "blue_things" / "7.png").write_bytes(b"")
    (images / "grey_things" / "2.png").write_bytes(b"")
    setup = {"craft_images": 24, "tune_images": 0, "noise_images": 0, "rows": "paper"}
    options = replace(options_of(own, **setup), data=str(images))
    machine = replace(machine_of(own), decoded_dir=tmp_path / "decoded")
    # All of them, whichever split they are in; nothing was computed, so that the next start need not allow a change.
    message = r"4 of 48 images cannot be read \(.*\.png: is no image.*; 1 more in .*`skip_broken`"
    with pytest.raises(ValueError, match=message):
        run_table1(tmp_path / "run", options, machine)
    result = run_table1(tmp_path / "run", replace(options, skip_broken=True), machine)
    assert sum(len(split) for split in result.images.splits.values()) == 44
    assert "red_things/3.png" in write_report(result, tmp_path / "run")


def test_the_same_picture_in_two_splits_is_told(own, tmp_path):
    images = write_colours(tmp_path / "images", 6)
    for i in range(6):
        (images / "red_things" / f"{i}.png").write_bytes((images / "blue_things" / "0.png").read_bytes())
    options = replace(options_of(own, craft_images=8, tune_images=0, noise_images=0, rows="paper"), data=str(images))
    machine = replace(machine_of(own), decoded_dir=tmp_path / "decoded")
    result = run_table1(tmp_path / "run", replace(options, preflight=False), machine)
    assert any("pixel for pixel, among those for craft" in remark for remark in result.images.remarks)


def test_a_plan_does_nothing(own, tmp_path):
    options, machine = options_of(own), replace(machine_of(own), decoded_dir=tmp_path / "decoded")
    text = plan(tmp_path / "run", options, machine)
    assert list(tmp_path.iterdir()) == []
    assert "Images for test: 48 of 120" in text
    assert "not decoded yet" in text
    assert re.search(r"Decode images +4 splits to do +120 ", text)
    assert re.search(r"Craft, DeepFoolUAP +1 to do ", text)
    assert re.search(r"Fit v_def +4 to do ", text)
    assert re.search(r"Altogether +\d+ (s|min)\n", text)
    assert re.search(r"Disk: \d+ \w?B of decoded images in", text)
    assert re.search(r"Memory: about [\d.]+ (MB|GB)", text)


def test_a_plan_knows_what_is_there(own, run):
    folder, _ = run
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    options = options_of(own, sweep=True)
    text = plan(folder, options, machine_of(own))
    assert "decoded yet" not in text
    assert " 0 to do" in text
    assert not re.search(r"[1-9]\d* to do", text)
    changed = plan(folder, replace(options, sgd_passes=3), machine_of(own))
    assert re.search(r"Craft, DeepFoolUAP +1 stored, 0 to do", changed)
    assert re.search(r"Craft, SGDUAP +1 to do", changed)
    # Cells of δ_SGD have to be scored again, whatever it will be.
    assert int(re.search(r"Score +\d+ stored, (\d+) to do", changed)[1]) == 8
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_a_plans_times_are_of_the_models_asked_for(own, monkeypatch, tmp_path):
    """Twice the images take twice the time, if nothing else is to be done."""
    monkeypatch.setattr(planning, "seconds_of", lambda classifier, few, size, repeats: 1.0 * size)
    sizes = {"craft_images": 0, "tune_images": 0, "noise_images": 0, "preflight": False}
    Perturbation(np.full((3, 24, 24), 0.05, dtype=np.float32)).save(tmp_path / "theirs.safetensors")
    times = []
    for count in (10, 20):
        options = options_of(own, sources=(str(tmp_path / "theirs.safetensors"),), test_images=count, **sizes)
        text = plan(tmp_path / "run", options, machine_of(own))
        times.append(re.search(r"Score +12 to do +(\d+) +(\d+) min", text).groups())
    assert [int(images) for images, _ in times] == [120, 240]
    assert [int(minutes) for _, minutes in times] == [2, 4]


def test_killed_at_any_moment(own, tmp_path):
    """Killed again and again, the run ends with the report of one that was left alone, to the byte."""
    undisturbed = tmp_path / "undisturbed"
    done = subprocess.run(arguments_of(own, undisturbed), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    moments, killed = random.Random(0), tmp_path / "killed"
    for _ in range(5):
        process = subprocess.Popen(arguments_of(own, killed), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            process.communicate(timeout=moments.uniform(3, 9))
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
        else:
            break
    done = subprocess.run(arguments_of(own, killed), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    reports = [sorted(p for p in (run / "report").rglob("*") if p.is_file()) for run in (undisturbed, killed)]
    assert [p.name for p in reports[0]] == [p.name for p in reports[1]]
    for first, second in zip(*reports, strict=True):
        assert first.read_bytes() == second.read_bytes(), first.name
    assert not list(killed.rglob("*.part"))
    assert not list(killed.rglob("*.checkpoint"))


def test_config_says_everything(own, run):
    folder, _ = run
    config = json.loads((folder / "config.json").read_text())
    assert config["images"] == {"resize": 27, "crop": 24, "interpolation": "bilinear", "margin": "down"}
    assert len(config["models"]["mine-net"]) == 16
    assert config["data"]["classes"] == "by the model's names of its classes"
    splits = json.loads((folder / "splits.json").read_text())
    assert list(splits) == ["craft", "tune", "noise-fit", "test"]
    for purpose, split in splits.items():
        assert split["fingerprint"] == config["data"][purpose]
        assert len(split["files"]) == len(split["labels"])
        assert all((Path(split["root"]) / name).is_file() for name in split["files"])


def test_half_precision_is_used_only_where_labels_stay(own, tmp_path, monkeypatch):
    options = options_of(own, craft_images=6, tune_images=0, noise_images=0, test_images=10, rows="paper")
    for differing, used in ((0, True), (1, False)):
        made = []
        half = tasks.in_half_precision

        def checked(*args, differing=differing, made=made, half=half):
            made.append(1)
            return half(*args)[0], differing

        monkeypatch.setattr(tasks, "in_half_precision", checked)
        machine = replace(machine_of(own), mixed_precision=True)
        run_table1(tmp_path / f"run{differing}", options, machine)
        monkeypatch.setattr(tasks, "in_half_precision", half)
        # Once to check, and once to score with.
        assert len(made) == (2 if used else 1)
