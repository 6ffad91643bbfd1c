"""Tables as a page, which needs nothing but the figures beside it."""

from __future__ import annotations

import json
from collections.abc import Sequence

from art_denoise._words import printable
from art_denoise.evaluation.report.table import TABLES_ALONE, Document, Missing, Same, Table, Text, Value, sentences

FILE = "index.html"


def render(tables: Sequence[Table], document: Document = TABLES_ALONE) -> str:
    """Return tables as a page of HTML, with the figures, what was found, how it is read, and every choice."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("art_denoise.evaluation.report"),
        autoescape=True,
        # Escaped is what has a meaning in HTML; what has one for whoever shows the page is not there at all.
        finalize=lambda value: printable(value) if type(value) is str else value,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.tests.update(
        missing=lambda value: isinstance(value, Missing),
        same=lambda value: isinstance(value, Same),
        words=lambda value: isinstance(value, Text),
    )
    kinds = list(dict.fromkeys(table.kind for table in tables))
    return environment.get_template("index.html").render(
        document=document,
        title=document.title or (tables[0].title if tables else ""),
        kinds=[(kind, [table for table in tables if table.kind == kind], _pictures(document, kind)) for kind in kinds],
        other_pictures=[picture for picture in document.pictures if picture.kind not in kinds],
        config=json.dumps(dict(document.config), indent=2, ensure_ascii=False) if document.config else "",
        sentences=sentences(document),
        number=_number,
    )


def _pictures(document: Document, kind: str) -> list[object]:
    return [picture for picture in document.pictures if picture.kind == kind]


def _number(table: Table, value: Value) -> str:
    return table.reason(value) if isinstance(value, Missing) else ""
