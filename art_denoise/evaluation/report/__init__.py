"""How a run is told: the table as text, Markdown, LaTeX, CSV and JSON, a page, and a figure of examples."""

from __future__ import annotations

import csv
import io
import json
import os
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from art_denoise.data import PHOTOGRAPHS
from art_denoise.evaluation.fooling import TransferMatrix
from art_denoise.evaluation.options import Options
from art_denoise.evaluation.report.figures import save_examples, save_transfer
from art_denoise.evaluation.rows import COLUMNS, COMPARISONS, Row
from art_denoise.evaluation.statistics import Share, accuracy, paired_difference
from art_denoise.evaluation.store import write_text
from art_denoise.evaluation.table1 import Result


def table(result: Result) -> list[dict[str, Any]]:
    """Return the cells of Table 1 as records: row, column, correct, n; accuracy, interval and paper in percent."""
    return [
        {
            "row": row.text,
            "column": COLUMNS[column],
            "correct": share.count,
            "n": share.n,
            "accuracy": _percent(share.value),
            "low": _percent(share.interval[0]),
            "high": _percent(share.interval[1]),
            "paper": row.paper[i] if row.paper else None,
        }
        for row in result.options.rows
        for i, column in enumerate(COLUMNS)
        for share in [_share(result, row, column)]
    ]


def comparisons(result: Result) -> list[dict[str, Any]]:
    """Return the paired comparisons as records: what is compared, column, difference in points, McNemar's p."""
    rows = {row.key: row for row in result.options.rows}
    records: list[dict[str, Any]] = []
    for first, second, text in COMPARISONS:
        columns = list(COLUMNS) if rows[first].of_column or rows[second].of_column else list(COLUMNS)[:1]
        for column in columns:
            difference = paired_difference(
                result.predicted[rows[first].cell(column)], result.predicted[rows[second].cell(column)], result.labels
            )
            records.append(
                {
                    "what": text,
                    "first": rows[first].text,
                    "second": rows[second].text,
                    "column": COLUMNS[column] if len(columns) > 1 else "any",
                    "points": _percent(difference.value),
                    "only_first": difference.only_first,
                    "only_second": difference.only_second,
                    "n": difference.n,
                    "p": difference.p_value,
                }
            )
    return records


