"""Fields of CSV files, so that spreadsheets take none of them for a formula."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from art_denoise._words import printable

#: What a spreadsheet takes for the start of a formula, at once or after it has cut off white space, also as wide as the
#: characters of East Asian scripts; and where a semicolon ends a field, as it does in half of Europe, behind that.
_FORMULA = re.compile(r"(^|;)(?=\s*[=+\-@＝＋－＠])")

#: What begins with a sign and is no formula.
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def csv_lines(lines: Iterable[Iterable[Any]]) -> str:
    """Return lines of a CSV file, ended by a line feed each.

    Numbers stay numbers, True and False are 1 and 0, None is an empty field. A text that a spreadsheet would take for a
    formula gets an apostrophe before it; what a terminal would act upon, and the end of a line, is a space.
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
    if not isinstance(value, str):
        return value
    text = printable(value).replace("\n", " ")
    return text if _NUMBER.fullmatch(text) else _FORMULA.sub(r"\1'", text)
