"""The example as a user starts it."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from folders import write_folder
from typer.testing import CliRunner

EXAMPLE = Path(__file__).parents[2] / "examples" / "table1.py"


def start(*arguments: str, cwd: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, str(EXAMPLE), *arguments], cwd=cwd, capture_output=True, text=True, check=False, timeout=300
    )


@pytest.mark.long
def test_quick_run_prints_the_table_and_says_where_the_report_is(tmp_path):
    first = start("--quick", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert "D_ROF(v0 + δ + v_def)" in first.stdout
    assert (tmp_path / "runs" / "quick" / "report" / "index.html").is_file()
    assert "Report: runs/quick/report/index.html" in first.stdout.replace("\\", "/")
    assert "D_ROF(v0 + δ_SGD knowing D_ROF)" in first.stdout
    assert "DeepFoolUAP: " in first.stderr  # progress
    second = start("--quick", "--no-progress", cwd=tmp_path)
    assert second.stdout == first.stdout
    assert "%|" not in second.stderr  # no bar; ART 1.17 warns of pkg_resources

    refused = start("--quick", "--seed", "1", cwd=tmp_path)
    assert refused.returncode == 2
    assert "Error: runs" in refused.stderr
    assert "options.seed: 0 there, 1 now" in refused.stderr
    assert "Traceback" not in refused.stderr

    unknown = start("--quick", "--noise-accept", "both", cwd=tmp_path)
    assert unknown.returncode == 2
    assert "--noise-accept must be 'flip' or 'loss', got 'both'" in unknown.stderr


def test_help(tmp_path):
    result = start("--help", cwd=tmp_path)
    assert result.returncode == 0
    assert "--quick" in result.stdout


@pytest.fixture(scope="module")
def call():
    """Call the program in this process."""
    location = importlib.util.spec_from_file_location("example_table1", EXAMPLE)
    module = importlib.util.module_from_spec(location)
    location.loader.exec_module(module)
    app = typer.Typer()
    app.command()(module.main)
    return lambda *arguments: CliRunner().invoke(app, [*map(str, arguments), "--no-progress"])


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
        (["--data", "images", "--model", "mine.py:net", "--source", "missing.npy"], "there is no such file"),
        (["--data", "broken", "--model", "mine.py:net"], " images cannot be read (broken/a/a_0.JPEG: is no image)"),
        (
            ["--data", "images", "--model", "mine.py:net", "--decoded-dir", "mine.py/x"],
            "decoded images cannot be kept in",
        ),
        (["--data", "images", "--model", "mine.py:net", "--out", "mine.py/x"], "mine.py/x"),
        (["--data", "images", "--model", "inception_v1"], "cannot be matched with the model's 1000 classes"),
        (["--device", "tpu"], "--device must be auto, cpu, cuda"),
        (["--test-images", "5"], "--test-images is for folders of images"),
        (["--quick", "--data", "images"], "--quick is for the photographs"),
        (["--rows", "few"], "--rows must be 'all' or 'paper'"),
    ],
)
def test_bad_input_is_one_sentence(call, tmp_path, monkeypatch, arguments, message):
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
    result = call(*arguments, *more)
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    assert [path for path in sorted(tmp_path.iterdir()) if path.name not in ("cache", "runs", "__pycache__")] == before


def test_plan_of_the_photographs(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = call("--quick", "--plan")
    assert result.exit_code == 0, result.output
    assert "Plan of runs/quick; nothing has been computed or written." in result.stdout
    assert "Target: Inception V1." in result.stdout
    assert not list(tmp_path.iterdir())
