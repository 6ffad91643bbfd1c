"""How long one image takes, as for a service that is given one at a time: median and 99th percentile.

And how long the first one takes where nothing is compiled yet, and in each process afterwards.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
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


#: What a process does that filters its first image, and takes its gradient; prints the seconds of both.
_FIRST = """
import time
import torch
from art_denoise.filters import nl_means_denoise, rof_denoise
x = torch.rand((1, 3, 64, 64), requires_grad=True)
start = time.perf_counter()
denoised = {call}
filtered = time.perf_counter()
denoised.sum().backward()
print(filtered - start, time.perf_counter() - filtered)
"""

_CALLS = {
    "ROF": "rof_denoise(x, 0.04)",
    "ROF, converged": "rof_denoise(x, 0.04, solver='converged')",
    "NL-means": "nl_means_denoise(x, 0.05)",
}


def first_use_table() -> list[str]:
    """Return a table of the first call of each filter in a process, with nothing compiled and with all of it kept."""
    lines = [
        "| | filter, nothing kept, s | gradient | filter, compiled code kept, s | gradient |",
        "|---|---|---|---|---|",
    ]
    for name, call in _CALLS.items():
        with tempfile.TemporaryDirectory() as folder:
            environment = {**os.environ, "NUMBA_CACHE_DIR": folder}
            seconds: list[str] = []
            for _ in ("nothing kept", "kept"):
                command = [sys.executable, "-c", _FIRST.format(call=call)]
                done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
                seconds += [f"{float(s):.1f}" for s in done.stdout.split()]
        lines.append(f"| {name} | {' | '.join(seconds)} |")
    return lines
