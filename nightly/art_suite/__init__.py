"""ART's own tests with the defences of art_denoise in place of ART's and in front of its classifiers.

They run three times: as they are, with `ROFDefence` and with `NLMeansDefence`. What fails in the first run is ART's or
the environment's; of what fails besides, `expected.py` says why.
"""

from __future__ import annotations

import importlib.metadata
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from nightly.art_suite.expected import BY_CHANCE, EXPECTED, FILES, QUICK_FILES
from nightly.art_suite.sources import NoSourcesError, put_tests
from nightly.environments import NoEnvironmentError, environment
from nightly.frame import Part
from nightly.processes import Counted, run_tests

#: What stands in front of ART's classifiers in each run.
RUNS = ("none", "rof", "nl-means")


def run(quick: bool) -> Part:
    """Run ART's tests in an environment with the libraries that they import."""
    version = importlib.metadata.version("adversarial-robustness-toolbox")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            put_tests(version, folder)
            command = environment("art-suite")
        except NoSourcesError as error:
            return Part("art_suite", f"Nothing of the tests of ART {version}.", not_run=f"no sources: {error}")
        except NoEnvironmentError as error:
            return Part("art_suite", f"Nothing of the tests of ART {version}.", not_run=str(error))
        files = QUICK_FILES if quick else FILES
        counted = {chosen: run_files(command, chosen, folder, files) for chosen in (RUNS[:2] if quick else RUNS)}
    told = "; ".join(f"{name}: {one.passed} of {one.total} pass" for name, one in counted.items())
    failures, notes = judge(counted, whole=not quick)
    return Part("art_suite", f"ART {version}'s own tests with the defence in front ({told}).", failures, notes)


def run_files(command: Sequence[str], defence: str, folder: Path, files: Sequence[str]) -> Counted:
    """Run files of ART's tests below `folder` with a defence of `RUNS`."""
    # ART's tests are written for neither our options nor warnings as errors.
    options = ["-q", "-c", os.devnull, f"--rootdir={folder}", "-W", "ignore", "-p", "no:cacheprovider"]
    options += ["-p", "nightly.art_suite.fixtures", "-p", "nightly.art_suite.substitutes", "--import-mode=prepend"]
    return run_tests([*command, *options, "--defence", defence, *(str(folder / file) for file in files)])[0]


def judge(counted: Mapping[str, Counted], whole: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what failed and is not written down, and what the reader of the table should know.

    With a defence, what fails without one too is left out.

    :param whole: Whether all files ran, so that a failure that is written down had to be among them.
    """
    without = {_id(line) for line in counted["none"].failed}
    failures: list[str] = []
    #: By reason, the tests that fail for it, each with the runs in which it does.
    known: dict[str, dict[str, list[str]]] = {}
    for name, one in counted.items():
        reasons, met = EXPECTED[name], set()
        for line in one.failed:
            test = _id(line).partition("[")[0]
            if name != "none" and _id(line) in without:
                continue
            if test not in reasons:
                failures.append(f"with {name}, {line}")
            elif test not in met:
                met.add(test)
                known.setdefault(reasons[test], {}).setdefault(test, []).append(name)
        if whole:
            failures += [
                f"with {name}, {test} passes, though it is known to fail"
                for test in sorted(reasons.keys() - met - BY_CHANCE)
            ]
    return tuple(failures), tuple(_note(reason, tests) for reason, tests in known.items())


def _note(reason: str, tests: Mapping[str, Sequence[str]]) -> str:
    """Say which tests fail for a reason, those that do in the same runs together."""
    by_runs: dict[str, list[str]] = {}
    for test, runs in tests.items():
        by_runs.setdefault(" and ".join(runs), []).append(test)
    return f"{reason}: " + "; ".join(f"with {runs}, {', '.join(names)}" for runs, names in by_runs.items())


def _id(line: str) -> str:
    return line.partition(": ")[0]
