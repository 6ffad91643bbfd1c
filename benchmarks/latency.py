"""How long one image takes, as for a service that is given one at a time: median and 99th percentile."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from skimage.restoration import denoise_nl_means, denoise_tv_chambolle

from art_denoise import NLMeansDefence, ROFDefence, nl_means_denoise, rof_denoise

WEIGHT, H = 10 / 255, 0.05


def contenders() -> dict[str, Callable[[np.ndarray], Any]]:
    """Return what is timed, each of one image (1, 3, H, W)."""
    rof, nl_means = ROFDefence(weight=WEIGHT), NLMeansDefence(h=H)
    return {
        "ROF: scikit-image": lambda x: denoise_tv_chambolle(x[0], weight=WEIGHT, channel_axis=0),
        "ROF: `rof_denoise`": lambda x: rof_denoise(torch.from_numpy(x), WEIGHT),
        "ROF: `ROFDefence`": rof,
        "NL-means: scikit-image": lambda x: denoise_nl_means(x[0], h=H, patch_size=2, patch_distance=3, channel_axis=0),
        "NL-means: `nl_means_denoise`": lambda x: nl_means_denoise(torch.from_numpy(x), H),
        "NL-means: `NLMeansDefence`": nl_means,
    }


def latency_table(images: np.ndarray, rounds: int) -> list[str]:
    """Filter images (N, 3, H, W) one by one, with all contenders in turn, and return a table."""
    taken: dict[str, list[float]] = {name: [] for name in contenders()}
    for round_ in range(rounds + 1):
        for name, run in contenders().items():
            for image in images:
                start = time.perf_counter()
                run(image[None])
                if round_:  # the first warms up
                    taken[name].append(time.perf_counter() - start)
    lines = ["| | calls | median, ms | 99th percentile, ms | ratio of medians |", "|---|---|---|---|---|"]
    for name, seconds in taken.items():
        kind = name.split(":")[0]
        baseline = np.median(taken[f"{kind}: scikit-image"])
        median, late = np.median(seconds), np.quantile(seconds, 0.99)
        lines.append(
            f"| {name} | {len(seconds)} | {1000 * median:.3f} | {1000 * late:.3f} | {baseline / median:.1f}× |"
        )
    return lines
