"""Tables as Markdown, as GitHub reads it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from art_denoise._words import one_line
from art_denoise.evaluation.report._text import raised
from art_denoise.evaluation.report.document import TABLES_ALONE, Document, sentences
from art_denoise.evaluation.report.table import Missing, Same, Shown, Table, Text, Value

FILE = "{stem}.md"

#: What has a meaning in Markdown: wherever it stands, before what makes it a tag or an entity, in an address, at the
#: edge of a word, at the end of a heading, or at the start of a line.
_SPECIAL = re.compile(
    r"([\\`*\[\]|$~]|<(?=[A-Za-z/!?])|&(?=#?\w+;)|:(?=//)|(?<=www)\.|(?<!\w)_|_(?!\w)|#$|^[>#=]|^[+-](?=[\s+-]|$))",
    re.IGNORECASE,
)

#: What makes a line an item of a numbered list.
_NUMBERED = re.compile(r"^(\d+)(?=[.)](\s|$))")


def render(tables: Sequence[Table], document: Document = TABLES_ALONE) -> str:
    """Return tables as Markdown, above them what there is to be known first, below what else there is to know."""
    parts = [escaped(sentence) for sentence in document.headline]
    of_defences = [f"- {escaped(chart.sentence)}" for chart in document.charts if chart.sentence]
    parts += ["\n".join(of_defences)] if of_defences else []
    parts += [_table(table) for table in tables]
    parts += [
        f"### {title}\n\n" + "\n".join(f"- {escaped(line)}" for line in lines) for title, lines in sentences(document)
    ]
    return "\n\n".join(parts) + "\n"


#: Stands behind what a table marks.
_MARK = r"\*"


def escaped(text: str) -> str:
    """Return a text as Markdown that says what it says, in a place of a table or elsewhere."""
    return _NUMBERED.sub(r"\1\\", _SPECIAL.sub(r"\\\1", one_line(text)))


def _table(table: Table) -> str:
    said = []
    if table.legend.main:
        said.append(f"Each cell: {_joined(table.legend)}.")
    if table.note:
        said.append(escaped(table.note))
    if table.mark:
        said.append(f"{_MARK}: {escaped(table.mark)}.")
    if table.has_same:
        said.append("″: the same as at the left; the column makes no difference.")
    for number, why in enumerate(table.reasons, 1):
        said.append(f"–{'' if len(table.reasons) == 1 else raised(str(number))}: {escaped(why)}.")
    lines = [
        _line([escaped(table.head.text), *(escaped(column.name.text) for column in table.columns)]),
        _line(["---"] * (len(table.columns) + 1), " "),
    ]
    for section in table.sections:
        if section.title:
            lines.append(_line([f"*{escaped(section.title)}*", *[""] * len(table.columns)]))
        lines += [_line([escaped(row.name.text), *(_value(table, v) for v in row.values)]) for row in section.rows]
    paragraph = " ".join(said)
    return "\n\n".join(filter(None, [f"### {escaped(table.title)}", paragraph, "\n".join(lines)]))


def _line(cells: list[str], space: str = " ") -> str:
    return "|" + "|".join(f"{space}{cell}{space}" if cell else space for cell in cells) + "|"


def _value(table: Table, value: Value) -> str:
    if isinstance(value, Missing):
        return f"–{raised(table.reason(value))}"
    if isinstance(value, (Text, Same)):
        return escaped(value.shown().main)
    return _joined(value.shown(), _MARK if table.mark and value.marked else "")


def _joined(shown: Shown, mark: str = "") -> str:
    main = (f"**{escaped(shown.main)}**" if shown.detail else escaped(shown.main)) + mark
    published = f"({escaped(shown.published)})" if shown.published else ""
    return " ".join(filter(None, [main, escaped(shown.detail), published]))
