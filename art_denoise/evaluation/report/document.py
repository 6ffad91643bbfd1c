"""What stands around the tables of a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from art_denoise.evaluation.report.table import Name, Value


@dataclass(frozen=True)
class Picture:
    """A figure that stands beside tables.

    :param file: Its place in the folder of the report.
    :param text: What it shows, for who cannot see it.
    :param kind: Tables that it stands beside; "": none.
    :param content: The file itself; empty where it is not at hand.
    :param caption: How it is to be read, in whole sentences; "" where what it shows says it all.
    """

    file: str
    text: str
    kind: str = ""
    content: bytes = field(default=b"", repr=False)
    caption: str = ""


@dataclass(frozen=True)
class Bar:
    """A bar of a chart.

    :param text: What it is of.
    :param value: A share of images, or why there is none.
    """

    text: str
    value: Value


@dataclass(frozen=True)
class Chart:
    """Shares of images below each other.

    :param name: What they are of.
    :param sentence: What they say; "" for nothing that the others do not say.
    :param bars: The shares.
    """

    name: Name
    sentence: str
    bars: tuple[Bar, ...]


@dataclass(frozen=True)
class Document:
    """What a report says besides its tables.

    :param title: Its title.
    :param asked: What was asked: of what, and what for.
    :param headline: What there is to be known first, sentences.
    :param charts: What each defence costs and buys.
    :param facts: What was found on the way, sentences.
    :param reading: How everything is to be read, sentences.
    :param pictures: Its figures.
    :param without: Which figures there are not, and why, sentences.
    :param cells: Every result, one record each.
    :param config: Every choice of the run.
    """

    title: str = ""
    asked: tuple[tuple[str, str], ...] = ()
    headline: tuple[str, ...] = ()
    charts: tuple[Chart, ...] = ()
    facts: tuple[str, ...] = ()
    reading: tuple[str, ...] = ()
    pictures: tuple[Picture, ...] = ()
    without: tuple[str, ...] = ()
    cells: Sequence[Mapping[str, Any]] = ()
    config: Mapping[str, Any] = field(default_factory=dict)


#: Nothing besides the tables.
TABLES_ALONE = Document()


def sentences(document: Document) -> list[tuple[str, tuple[str, ...]]]:
    """Return the sentences of a document under their headings, those that there are any of."""
    found = (("What was found on the way", document.facts), ("How it is read", document.reading))
    return [(title, lines) for title, lines in found if lines]
