"""Tables as a page: what there is to be known first, in sentences and charts, then every table.

The page holds all that it shows, and asks nothing of any other place. Every table can be sorted, and copied as LaTeX
and as CSV.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import chain

from art_denoise._words import one_line, printable
from art_denoise.evaluation.audit import LEVEL
from art_denoise.evaluation.report.document import TABLES_ALONE, Chart, Document, Picture
from art_denoise.evaluation.report.renderers import renderer
from art_denoise.evaluation.report.table import Accuracy, Difference, Missing, Rate, Same, Table, Text, Value
from art_denoise.evaluation.statistics import PairedDifference, Share

FILE = "index.html"

#: The order of chapters by the kinds of their tables, and what they are called where several tables are in one. Other
#: kinds have chapters of their own, before the last.
_CHAPTERS = {
    "headline": "What the defences buy",
    "flags": "",
    "worst": "",
    "accuracy": "",
    "draws": "",
    "comparisons": "",
    "sweep": "Strengths of the defences",
    "transfer": "Fooling rates from network to network",
}
_FIRST, _LAST = "headline", "checklist"


@dataclass(frozen=True)
class _Chapter:
    """A part of the page under a heading.

    :param anchor: What it is linked to by.
    :param title: Its heading.
    :param said: What it says first, sentences.
    :param charts: Charts below them.
    :param pictures: Figures.
    :param tables: Tables.
    :param lines: Further sentences.
    :param summary: What is said of what is folded.
    :param folded: Text that is shown when it is asked for.
    """

    anchor: str
    title: str
    said: tuple[str, ...] = ()
    charts: tuple[Chart, ...] = ()
    pictures: tuple[Picture, ...] = ()
    tables: tuple[Table, ...] = ()
    lines: tuple[str, ...] = ()
    summary: str = ""
    folded: str = ""


@dataclass(frozen=True)
class _Line:
    """A difference in a plot: what it is of, in points with its interval, and whether it is more than chance."""

    text: str
    points: float
    low: float
    high: float
    sure: bool


@dataclass(frozen=True)
class _Forest:
    """Differences as points on one line of numbers.

    :param sections: Lines under headings.
    :param ticks: Numbers that are marked, from the least to the greatest.
    :param several: Whether lines are the spread over seeds.
    """

    sections: tuple[tuple[str, tuple[_Line, ...]], ...]
    ticks: tuple[float, ...]
    several: bool

    def at(self, points: float) -> float:
        """Return where a number is, in percent of the width."""
        least, most = self.ticks[0], self.ticks[-1]
        return 100 * (points - least) / (most - least)


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
    kinds: dict[str, type[Value]] = {"missing": Missing, "same": Same, "words": Text, "rate": Rate}
    environment.tests.update({name: lambda value, kind=kind: isinstance(value, kind) for name, kind in kinds.items()})
    return environment.get_template("index.html").render(
        document=document,
        title=document.title or (tables[0].title if tables else ""),
        chapters=_chapters(tables, document),
        as_text=lambda form, table: renderer(form).render([table]),
        extent=_extent,
        forest_of=_forest_of,
        number=_number,
        order=_order,
        script=_template("script.js"),
        source=_source,
        style=_template("style.css"),
    )


@cache
def _template(name: str) -> str:
    return (files("art_denoise.evaluation.report") / "templates" / name).read_text(encoding="utf-8")


def _chapters(tables: Sequence[Table], document: Document) -> list[_Chapter]:
    by_kind: dict[str, list[Table]] = {}
    for table in tables:
        by_kind.setdefault(table.kind, []).append(table)
    order = [*(k for k in _CHAPTERS if k in by_kind), *(k for k in by_kind if k not in _CHAPTERS and k != _LAST)]
    found = [_of_kind(kind, by_kind[kind], document) for kind in order]
    first = [chapter for chapter in found if chapter.anchor == _FIRST]
    if document.headline and not first:
        first = [_Chapter(_FIRST, _CHAPTERS[_FIRST], document.headline, document.charts)]
    if document.facts:
        first.append(_Chapter("found", "What was found on the way", lines=document.facts))
    found = [*first, *(chapter for chapter in found if chapter.anchor != _FIRST)]
    others = tuple(picture for picture in document.pictures if picture.kind not in by_kind)
    if others or document.without:
        found.append(_Chapter("pictures", "Pictures", pictures=others, lines=document.without))
    if _LAST in by_kind:
        found.append(_of_kind(_LAST, by_kind[_LAST], document))
    if document.reading:
        found.append(_Chapter("reading", "How it is read", lines=document.reading))
    if document.config:
        text = json.dumps(dict(document.config), indent=2, ensure_ascii=False)
        found.append(_Chapter("choices", "Every choice", summary="Settings, versions, fingerprints", folded=text))
    return found


def _of_kind(kind: str, tables: Sequence[Table], document: Document) -> _Chapter:
    first = kind == _FIRST
    return _Chapter(
        kind,
        _CHAPTERS.get(kind) or tables[0].title,
        document.headline if first else (),
        document.charts if first else (),
        # Rates are coloured in the table itself, where they can be read.
        tuple(p for p in document.pictures if p.kind == kind and kind != "transfer"),
        tuple(tables),
    )


def _forest_of(table: Table) -> _Forest | None:
    """Return the plot of a table of differences; None if it has none."""
    sections, several = [], False
    for section in table.sections:
        lines = []
        for row in section.rows:
            shown = [(c, v) for c, v in zip(table.columns, row.values, strict=True) if isinstance(v, Difference)]
            for column, value in shown:
                found = value.difference
                low, high = found.interval if isinstance(found, PairedDifference) else found.spread
                several |= not isinstance(found, PairedDifference)
                p = value.p if value.corrected is None else value.corrected
                # A row with one difference needs no column.
                text = row.name.text if len(shown) == 1 else f"{row.name.text}: {column.name.text}"
                lines.append(_Line(one_line(text), 100 * found.value, 100 * low, 100 * high, p < LEVEL))
        sections.append((section.title, tuple(lines)))
    every = list(chain.from_iterable(lines for _, lines in sections))
    if not every:
        return None
    least, most = min(0.0, *(line.low for line in every)), max(0.0, *(line.high for line in every))
    step = next((s for s in (1, 2, 5, 10, 20) if (most - least) / s <= 8), 25)
    first, last = int(least // step), int(-(-most // step))
    ticks = tuple(float(step * k) for k in range(first, max(last, first + 1) + 1))
    return _Forest(tuple((title, lines) for title, lines in sections if lines), ticks, several)


def _extent(value: Value) -> tuple[float, float]:
    """Return the ends of a share's interval, or the lowest and the highest over seeds."""
    assert isinstance(value, (Accuracy, Rate))
    share = value.share
    return share.interval if isinstance(share, Share) else share.interval or share.spread


def _source(picture: Picture) -> str:
    """Return where a figure is: in the page itself, if it is at hand."""
    if not picture.content:
        return picture.file
    return f"data:image/png;base64,{base64.b64encode(picture.content).decode()}"


def _number(table: Table, value: Value) -> str:
    return table.reason(value) if isinstance(value, Missing) else ""


def _order(value: Value) -> float:
    """Return what a number is sorted by."""
    fields = value.fields()
    return float(next(fields[name] for name in ("accuracy", "fooling_rate", "points", "value") if name in fields))