def write_report(result: Result, folder: str | os.PathLike[str]) -> str:
    """Write the report of a run and return the table as it is printed.

    :param folder: Run folder. Its `report/` gets `table1.{txt,md,tex,csv,json}`, `transfer.csv`, `index.html` and
        `figures/`.
    """
    report = Path(folder) / "report"
    cells, pairs = table(result), comparisons(result)
    context = {
        "columns": list(COLUMNS.values()),
        "sections": [(title, _lines(result, rows)) for title, rows in result.options.sections.items()],
        "comparisons": {what: list(group) for what, group in groupby(pairs, key=itemgetter("what"))},
        "n": len(result.labels),
        "classes": len(PHOTOGRAPHS),
        "config": result.config,
        "transfer": {
            {"deepfool": "DeepFoolUAP", "sgd": "SGDUAP"}[kind]: _transfer_lines(matrix)
            for kind, matrix in result.transfer.items()
        },
        "facts": facts(result),
        "reading": reading(result.options),
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
    save_examples(result, report / "figures" / "examples.png")
    for kind, matrix in result.transfer.items():
        save_transfer(matrix, report / "figures" / f"transfer-{kind}.png", names=COLUMNS)
    text = environment.get_template("table1.txt").render(context)
    write_text(report / "table1.txt", text)
    for name in ("table1.md", "table1.tex", "index.html"):
        write_text(report / name, environment.get_template(name).render(context))
    write_text(report / "table1.csv", _csv(cells))
    transfer = [{"attack": kind, **record} for kind, matrix in result.transfer.items() for record in matrix.records()]
    write_text(report / "transfer.csv", _csv(transfer))
    everything = {"cells": cells, "comparisons": pairs, "transfer": transfer, **result.config}
    write_text(report / "table1.json", json.dumps(everything, indent=2))
    return text


def reading(options: Options) -> list[str]:
    """Return how the paper is read where it leaves a choice, one line each. Printed with every report."""
    drawn = {
        "flip": "draws that turn a wrong prediction into a right one",
        "loss": "draws that lower the cross-entropy",
    }[options.noise_accept]
    through = {"defences": "through the denoiser it precedes", "classifier": "through the classifier alone"}
    return [
        "Order: v0, + δ and clip to [0, 1], + v_def and clip, denoise and clip, standardise, classify.",
        f"δ: L∞ ≤ {255 * options.eps:g}/255, the universal perturbation of Moosavi-Dezfooli et al. (2017), "
        f"DeepFoolUAP, crafted on {options.craft_images} training crops in at most {options.craft_passes} "
        "passes on the column's network. IncV1 is the target itself (white-box); VGG16 and VGG19 are transferred "
        "(black-box). The attacker does not know of the defence.",
        "δ_SGD: of the same size and from the same crops, the universal perturbation of Shafahi et al. (2020), SGDUAP, "
        f"in {options.sgd_passes} passes. “Knowing D”: crafted through the denoiser, by an attacker who knows of it.",
        f"D_ROF: scikit-image's Chambolle iteration and stop rule, weight {255 * options.rof_weight:g}/255, each "
        "channel by itself. D_nlm: scikit-image's fast filter, "
        f"h = {options.nlm_h:g}, patch size 2, patch distance 3, channels together.",
        f"v_def: Eq. 1 with {drawn}, {through[options.noise_through]}, {options.noise_draws} draws an image, on clean "
        "images of a split of their own; σ and ε chosen by the loss on a tuning split. “Knowing δ”: fitted on images "
        "that the column's attack has perturbed.",
        "Random direction: Gaussian noise of the same root mean square as v_def. Random signs: of the size of δ.",
        "Accuracy: top-1 of the target, with a 95 % Wilson interval. Comparisons: the same images, exact McNemar test.",
    ]


def facts(result: Result) -> list[str]:
    """Return what was found out on the way, one line each: fooling rates, and how v_def came about."""
    lines = []
    for kind, deltas in result.perturbations.items():
        for name, delta in deltas.items():
            seconds = sum(record["seconds"] for record in delta.provenance["history"])
            denoiser = kind.partition("-")[2]
            rate = _percent(delta.fooling_rates["crafting images"])
            lines.append(
                f"{delta.attack} on {COLUMNS[name]}{f' through D_{denoiser}' if denoiser else ''}: fooled "
                f"{rate:g} % of the {delta.provenance['images']} crops it was crafted on, "
                f"L∞ {255 * delta.linf:.1f}/255, {delta.provenance['passes']} passes in {seconds:.0f} s"
            )
    for name, noise in result.noises.items():
        found = noise.provenance
        lines.append(
            f"v_def {name}: {found['accepted']} of {found['drawn']} draws accepted, σ {255 * found['sigma']:g}/255, "
            f"RMS {255 * found['eps']:g}/255, L∞ {255 * found['linf']:.1f}/255"
        )
    return lines


def _share(result: Result, row: Row, column: str) -> Share:
    return accuracy(result.predicted[row.cell(column)], result.labels)


def _lines(result: Result, rows: tuple[Row, ...]) -> list[dict[str, Any]]:
    """Return rows for the templates: text, and for each column accuracy, interval and the paper's figure as texts."""
    lines = []
    for row in rows:
        cells = []
        for i, column in enumerate(COLUMNS):
            share = _share(result, row, column)
            cells.append(
                {
                    "accuracy": f"{100 * share.value:.1f}",
                    "interval": "–".join(f"{100 * v:.1f}" for v in share.interval),
                    "paper": f"{row.paper[i]:.1f}" if row.paper else "",
                    # The same in all columns: shown once.
                    "repeated": i > 0 and not row.of_column,
                }
            )
        lines.append({"text": row.text, "cells": cells, "n": len(result.labels)})
    return lines


def _transfer_lines(matrix: TransferMatrix) -> list[dict[str, Any]]:
    """Return a transfer matrix for the templates."""
    records = matrix.records()
    return [
        {"source": COLUMNS.get(source, source), "cells": [record for record in records if record["source"] == source]}
        for source in matrix.sources
    ]


def _percent(value: float) -> float:
    return round(100 * value, 2)


def _p_value(value: float) -> str:
    return f"{value:.3f}" if value >= 0.001 else "< 0.001"


def _latex(text: str) -> str:
    """Typeset a row's name."""
    symbols = {
        "δ_SGD": r"$\delta_{SGD}$",
        "v_def": r"$v_{def}$",
        "v0": "$v_0$",
        "δ": r"$\delta$",
        "D_ROF": r"$D_{ROF}$",
        "D_nlm": r"$D_{nlm}$",
    }
    for name, symbol in symbols.items():
        text = text.replace(name, symbol)
    return text


def _csv(records: list[dict[str, Any]]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=list(records[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return out.getvalue()
