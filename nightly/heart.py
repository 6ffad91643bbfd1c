"""HEART, the classifiers and attacks of ART for the interfaces of MAITE, with a defended classifier."""

from __future__ import annotations

from nightly.environments import run_with
from nightly.frame import Part


def run(quick: bool) -> Part:
    """Run `test_heart.py`, whole in either case as it takes seconds once its environment is made."""
    return run_with("heart", "HEART", "a defended classifier filters once, its attacks see the filter's gradient")
