"""What the report of tests in an environment of their own says besides."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable

import pytest

_PACKAGES = ("heart-library", "maite", "armory-library", "adversarial-robustness-toolbox", "torch", "numpy")


@pytest.fixture(scope="session", autouse=True)
def _versions(record_testsuite_property: Callable[[str, object], None]) -> None:
    installed = {
        found.metadata["Name"].lower().replace("_", "-"): found.version for found in importlib.metadata.distributions()
    }
    versions = ", ".join(f"{name} {installed[name]}" for name in _PACKAGES if name in installed)
    record_testsuite_property("versions", versions)
