"""Tables as plain text, in columns as wide as what is in them."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from art_denoise._words import one_line
from art_denoise.evaluation.report._text import raised, width
from art_denoise.evaluation.report.document import TABLES_ALONE, Document, sentences
from art_denoise.evaluation.report.table import Missing, Shown, Table, Text, Value

FILE = "{stem}.txt"

#: Most columns of a terminal that a name takes in one line: those of rows, and those above values, which take no more
#: than the values if that is enough for most words.
_OF_ROWS, _OF_COLUMNS, _OF_WORDS = 48, 22, 9

#: Most columns that a line of sentences takes.
_LINE = 100


def render(tables: Sequence[Table], document: Document = TABLES_ALONE) -> str:
    """Return tables as plain text, above them what there is to be known first, below what else there is to know."""
    first = [*map(_wrapped, document.headline), *(_item(c.sentence) for c in document.charts if c.sentence)]
    parts = ["\n".join(first)] if first else []
    parts += [_table(table) for table in tables]
    parts += ["\n".join([title, *map(_item, lines)]) for title, lines in sentences(document)]
    return "\n\n".join(parts) + "\n"


def _table(table: Table) -> str:
    said = []
    if table.legend.main:
        said.append(f"Each cell: {_joined(table.legend, 0)}.")
    if table.note:
        said.append(one_line(table.note))
    if table.mark:
        said.append(f"*: {table.mark}.")
    if table.has_same:
        said.append("″: the same as at the left; the column makes no difference.")
    reasons = [
        f"–{'' if len(table.reasons) == 1 else raised(str(number))}: {one_line(why)}."
        for number, why in enumerate(table.reasons, 1)
    ]
    paragraph = [_wrapped(" ".join(said))] if said else []
    return "\n".join([_wrapped(table.title), *paragraph, "", *_grid(table), *map(_wrapped, reasons)])


def _grid(table: Table) -> list[str]:
    """Return the lines of the table itself."""
    # Values are aligned by their main part, so that points stand below points.
    mains = [_main_width(table, place) for place in range(len(table.columns))]
    indent = "  " if any(section.title for section in table.sections) else ""
    heads = [_folded(column.name.text, _head_width(table, place)) for place, column in enumerate(table.columns)]
    lines: list[str | list[list[str]]] = [[_folded(table.head.text, _OF_ROWS), *heads]]
    for section in table.sections:
        if section.title:
            lines.append(one_line(section.title))
        for row in section.rows:
            name = [indent + part for part in _folded(row.name.text, _OF_ROWS)]
            lines.append([name, *(_value(table, v, mains[i]) for i, v in enumerate(row.values))])
    cells = [line for line in lines if isinstance(line, list)]
    widths = [max(width(part) for line in cells for part in line[i]) for i in range(len(table.columns) + 1)]
    return [text for line in lines for text in ([line] if isinstance(line, str) else _side_by_side(line, widths))]


def _main_width(table: Table, place: int) -> int:
    """Return how wide the main parts of the values in a column are."""
    there = [row.values[place] for row in table.rows]
    return max((width(value.shown().main) for value in there if _is_result(value)), default=0)


def _head_width(table: Table, place: int) -> int:
    """Return how many columns of a terminal what stands above a column may take."""
    if table.columns[place].of_row:
        return _OF_COLUMNS
    there = [row.values[place] for row in table.rows]
    widest = max((width(_joined(value.shown(), 0)) for value in there if _is_result(value)), default=0)
    return min(_OF_COLUMNS, max(_OF_WORDS, widest))


def _side_by_side(cells: list[list[str]], widths: list[int]) -> list[str]:
    """Return cells of one or more lines each beside each other."""
    lines = []
    for i in range(max(map(len, cells))):
        parts = [cell[i] if i < len(cell) else "" for cell in cells]
        padded = (part + " " * (size - width(part)) for part, size in zip(parts, widths, strict=True))
        lines.append("   ".join(padded).rstrip())
    return lines


def _value(table: Table, value: Value, main: int) -> list[str]:
    if isinstance(value, Text):
        return _folded(value.name.text, _OF_ROWS)
    if isinstance(value, Missing):
        return [" " * (main - 1) + f"–{raised(table.reason(value))}"]
    shown = value.shown()
    if not _is_result(value):
        return [" " * (main - 1) + shown.main]
    marked = ("*" if value.marked else " ") if table.mark else ""
    return [_joined(Shown(shown.main + marked, shown.detail, shown.published), main + len(marked))]


def _is_result(value: Value) -> bool:
    return not isinstance(value, (Text, Missing)) and bool(value.fields())


def _joined(shown: Shown, main: int) -> str:
    detail = f" [{shown.detail}]" if shown.detail else ""
    published = f" ({shown.published})" if shown.published else ""
    return f"{one_line(shown.main):>{main}}{detail}{published}"


def _folded(text: str, most: int) -> list[str]:
    return textwrap.wrap(one_line(text), most) or [""]


def _item(text: str) -> str:
    return textwrap.fill(one_line(text), _LINE, initial_indent="- ", subsequent_indent="  ")


def _wrapped(text: str) -> str:
    return textwrap.fill(one_line(text), _LINE)
