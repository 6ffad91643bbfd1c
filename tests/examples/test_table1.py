"""The program as a user starts it: from the example, which is the same as `art-denoise table1`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import platformdirs
import pytest
from folders import times, write_folder

from art_denoise import load_perturbation
from art_denoise.cli import main
from art_denoise.evaluation.results import Results

EXAMPLE = Path(__file__).parents[2] / "examples" / "table1.py"
PROGRAM = ("-m", "art_denoise")


def start(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=900,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )


@pytest.fixture(scope="module")
def quick(tmp_path_factory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A folder with a quick run of Table 1 in it, and what the program said."""
    folder = tmp_path_factory.mktemp("quick")
    return folder, start(EXAMPLE, "--quick", cwd=folder)


@pytest.mark.long
def test_a_run_on_the_photographs_verifies(quick):
    """It has no list of which image is for what, as runs on folders of images have."""
    verified = start(*PROGRAM, "verify", "runs/quick", "--sample", "1", cwd=quick[0])
    assert (verified.returncode, verified.stderr) == (0, ""), verified.stdout


@pytest.mark.long
def test_quick_run_prints_what_comes_first_and_says_where_the_report_is(quick):
    tmp_path, first = quick
    assert first.returncode == 0, first.stderr
    assert "What each defence leaves, by who attacks" in first.stdout
    assert "D_ROF after v_def" in first.stdout
    assert "D_ROF(v0 + δ_SGD knowing D_ROF)" not in first.stdout
    folder = tmp_path / "runs" / "quick"
    assert (folder / "report" / "index.html").is_file()
    assert "Report: runs/quick/report/index.html" in first.stdout.replace("\\", "/")
    assert "Craft δ on " in first.stderr  # progress
    made = times(folder)

    # The same by the other name, and by what the folder keeps; nothing is computed again.
    for again in (
        start(*PROGRAM, "table1", "--quick", "--no-progress", cwd=tmp_path),
        start(EXAMPLE, "--config", folder / "run.toml", "--no-progress", cwd=tmp_path),
    ):
        assert again.stdout == first.stdout, again.stderr
        assert "%|" not in again.stderr  # no bar; ART 1.17 warns of pkg_resources
    full = start(*PROGRAM, "table1", "--quick", "--full", "--no-progress", cwd=tmp_path)
    assert "D_ROF(v0 + δ_SGD knowing D_ROF)" in full.stdout
    assert start(*PROGRAM, "report", "runs/quick", cwd=tmp_path).stdout == full.stdout
    after = times(folder)
    assert {name: after[name] for name in made if name.endswith(".safetensors")} == {
        name: time for name, time in made.items() if name.endswith(".safetensors")
    }

    # Without what takes seconds to import.
    code = "import sys; from art_denoise.cli import main; main(['table1', '--quick']); sys.exit('torch' in sys.modules)"
    assert start("-c", code, cwd=tmp_path).returncode == 0

    refused = start(EXAMPLE, "--quick", "--seed", "1", cwd=tmp_path)
    assert refused.returncode == 2
    assert "Error: runs" in refused.stderr
    assert "options.seed: 0 there, 1 now" in refused.stderr
    assert "--change" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert "\nseed = 0\n" in (folder / "run.toml").read_text(encoding="utf-8")


