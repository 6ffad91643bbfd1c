"""The documents of a run folder beside its results: every choice, and which image is for what. Needs no PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from art_denoise._documents import keep_document, read_document

#: Names of the files.
CHOICES, LISTING = "config.json", "splits.json"

#: Changes with the form of the files.
SCHEMA = 1


def read_choices(folder: Path) -> dict[str, Any]:
    """Return every choice of a run.

    :raises FileNotFoundError: If the folder does not say.
    :raises ValueError: If what it says is damaged.
    """
    return read_document(folder / CHOICES, SCHEMA)


def keep_choices(folder: Path, config: Mapping[str, Any]) -> None:
    """Write every choice into a run folder, unless it is there.

    :warns RuntimeWarning: If that which was there is damaged: it has been set aside.
    """
    keep_document(folder / CHOICES, config, SCHEMA, indent=2)


def keep_listing(folder: Path, listing: Mapping[str, Any]) -> None:
    """Write into a run folder which image is for what, unless it is there.

    :warns RuntimeWarning: As :func:`keep_choices`.
    """
    keep_document(folder / LISTING, listing, SCHEMA)
