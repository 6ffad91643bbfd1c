"""armory-library, which evaluates models under attacks of ART, with a defended classifier."""

from __future__ import annotations

from nightly.environments import run_with
from nightly.frame import Part


def run(quick: bool) -> Part:
    """Run `test_armory.py`, whole in either case."""
    return run_with(
        "armory",
        "armory-library",
        "a defended classifier filters once, its attacks see the filter's gradient, an evaluation has its accuracies",
    )
