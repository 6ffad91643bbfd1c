"""How fast the filters are: `python -m benchmarks.filters` prints a table and writes it to benchmarks/RESULTS.md.

All contenders filter the same real photographs in one process, one after another in each round, so that a change of
the machine's speed meets them all; quoted are medians over the rounds and their ratio to scikit-image in a plain loop.
Those that take seconds an image get fewer images, as stated.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Annotated

import numpy as np
import torch
import typer
from art.defences.preprocessor import TotalVarMin
from skimage.restoration import denoise_nl_means, denoise_tv_chambolle
from tqdm.auto import tqdm

from art_denoise import nl_means_denoise, rof_denoise
from art_denoise.data.photographs import load_photograph

RESULTS = Path(__file__).with_name("RESULTS.md")
WEIGHT, H = 10 / 255, 0.05


@dataclass(frozen=True)
class Contender:
    """One way to do one thing: `run` filters images (N, 3, H, W); at most `images` of the batch are given to it."""

    name: str
    run: Callable[[np.ndarray], np.ndarray]
    images: int = 64


def photographs(count: int, size: int) -> np.ndarray:
    """Return float32 crops (`count`, 3, `size`, `size`) of four photographs, perturbed by random signs of 10/255."""
    rng = np.random.default_rng(0)
    sources = [load_photograph(name) for name in ("astronaut", "coffee", "chelsea", "rocket")]
    crops = []
    for k in range(count):
        source = sources[k % len(sources)]
        row, column = (int(rng.integers(0, extent - size)) for extent in source.shape[:2])
        crops.append(source[row : row + size, column : column + size].transpose(2, 0, 1))
    signs = rng.choice(np.array([-1, 1], dtype=np.float32), (3, size, size))
    return np.clip(np.stack(crops).astype(np.float32) / 255 + WEIGHT * signs, 0, 1)


def _loop(function: Callable[..., np.ndarray], **options: object) -> Callable[[np.ndarray], np.ndarray]:
    return lambda x: np.stack([function(image, channel_axis=0, **options) for image in x])


def _ours(function: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[np.ndarray], np.ndarray]:
    return lambda x: function(torch.from_numpy(x)).numpy()


def _with_gradient(function: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[np.ndarray], np.ndarray]:
    def run(x: np.ndarray) -> np.ndarray:
        tensor = torch.from_numpy(x).requires_grad_()
        result = function(tensor)
        result.backward(torch.ones_like(result))
        return result.detach().numpy()

    return run


def _total_var_min(x: np.ndarray) -> np.ndarray:
    # ART's default drops pixels at random (prob=0.3); it wants channels last.
    denoised, _ = TotalVarMin(clip_values=(0, 1))(x.transpose(0, 2, 3, 1))
    return np.asarray(denoised).transpose(0, 3, 1, 2)


def tasks() -> dict[str, list[Contender]]:
    """Return the contenders by task; the first of each is scikit-image, which the others are compared with."""

    def rof(x: torch.Tensor) -> torch.Tensor:
        return rof_denoise(x, WEIGHT)

    def rof_200(x: torch.Tensor) -> torch.Tensor:
        return rof_denoise(x, WEIGHT, eps=0)

    def nlm(x: torch.Tensor) -> torch.Tensor:
        return nl_means_denoise(x, H)

    return {
        "ROF, weight 10/255, default stop": [
            Contender("scikit-image", _loop(denoise_tv_chambolle, weight=WEIGHT)),
            Contender("art_denoise", _ours(rof)),
            Contender("art_denoise, forward and backward", _with_gradient(rof)),
            Contender("ART's TotalVarMin (another energy)", _total_var_min, images=1),
        ],
        "ROF, 200 iterations": [
            Contender("scikit-image", _loop(denoise_tv_chambolle, weight=WEIGHT, eps=0), images=8),
            Contender("art_denoise", _ours(rof_200)),
            Contender("art_denoise, forward and backward", _with_gradient(rof_200)),
        ],
        "NL-means, the paper's parameters": [
            Contender("scikit-image", _loop(denoise_nl_means, h=H, patch_size=2, patch_distance=3)),
            Contender("art_denoise", _ours(nlm)),
            Contender("art_denoise, forward and backward", _with_gradient(nlm)),
        ],
    }


def measure(contenders: list[Contender], x: np.ndarray, rounds: int) -> list[str]:
    """Time the contenders in turn, `rounds` times after one warm-up, and return the lines of a table."""
    seconds: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    results = {}
    for r in range(rounds + 1):
        for contender in contenders:
            images = x[: contender.images]
            start = time.perf_counter()
            results[contender.name] = contender.run(images)
            if r:
                seconds[contender.name].append((time.perf_counter() - start) / len(images))
    baseline = contenders[0]
    lines = []
    for contender in contenders:
        each = median(seconds[contender.name])
        common = min(contender.images, baseline.images)
        difference = np.abs(results[contender.name][:common] - results[baseline.name][:common]).max()
        ratio = median(seconds[baseline.name]) / each
        lines.append(
            f"| {contender.name} | {min(contender.images, len(x))} | {1000 * each:.2f} | {1 / each:.0f} "
            f"| {ratio:.2f}× | {difference:.1e} |"
        )
    return lines


def main(
    rounds: Annotated[int, typer.Option(min=1, help="Counted rounds, after one warm-up.")] = 5,
    sizes: Annotated[tuple[int, int], typer.Option(help="Two sides of the images.")] = (224, 32),
) -> None:
    """Measure the filters against scikit-image and ART, print the tables, and write them to RESULTS.md."""
    packages = ("torch", "numba", "numpy", "scikit-image", "adversarial-robustness-toolbox")
    lines = [
        "# Speed of the filters",
        "",
        f"Medians of {rounds} interleaved rounds in one process on 64 crops of real photographs, float32, by "
        f"`python -m benchmarks.filters`. {torch.get_num_threads()} threads on {os.cpu_count()} cores, load average "
        f"{os.getloadavg()[0]:.1f} at the start. Python {platform.python_version()}, "
        + ", ".join(f"{name} {version(name)}" for name in packages)
        + ". Ratio: speed compared with scikit-image in a plain loop. Difference: greatest, of results, from "
        "scikit-image.",
    ]
    todo = [(size, task) for size in sizes for task in tasks()]
    for size, task in tqdm(todo, unit="table"):
        lines += ["", f"## {task}, 3×{size}×{size}", "", "| | images | ms/image | images/s | ratio | difference |"]
        lines += ["|---|---|---|---|---|---|", *measure(tasks()[task], photographs(64, size), rounds)]
    text = "\n".join(lines) + "\n"
    RESULTS.write_text(text, encoding="utf-8")
    typer.echo(text)


if __name__ == "__main__":
    typer.run(main)
