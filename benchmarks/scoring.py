"""What Table 1 costs besides the networks: `python -m benchmarks.scoring` prints tables, writes benchmarks/SCORING.md.

How much of the time of a cell at 224×224 is the network's own forward pass; the peak memory of scoring 10 000 images;
how long a program takes to its first progress once images are decoded, to a finished table that is asked for again, and
to its help. Networks have random weights, which take as long as any.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
import torch
import typer
from PIL import Image
from tqdm.auto import tqdm

from art_denoise import NLMeansDefence, Perturbation, ROFDefence
from art_denoise.data.folders import imagenet_wnids
from art_denoise.data.photographs import PHOTOGRAPHS, load_photograph
from art_denoise.data.sets import Split
from art_denoise.evaluation.added import ForAll
from art_denoise.evaluation.batching import best_batch_size
from art_denoise.evaluation.scoring import predicted_labels
from art_denoise.models import find_model
from benchmarks.filters import installed

PACKAGES = ("torch", "torchvision", "numpy", "pillow", "adversarial-robustness-toolbox")
RESULTS = Path(__file__).with_name("SCORING.md")
TABLE1 = Path(__file__).parents[1] / "examples" / "table1.py"

#: As users have it: Python keeps what it has compiled.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}

#: What is asked: share of the forward pass, GB, and seconds to the first progress, to a table again, and to the help.
SHARE, MEMORY, START, AGAIN, HELP = 0.85, 2.0, 10.0, 5.0, 1.0

#: A stranger's network that takes no time.
NETWORK = """
import torch

def net():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Conv2d(3, 1000, 32, 32), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
"""

#: A network of torchvision's, and the side of its images, that take little time.
KNOWN = ("torchvision:shufflenet_v2_x0_5:none", 64)


def pictures(count: int) -> np.ndarray:
    """Return crops (N, 3, 224, 224) of photographs, uint8."""
    rng = np.random.default_rng(0)
    found: list[np.ndarray] = []
    sources = [load_photograph(name) for name in PHOTOGRAPHS]
    sources = [s for s in sources if min(s.shape[:2]) >= 224]
    while len(found) < count:
        source = sources[len(found) % len(sources)]
        top, left = (int(rng.integers(0, side - 223)) for side in source.shape[:2])
        found.append(source[top : top + 224, left : left + 224].transpose(2, 0, 1))
    return np.stack(found)


class _Timer:
    """Seconds spent in a network's forward pass."""

    def __init__(self, network: torch.nn.Module) -> None:
        self.seconds, self._started = 0.0, 0.0
        network.register_forward_pre_hook(self._start)
        network.register_forward_hook(self._stop)

    def _start(self, *args: Any) -> None:
        self._started = time.perf_counter()

    def _stop(self, *args: Any) -> None:
        self.seconds += time.perf_counter() - self._started


def shares(rounds: int, count: int) -> tuple[list[str], float]:
    """Return a table of the share of the forward pass, and the least of Inception V1's."""
    x = pictures(count)
    noise = np.random.default_rng(0).choice([-10 / 255, 10 / 255], (3, 224, 224)).astype(np.float32)
    defences = {"none": [], "ROF": [ROFDefence()], "NL-means": [NLMeansDefence()]}
    lines = ["| network | images at once | denoiser | ms/image | of it the network | |", "|---|---|---|---|---|---|"]
    least = 1.0
    for spec in ("inception_v1:none", "vgg16:none", "torchvision:squeezenet1_0:none"):
        model = find_model(spec)
        classifier = model.classifier()
        few = x[: count if spec != "vgg16:none" else count // 4]
        split = Split(few, np.zeros(len(few), dtype=np.int64), "")
        size, timer = best_batch_size(classifier, split), _Timer(classifier.model)
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in defences}
        for _ in tqdm(range(rounds), model.text):
            for name, chain in defences.items():
                timer.seconds, start = 0.0, time.perf_counter()
                for _ in predicted_labels(classifier, split, size, added=ForAll(Perturbation(noise)), defences=chain):
                    pass
                total = time.perf_counter() - start
                taken[name].append((total / len(split), timer.seconds / total))
        for name, measured in taken.items():
            share = median(s for _, s in measured)
            if model.name == "inception_v1-none":
                least = min(least, share)
            met = "" if share >= SHARE else f"below {SHARE:.0%}"
            milliseconds = 1000 * median(t for t, _ in measured)
            lines.append(
                f"| {model.title.removesuffix(':none')} | {size} | {name} | {milliseconds:.1f} | {share:.1%} | {met} |"
            )
    return lines, least


def write_images(root: Path, count: int) -> None:
    """Write a folder in ImageNet's shape: `count` files, links to the JPEGs of a few crops."""
    sources = [root / f".{i}.JPEG" for i in range(50)]
    root.mkdir(parents=True)
    for path, picture in zip(sources, pictures(len(sources)), strict=True):
        Image.fromarray(picture.transpose(1, 2, 0)).resize((340, 256)).save(path)
    for i in range(count):
        wnid = imagenet_wnids()[20 * (i % 50)]
        (root / wnid).mkdir(exist_ok=True)
        os.link(sources[i % len(sources)], root / wnid / f"{i}.JPEG")


