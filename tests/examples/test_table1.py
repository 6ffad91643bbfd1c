"""The example as a user starts it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

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
    assert "`noise_accept` must be 'flip' or 'loss', got 'both'" in unknown.stderr


def test_help(tmp_path):
    result = start("--help", cwd=tmp_path)
    assert result.returncode == 0
    assert "--quick" in result.stdout
