"""A run is verified as it is: what was written is compared with its digests, and labels with what comes out again."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from folders import write_project

from art_denoise.attacks._crafting import Checkpoint, State
from art_denoise.cli.program import status
from art_denoise.evaluation.artefact import Artefact
from art_denoise.evaluation.results import Results
from art_denoise.evaluation.store import read_artefact, write_artefact

SMALL = [
    "--input-size",
    "16",
    "--no-preflight",
    "--craft-images",
    "8",
    "--tune-images",
    "0",
    "--noise-images",
    "0",
    "--test-images",
    "24",
    "--sgd-passes",
    "1",
    "--craft-passes",
    "1",
    "--rows",
    "paper",
    "--device",
    "cpu",
    "--no-progress",
]


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    folder = write_project(tmp_path_factory.mktemp("own"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert status(["table1", "--data", "images", "--model", "mine.py:net", "--out", "whole", *SMALL]) == 0
    return folder


@pytest.fixture
def folder(project, monkeypatch) -> Path:
    """A copy of the run, where it was made."""
    monkeypatch.chdir(project)
    shutil.rmtree("run", ignore_errors=True)
    shutil.copytree("whole", "run")
    return project / "run"


def contents(folder: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def verified(folder: Path, capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, str, str]:
    """Verify a run; nothing in it may change."""
    before = contents(folder)
    capsys.readouterr()
    found = status(["verify", str(folder), *options])
    assert contents(folder) == before
    told = capsys.readouterr()
    return found, told.out, told.err


def flip(file: Path, at: int) -> None:
    """Change one bit of a byte of a file."""
    content = bytearray(file.read_bytes())
    content[at] ^= 1
    file.write_bytes(content)


def cell_of(table: str) -> list[str]:
    return next(line for line in table.splitlines() if line.startswith("cells scored again")).split()[-2:]


def test_a_run_as_it_was_made(folder, capsys):
    found, table, wrong = verified(folder, capsys, "--sample", "all")
    count = len(list((folder / "labels").iterdir()))
    assert (found, wrong) == (0, "")
    assert cell_of(table) == [str(count), "0"]
    assert f"labels {count} 0" in " ".join(table.split())


def test_a_label_that_never_came_out_is_found_though_its_digest_is_right(folder, capsys):
    file = sorted((folder / "labels").iterdir())[0]
    there = read_artefact(file)
    labels = there.arrays["labels"].copy()
    labels[5] = (labels[5] + 1) % 4
    write_artefact(file, file.stem, Artefact(there.record, {**there.arrays, "labels": labels}))
    found, table, _ = verified(folder, capsys, "--sample", "all")
    assert found == 1
    assert cell_of(table)[1] == "1"
    assert "1 of 24 labels are others" in table
    # Not scored again, it is found only where there is a report that says otherwise.
    assert "report/table1.txt: it is not what" in verified(folder, capsys, "--sample", "0")[1]
    shutil.rmtree(folder / "report")
    assert verified(folder, capsys, "--sample", "0")[0] == 0


@pytest.mark.parametrize("where", ["labels", "perturbations", "config.json", "results.json"])
def test_a_byte_that_was_flipped_is_found_by_the_digest(folder, capsys, where):
    file = folder / where if where.endswith("json") else sorted((folder / where).iterdir())[0]
    flip(file, -9)
    found, table, _ = verified(folder, capsys, "--sample", "0")
    assert found == 1
    assert f"\n{file.relative_to(folder)}: " in table
    assert "altogether" in table


@pytest.mark.parametrize("name", ["table1.txt", "index.html", "per_image.csv", "cells.csv", "table1.json"])
def test_a_report_that_was_edited_is_found(folder, capsys, name):
    file = folder / "report" / name
    text = file.read_text(encoding="utf-8")
    changed = re.sub(r"(\d)(?=\D*$)", lambda digit: str(9 - int(digit[1])), text)
    assert changed != text
    file.write_text(changed, encoding="utf-8")
    found, table, _ = verified(folder, capsys, "--sample", "0")
    assert found == 1
    assert f"report/{name}: it is not what this version of the package writes of the results" in table
    file.unlink()
    assert f"report/{name}: it is gone" in verified(folder, capsys, "--sample", "0")[1]


def test_a_figure_that_was_painted_over_is_found(folder, capsys):
    file = next((folder / "report" / "figures").glob("*.png"))
    flip(file, file.stat().st_size // 2)
    found, table, _ = verified(folder, capsys, "--sample", "0")
    assert found == 1
    assert f"report/figures/{file.name}: it is not" in table


def test_a_damaged_checkpoint_is_found(folder, capsys):
    """Of a crafting, also one of its further starts, and of a cell: each is a file of arrays with a digest."""
    (whole,) = (folder / "perturbations").iterdir()
    started = Checkpoint(whole.with_suffix(".checkpoint"), {"seed": 0})
    started.write(State(noise=np.zeros(3), best=np.ones(3), labels=np.arange(4)))
    shutil.copy(started.path, f"{started.path}.1")
    write_artefact(folder / "labels" / "0123456789abcdef.checkpoint", "0123456789abcdef", Artefact({}))
    found, table, _ = verified(folder, capsys, "--sample", "0")
    assert found == 0
    assert "checkpoints 3 0" in " ".join(table.split())
    second = Path(f"{started.path}.1")
    flip(second, -9)
    found, table, _ = verified(folder, capsys, "--sample", "0")
    assert found == 1
    assert f"{second.relative_to(folder)}: its content is not what was written" in table


def test_what_is_made_of_something_damaged_is_not_made_again(folder, capsys):
    (file,) = (folder / "perturbations").iterdir()
    file.write_bytes(file.read_bytes()[:-3])
    found, table, _ = verified(folder, capsys, "--sample", "all")
    assert found == 1
    assert "not compared, as what it is made of is damaged or gone: “Craft" in table


@pytest.mark.parametrize("name", ["config.json", "splits.json"])
def test_documents_that_are_gone_are_told_of(folder, capsys, name):
    (folder / name).unlink()
    found, table, _ = verified(folder, capsys, "--sample", "0")
    assert found == 1
    assert f"{name}: there is no file" in table


def test_labels_that_are_gone_are_told_of(folder, capsys):
    file = folder / "labels" / f"{Results.keys_in(folder)[0]}.safetensors"
    file.unlink()
    found, table, _ = verified(folder, capsys, "--sample", "0")
    assert found == 1
    assert f"labels/{file.name}: there is no file" in table


def test_what_cannot_be_scored_again_is_told_after_what_is_known_of_the_files(folder, capsys):
    (folder / "run.toml").unlink()
    found, table, wrong = verified(folder, capsys)
    assert found == 2
    assert "altogether" in table
    assert "no cell was scored again" in wrong
    assert "holds no run.toml" in wrong


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "holds nothing of a run"),
        (("--sample", "some"), "--sample must be a number of cells"),
        (("--sample", "-1"), ""),
    ],
)
def test_mistakes(tmp_path, capsys, options, said):
    assert verified(tmp_path, capsys, *options)[0] == 2
    assert said in verified(tmp_path, capsys, *options)[2]
