"""The property tests of the default suite, with many more inputs."""

from __future__ import annotations

import re
import sys

from nightly.frame import Part
from nightly.processes import run_tests


def run(quick: bool) -> Part:
    """Run `tests/properties` with the nightly profile, or the ordinary one."""
    profile = {} if quick else {"HYPOTHESIS_PROFILE": "nightly"}
    counted, printed = run_tests([sys.executable, "-m", "pytest", "-q", "tests/properties"], environment=profile)
    inputs = re.search(r"inputs tried: ([\d,]+)", printed)
    failures = counted.failed if inputs else (*counted.failed, "The tests do not say how many inputs they tried.")
    return Part(
        "properties",
        f"{inputs.group(1) if inputs else 'Some'} inputs tried in {counted.total} property tests of filters, defences "
        "and adapters: the right answer or one named error.",
        failures,
    )
