"""The picture of the README is what its script draws, from what a run keeps."""

from __future__ import annotations

import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import results_by_hand
from PIL import Image

from art_denoise.evaluation.results import Examples, Panel, Results

SCRIPT = Path(__file__).parents[2] / "docs" / "pictures" / "attacked.py"


def run_with(monkeypatch: pytest.MonkeyPatch, examples: Examples | None) -> None:
    """Have every folder hold a run with these examples."""
    found = replace(results_by_hand.results(), examples=examples)
    monkeypatch.setattr(Results, "load", classmethod(lambda cls, folder: found))


def examples(panels: int) -> Examples:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (panels + 1, 5, 3, 64, 64), dtype=np.uint8)
    drawn = tuple(Panel(f"panel {i}", images[i], np.zeros(5, dtype=np.int64)) for i in range(panels))
    return Examples(drawn, images[-1], np.array([0, 1, 0, 1, 0]), worked=True)


def test_the_script_draws_a_picture_of_the_same_size_as_that_of_the_readme(monkeypatch, tmp_path):
    run_with(monkeypatch, examples(4))
    draw = runpy.run_path(str(SCRIPT))["draw"]
    for name in ("once.png", "again.png"):
        draw(tmp_path / "run", tmp_path / name)
    assert (tmp_path / "once.png").read_bytes() == (tmp_path / "again.png").read_bytes()
    with Image.open(tmp_path / "once.png") as drawn, Image.open(SCRIPT.with_suffix(".png")) as shown:
        assert drawn.size == shown.size
        assert np.ptp(np.asarray(drawn.convert("L"))) > 200
    assert SCRIPT.with_suffix(".png").stat().st_size < 150_000


@pytest.mark.parametrize("found", [None, examples(3)])
def test_a_run_with_other_examples_is_refused(monkeypatch, tmp_path, found):
    run_with(monkeypatch, found)
    with pytest.raises(ValueError, match=r"`run` = .* has not the examples"):
        runpy.run_path(str(SCRIPT))["draw"](tmp_path, tmp_path / "none.png")
    assert list(tmp_path.iterdir()) == []
