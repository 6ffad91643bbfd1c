"""Tables as LaTeX, one float each, with booktabs and nothing else."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from art_denoise.evaluation.report._text import latex_text
from art_denoise.evaluation.report.document import TABLES_ALONE, Document
from art_denoise.evaluation.report.table import Missing, Name, Same, Shown, Table, Text, Value

FILE = "{stem}.tex"


def render(tables: Sequence[Table], document: Document = TABLES_ALONE) -> str:
    r"""Return tables as LaTeX, to be read by `\input`. Only ASCII is in it.

    A name's LaTeX form is written as it is; everything else is escaped, so that any text compiles and stays text. What
    a document says besides tables is left out, as papers say it in their own words.
    """
    lines = [r"% Needs \usepackage{booktabs}."]
    count: Counter[str] = Counter()
    for table in tables:
        count[table.kind] += 1
        lines += ["", *_table(table, f"{table.kind}-{count[table.kind]}")]
    return "\n".join(lines) + "\n"


def _table(table: Table, label: str) -> list[str]:
    said = []
    if table.legend.main:
        said.append(f"Each cell: {_joined(table.legend, bold=False)}.")
    if table.note:
        said.append(latex_text(table.note))
    if table.mark:
        said.append(f"Bold: {latex_text(table.mark)}.")
    if table.has_same:
        said.append("$''$: the same as at the left; the column makes no difference.")
    for number, why in enumerate(table.reasons, 1):
        said.append(f"{_dash(str(number) if len(table.reasons) > 1 else '')}: {latex_text(why)}.")
    alignment = "l" + "".join("l" if column.of_row else "r" for column in table.columns)
    lines = [
        r"\begin{table}[htbp]",
        r"\centering\small",
        rf"\caption{{{latex_text(_caption(table.title))}}}",
        rf"\label{{tab:{label}}}",
        rf"\begin{{tabular}}{{{alignment}}}",
        r"\toprule",
        _line([_name(table.head), *(_name(column.name) for column in table.columns)]),
    ]
    for section in table.sections:
        lines.append(r"\midrule")
        if section.title:
            title = rf"\emph{{{latex_text(section.title)}}}"
            lines.append(_line([rf"\multicolumn{{{len(table.columns) + 1}}}{{l}}{{{title}}}"]))
        lines += [_line([_name(row.name), *(_value(table, v) for v in row.values)]) for row in section.rows]
    # Below it, not in the caption, which LaTeX has to set on one line before it breaks it.
    below = [r"\par\smallskip", rf"\parbox{{\linewidth}}{{\footnotesize {' '.join(said)}}}"] if said else []
    return [*lines, r"\bottomrule", r"\end{tabular}", *below, r"\end{table}"]


def _caption(title: str) -> str:
    """Return a title without a number of its own: LaTeX numbers tables."""
    rest = re.sub(r"^Table \d+: ", "", title)
    return rest[:1].upper() + rest[1:]


def _line(cells: list[str]) -> str:
    # In braces where it would be taken for an argument of the command that ended the last line.
    first = f"{{{cells[0]}}}" if cells[0].startswith(("[", "*")) else cells[0]
    return " & ".join([first, *cells[1:]]) + r" \\"


def _name(name: Name) -> str:
    return f"${name.latex}$" if name.latex else latex_text(name.text)


def _value(table: Table, value: Value) -> str:
    if isinstance(value, Missing):
        return _dash(table.reason(value))
    if isinstance(value, Text):
        return _name(value.name)
    if isinstance(value, Same):
        return "$''$"
    return _joined(value.shown(), bold=value.marked)


def _dash(number: str) -> str:
    return rf"--$^{{{number}}}$" if number else "--"


def _joined(shown: Shown, *, bold: bool) -> str:
    main = latex_text(shown.main)
    parts = [rf"\textbf{{{main}}}" if bold else main]
    if shown.detail:
        parts.append(rf"{{\scriptsize [{latex_text(shown.detail)}]}}")
    if shown.published:
        parts.append(rf"{{\scriptsize ({latex_text(shown.published)})}}")
    return " ".join(parts)