@pytest.mark.long
def test_every_step_on_few_crops_of_the_photographs(quick, tmp_path):
    folder, _ = quick
    results = Results.load(folder / "runs" / "quick")
    assert not results.missing
    assert not results.failures
    assert (results.images.title, results.images.noun, len(results.images)) == ("crops of 19 photographs", "crop", 38)
    assert set(results.labels) == set(results.experiment.cells())
    # The table with who knows the attack, and what else is scored from network to network.
    # Images are attacked one by one without a defence, behind the two, and behind v_def and the two.
    assert len(results.labels) == 3 * (14 + 2) + 6 + 2 * (2 * 3 + 2) + 5
    assert all(labels.shape == (38,) and set(labels.tolist()) <= set(range(19)) for labels in results.labels.values())
    perturbations = [made for made in results.made if made.what == "perturbation"]
    assert len(perturbations) == 3 * 4
    assert all(0 < made.record["linf"] <= 10 / 255 + 1e-6 for made in perturbations)
    # Crafted through a denoiser it is another.
    files = [folder / "runs" / "quick" / "perturbations" / f"{made.key}.safetensors" for made in perturbations]
    assert len({load_perturbation(file).array.tobytes() for file in files}) == 12
    assert results.examples is not None
    assert {results.experiment.published_for(cell) for cell in results.labels} >= {69.4, 12.5, 58.0}

    # The networks are trained once for all runs, which give the same labels.
    weights = Path(platformdirs.user_cache_path("art_denoise")) / "weights"
    trained = times(weights)
    assert len(trained) >= 3
    arguments = ["table1", "--quick", "--rows", "paper", "--no-progress", "--jobs", "1"]
    assert start(*PROGRAM, *arguments, "--out", "again", cwd=tmp_path).returncode == 0
    assert times(weights) == trained
    again = Results.load(tmp_path / "again")
    assert len(again.labels) == 5 * 3 + 1
    for cell, labels in again.labels.items():
        assert labels.tolist() == results.labels[cell].tolist(), cell.text


