"""Formats: each file here writes any tables in one. A format more is a file more.

A file has `FILE`, the name that a report gives to what it writes, with `{stem}` in the place of the report's name and,
if each kind of table has a file of its own, `{kind}` in its place; and :meth:`Renderer.render`.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence
from typing import Protocol, cast

from art_denoise.evaluation.report.document import Document
from art_denoise.evaluation.report.table import Table


class Renderer(Protocol):
    """What each file of this folder is."""

    FILE: str

    def render(self, tables: Sequence[Table], document: Document = ...) -> str:
        """Return tables, and what stands around them, as a text."""


def names() -> list[str]:
    """Return the names of all formats."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def renderer(name: str) -> Renderer:
    """Return the renderer of a format.

    :raises ValueError: If there is none by this name.
    """
    if name not in names():
        raise ValueError(f"`name` must be one of {', '.join(names())}, got {name!r}")
    return cast(Renderer, importlib.import_module(f"{__name__}.{name}"))
