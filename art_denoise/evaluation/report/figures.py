"""Pictures of a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from art_denoise._files import replacing
from art_denoise.data import PHOTOGRAPHS

if TYPE_CHECKING:
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

    delta = result.perturbations[column]
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