@pytest.mark.large
@pytest.mark.long
def test_evaluate_sets_defences_against_attacks(tmp_path):
    arguments = ["evaluate", "--quick", "--no-progress", "--jobs", "1", "--defence", "art:JpegCompression:quality=60"]
    arguments += ["--attack", "pgd:max_iter=2", "--attack", "pgd:max_iter=2,knowledge=bpda", "--full"]
    first = start(*PROGRAM, *arguments, cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    for row in ("D_JpegCompression(v0)", "v0 + δ_PGD", "D_JpegCompression(v0 + δ_PGD)", "knowing", "bpda"):
        assert row in first.stdout
    assert "Report: runs/evaluation-quick/report/index.html" in first.stdout.replace("\\", "/")
    kept = ["--config", "runs/evaluation-quick/run.toml", "--full", "--no-progress"]
    again = start(*PROGRAM, "evaluate", *kept, cwd=tmp_path)
    assert again.stdout == first.stdout


@pytest.mark.large
@pytest.mark.long
@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs groups of processes")
def test_craft_goes_on_after_it_was_killed_and_its_file_is_a_source(tmp_path):
    craft = [*PROGRAM, "craft", "sgd-uap", "--quick", "--sgd-passes", 6, "--no-progress", "--jobs", "1", "--out"]
    program = subprocess.Popen(
        [sys.executable, *map(str, craft), "killed.safetensors"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        until = time.monotonic() + 600
        # A checkpoint, which is written after every pass.
        while not list((tmp_path / "killed").glob("perturbations/*.checkpoint")):
            assert program.poll() is None, "it has ended"
            assert time.monotonic() < until, "it has not begun"
            time.sleep(0.05)
    finally:
        os.killpg(program.pid, signal.SIGKILL)
        program.wait()
    assert not (tmp_path / "killed.safetensors").exists()

    for name in ("killed", "whole"):
        result = start(*craft, f"{name}.safetensors", cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        assert result.stdout.splitlines()[-1] == f"Perturbation: {name}.safetensors"
        assert "v0 + δ_SGD" in result.stdout
    killed, whole = (load_perturbation(tmp_path / f"{name}.safetensors") for name in ("killed", "whole"))
    np.testing.assert_array_equal(killed.array, whole.array)
    assert killed.source == "inception_v1"
    assert killed.linf <= 10 / 255 + 1e-6
    assert killed.linf > 0

    arguments = ["evaluate", "--quick", "--source", "killed.safetensors", "--attack", "sgd-uap", "--defence", "rof"]
    planned = start(*PROGRAM, *arguments, "--plan", cwd=tmp_path)
    assert planned.returncode == 0, planned.stderr
    assert "killed" in planned.stdout


def test_help_of_the_example_is_that_of_the_command(tmp_path):
    shown = start(EXAMPLE, "--help", cwd=tmp_path)
    assert shown.returncode == 0
    assert "Usage: art-denoise table1" in shown.stdout
    assert shown.stdout == start(*PROGRAM, "table1", "--help", cwd=tmp_path).stdout


MODEL = """
import torch

def net():
    return torch.nn.Sequential(torch.nn.Conv2d(3, 2, 5), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
"""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "missing"], "there is no such folder"),
        (["--data", "imagenet"], "--data-dir must be given"),
        (["--data", "images", "--data-dir", "x"], "--data-dir is for data 'imagenet' and 'imagenette'"),
        (["--data", "empty", "--model", "mine.py:net"], "it holds no images at all"),
        (["--data", "images", "--model", "missing.py:net"], "there is no file missing.py"),
        (["--data", "images", "--model", "mine.py:other"], "there is no function 'other', but net"),
        (["--data", "images", "--model", "torchvision:nothing"], "no classification network 'nothing'"),
        (["--data", "images", "--model", "inception_v1:none"], "cannot be matched with the model's 1000 classes"),
        (["--data", "images", "--model", "mine.py:net", "--classes", "missing.csv"], "there is no such file"),
        (["--data", "images", "--model", "mine.py:net", "--source", "missing.npy"], "there is no file missing.npy"),
        (["--data", "broken", "--model", "mine.py:net"], " images cannot be read (broken/a/a_0.JPEG: is no image)"),
        (
            ["--data", "images", "--model", "mine.py:net", "--decoded-dir", "mine.py/x"],
            "nothing can be written in mine.py/x, as ",
        ),
        (["--data", "images", "--model", "mine.py:net", "--out", "mine.py/x"], "mine.py/x"),
        (["--data", "images", "--model", "inception_v1"], "cannot be matched with the model's 1000 classes"),
        (["--model", "torchvision:resnet50"], "--model on the photographs must be inception_v1, vgg16, vgg19"),
        (["--source", "vgg16", "--source", "vgg16"], "--source must be of different names, 'vgg16' is there twice"),
        (["--device", "tpu"], "--device must be auto, cpu, cuda"),
        (["--test-images", "5"], "--test-images is for folders of images"),
        (["--defence", "ruf"], "there is no defence 'ruf', but rof"),
        (["--attack", "pgb"], "there is no attack 'pgb', but pgd"),
        (["--defence", "art:Nothing"], "Nothing"),
        (["--shares.train", "-1"], "--shares.train must be >= 1, got -1"),
    ],
)
def test_bad_input_is_one_sentence(capsys, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(MODEL)
    write_folder(tmp_path / "images", ["a", "b"], 10)
    write_folder(tmp_path / "broken", ["a", "b"], 10)
    (tmp_path / "broken" / "a" / "a_0.JPEG").write_bytes(b"")
    (tmp_path / "empty").mkdir()
    before = sorted(tmp_path.iterdir())
    small = ["--test-images", "8", "--craft-images", "12", "--noise-images", "0", "--tune-images", "0"]
    more = [*small, "--input-size", "32"] if "broken" in arguments or "mine.py:net" in arguments else []
    if "broken" in arguments:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert main(["table1", *arguments, *more, "--no-progress"]) == 2
    shown = capsys.readouterr()
    assert message in shown.err
    assert shown.err.startswith("Error: ")
    assert (shown.err.count("\n"), shown.out) == (1, "")
    assert [path for path in sorted(tmp_path.iterdir()) if path.name not in ("cache", "runs", "__pycache__")] == before


def test_plan_of_the_photographs(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["table1", "--quick", "--plan"]) == 0
    shown = capsys.readouterr().out
    assert "Plan of runs/quick; nothing has been computed or written." in shown.replace("\\", "/")
    assert "Target: Inception V1." in shown
    assert not list(tmp_path.iterdir())
