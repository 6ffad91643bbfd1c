"""The code in the documentation runs, as it stands there."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import tiny_classifier

from art_denoise import __all__ as names
from art_denoise import defences
from art_denoise.cli.chosen import all_options
from art_denoise.cli.debugging import DEBUG

ROOT = Path(__file__).parents[1]


def blocks(page: Path) -> list[str]:
    """The Python code of a Markdown page, block by block; those in list items are indented."""
    found = re.findall(r"^( *)```python\n(.*?)^ *```", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    return [textwrap.dedent(code) for _, code in found]


def reader() -> dict:
    """What the pages say that a reader has."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 10))
    return {
        "model": model,
        "loss": torch.nn.CrossEntropyLoss(),
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.01),
        "input_shape": (3, 32, 32),
        "nb_classes": 10,
        "x": np.random.default_rng(0).random((4, 3, 32, 32), dtype=np.float32),
        "y": np.eye(10, dtype=np.float32)[[1, 2, 3, 4]],
    }


def attacker() -> dict:
    """What the page of the attacks says that a reader has."""
    images = np.random.default_rng(0).random((24, 3, 8, 8), dtype=np.float32)
    return {
        "classifier": tiny_classifier(),
        "another_classifier": tiny_classifier(seed=1),
        "images": images[:16],
        "other_images": images[16:],
    }


@pytest.mark.parametrize(
    ("page", "having"),
    [
        ("README.md", reader),
        ("docs/art.md", reader),
        ("docs/attacks.md", attacker),
        ("docs/evaluation.md", dict),
        ("docs/honest.md", dict),
    ],
)
@pytest.mark.filterwarnings("ignore:.*lie outside `clip_values`:RuntimeWarning")
@pytest.mark.filterwarnings("ignore::UserWarning:art")  # where it adds the noise of randomized smoothing
@pytest.mark.filterwarnings("ignore:'binom_test' is deprecated:DeprecationWarning")  # in the oldest ART
def test_code_runs(page, having, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace = having()
    code = blocks(ROOT / page)
    assert code
    for block in code:
        exec(compile(block, page, "exec"), namespace)


def test_every_defence_is_on_the_page_for_users_of_art():
    page = (ROOT / "docs" / "art.md").read_text(encoding="utf-8")
    assert [name for name in defences.__all__ if f"`{name}" not in page and f"{name}(" not in page] == []


def test_every_attack_is_on_the_page_of_the_attacks():
    page = (ROOT / "docs" / "attacks.md").read_text(encoding="utf-8")
    attacks = [name for name in names if name.endswith(("UAP", "Noise", "DeepFool", "PGD"))]
    assert len(attacks) == 5
    assert [name for name in attacks if f"`{name}`" not in page] == []


def test_the_table_of_estimators_has_every_defence():
    page = (ROOT / "docs" / "estimators.md").read_text(encoding="utf-8")
    exported = [name for name in names if name.endswith("Defence")]
    assert all(f"`{name}`" in page for name in exported)
    assert "fails" not in page
    assert "not run" not in page


def test_options_in_the_documentation_are_options():
    options = {f"--{option.name}" for option in all_options()}
    options |= {"--help", "--no-preflight", "--no-progress", "--format", "--sample", DEBUG}
    assert len(options) > 30
    for page in ("README.md", "docs/evaluation.md", "docs/honest.md"):
        mentioned = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", (ROOT / page).read_text(encoding="utf-8")))
        assert mentioned <= options, page
    page = (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")
    for option in ("--data", "--model", "--source", "--plan", "--sweep", "--change", "--skip-broken", "--weights-dir"):
        assert option in page


def test_links_lead_somewhere():
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_no_table_stands_twice():
    """One that was written over another says something else than the text around it."""
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        tables = re.findall(r"(?:^\|.*\n){4,}", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
        assert len({*tables}) == len(tables), page
