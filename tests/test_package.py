"""The package as a whole: public names, and an import that costs nothing."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys

import pytest

import art_denoise


def test_every_public_name_is_there():
    for name in art_denoise.__all__:
        assert getattr(art_denoise, name).__doc__
    assert set(art_denoise.__all__) <= set(dir(art_denoise))
    with pytest.raises(AttributeError, match="has no attribute 'missing'"):
        art_denoise.missing  # noqa: B018


def test_import_loads_nothing_heavy():
    code = "import sys, art_denoise; print(sorted({'torch', 'art', 'skimage', 'scipy'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_what_art_forgets_to_require_is_required():
    """ART imports `packaging` without asking for it; what else brings it may stop to."""
    required = [line.split(";")[0] for line in importlib.metadata.requires("art_denoise")]
    assert any(re.match(r"packaging\b", line) for line in required)
