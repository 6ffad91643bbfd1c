"""Fields of CSV files, so that spreadsheets take none of them for a formula."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

#: What a spreadsheet takes for the start of a formula, at once or after it has cut off white space.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def csv_lines(lines: Iterable[Iterable[Any]]) -> str:
    """Return lines of a CSV file, ended by a line feed each.

    Numbers stay numbers, True and False are 1 and 0, None is an empty field. A text that a spreadsheet would take for a
    formula gets an apostrophe before it.
    """
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([_field(value) for value in line] for line in lines)
    return out.getvalue()


def csv_records(records: Sequence[Mapping[str, Any]]) -> str:
    """Return records as a CSV file with a heading: every name that any of them has, in order; "" if there are none."""
    names = list(dict.fromkeys(name for record in records for name in record))
    return csv_lines([names, *([record.get(name) for name in names] for record in records)]) if records else ""


def _field(value: Any) -> Any:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return value
