"""Folders of generated pictures in the shape of ImageNet's, and a small project of somebody's own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from art_denoise.evaluation.options import Machine, Options
from art_denoise.evaluation.results import Results

#: A network that tells colours apart, with a rough part that perturbations find their way through; quick to build and
#: to run, the same weights every time.
NETWORK = """
import torch

class Net(torch.nn.Module):
    categories = ["blue things", "green things", "grey things", "red things"]

    def __init__(self, seed, roughness=1.0):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.features = torch.nn.Conv2d(3, 8, 5, stride=2)
        self.mix = torch.nn.Linear(8, 4)
        self.register_buffer("colours", torch.tensor([[.2, .2, .6], [.2, .6, .2], [.4, .4, .4], [.6, .2, .2]]))
        with torch.no_grad():
            for parameter, scale in zip(self.parameters(), (.05, 0, roughness, 0)):
                parameter.copy_(scale * torch.randn(parameter.shape, generator=generator))
            if roughness > 1:
                self.features.weight.sub_(self.features.weight.mean((2, 3), keepdim=True)).mul_(10)

    def forward(self, x):
        near = -20 * torch.cdist(x.mean((2, 3)), self.colours)
        return near + self.mix(torch.tanh(self.features(x)).mean((2, 3)))

def net():
    return Net(3)

def other():
    return Net(4)

def rough():
    # By texture alone, so that labels tell apart what is done to an image.
    return Net(5, 1000.0)
"""

#: Folders of `write_colours`, in the order of the network's labels, and their colours.
COLOURS = {
    "blue_things": (51, 51, 153),
    "green_things": (51, 153, 51),
    "grey_things": (102, 102, 102),
    "red_things": (153, 51, 51),
}


def write_folder(root: Path, classes: Sequence[str], count: int, *, size: int = 40, seed: int = 0) -> Path:
    """Write one folder for each class, with that many smooth pictures of the class's colour; return the root.

    :param size: About the length of their sides.
    """
    rng = np.random.default_rng([seed, len(classes), count])
    for name in classes:
        colour = rng.uniform(50, 200, 3)
        (root / name).mkdir(parents=True)
        for i in range(count):
            rough = np.clip(colour + rng.normal(0, 40, (5, 6, 3)), 0, 255).astype(np.uint8)
            height, width = (int(v) for v in rng.integers(size, size + size // 4, 2))
            picture = Image.fromarray(rough).resize((width, height), Image.Resampling.BICUBIC)
            picture.save(root / name / f"{name}_{i}.JPEG")
    return root


def write_colours(root: Path, count: int) -> Path:
    """Write a folder of four classes of noisy coloured pictures, which the network of `NETWORK` tells apart."""
    rng = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        (root / name).mkdir(parents=True)
        for i in range(count):
            rough = np.clip(np.array(colour) + rng.normal(0, 45, (7, 6, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(rough).resize((20 + i, 25), Image.Resampling.BICUBIC).save(root / name / f"{i}.png")
    return root


def write_project(folder: Path, count: int = 14) -> Path:
    """Write a folder of images and the file of a network, `mine.py`; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "mine.py").write_text(NETWORK)
    write_colours(folder / "images", count)
    return folder


def options_of(project: Path, **changes: object) -> Options:
    """Return options for Table 1 of a project, small enough for a second or two."""
    given = {
        "data": str(project / "images"),
        "model": f"{project / 'mine.py'}:net",
        "input_size": 16,
        "preflight": False,
        "eps": 40 / 255,
        "craft_images": 8,
        "tune_images": 8,
        "noise_images": 16,
        "test_images": 24,
        "craft_passes": 1,
        "craft_steps": 6,
        "sgd_passes": 1,
        "sgd_batch_size": 4,
        "noise_sigmas": (16 / 255,),
        "noise_eps": (2 / 255,),
        "noise_draws": 2,
        "noise_accept": "loss",
    }
    return Options(**{**given, **changes})


def machine_of(project: Path, **changes: object) -> Machine:
    """Return a machine for it, on which images are decoded once for all runs."""
    return Machine(**{"device": "cpu", "progress": False, "decoded_dir": project / "decoded", "jobs": 1, **changes})


def run_project(folder: Path, options: Options, machine: Machine, **kwargs: object) -> Results:
    """Run a project in whatever process this is."""
    from art_denoise.evaluation.run import run

    return run(folder, options, machine, **kwargs)


def times(folder: Path) -> dict[str, int]:
    """Return when each file below a folder was written: what is not written anew keeps its time.

    Locks are no content, nor is what says that a run has finished, which each run says anew, nor what Python keeps of a
    user's file.
    """
    passing = (".lock", "finished.json")
    files = [p for p in folder.rglob("*") if p.is_file() and p.name not in passing and p.parent.name != "__pycache__"]
    return {str(p.relative_to(folder)): p.stat().st_mtime_ns for p in files}
