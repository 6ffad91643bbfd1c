"""What the package does with other people's files: nowhere a pickle, nowhere code but in the one place that says so."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import art_denoise

PACKAGE = Path(art_denoise.__file__).parent

#: Root of the checkout, where the documents are also if the package that is tested is an installed one.
ROOT = Path(__file__).parents[1]

#: Modules that read pickles, or what is one in disguise.
PICKLES = {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "yaml"}

#: Readers that run what is in a file unless they are told not to, and how they are told. None: they always do.
READERS = {"np.load": ("allow_pickle", False), "torch.load": ("weights_only", True), "torch.jit.load": None}

#: Where objects in memory are pickled and come back, never files: rules that preprocessors are checked by.
IN_MEMORY = {"art_denoise/_contract/estimators.py", "art_denoise/_contract/parameters.py"}

#: The one place that runs a user's file.
RUNS_CODE = "art_denoise/_user_code.py"


def unsafe(source: str) -> list[str]:
    """Return what could run code that is in a file: calls, and readers that are handed on."""
    found, told = [], set()
    for node in ast.walk(ast.parse(source)):  # a call comes before what is called
        text = ast.unparse(node) if isinstance(node, (ast.expr, ast.stmt)) else ""
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            # An error alone may be known by its name.
            if {name.partition(".")[0] for name in names} & PICKLES and text != "from pickle import UnpicklingError":
                found.append(text)
        elif isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name) and node.func.id in ("eval", "exec", "__import__"):
                found.append(text)
            said = {(k.arg, k.value.value) for k in node.keywords if isinstance(k.value, ast.Constant)}
            # Of `partial`, the reader is the first argument.
            told |= {id(part) for part in (node.func, *node.args[:1]) if READERS.get(ast.unparse(part)) in said}
        elif isinstance(node, ast.Attribute) and text in READERS and id(node) not in told:
            found.append(text)
    return found


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("import pickle", 1),
        ("from pickle import loads", 1),
        ("from pickle import UnpicklingError", 0),
        ("np.load(f)", 1),
        ("np.load(f, allow_pickle=True)", 1),
        ("np.load(f, allow_pickle=False)", 0),
        ("read = partial(np.load, mmap_mode='r')", 1),
        ("torch.load(f)", 1),
        ("torch.load(f, weights_only=False)", 1),
        ("torch.load(f, weights_only=True)", 0),
        ("torch.jit.load(f)", 1),
        ("partial(torch.load, weights_only=True)", 0),
        ("import yaml", 1),
        ("eval(text); exec(text)", 2),
        ("network.eval(); json.load(f)", 0),
    ],
)
def test_what_is_looked_for_is_found(source, count):
    assert len(unsafe(source)) == count


def test_no_file_becomes_code_but_a_users_own():
    found = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        name = file.relative_to(PACKAGE.parent).as_posix()
        if name not in IN_MEMORY and (here := unsafe(file.read_text(encoding="utf-8"))):
            found[name] = here
    assert found == {RUNS_CODE: ["exec(code, module.__dict__)"]}
    said = ast.get_docstring(ast.parse((PACKAGE.parent / RUNS_CODE).read_text(encoding="utf-8"))) or ""
    assert "only place" in said


def test_what_is_trusted_is_written_down():
    """With the limits that there are."""
    page = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    from art_denoise._tensor_files import MOST_HEADER_BYTES
    from art_denoise.attacks.array_files import MOST_VALUES
    from art_denoise.data import class_lists, decoding

    assert "`file.py:function`" in page
    assert f"{MOST_VALUES:,} values" in page
    assert f"{MOST_HEADER_BYTES // 2**20} MiB" in page
    assert f"{decoding._MOST_PIXELS / 1e6:.0f} million pixels" in page
    assert f"{decoding._MOST_BYTES // 2**30} GiB" in page
    assert f"{class_lists._MOST_TEXT // 2**20} MiB" in page
    assert "SECURITY.md" in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
