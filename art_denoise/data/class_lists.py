"""Files that say which class each folder is."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

#: Most bytes of a list of folders and labels.
_MOST_TEXT = 2**24


def read_mapping(file: Path) -> dict[str, int]:
    """Return labels by folder from a JSON or CSV file.

    :raises ValueError: If there is no such file, or it holds something else.
    """
    where = f"`classes` = {str(file)!r}"
    if not file.is_file():
        raise ValueError(f"{where}: there is no such file")
    if file.stat().st_size > _MOST_TEXT:
        raise ValueError(f"{where} has {file.stat().st_size:,} bytes, where {_MOST_TEXT:,} are most that is read")
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{where} is no text in UTF-8 ({error.reason} at byte {error.start}): save it so") from error
    try:
        if file.suffix.lower() == ".json":
            # As pairs, so that a folder that is there twice is seen.
            pairs = json.loads(text, object_pairs_hook=list)
        else:
            pairs = [row[:2] for row in csv.reader(text.splitlines()) if row]
            if pairs and not pairs[0][-1].strip().lstrip("-").isdigit():
                pairs = pairs[1:]  # a heading
        names = [str(name).strip() for name, _ in pairs]
        labels = {name: _whole(label) for name, (_, label) in zip(names, pairs, strict=True)}
    except (ValueError, TypeError, csv.Error, RecursionError) as error:
        raise ValueError(
            f"{where} must be JSON, {{'folder': label, ...}}, or CSV, one 'folder,label' a line, with whole numbers as "
            "labels"
        ) from error
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(f"{where} has two lines for {twice[0]!r}: leave one of them out")
    return labels


def _whole(label: Any) -> int:
    """Return a label as a number.

    :raises ValueError: If it is no whole number, nor a text of one.
    """
    if isinstance(label, bool) or not isinstance(label, (int, str)):
        raise ValueError(f"{label!r} is no whole number")
    return int(label)
