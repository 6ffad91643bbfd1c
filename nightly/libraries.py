"""Libraries around ART's classifiers, each in an environment of its own that tox makes."""

from __future__ import annotations

import sys
from importlib.util import find_spec

from nightly.frame import Part
from nightly.processes import run, run_tests


def run_with(name: str, library: str, what: str) -> Part:
    """Run the tests in the environment `name` of tox.ini; if it cannot be made, say so with the resolver's reason."""
    if find_spec("tox") is None:
        return Part(name, f"Nothing of {library}.", not_run="tox is not installed")
    tox = [sys.executable, "-m", "tox", "run", "-e", name, "--skip-missing-interpreters", "false"]
    made = run([*tox, "--notest"])
    if made.returncode:
        return Part(name, f"Nothing of {library}.", not_run=" ".join(made.stdout.split())[-400:])
    counted, _ = run_tests([*tox, "--"])
    return Part(name, f"{counted.total} tests with {library} ({counted.versions}): {what}.", counted.failed)
