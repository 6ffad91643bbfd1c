"""Which modules of the evaluation may need which."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import art_denoise
from art_denoise.evaluation.source import module_closure

PACKAGE = Path(art_denoise.__file__).parent


def modules(folder: str) -> list[str]:
    files = sorted((PACKAGE / folder).rglob("*.py")) if (PACKAGE / folder).is_dir() else [PACKAGE / f"{folder}.py"]
    names = [".".join(("art_denoise", *file.relative_to(PACKAGE).with_suffix("").parts)) for file in files]
    return [name.removesuffix(".__init__") for name in names]


def imported(module: str) -> set[str]:
    """Everything that a module imports by name, for type checkers too."""
    place = PACKAGE.parent.joinpath(*module.split("."))
    file = place.with_suffix(".py") if place.with_suffix(".py").is_file() else place / "__init__.py"
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


@pytest.mark.parametrize(
    "module",
    [
        "art_denoise.evaluation.experiment",
        "art_denoise.evaluation.experiment_json",
        "art_denoise.evaluation.studies.lee2018",
        "art_denoise.evaluation.studies.grid",
        "art_denoise.evaluation.components",
        "art_denoise.evaluation.options",
        "art_denoise.evaluation.results",
        "art_denoise.evaluation.statistics",
        "art_denoise.evaluation.store",
        "art_denoise.evaluation.report",
        "art_denoise.cli",
    ],
)
def test_what_is_asked_and_what_was_found_need_no_pytorch(module):
    heavy = "{'torch', 'art', 'torchvision', 'scipy.stats'}"
    code = f"import sys, {module}; sys.exit(', '.join({heavy} & set(sys.modules)) or 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_results_are_imported_in_a_moment():
    """Fewer modules than PyTorch alone has: a bound on time would be one on the machine."""
    code = "import sys, art_denoise.evaluation.results; print(len(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 500


@pytest.mark.parametrize("module", modules("evaluation/tasks"))
def test_tasks_do_not_know_of_reports_runs_and_engines(module):
    above = ("report", "engines", "run", "plan", "prepared", "assembly", "workplace", "results", "options", "setting")
    assert not imported(module) & {f"art_denoise.evaluation.{name}" for name in above}


@pytest.mark.parametrize("module", modules("evaluation/engines"))
def test_engines_know_only_tasks_stores_and_each_other(module):
    known = {f"art_denoise.evaluation.{name}" for name in ("graph", "store", "artefact", "workplace", "engines")}
    known |= {"art_denoise._words", "art_denoise._progress"}
    own = {name for name in imported(module) if name.startswith("art_denoise.")}
    assert all(any(name == k or name.startswith(f"{k}.") for k in known) for name in own), own


@pytest.mark.parametrize("layer", ["filters", "data", "defences", "attacks", "models"])
def test_nothing_below_knows_of_the_evaluation(layer):
    for module in modules(layer):
        assert not {name for name in imported(module) if name.startswith(("art_denoise.evaluation", "art_denoise.cli"))}


def test_attacks_reach_into_no_private_base():
    for module in modules("attacks"):
        assert not {n for n in imported(module) if n.startswith("art_denoise.defences._")}, module


def test_reports_are_made_of_results():
    closure = module_closure(modules("evaluation/report"))
    apart = ("run", "plan", "prepared", "assembly", "workplace", "setting", "tasks", "engines", "building")
    assert not {m for m in closure if m.split(".")[2:3] and m.split(".")[2] in apart and "evaluation" in m}
