"""Pictures of a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from art_denoise._files import replacing
from art_denoise.data import PHOTOGRAPHS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from art_denoise.evaluation.fooling import TransferMatrix
    from art_denoise.evaluation.table1 import Result


def save_examples(result: Result, path: Path, *, count: int = 6, column: str = "inception_v1") -> None:
    """Save a figure like the paper's Figure 1: images clean, perturbed and denoised, each with its predicted label.

    Shown are the first test images, one of a class, that the attack turned from right to wrong; if there are too few,
    any. So these are examples of attacks that worked, not a fair sample; the figure says so.

    :param path: PNG file; written whole or not at all.
    :param count: Number of images.
    :param column: Column of the universal perturbation shown.
    """
    clean, attacked = result.predicted["clean"], result.predicted[f"uap-{column}"]
    broken = (clean == result.labels) & (attacked != result.labels)
    order = np.argsort(~broken, kind="stable")
    _, first = np.unique(result.labels[order], return_index=True)
    chosen = order[np.sort(first)][:count]

    delta = result.perturbations["deepfool"][column]
    perturbed = delta.add_to(result.images[chosen])
    span = np.abs(delta.array).max()
    panels: list[tuple[str, np.ndarray, np.ndarray | None]] = [
        ("v0", result.images[chosen], clean[chosen]),
        ("δ, magnified", np.repeat((0.5 + delta.array / (2 * span))[None], len(chosen), axis=0), None),
        ("v0 + δ", perturbed, attacked[chosen]),
        ("D_ROF(v0 + δ)", result.denoisers["rof"](perturbed)[0], result.predicted[f"uap-rof-{column}"][chosen]),
        ("D_nlm(v0 + δ)", result.denoisers["nlm"](perturbed)[0], result.predicted[f"uap-nlm-{column}"][chosen]),
    ]
    figure = Figure(figsize=(1.9 * len(panels), 1.9 * len(chosen) + 0.7), layout="constrained")
    title = "Attacks that worked" if broken[chosen].all() else "Attacks, whether they worked or not"
    figure.suptitle(f"{title}, and what the defences make of them\n(green: right, red: wrong)", fontsize=10)
    axes = figure.subplots(len(chosen), len(panels), squeeze=False)
    for j, (title, images, labels) in enumerate(panels):
        for i, image in enumerate(images):
            ax = axes[i, j]
            ax.imshow(image.transpose(1, 2, 0), interpolation="nearest")
            ax.set_xticks([])
            ax.set_yticks([])
            text, colour = "", "black"
            if labels is not None:
                text = PHOTOGRAPHS[labels[i]].replace("_", " ")
                colour = "tab:green" if labels[i] == result.labels[chosen[i]] else "tab:red"
            ax.set_xlabel(text, color=colour, fontsize=8)
            if i == 0:
                ax.set_title(title, fontsize=9)
    with replacing(path) as beside:
        figure.savefig(beside, format="png", dpi=110)


def save_transfer(matrix: TransferMatrix, path: Path, *, names: Mapping[str, str] | None = None) -> None:
    """Save a transfer matrix as a heat map: rows crafted on, columns scored on, white-box cells framed.

    :param path: PNG file; written whole or not at all.
    :param names: Names to show for the models; their own where there is none.
    """
    names = names or {}
    rates = np.array([[100 * matrix.shares[s][t].value for t in matrix.targets] for s in matrix.sources])
    figure = Figure(figsize=(1.3 * len(matrix.targets) + 2.4, 0.9 * len(matrix.sources) + 1.3), layout="constrained")
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
