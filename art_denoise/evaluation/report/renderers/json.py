"""Tables as JSON.

A document has

- `schema`: 1, the number of this form, which changes with it; `kind`: "art_denoise report"; `title`.
- `asked`: what was asked, by what is said of it; `headline`: what there is to be known first, sentences.
- `tables`: for each table its `kind`, `title` and `note`; `legend`, what the parts of its values are: `main`, `detail`,
  `published`; `mark`, what marked values are, or null; `head`, what stands above the names of rows; `columns`, each
  with `name`, `latex` and `of_row`, whether it says more of the row rather than a result; and `sections`, each with
  `title` and `rows`.
- A row has `name`, `latex`, `more`, what else is known of it, and `values`, one for each column.
- A value says with `is` what it is, and the rest of it is data, percentages as numbers: "text" and "number" (`value`);
  a share of the images also says what the `attacker` knows, "nobody" attacks or it has "no network";
  "accuracy" (`accuracy`, `count` of `n`, `low` and `high` of the 95 % interval, `published`; with several seeds their
  mean, `seeds`, how many, `lowest` and `highest`); "rate", likewise with `fooling_rate` and `white_box`; "difference"
  (`points`, `low` and `high` of the 95 % interval, `only_first`, `only_second`, `n`, `p`; with several seeds `seeds`,
  `lowest`, `highest`); "same", as at the left of it; "missing" (`missing`, the reason).
- `latex` is a name in LaTeX's mathematics, or null: then its text is to be escaped.
- `cells`: every result, one record each, as of `Results.records()`.
- `facts` and `reading`: what was found on the way, and how everything is read, sentences; `pictures`: figures with
  their `file`, `text`, what they show, and `caption`, how they are read; `without`: which figures there are not, and
  why, sentences; `config`: every choice of the run.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from art_denoise.evaluation.report.document import TABLES_ALONE, Document
from art_denoise.evaluation.report.table import Column, Name, Row, Table, Value

FILE = "{stem}.json"

#: Changes with the form of the document.
SCHEMA = 1


def render(tables: Sequence[Table], document: Document = TABLES_ALONE) -> str:
    """Return tables, and all that stands around them, as JSON; the docstring of this file says in which form."""
    whole = {
        "schema": SCHEMA,
        "kind": "art_denoise report",
        "title": document.title,
        "asked": dict(document.asked),
        "headline": list(document.headline),
        "tables": [_table(table) for table in tables],
        "cells": list(document.cells),
        "facts": list(document.facts),
        "reading": list(document.reading),
        "pictures": [{"file": p.file, "text": p.text, "caption": p.caption} for p in document.pictures],
        "without": list(document.without),
        "config": dict(document.config),
    }
    return json.dumps(_finite(whole), indent=1, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    """Return a value with texts in the place of numbers that JSON has not: "inf", "nan"."""
    if isinstance(value, Mapping):
        return {name: _finite(v) for name, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _table(table: Table) -> dict[str, Any]:
    return {
        "kind": table.kind,
        "title": table.title,
        "note": table.note,
        "legend": asdict(table.legend),
        "mark": table.mark or None,
        "head": table.head.text,
        "columns": [_column(column) for column in table.columns],
        "sections": [{"title": s.title, "rows": [_row(row) for row in s.rows]} for s in table.sections],
    }


def _column(column: Column) -> dict[str, Any]:
    return {**_name(column.name), "of_row": column.of_row}


def _row(row: Row) -> dict[str, Any]:
    return {**_name(row.name), "more": dict(row.more), "values": [_value(value) for value in row.values]}


def _name(name: Name) -> dict[str, Any]:
    return {"name": name.text, "latex": name.latex or None}


def _value(value: Value) -> dict[str, Any]:
    return {"is": type(value).__name__.lower(), **value.fields()}