def peak_memory(folder: Path, count: int) -> float:
    """Score a memory map of `count` images at 224 by Inception V1 behind ROF, and return the peak memory in GB."""
    path = folder / "images.bytes"
    with path.open("wb") as file:
        some = pictures(50).tobytes()
        for _ in range(count // 50):
            file.write(some)
    images = np.memmap(path, dtype=np.uint8, mode="r", shape=(count, 3, 224, 224))
    classifier = find_model("inception_v1:none").classifier()
    split = Split(images, np.zeros(count, dtype=np.int64), "")
    size = best_batch_size(classifier, split)
    with tqdm(total=count, desc="Memory", unit="image") as bar:
        for _ in predicted_labels(classifier, split, size, defences=[ROFDefence()], told=bar.update):
            pass
    # Not what `resource` says, which begins with what the process that started this one had.
    status = Path("/proc/self/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) * 1024 / 1e9


@contextmanager
def finished_table(count: int, model: str = "", size: int = 224) -> Iterator[tuple[list[str], Path]]:
    """Run Table 1 on a folder of images, with a perturbation from a file; yield its command.

    :param model: The network; "" is a stranger's, from a file.
    :param size: Side of the images.
    """
    folder = Path(tempfile.mkdtemp())
    try:
        write_images(folder / "images", count)
        (folder / "mine.py").write_text(NETWORK)
        Perturbation(np.full((3, size, size), 0.03, dtype=np.float32)).save(folder / "one.safetensors")
        options = {
            "--data": folder / "images",
            "--model": model or f"{folder / 'mine.py'}:net",
            "--input-size": size,
            "--source": folder / "one.safetensors",
            "--rows": "paper",
            "--test-images": count,
            "--out": folder / "run",
            "--decoded-dir": folder / "decoded",
        } | dict.fromkeys(("--craft-images", "--tune-images", "--noise-images"), 0)
        command = [sys.executable, str(TABLE1), "--no-preflight", *(str(v) for pair in options.items() for v in pair)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=ENVIRONMENT)
        yield command, folder / "run"
    finally:
        shutil.rmtree(folder)


def seconds_to_end(command: list[str], rounds: int) -> float:
    """Return the median of the seconds that a command takes."""
    taken = []
    for _ in range(rounds):
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True, env=ENVIRONMENT)
        taken.append(time.perf_counter() - start)
    return median(taken)


def seconds_to_progress(command: list[str], run: Path, rounds: int) -> float:
    """Return the median of the seconds until a bar of the scoring has moved, with nothing scored yet."""
    taken = []
    for _ in range(rounds):
        shutil.rmtree(run)
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=ENVIRONMENT)
        assert process.stderr is not None
        text = b""
        while not re.search(rb"Run: +(?!0\.0)\d+\.\d%", text):
            text += os.read(process.stderr.fileno(), 4096)
        taken.append(time.perf_counter() - start)
        process.kill()
        process.wait()
    return median(taken)


def main(
    rounds: Annotated[int, typer.Option(min=1, help="Rounds.")] = 3,
    images: Annotated[int, typer.Option(min=64, help="Images of a cell.")] = 192,
    many: Annotated[int, typer.Option(min=100, help="Images for the memory and the table.")] = 10_000,
    memory_only: Annotated[str, typer.Option(hidden=True)] = "",
) -> None:
    """Measure what scoring costs besides the networks, and write the tables to SCORING.md."""
    if memory_only:
        typer.echo(json.dumps(peak_memory(Path(memory_only), many)))
        return
    load = os.getloadavg()[0]
    table, share = shares(rounds, images)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "benchmarks.scoring", "--memory-only", folder, "--many", str(many)]
        memory = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    with finished_table(many) as (command, run):
        again = seconds_to_end(command, rounds)
        start = seconds_to_progress(command, run, rounds)
    with finished_table(many, *KNOWN) as (command, _):
        known = seconds_to_end(command, rounds)
    shown = seconds_to_end([sys.executable, str(TABLE1), "--help"], rounds)
    bounds = [
        ("least share of Inception V1's forward pass in a cell", f"≥ {SHARE:.0%}", f"{share:.1%}", share >= SHARE),
        (f"peak memory, scoring {many:,} images at 224", f"≤ {MEMORY:g} GB", f"{memory:.2f} GB", memory <= MEMORY),
        (f"start to first progress, {many:,} images decoded", f"≤ {START:g} s", f"{start:.1f} s", start <= START),
        (f"a finished table of {many:,} images again", f"≤ {AGAIN:g} s", f"{known:.1f} s", known <= AGAIN),
        ("the same, of a network from a file of one's own", f"≤ {AGAIN:g} s", f"{again:.1f} s", again <= AGAIN),
        ("`--help`", f"≤ {HELP:g} s", f"{shown:.2f} s", shown <= HELP),
    ]
    lines = [
        "# What Table 1 costs besides the networks",
        "",
        f"Medians of {rounds} rounds by `python -m benchmarks.scoring`, {torch.get_num_threads()} threads on "
        f"{os.cpu_count()} cores, load average {load:.1f} at the start. Python {platform.python_version()}, "
        f"{installed(PACKAGES)}. Device: {torch.cuda.get_device_name() if torch.cuda.is_available() else 'CPU'}.",
        "",
        "| | asked | measured | |",
        "|---|---|---|---|",
        *(f"| {what} | {asked} | {got} | {'met' if met else '**not met**'} |" for what, asked, got, met in bounds),
        "",
        f"## Time of a cell, {images} images at 224×224 with a perturbation",
        "",
        *table,
    ]
    text = "\n".join(lines) + "\n"
    RESULTS.write_text(text, encoding="utf-8")
    typer.echo(text)


if __name__ == "__main__":
    typer.run(main)
