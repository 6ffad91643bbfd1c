"""Commands and tests in processes of their own, and how many of the tests went how."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

#: Root of the checkout, where tox.ini is.
ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Counted:
    """What one run of pytest says."""

    passed: int
    #: Ids of the tests that failed or could not be run, each with the start of its message.
    failed: tuple[str, ...]
    skipped: tuple[str, ...]
    #: Tests that failed as they are known to, each with the reason.
    expected: tuple[str, ...]
    #: Versions in the environment of the tests, if they say so.
    versions: str = ""

    @property
    def total(self) -> int:
        """Number of tests."""
        return self.passed + len(self.failed) + len(self.skipped) + len(self.expected)


def read_report(path: Path) -> Counted:
    """Count the tests in a file that `pytest --junitxml` wrote."""
    passed, failed, skipped, expected = 0, [], [], []
    report = ElementTree.parse(path)
    for case in report.iter("testcase"):
        outcome = next((child for child in case if child.tag in ("failure", "error", "skipped")), None)
        if outcome is None:
            passed += 1
            continue
        line = f"{case.get('classname')}::{case.get('name')}: {' '.join((outcome.get('message') or '').split())[:200]}"
        if outcome.tag != "skipped":
            failed.append(line)
        elif outcome.get("type") == "pytest.xfail":
            expected.append(line)
        else:
            skipped.append(line)
    versions = next((one.get("value", "") for one in report.iter("property") if one.get("name") == "versions"), "")
    return Counted(passed, tuple(failed), tuple(skipped), tuple(expected), versions)


def run(
    command: Sequence[str], *, cwd: Path = ROOT, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, what it prints on either stream in `stdout`."""
    return subprocess.run(
        command,
        cwd=cwd,
        env=os.environ | dict(environment or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )


def run_tests(
    command: Sequence[str], *, cwd: Path = ROOT, environment: Mapping[str, str] | None = None
) -> tuple[Counted, str]:
    """Run a command that hands its last argument to pytest; return the counts and what it printed.

    :raises RuntimeError: If pytest wrote no report or ran no test, with the end of what was printed.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        ran = run([*command, f"--junitxml={report}"], cwd=cwd, environment=environment)
        counted = read_report(report) if report.exists() else None
        # pytest returns 1 if tests failed; all above is an end before its time.
        if counted is None or counted.total == 0 or ran.returncode > 1:
            raise RuntimeError(f"no tests were run, or not all:\n{ran.stdout[-3000:]}")
        return counted, ran.stdout
