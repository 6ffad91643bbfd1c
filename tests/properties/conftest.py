"""How many inputs the property tests try: some hundred by default, ten thousand with HYPOTHESIS_PROFILE=nightly."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings
from inputs_tried import COUNT

#: Images of all sizes take longer than Hypothesis expects, and a busy machine longer still.
COMMON = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large]}

settings.register_profile("ordinary", max_examples=40, derandomize=True, **COMMON)
settings.register_profile("nightly", max_examples=1500, print_blob=True, **COMMON)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ordinary"))


def pytest_terminal_summary(terminalreporter):
    terminalreporter.write_line(f"inputs tried: {COUNT[0]:,}")
