"""How a run is told: the table as text, Markdown, LaTeX, CSV and JSON, a page, and figures."""

from __future__ import annotations

import csv
import io
import json
import os
from contextlib import suppress
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

import art_denoise.evaluation
from art_denoise._files import write_text
from art_denoise.data.splits import fingerprint
from art_denoise.evaluation.fooling import TransferMatrix
from art_denoise.evaluation.report.facts import facts, reading
from art_denoise.evaluation.rows import COMPARISONS, Column, Row
from art_denoise.evaluation.statistics import Share, accuracy, paired_difference
from art_denoise.evaluation.store import key_of, source_digest
from art_denoise.evaluation.table1 import Result

#: File that says of which results the report is; written last.
_KEY = ".key"

_DENOISERS = {"rof": "ROF", "nlm": "NL-means"}


def table(result: Result) -> list[dict[str, Any]]:
    """Return the cells of Table 1 as records: row, column, correct, n; accuracy, interval and paper in percent."""
    return [
        {
            "row": row.text,
            "column": column.text,
            **_record(share),
            "paper": _paper(result, row, column),
        }
        for row in result.rows
        for column in result.columns
        if (share := _share(result, row, column)) is not None
    ]


def comparisons(result: Result) -> list[dict[str, Any]]:
    """Return the paired comparisons as records: what is compared, column, difference in points, McNemar's p."""
    rows = {row.key: row for row in result.rows}
    records: list[dict[str, Any]] = []
    for first, second, text in COMPARISONS:
        if first not in rows or second not in rows:
            continue
        differs = rows[first].of_column or rows[second].of_column
        for column in result.columns if differs else result.columns[:1]:
            one, other = (result.predicted.get(rows[key].cell(column.key)) for key in (first, second))
            if one is None or other is None:
                continue
            difference = paired_difference(one, other, result.labels)
            records.append(
                {
                    "what": text,
                    "first": rows[first].text,
                    "second": rows[second].text,
                    "column": column.text if differs else "any",
                    "points": _percent(difference.value),
                    "only_first": difference.only_first,
                    "only_second": difference.only_second,
                    "n": difference.n,
                    "p": difference.p_value,
                }
            )
    return records


def sweep(result: Result) -> list[dict[str, Any]]:
    """Return the points of the sweep as records; strength as weight of 255 or h, accuracy and interval in percent."""
    records = []
    for point in result.sweep:
        share = accuracy(result.predicted[point.cell], result.labels)
        scale = 255 if point.denoiser == "rof" else 1
        records.append(
            {
                "denoiser": _DENOISERS[point.denoiser],
                "strength": round(scale * point.strength, 6),
                "images": point.text,
                **_record(share),
            }
        )
    return records


def write_report(result: Result, folder: str | os.PathLike[str]) -> str:
    """Write the report of a run and return the table as it is printed.

    The same results give the same files; where they are there already, nothing is written.

    :param folder: Run folder. Its `report/` gets `table1.{txt,md,tex,csv,json}`, `index.html`, `figures/`, and, where
        there are such results, `transfer.csv` and `sweep.csv`.
    """
    report = Path(folder) / "report"
    key = _key(result)
    # Drawing takes longer than everything else when a finished table is asked for again.
    with suppress(FileNotFoundError):
        if (report / _KEY).read_text(encoding="utf-8") == key:
            return (report / "table1.txt").read_text(encoding="utf-8")
    (report / _KEY).unlink(missing_ok=True)
    text = _write(result, report)
    write_text(report / _KEY, key)
    return text


def _key(result: Result) -> str:
    """Return digits that change with anything that a report tells, and with how it tells it."""
    labels = {name: fingerprint(found) for name, found in sorted(result.predicted.items())}
    templates = [path.read_text(encoding="utf-8") for path in sorted(Path(__file__).parent.glob("templates/*"))]
    told = [facts(result), reading(result), labels, fingerprint(result.labels), result.config]
    return key_of([told, templates, source_digest(art_denoise.evaluation)])


