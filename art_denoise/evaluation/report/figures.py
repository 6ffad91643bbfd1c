"""Figures, from results alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from art_denoise._words import one_line
from art_denoise.evaluation.experiment import Knowledge
from art_denoise.evaluation.report.document import Picture
from art_denoise.evaluation.report.figure_files import Figure, class_name, digest_of, plain, save_drawing, slug
from art_denoise.evaluation.report.names import NOBODY
from art_denoise.evaluation.report.paper_drawings import MARKS, RIGHT, WRONG
from art_denoise.evaluation.report.paper_figures import paper_figures
from art_denoise.evaluation.report.table import Accuracy, Rate, Row, Table
from art_denoise.evaluation.report.tables import sweeps
from art_denoise.evaluation.report.transfer import transfer_table
from art_denoise.evaluation.report.worst import ROBUST, worst
from art_denoise.evaluation.statistics import Share

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

    from art_denoise.evaluation.results import Examples, Results

#: Defences, none among them, that are compared in a figure if there are at least so many.
_FEWEST_COMPARED = 3

#: Shapes of points, so that no line and no defence is known by its colour alone.
_SHAPES = "os^Dv*P<"


def figures(results: Results) -> list[Figure]:
    """Return the figures that there are results for."""
    found = [*_transfers(results), *_sweeps(results), *_worths(results)]
    examples = [] if results.examples is None else [_examples(results, results.examples)]
    return [*paper_figures(results), *examples, *found]


def save_transfer(table: Table, path: Path) -> None:
    """Save a table of fooling rates as a heat map: rows crafted on, columns scored on, white-box framed.

    :param table: A table of kind "transfer".
    :param path: PNG file; written whole or not at all.
    """
    save_drawing(_heat_map(table), path)


# Examples


def _examples(results: Results, examples: Examples) -> Figure:
    names = results.images.classes
    panels = [
        {
            "title": one_line(panel.title),
            "images": digest_of(panel.images),
            "labels": [class_name(names, label) for label in panel.labels.tolist()],
            "right": (panel.labels == examples.labels).tolist(),
        }
        for panel in examples.panels
    ]
    data = {"panels": panels, "magnified": digest_of(examples.magnified), "worked": examples.worked}
    noun = results.images.noun
    text = f"Examples: test {noun}s as they are, what the attack adds, attacked, and behind each defence"
    return Figure(Picture("figures/examples.png", text), data, partial(_draw_examples, data, examples))


def _draw_examples(data: Mapping[str, Any], examples: Examples) -> Drawing:
    """Draw a figure like the paper's Figure 1: images clean, attacked and defended, each with its predicted label.

    If all are attacks that worked, these are no fair sample; the figure says which it is.
    """
    from matplotlib.figure import Figure as Drawing

    # The second is what the attack added, which has no label.
    columns: list[tuple[str, np.ndarray, Any]] = [
        (panel["title"], found.images, panel) for panel, found in zip(data["panels"], examples.panels, strict=True)
    ]
    columns.insert(1, ("what is added, magnified", examples.magnified, None))
    count = len(examples.labels)
    drawing = Drawing(figsize=(1.9 * len(columns), 1.9 * count + 0.7), layout="constrained")
    title = "Attacks that worked" if examples.worked else "Attacks, whether they worked or not"
    drawing.suptitle(f"{title}, and what the defences make of them\n(✓ right, ✗ wrong)", fontsize=10)
    axes = drawing.subplots(count, len(columns), squeeze=False)
    for j, i in product(range(len(columns)), range(count)):
        heading, pictures, panel = columns[j]
        ax = axes[i, j]
        ax.imshow(pictures[i].transpose(1, 2, 0), interpolation="nearest")
        ax.set_xticks([])
        ax.set_yticks([])
        if panel is not None:
            right = panel["right"][i]
            text = f"{MARKS[right]} {plain(panel['labels'][i], 24)}"
            ax.set_xlabel(text, color=(RIGHT if right else WRONG)["color"], fontsize=8)
        if i == 0:
            ax.set_title(plain(heading, 34), fontsize=9 if len(heading) <= 24 else 7)
    return drawing


# Transfer


def _transfers(results: Results) -> Iterator[Figure]:
    names: Counter[str] = Counter()
    for transfer in results.experiment.transfers:
        table = transfer_table(results, transfer)
        if table is None:
            continue
        name = slug(transfer.threat.attack.name)
        names[name] += 1
        number = f"-{names[name]}" if names[name] > 1 else ""
        data = [[one_line(c.name.text) for c in table.columns], *map(_row_data, table.rows)]
        picture = Picture(f"figures/transfer-{name}{number}.png", f"Heat map: {table.title}", "transfer")
        yield Figure(picture, data, partial(_heat_map, table))


def _row_data(row: Row) -> Any:
    return [row.name.text, [[vars(value.shown()), value.marked] for value in row.values]]


def _heat_map(table: Table) -> Drawing:
    """Draw fooling rates: rows crafted on, columns scored on, white-box framed."""
    from matplotlib.figure import Figure as Drawing
    from matplotlib.patches import Rectangle

    rows, columns = table.rows, table.columns
    rates = np.array([[_rate(value) for value in row.values] for row in rows])
    drawing = Drawing(figsize=(1.3 * max(2, len(columns)) + 2.4, 0.9 * len(rows) + 1.3), layout="constrained")
    ax = drawing.subplots()
    image = ax.imshow(rates, vmin=0, vmax=100, cmap="viridis", aspect="auto")
    drawing.colorbar(image, label="fooling rate, %")
    ax.set_xticks(range(len(columns)), [plain(column.name.text, 14) for column in columns])
    ax.set_yticks(range(len(rows)), [plain(row.name.text, 20) for row in rows])
    ax.set_xlabel("scored on")
    ax.set_ylabel("crafted on")
    for (i, row), j in product(enumerate(rows), range(len(columns))):
        value = row.values[j]
        if not isinstance(value, Rate):
            ax.text(j, i, value.shown().main, ha="center", va="center", fontsize=8)
            continue
        low, high = value.share.interval if isinstance(value.share, Share) else value.share.spread
        text = f"{rates[i, j]:.1f}\n{100 * low:.0f}–{100 * high:.0f}"
        text += "" if value.published is None else f"\n({value.published:.1f})"
        ax.text(j, i, text, ha="center", va="center", color="white" if rates[i, j] < 60 else "black", fontsize=8)
        if value.marked:
            ax.add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, fill=False, edgecolor="tab:red", linewidth=3))
    return drawing


def _rate(value: Any) -> float:
    return 100 * value.share.value if isinstance(value, Rate) else float("nan")


# Sweeps


def _sweeps(results: Results) -> Iterator[Figure]:
    """Yield one figure of all defences beside each other."""
    panels = []
    for table in sweeps(results):
        lines: dict[str, list[tuple[float, float, float, float]]] = {}
        for row in table.rows:
            for column, value in zip(table.columns, row.values, strict=True):
                if isinstance(value, Accuracy):
                    share = value.share
                    low, high = share.interval if isinstance(share, Share) else share.spread
                    point = (float(row.name.text), 100 * share.value, 100 * low, 100 * high)
                    lines.setdefault(one_line(column.name.text), []).append(point)
        chosen = [float(row.name.text) for row in table.rows if dict(row.more)["in the other tables"]]
        panels.append({"axis": one_line(table.head.text), "lines": lines, "chosen": chosen})
    if panels:
        target = results.experiment.target
        data = {"target": target.title or target.text or target.key, "panels": panels}
        text = "Accuracy by the strength of the defences, with intervals"
        text += "; a dashed line at the strength of the other tables" * any(panel["chosen"] for panel in panels)
        yield Figure(Picture("figures/sweep.png", text, "sweep"), data, partial(_curves, data))


def _curves(data: Mapping[str, Any]) -> Drawing:
    """Draw accuracy against the strength of each defence, with its interval, a line for each kind of images."""
    from matplotlib.figure import Figure as Drawing

    panels = data["panels"]
    drawing = Drawing(figsize=(5.2 * len(panels), 4.2), layout="constrained")
    axes = drawing.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for ax, panel in zip(axes, panels, strict=True):
        for i, (name, points) in enumerate(panel["lines"].items()):
            x, values, lows, highs = zip(*points, strict=True)
            (drawn,) = ax.plot(x, values, marker=_SHAPES[i % len(_SHAPES)], markersize=5, label=plain(name, 60))
            ax.fill_between(x, lows, highs, color=drawn.get_color(), alpha=0.15, linewidth=0)
        for at in panel["chosen"]:
            ax.axvline(at, color="0.35", linestyle="--", linewidth=1, label="in the other tables", zorder=0)
        ax.set_xlabel(plain(panel["axis"], 60))
        ax.grid(alpha=0.3)
    axes[0].set_ylabel(f"top-1 accuracy of {plain(data['target'], 40)}, %")
    axes[0].set_ylim(0, 100)
    axes[-1].legend(fontsize=8)
    return drawing


# What defences are worth


def _worths(results: Results) -> Iterator[Figure]:
    """Yield one figure of what defences cost and buy, if there are several to compare."""
    points: list[dict[str, Any]] = []
    table = next(iter(worst(results)), None)
    if table is None:
        return
    # Of several sizes, the one that most is known of.
    section = max(table.sections, key=lambda s: (sum(_known(row) for row in s.rows), -table.sections.index(s)))
    names = [column.name.text for column in table.columns]
    for row in section.rows:
        values = dict(zip(names, row.values, strict=True))
        clean, robust = values[NOBODY], values[ROBUST]
        oblivious = values.get(Knowledge.OBLIVIOUS.value)
        if isinstance(clean, Accuracy) and isinstance(robust, Accuracy):
            points.append(
                {
                    "name": one_line(row.name.text),
                    "clean": 100 * clean.share.value,
                    "robust": 100 * robust.share.value,
                    "doubted": robust.doubted,
                    "oblivious": 100 * oblivious.share.value if isinstance(oblivious, Accuracy) else None,
                }
            )
    if len(points) >= _FEWEST_COMPARED:
        data = {"points": points, "size": section.title}
        text = "What defences cost, and what they leave: accuracy on clean images against the worst of all attackers"
        yield Figure(Picture("figures/worth.png", text, "worst"), data, partial(_scatter, data))


def _known(row: Row) -> int:
    return sum(isinstance(value, Accuracy) for value in row.values)


def _scatter(data: Mapping[str, Any]) -> Drawing:
    """Draw accuracy on clean images against what attackers leave: all of them, and those who do not know the defence.

    A line joins the defences that no other beats in both, those aside whose figure is in doubt.
    """
    from matplotlib.figure import Figure as Drawing

    points = data["points"]
    drawing = Drawing(figsize=(7.5, 5.2), layout="constrained")
    ax = drawing.subplots()
    for i, point in enumerate(points):
        colour, shape = f"C{i % 10}", _SHAPES[i % len(_SHAPES)]
        ax.plot(point["clean"], point["robust"], shape, color=colour, label=plain(point["name"], 48))
        if point["doubted"]:
            ax.plot(point["clean"], point["robust"], "x", color="black", markersize=11)
        if point["oblivious"] is not None:
            ax.plot(point["clean"], point["oblivious"], shape, color=colour, fillstyle="none")
            ax.plot([point["clean"]] * 2, [point["robust"], point["oblivious"]], color=colour, alpha=0.25, linewidth=1)
    sure = [point for point in points if not point["doubted"]]
    best = sorted((p["clean"], p["robust"]) for p in sure if not any(_beats(other, p) for other in sure))
    if best:
        ax.plot(*zip(*best, strict=True), color="black", linewidth=1, linestyle="--", zorder=0)
    ax.set_xlabel("accuracy on clean images, %")
    ax.set_ylabel("accuracy that attackers leave, %")
    ax.set_ylim(bottom=0)
    ax.set_title(
        "Filled: the worst of all attackers, image by image. Hollow: those who do not know the defence.\n"
        "Crossed: in doubt. Dashed: of the others none is better in both."
        + (f" {data['size']}" if data["size"] else ""),
        fontsize=8,
    )
    ax.grid(alpha=0.3)
    ax.legend(fontsize=7)
    return drawing


def _beats(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Return whether one defence is at least as good in both, and better in one."""
    pairs = [(one[name], other[name]) for name in ("clean", "robust")]
    return all(a >= b for a, b in pairs) and any(a > b for a, b in pairs)
