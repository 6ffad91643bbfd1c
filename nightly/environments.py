"""Environments that tox makes, for libraries that art_denoise does not need."""

from __future__ import annotations

import sys
from importlib.util import find_spec

from nightly.frame import Part
from nightly.processes import run, run_tests


class NoEnvironmentError(Exception):
    """Raised when an environment cannot be made here, with the resolver's reason."""


def environment(name: str) -> list[str]:
    """Make an environment of tox.ini, and return the command that runs it with arguments for its pytest."""
    if find_spec("tox") is None:
        raise NoEnvironmentError("tox is not installed")
    tox = [sys.executable, "-m", "tox", "run", "-e", name, "--skip-missing-interpreters", "false"]
    made = run([*tox, "--notest"])
    if made.returncode:
        raise NoEnvironmentError(" ".join(made.stdout.split())[-400:])
    return [*tox, "--"]


def run_with(name: str, library: str, what: str) -> Part:
    """Run the tests with a library around ART's classifiers, in the environment `name`."""
    try:
        command = environment(name)
    except NoEnvironmentError as error:
        return Part(name, f"Nothing of {library}.", not_run=str(error))
    counted, _ = run_tests(command)
    return Part(name, f"{counted.total} tests with {library} ({counted.versions}): {what}.", counted.failed)
