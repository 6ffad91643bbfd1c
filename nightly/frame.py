"""The frame of the nightly tests: what a part is and returns, and the table that is made of all of them."""

from __future__ import annotations

import datetime
import importlib
import importlib.metadata
import json
import os
import platform
import time
import traceback
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

#: The parts in the order in which they run, the short ones first. To add one: its module, and its name here.
PARTS = (
    "heart",
    "armory",
    "endurance",
    "properties",
    "faults",
    "fuzz",
    "art_suite",
)

#: Versions that stand above the table.
_PACKAGES = ("art_denoise", "adversarial-robustness-toolbox", "torch", "numpy", "scipy", "numba")


@dataclass(frozen=True)
class Part:
    """What a part tried and what went wrong.

    :param name: Name of the part, as the user gives it to `--part`.
    :param tried: One sentence of what was tried, with the counts.
    :param failures: One sentence for each thing that went wrong; none if all went well.
    :param notes: One sentence for each thing that the reader of the table should know, as an expected failure.
    :param not_run: Why nothing, or not all, could be tried here; empty if all was.
    """

    name: str
    tried: str
    failures: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    not_run: str = ""


@dataclass(frozen=True)
class Row:
    """A part, how long it took, and when and with what it ran.

    :param seconds: Its seconds.
    :param quick: Whether only a little of it was run.
    :param day: The day, as 2026-11-27.
    :param where: Versions and machine, as one text.
    """

    part: Part
    seconds: float
    quick: bool = False
    day: str = field(default_factory=lambda: datetime.date.today().isoformat())
    where: str = field(default_factory=lambda: _here())

    @property
    def result(self) -> str:
        """A word or two on how the part went."""
        count = len(self.part.failures)
        if count:
            return f"{count} failure{'s' if count > 1 else ''}"
        return f"not run: {self.part.not_run}" if self.part.not_run else "well"


def run_part(name: str, quick: bool) -> Row:
    """Run one part; an exception of it is a failure of the part, so that the others still run."""
    start = time.monotonic()
    try:
        part = importlib.import_module(f"nightly.{name}").run(quick)
    except Exception as error:
        traceback.print_exc()
        part = Part(name, "It did not come to its end.", (f"{type(error).__name__}: {error}",))
    return Row(part, time.monotonic() - start, quick)


def versions() -> dict[str, str]:
    """Versions of what the parts ran with."""
    found = {"Python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def _here() -> str:
    with_what = ", ".join(f"{name} {version}" for name, version in versions().items())
    return f"{with_what} ({platform.system()} {platform.machine()}, {os.cpu_count()} cores)"


def as_text(rows: Sequence[Row]) -> str:
    """The table for a terminal, and below it what went wrong and what there is to know."""
    heads = ("part", "seconds", "result", "tried")
    cells = [(row.part.name, f"{row.seconds:.0f}", row.result, row.part.tried) for row in rows]
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)][:3]
    lines = ["  ".join([*map(str.ljust, line[:3], widths), line[3]]).rstrip() for line in (heads, *cells)]
    for kind in ("notes", "failures"):
        details = [f"{row.part.name}: {text}" for row in rows for text in getattr(row.part, kind)]
        lines += ["", *details] if details else []
    return "\n".join(lines)


def as_markdown(rows: Sequence[Row]) -> str:
    """The page of the documentation."""
    ran = {(row.day, row.where): None for row in rows}
    lines = [
        "# The nightly tests",
        "",
        "Written by `make nightly`; `python -m nightly --part NAME` runs one part, `--quick` a little of each. A part",
        "that was run again by itself (`--write`) has its own day.",
        "",
        *(f"- {day}: {where}." for day, where in ran),
        "",
        "| part | tried | day | seconds | result |",
        "|---|---|---|---:|---|",
    ]
    lines += [
        f"| {_cell(row.part.name)} | {_cell(row.part.tried)} | {row.day}{', a little' if row.quick else ''} | "
        f"{row.seconds:.0f} | {_cell(row.result)} |"
        for row in rows
    ]
    lines += _list("What went wrong", rows, "failures") + _list("What to know", rows, "notes")
    return "\n".join(lines) + "\n"


def keep(rows: Sequence[Row], page: Path) -> None:
    """Write a page of rows, and of those of other parts that stand beside it, in JSON, since they were run."""
    file = page.with_suffix(".json")
    there = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else []
    by_name = {row["part"]["name"]: row for row in there} | {row.part.name: asdict(row) for row in rows}
    kept = [by_name[name] for name in sorted(by_name, key=lambda name: (*PARTS, name).index(name))]
    file.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    page.write_text(as_markdown([_row(**row) for row in kept]), encoding="utf-8")


def _row(part: Mapping[str, Any], **other: Any) -> Row:
    lists = {name: tuple(value) for name, value in part.items() if isinstance(value, list)}
    return Row(Part(**{**part, **lists}), **other)


def _list(title: str, rows: Iterable[Row], kind: str) -> list[str]:
    entries = [f"- {_cell(row.part.name)}: {_cell(text)}" for row in rows for text in getattr(row.part, kind)]
    return ["", f"## {title}", "", *entries] if entries else []


def _cell(text: str) -> str:
    """Text that neither ends a cell nor a line of a Markdown table."""
    return " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|")
