"""Pictures of a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from art_denoise._files import replacing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from art_denoise.evaluation.fooling import TransferMatrix
    from art_denoise.evaluation.table1 import Result


def save_examples(result: Result, path: Path, *, count: int = 6) -> None:
    """Save a figure like the paper's Figure 1: images clean, perturbed and denoised, each with its predicted label.

    Shown are the first test images, one of a class, that the first column's attack turned from right to wrong; if there
    are too few, any. So these are examples of attacks that worked, not a fair sample; the figure says so.

    :param path: PNG file; written whole or not at all.
    :param count: Number of images.
    """
    column, test, names = result.columns[0].key, result.images.test, result.images.names
    clean, attacked = result.predicted["clean"], result.predicted[f"uap-{column}"]
    broken = (clean == result.labels) & (attacked != result.labels)
    order = np.argsort(~broken, kind="stable")
    _, first = np.unique(result.labels[order], return_index=True)
    chosen = order[np.sort(first)][:count]

    delta = result.perturbations["deepfool"][column]
    images = np.divide(test.images[chosen], 255, dtype=np.float32)
    perturbed = delta.add_to(images)
    span = np.abs(delta.array).max()
    panels: list[tuple[str, np.ndarray, np.ndarray | None]] = [
        ("v0", images, clean[chosen]),
        ("δ, magnified", np.repeat((0.5 + delta.array / (2 * span))[None], len(chosen), axis=0), None),
        ("v0 + δ", perturbed, attacked[chosen]),
        ("D_ROF(v0 + δ)", result.denoisers["rof"](perturbed)[0], result.predicted[f"uap-rof-{column}"][chosen]),
        ("D_nlm(v0 + δ)", result.denoisers["nlm"](perturbed)[0], result.predicted[f"uap-nlm-{column}"][chosen]),
    ]
    figure = Figure(figsize=(1.9 * len(panels), 1.9 * len(chosen) + 0.7), layout="constrained")
    title = "Attacks that worked" if broken[chosen].all() else "Attacks, whether they worked or not"
    figure.suptitle(f"{title}, and what the defences make of them\n(green: right, red: wrong)", fontsize=10)
    axes = figure.subplots(len(chosen), len(panels), squeeze=False)
    for j, (title, pictures, labels) in enumerate(panels):
        for i, image in enumerate(pictures):
            ax = axes[i, j]
            ax.imshow(image.transpose(1, 2, 0), interpolation="nearest")
            ax.set_xticks([])
            ax.set_yticks([])
            text, colour = "", "black"
            if labels is not None:
                text = _shortened(names.get(int(labels[i]), f"class {labels[i]}"))
                colour = "tab:green" if labels[i] == result.labels[chosen[i]] else "tab:red"
            ax.set_xlabel(text, color=colour, fontsize=8)
            if i == 0:
                ax.set_title(title, fontsize=9)
    with replacing(path) as beside:
        figure.savefig(beside, format="png", dpi=110)


def _shortened(name: str) -> str:
    """Return a class's name short enough to stand below a picture; dollar signs would be mathematics."""
    name = name.replace("$", r"\$")
    return name if len(name) <= 24 else f"{name[:23]}…"


def save_sweep(points: list[dict[str, Any]], path: Path, *, target: str) -> None:
    """Save accuracy against the strength of each denoiser, with the 95 % interval, a line for each kind of images.

    :param points: Records of :func:`art_denoise.evaluation.report.sweep`.
    :param path: PNG file; written whole or not at all.
    :param target: Name of the model.
    """
    denoisers = list(dict.fromkeys(point["denoiser"] for point in points))
    figure = Figure(figsize=(5.2 * len(denoisers), 4.2), layout="constrained")
    axes = figure.subplots(1, len(denoisers), sharey=True, squeeze=False)[0]
    for ax, denoiser in zip(axes, denoisers, strict=True):
        for images in dict.fromkeys(point["images"] for point in points):
            line = [p for p in points if p["denoiser"] == denoiser and p["images"] == images]
            x = [p["strength"] for p in line]
            (drawn,) = ax.plot(x, [p["accuracy"] for p in line], marker="o", markersize=3, label=images)
            ax.fill_between(
                x, [p["low"] for p in line], [p["high"] for p in line], color=drawn.get_color(), alpha=0.15, linewidth=0
            )
        ax.set_xlabel("ROF weight, of 255" if denoiser == "ROF" else "NL-means h, of 1")
        ax.grid(alpha=0.3)
    axes[0].set_ylabel(f"top-1 accuracy of {target}, %")
    axes[0].set_ylim(0, 100)
    axes[-1].legend(fontsize=8)
    with replacing(path) as beside:
        figure.savefig(beside, format="png", dpi=110)


def save_transfer(matrix: TransferMatrix, path: Path, *, names: Mapping[str, str] | None = None) -> None:
    """Save a transfer matrix as a heat map: rows crafted on, columns scored on, white-box cells framed.

    :param path: PNG file; written whole or not at all.
    :param names: Names to show for the models; their own where there is none.
    """
    names = names or {}
    rates = np.array([[100 * matrix.shares[s][t].value for t in matrix.targets] for s in matrix.sources])
    figure = Figure(
        figsize=(1.3 * max(2, len(matrix.targets)) + 2.4, 0.9 * len(matrix.sources) + 1.3), layout="constrained"
    )
    ax = figure.subplots()
    image = ax.imshow(rates, vmin=0, vmax=100, cmap="viridis", aspect="auto")
    figure.colorbar(image, label="fooling rate, %")
    ax.set_xticks(range(len(matrix.targets)), [names.get(t, t) for t in matrix.targets])
    ax.set_yticks(range(len(matrix.sources)), [names.get(s, s) for s in matrix.sources])
    ax.set_xlabel("scored on")
    ax.set_ylabel("crafted on")
    for i, source in enumerate(matrix.sources):
        for j, target in enumerate(matrix.targets):
            share = matrix.shares[source][target]
            low, high = (100 * v for v in share.interval)
            published = matrix.published.get(source, {}).get(target)
            text = f"{rates[i, j]:.1f}\n{low:.0f}–{high:.0f}" + ("" if published is None else f"\n({published:.1f})")
            colour = "white" if rates[i, j] < 60 else "black"
            ax.text(j, i, text, ha="center", va="center", color=colour, fontsize=8)
            if source == target:
                ax.add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, fill=False, edgecolor="tab:red", linewidth=3))
    with replacing(path) as beside:
        figure.savefig(beside, format="png", dpi=110)
