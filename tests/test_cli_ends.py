"""What the program ends with is what the help and the documentation say, and each of it comes about."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from art_denoise.cli import main
from art_denoise.cli.statuses import STATUSES


def documented() -> dict[int, str]:
    page = (Path(__file__).parents[1] / "docs" / "reference-commands.md").read_text(encoding="utf-8")
    section = page.partition("## How a command ends")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (\d+) \| ([^|]+) \|", section, re.M)
    return {int(status): text.replace("`", "") for status, text in rows}


def test_help_and_documentation_say_the_same(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out.partition("The program ends with status:\n")[2]
    assert {int(line[:5]): line[5:].strip() for line in shown.splitlines()} == STATUSES
    assert documented() == STATUSES


def test_only_the_whole_program_says_how_it_ends(capsys):
    assert main(["report", "--help"]) == 0
    assert "ends with status" not in capsys.readouterr().out


def ends(arguments: list[str], setting: str, folder: Path) -> int:
    """Return the status that a program ends with in a process of its own, after something was set."""
    # What was started in the background, as these tests may be, does not hear Ctrl-C.
    hears = "import os, signal, sys\nsignal.signal(signal.SIGINT, signal.default_int_handler)"
    code = f"{hears}\n{setting}\nfrom art_denoise.cli import main\nsys.exit(main({arguments}))"
    return subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, check=False).returncode


#: What ends with each status: a command, and what is set before.
_ASKED = """
import art_denoise.cli.commands as c
c.os = os
c.list_names.__code__ = (lambda: os.kill(os.getpid(), {})).__code__
"""
_RUN = f"""
sys.path.insert(0, {str(Path(__file__).parent)!r})
import art_denoise.evaluation.run
from results_by_hand import UAP, labels_with, results
found = results()
labels = {{c: labels_with(20 if c.condition.threat != UAP else 32) for c in found.labels}}
from dataclasses import replace
art_denoise.evaluation.run.run = lambda *_, **__: replace(found, labels=labels)
"""
ENDS = {
    0: (["list"], ""),
    1: (["denoise", "pictures", "out"], ""),
    2: (["table1", "--data", "nowhere"], ""),
    3: (["table1", "--fail-on-flag"], _RUN),
    130: (["list"], _ASKED.format(int(signal.SIGINT))),
    141: (["list"], "r, w = os.pipe()\nos.dup2(w, 1)\nos.close(w)\nos.close(r)"),
    143: (["list"], _ASKED.format(int(signal.SIGTERM))),
}


def test_there_is_a_way_to_each():
    assert list(ENDS) == list(STATUSES)


@pytest.mark.skipif(sys.platform == "win32", reason="signals are others there")
@pytest.mark.parametrize("status", ENDS)
def test_each_status_comes_about(tmp_path, status):
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (24, 20)).save(tmp_path / "pictures" / "a.png")
    (tmp_path / "pictures" / "b.png").write_text("no picture")
    assert ends(*ENDS[status], tmp_path) == status
