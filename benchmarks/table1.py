"""How long `make table1` takes: `python -m benchmarks.table1` prints a table and writes it to benchmarks/TABLE1.md.

Three times in folders of its own: with nothing there, with the networks trained, and finished. Beside that stands what
no run can be faster than: the multiplications and additions of the networks' convolutions, of as many images forward
and back as the plan of the run has, as products of matrices that stay in the cache.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
import typer
from torch.utils.flop_counter import FlopCounterMode

from art_denoise.data.photographs import PHOTOGRAPHS
from art_denoise.evaluation.graph import Resource, Work, closure
from art_denoise.evaluation.options import Options
from art_denoise.evaluation.prepared import Prepared
from art_denoise.models.photographs import BUILD, photograph_network
from benchmarks.filters import installed

RESULTS = Path(__file__).with_name("TABLE1.md")
PROGRAM = Path(__file__).parents[1] / "examples" / "table1.py"
PACKAGES = ("torch", "torchvision", "numpy", "numba", "adversarial-robustness-toolbox")

#: Seconds that are asked for.
COLD, WARM = 240.0, 60.0

#: Side of the images, and of the matrices that are multiplied.
_SIDE, _MATRIX = 64, 1024

TRIED = """
Both cores are busy from the first task to the last, and two thirds of what they do are convolutions, at some six
tenths of the rate of large products of matrices; most of the rest are batch normalisation, rectifiers and pooling,
which go through memory. To be asked for less than the products take is to be asked for other arithmetic, which gives
other labels: half precision, fewer views in training, smaller networks. Batch normalisation folded into the
convolutions saves a sixteenth of a forward pass of Inception V1 and up to a quarter of VGG's, which is two percent of
the run, and moves the last bits of logits. DeepFool's nine gradients are taken of nine copies of the image at once, as
that is faster than one after another. No two cells have the same images, so that nothing is denoised twice.
"""


def operations() -> dict[str, tuple[float, float, float]]:
    """Return for each network what an image takes: forward, back to the image, and back to the weights as well."""
    found = {}
    for name in BUILD:
        network = photograph_network(name).eval()
        counts = []
        for of_images, of_weights in ((False, False), (True, False), (True, True)):
            network.requires_grad_(of_weights)
            x = torch.rand((1, 3, _SIDE, _SIDE)).requires_grad_(of_images)
            with FlopCounterMode(display=False) as counter:
                logits = network(x)
                if of_images:
                    logits.sum().backward()
            counts.append(float(counter.get_total_flops()))
        found[name] = counts[0], counts[1], counts[2]
    return found


def rate() -> float:
    """Return how many operations a second large products of matrices do, on all cores."""
    a, taken = torch.rand((_MATRIX, _MATRIX)), []
    for _ in range(500):
        start = time.perf_counter()
        a @ a
        taken.append(time.perf_counter() - start)
    # The least, as nothing is to be faster.
    return 2 * _MATRIX**3 / min(taken)


def operations_of_run(*, trained: bool) -> float:
    """Return how many operations the convolutions of a run take.

    :param trained: Whether the networks are trained before.
    """
    with tempfile.TemporaryDirectory() as folder:
        prepared = Prepared.of(folder, Options())
        tasks = closure(prepared.assembly(prepared.load(False)).wanted()).values()
    each, total = operations(), 0.0
    for work in (task.work for task in tasks if not isinstance(task, Resource)):
        total += _operations_of(work, each, trained)
    return total


def _operations_of(work: Work, each: dict[str, tuple[float, float, float]], trained: bool) -> float:
    if work.network is None:
        return 0.0
    forward, gradient, training = each[work.network]
    if work.stage == "Train the networks":
        options = Options().filled()
        assert options.schedules is not None
        assert options.shares is not None
        schedule = options.schedules[work.network]
        crops = options.shares["train"] * len(PHOTOGRAPHS)
        return 0.0 if trained else schedule.epochs * schedule.views * crops * training
    return work.forward * forward + work.backward * gradient


def seconds_of_run(folder: Path) -> tuple[float, float]:
    """Run Table 1 in a folder, with a cache there, and return the seconds that pass, and those of processors."""
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache"), "NUMBA_CACHE_DIR": str(folder / "compiled")}
    before, start = os.times(), time.perf_counter()
    command = [sys.executable, str(PROGRAM), "--out", str(folder / "run")]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    passed, after = time.perf_counter() - start, os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return passed, spent


def main() -> None:
    """Time Table 1, and write the table to TABLE1.md."""
    load, threads, fastest = os.getloadavg()[0], torch.get_num_threads(), rate()
    folder = Path(tempfile.mkdtemp())
    try:
        cold = seconds_of_run(folder)
        finished = seconds_of_run(folder)
        shutil.rmtree(folder / "run")
        warm = seconds_of_run(folder)
    finally:
        shutil.rmtree(folder)
    rows = [
        ("nothing there", COLD, cold, operations_of_run(trained=False) / fastest),
        ("networks trained, filters compiled", WARM, warm, operations_of_run(trained=True) / fastest),
        ("finished", None, finished, None),
    ]
    lines = [
        "# How long Table 1 takes",
        "",
        f"By `python -m benchmarks.table1`, {threads} threads on {os.cpu_count()} cores, load average "
        f"{load:.1f} at the start. Python {platform.python_version()}, {installed(PACKAGES)}.",
        "",
        "| before the run | asked, s | measured, s | | processor, s | its convolutions as products of matrices, s |",
        "|---|---|---|---|---|---|",
    ]
    for name, asked, (passed, spent), least in rows:
        met = "" if asked is None else "met" if passed <= asked else "**not met**"
        bound, limit = ("" if value is None else f"{value:.0f}" for value in (asked, least))
        lines.append(f"| {name} | {bound} | {passed:.1f} | {met} | {spent:.0f} | {limit} |")
    text = "\n".join([*lines, *TRIED.splitlines()]) + "\n"
    RESULTS.write_text(text, encoding="utf-8")
    typer.echo(text)


if __name__ == "__main__":
    typer.run(main)
