"""The examples in docstrings: every public name has one, and they do what they say, as they stand there."""

from __future__ import annotations

import doctest
import importlib
import inspect
import re

import pytest
import torch

import art_denoise
from art_denoise import testing
from art_denoise.evaluation import fooling


def names() -> list[str]:
    """The public names, and the functions of the modules that the pages of the documentation send their readers to."""
    found = [f"art_denoise.{name}" for name in art_denoise.__all__]
    for module in (testing, fooling):
        found += [f"{module.__name__}.{name}" for name in module.__all__ if inspect.isfunction(getattr(module, name))]
    return [*found, "art_denoise.evaluation.report.write_report"]


def thing(name: str) -> object:
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


@pytest.mark.parametrize("name", names())
def test_the_example_runs(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    documented = thing(name)
    text = inspect.getdoc(documented) or ""
    # It stands last, and is all that stands under its heading.
    assert re.search(r"^Example::\n\n    >>> .*(\n(    .*)?)*\Z", text, flags=re.MULTILINE), "it has no example"
    (example,) = doctest.DocTestFinder(recurse=False).find(documented, name, module=False, globs={})
    said: list[str] = []
    failed, tried = doctest.DocTestRunner().run(example, out=said.append)
    assert tried
    assert not failed, "".join(said)
