"""Tables as CSV: where values are single, a line a row; else a line a value, with all that is in it.

Numbers are numbers and percentages, a value that is the same in all columns has the column "any", and no field is taken
for a formula by a spreadsheet.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from art_denoise.evaluation._csv import csv_records
from art_denoise.evaluation.report.document import TABLES_ALONE, Document
from art_denoise.evaluation.report.table import Missing, Number, Row, Same, Table, Text

FILE = "{kind}.csv"


def render(tables: Sequence[Table], document: Document = TABLES_ALONE) -> str:
    """Return tables as one CSV file, one below the other under one heading. It has no place for anything else."""
    return csv_records([record for table in tables for record in _records(table)])


def _records(table: Table) -> list[dict[str, Any]]:
    single = all(isinstance(value, (Text, Number, Missing)) for value in table.values)
    rows = [(section.title, row) for section in table.sections for row in section.rows]
    made = _of_row if single else _of_values
    return [record for title, row in rows for record in made(table, title, row)]


def _start(table: Table, section: str, row: Row) -> dict[str, Any]:
    start: dict[str, Any] = {"table": table.title, "section": section or None, "row": row.name.text}
    for column, value in zip(table.columns, row.values, strict=True):
        if column.of_row:
            start[_heading(column.name.text)] = value.fields().get("value")
    return {**start, **dict(row.more)}


def _heading(text: str) -> str:
    return text.removeprefix("the ")


def _of_row(table: Table, section: str, row: Row) -> list[dict[str, Any]]:
    record, missing = _start(table, section, row), []
    for column, value in zip(table.columns, row.values, strict=True):
        if not column.of_row:
            record[_heading(column.name.text)] = value.fields().get("value")
            missing += [value.why] if isinstance(value, Missing) else []
    return [{**record, "missing": "; ".join(dict.fromkeys(missing)) or None}]


def _of_values(table: Table, section: str, row: Row) -> list[dict[str, Any]]:
    start, records = _start(table, section, row), []
    of_any = any(isinstance(value, Same) for value in row.values)
    for column, value in zip(table.columns, row.values, strict=True):
        if not column.of_row and not isinstance(value, Same):
            records.append({**start, "column": "any" if of_any else column.name.text, **value.fields()})
    return records