def _write(result: Result, report: Path) -> str:
    """Write the files of a report and return the table as it is printed."""
    from art_denoise.evaluation.report.figures import save_examples, save_sweep, save_transfer

    cells, pairs, points = table(result), comparisons(result), sweep(result)
    context = {
        "columns": [column.text for column in result.columns],
        "sections": [(title, _lines(result, rows)) for title, rows in result.sections.items()],
        "comparisons": {what: list(group) for what, group in groupby(pairs, key=itemgetter("what"))},
        "target": result.target.title,
        "title": result.images.title,
        "noun": result.images.noun,
        "n": len(result.labels),
        "of_paper": any(cell["paper"] is not None for cell in cells),
        "config": result.config,
        "transfer": {
            _attack(result, kind): _transfer_lines(result, matrix) for kind, matrix in result.transfer.items()
        },
        "targets": _targets(result),
        "published": any(r["published"] is not None for m in result.transfer.values() for r in m.records()),
        "transfer_figures": {_attack(result, kind): f"figures/transfer-{kind}.png" for kind in result.transfer},
        "sweep": _sweep_tables(points),
        "facts": facts(result),
        "reading": reading(result),
    }
    environment = Environment(
        loader=PackageLoader("art_denoise.evaluation.report"),
        autoescape=lambda name: name is not None and name.endswith(".html"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["latex"] = _latex
    environment.filters["p"] = _p_value
    environment.filters["dashes"] = _dashes
    save_examples(result, report / "figures" / "examples.png")
    for kind, matrix in result.transfer.items():
        save_transfer(matrix, report / "figures" / f"transfer-{kind}.png", names=_texts(result))
    if points:
        save_sweep(points, report / "figures" / "sweep.png", target=result.target.title)
        write_text(report / "sweep.csv", _csv(points))
    text = environment.get_template("table1.txt").render(context)
    write_text(report / "table1.txt", text)
    for name in ("table1.md", "table1.tex", "index.html"):
        write_text(report / name, environment.get_template(name).render(context))
    write_text(report / "table1.csv", _csv(cells))
    transfer = [{"attack": kind, **record} for kind, matrix in result.transfer.items() for record in matrix.records()]
    if transfer:
        write_text(report / "transfer.csv", _csv(transfer))
    everything = {"cells": cells, "comparisons": pairs, "transfer": transfer, "sweep": points, **result.config}
    write_text(report / "table1.json", json.dumps(everything, indent=2))
    return text


def _share(result: Result, row: Row, column: Column) -> Share | None:
    """Return the accuracy of a cell, or None where there is none."""
    labels = result.predicted.get(row.cell(column.key))
    return None if labels is None else accuracy(labels, result.labels)


def _record(share: Share) -> dict[str, Any]:
    """Return an accuracy as part of a record, in percent."""
    low, high = map(_percent, share.interval)
    return {"correct": share.count, "n": share.n, "accuracy": _percent(share.value), "low": low, "high": high}


def _texts(result: Result) -> dict[str, str]:
    """Return what models and perturbations are called in reports, by their names."""
    return {result.target.name: result.target.text} | {column.key: column.text for column in result.columns}


def _paper(result: Result, row: Row, column: Column) -> float | None:
    return row.paper_in(result.target.name, column.key)


def _lines(result: Result, rows: tuple[Row, ...]) -> list[dict[str, Any]]:
    """Return rows for the templates: text, and for each column accuracy, interval and the paper's figure as texts."""
    lines = []
    for row in rows:
        cells = []
        for i, column in enumerate(result.columns):
            share, paper = _share(result, row, column), _paper(result, row, column)
            cells.append(
                {
                    "accuracy": "–" if share is None else f"{100 * share.value:.1f}",
                    "interval": "" if share is None else "–".join(f"{100 * v:.1f}" for v in share.interval),
                    "paper": "" if paper is None else f"{paper:.1f}",
                    # The same in all columns: shown once.
                    "repeated": i > 0 and not row.of_column,
                }
            )
        lines.append({"text": row.text, "cells": cells, "n": len(result.labels)})
    return lines


def _dashes(sections: list[tuple[str, list[dict[str, Any]]]]) -> bool:
    """Return whether any cell is without a figure."""
    return any(not cell["interval"] for _, lines in sections for line in lines for cell in line["cells"])


def _transfer_lines(result: Result, matrix: TransferMatrix) -> list[dict[str, Any]]:
    """Return a transfer matrix for the templates."""
    records = matrix.records()
    texts = _texts(result)
    return [
        {"source": texts.get(source, source), "cells": [record for record in records if record["source"] == source]}
        for source in matrix.sources
    ]


def _attack(result: Result, kind: str) -> str:
    """Return the name of a way of crafting; perturbations from files are δ."""
    crafted = any(column.model is not None for column in result.columns)
    return {"deepfool": "DeepFoolUAP", "sgd": "SGDUAP"}[kind] if crafted else "δ"


def _targets(result: Result) -> list[str]:
    """Return the models that perturbations were scored on, as they stand in tables."""
    texts = _texts(result)
    return [texts[target] for matrix in list(result.transfer.values())[:1] for target in matrix.targets]


def _sweep_tables(points: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the points of the sweep for the templates: by denoiser, the strengths, and a line for each image kind."""
    tables: dict[str, dict[str, Any]] = {}
    for point in points:
        found = tables.setdefault(point["denoiser"], {"strengths": [], "lines": {}})
        strength = f"{point['strength']:g}"
        if strength not in found["strengths"]:
            found["strengths"].append(strength)
        found["lines"].setdefault(point["images"], []).append(point)
    return tables


def _percent(value: float) -> float:
    return round(100 * value, 2)


def _p_value(value: float) -> str:
    return f"{value:.3f}" if value >= 0.001 else "< 0.001"


def _latex(text: str) -> str:
    """Typeset a row's or a column's name."""
    symbols = {
        "δ_SGD": r"$\delta_{SGD}$",
        "v_def": r"$v_{def}$",
        "v0": "$v_0$",
        "δ": r"$\delta$",
        "D_ROF": r"$D_{ROF}$",
        "D_nlm": r"$D_{nlm}$",
    }
    if not any(name in text for name in symbols):
        return text.replace("_", r"\_").replace("%", r"\%").replace("&", r"\&").replace("#", r"\#")
    for name, symbol in symbols.items():
        text = text.replace(name, symbol)
    return text


def _csv(records: list[dict[str, Any]]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=list(records[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return out.getvalue()
