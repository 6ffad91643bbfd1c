"""What Python files define is found without running them, and what only running them tells is not claimed."""

from __future__ import annotations

import pytest

from art_denoise._defined import functions_in, names_in, names_of_installed
from art_denoise.attacks.array_files import _READERS
from art_denoise.evaluation.written import ENDINGS
from art_denoise.models.names import torchvision_names


@pytest.mark.parametrize(
    "source",
    [
        "def f(): ...",
        "class f: ...",
        "from os import path as f",
        "import f.g",
        "f = g = lambda: 0",
        "if 1:\n  try:\n    from os import f\n  except ImportError:\n    def f(): ...",
        "for f in (1, 2): ...",
        "with open('x') as f: ...",
        "(e, [f, *g]) = 1, [2]",
        "async def f(): ...",
    ],
)
def test_names_are_found_however_they_are_defined(source):
    assert "f" in (names_in(source.encode()) or ())
    assert "h" not in (names_in(source.encode()) or ())


@pytest.mark.parametrize(
    "source", ["from os import *", "def __getattr__(name): ...", "globals()['f'] = 1", "exec('x')"]
)
def test_what_only_running_tells_is_not_known(source):
    assert names_in(source.encode()) is None


def test_what_is_no_python_is_an_error():
    with pytest.raises(SyntaxError):
        names_in(b"x = )")
    assert functions_in(b"def a(): ...\ndef _b(): ...\nclass C:\n  def d(self): ...") == ["a"]


def test_what_packages_define_is_read_from_their_sources():
    """All that importing them tells is among it: otherwise names that exist would be refused."""
    from art.attacks import evasion
    from art.defences import preprocessor
    from torchvision import models

    for module, path in ((evasion, ("attacks", "evasion")), (preprocessor, ("defences", "preprocessor"))):
        there = {name for name in vars(module) if name[0].isupper()}
        assert there <= (names_of_installed("art", *path, "__init__.py") or set())
    assert list(torchvision_names()) == sorted(models.list_models(module=models))
    assert names_of_installed("no_such_package", "x.py") is None


def test_filters_of_kornia_are_read_from_its_sources():
    filters = pytest.importorskip("kornia.filters")
    there = {name for name, value in vars(filters).items() if callable(value) and not name.startswith("_")}
    assert there <= (names_of_installed("kornia", "filters", "__init__.py") or set())


def test_endings_of_perturbations_are_those_of_their_readers():
    assert tuple(_READERS) == ENDINGS
