"""Golden values: what filters, defences and a small Table 1 gave when somebody last looked, in `golden.json`.

`pytest tests/test_golden.py --write-golden` writes the file anew: what the code does otherwise then shows in review.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from folders import machine_of, options_of, write_project

from art_denoise import (
    Compose,
    DefensiveNoiseDefence,
    NLMeansDefence,
    ROFDefence,
    nl_means_denoise,
    rof_denoise,
)

FILE = Path(__file__).with_name("golden.json")

#: Each call as it is written down; `x` is `image()`, `images` the same for ART.
CALLS = [
    "rof_denoise(x, 10 / 255)",
    "rof_denoise(x, 0.2, eps=0, max_iter=50)",
    "rof_denoise(x, 10 / 255, solver='converged')",
    "rof_denoise(x, 0.2, solver='converged', tol=1e-6)",
    "rof_denoise(x, torch.tensor([0.02, 0.2]))",
    "nl_means_denoise(x, 0.05)",
    "nl_means_denoise(x, 0.1, patch_size=5, patch_distance=2, sigma=0.05)",
    "nl_means_denoise(x, 0.1, patch_size=3, mode='centred')",
    "nl_means_denoise(x, 0.1, patch_size=5, mode='centred', patch_weights='gaussian')",
    "gradient(lambda v: rof_denoise(v, 10 / 255))",
    "gradient(lambda v: rof_denoise(v, 10 / 255, solver='converged', tol=1e-6))",
    "gradient(lambda v: nl_means_denoise(v, 0.1))",
    "gradient(lambda v: nl_means_denoise(v, 0.1, patch_size=3, mode='centred'))",
    "ROFDefence()(images)[0]",
    "NLMeansDefence()(images)[0]",
    "ROFDefence(5 / 255, clip_values=(0, 255), channels_first=False)(255 * np.moveaxis(images, 1, 3))[0]",
    "Compose([NLMeansDefence(0.02), ROFDefence(5 / 255)])(images)[0]",
    "DefensiveNoiseDefence(0.02 * images[0] - 0.01)(images)[0]",
    "ROFDefence().estimate_gradient(images, np.cos(9 * images))",
]


def image() -> torch.Tensor:
    """Return two images (2, 3, 23, 19) float64 of waves, an edge and something like noise, without a generator."""
    n, c, i, j = np.meshgrid(*(np.arange(size) for size in (2, 3, 23, 19)), indexing="ij")
    waves = 0.2 * np.sin(0.4 * i + 0.3 * n) * np.cos(0.3 * j - c)
    noise = 0.08 * (np.modf(43758.5453 * np.sin(12.9898 * i + 78.233 * j + 37.719 * c + 9.1 * n))[0])
    return torch.from_numpy(np.clip(0.45 + waves + 0.2 * (i + j > 20) + noise, 0, 1))


def gradient(function) -> torch.Tensor:
    x = image().requires_grad_()
    return torch.autograd.grad(function(x), x, torch.cos(9 * image()))[0]


def found(call: str) -> dict[str, object]:
    """Return what is written down of a result: its mean and spread, and some of its values."""
    names = {"x": image(), "images": image().numpy().astype(np.float32), "np": np, "torch": torch, "gradient": gradient}
    for function in (
        rof_denoise,
        nl_means_denoise,
        ROFDefence,
        NLMeansDefence,
        Compose,
        DefensiveNoiseDefence,
    ):
        names[function.__name__] = function
    result = np.asarray(eval(call, names), dtype=np.float64)  # the calls stand above
    values = result.reshape(-1)[:: result.size // 7]
    return {"mean": float(result.mean()), "spread": float(result.std()), "values": values.tolist()}


def table(folder: Path) -> dict[str, float]:
    """Return the accuracies of a small Table 1, in percent, on a network whose weights are written in its file."""
    from art_denoise.evaluation.run import run

    project = write_project(folder)
    results = run(folder / "run", options_of(project), machine_of(project))
    truth = results.images.labels
    return {cell.text: 100 * float(np.mean(labels == truth)) for cell, labels in results.labels.items()}


def rounded(value):
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, list):
        return [rounded(entry) for entry in value]
    return {name: rounded(entry) for name, entry in value.items()} if isinstance(value, dict) else value


@pytest.fixture(scope="module")
def golden(request, tmp_path_factory) -> dict[str, dict]:
    if request.config.getoption("--write-golden"):
        written = {"calls": {call: found(call) for call in CALLS}, "table": table(tmp_path_factory.mktemp("golden"))}
        FILE.write_text(json.dumps(rounded(written), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return json.loads(FILE.read_text(encoding="utf-8"))


@pytest.mark.parametrize("call", CALLS)
def test_calls(golden, call):
    """In double precision but for defences, which compute in single: a stop there could fall an iteration later."""
    expected, now = golden["calls"][call], found(call)
    scale = 255 if "255 * " in call else 1
    tolerance = scale * (2e-5 if "Defence" in call else 2e-6)
    for name, value in now.items():
        np.testing.assert_allclose(value, expected[name], atol=tolerance, rtol=0, err_msg=name)


def test_all_of_them_are_there(golden):
    assert list(golden["calls"]) == CALLS


@pytest.mark.long
def test_a_small_table(golden, tmp_path):
    """Of 24 images one may fall on the other side of a border where a processor rounds in another way."""
    now = table(tmp_path)
    assert list(now) == list(golden["table"])
    for cell, accuracy in now.items():
        assert accuracy == pytest.approx(golden["table"][cell], abs=100 / 24 + 1e-4), cell
