"""The digest of a task's code moves with the code that it runs, and with nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import art_denoise
from art_denoise.evaluation import source
from art_denoise.evaluation.source import code_digest, module_closure

PACKAGE = Path(art_denoise.__file__).parent

#: Of every kind of task the module that it is in.
TASKS = [f"art_denoise.evaluation.tasks.{name}" for name in ("score", "perturbations", "noise", "network", "attack")]


@pytest.fixture
def copy(tmp_path):
    shutil.copytree(PACKAGE, tmp_path / "art_denoise", ignore=shutil.ignore_patterns("__pycache__"))
    yield tmp_path
    forget()


def forget() -> None:
    for cached in (code_digest, source._tree, source._code, source._imported, source._part_of_no_result):
        cached.cache_clear()


def digest(module: str, root: Path) -> str:
    forget()
    return code_digest((module,), root)


def file_of(module: str, root: Path) -> Path:
    place = root.joinpath(*module.split("."))
    return place / "__init__.py" if place.is_dir() else place.with_suffix(".py")


def all_modules() -> list[str]:
    files = [p.relative_to(PACKAGE.parent).with_suffix("") for p in sorted(PACKAGE.rglob("*.py"))]
    return [".".join(p.parts).removesuffix(".__init__") for p in files]


@pytest.mark.long
@pytest.mark.parametrize("task", TASKS)
def test_every_module_of_the_closure_moves_the_digest_and_no_other_does(task, copy):
    before, closure = digest(task, copy), module_closure([task], copy)
    # What was read of other files is kept, and so is what each imports, which this change leaves as it is.
    for module in all_modules():
        file = file_of(module, copy)
        text = file.read_text(encoding="utf-8")
        file.write_text(text + "\nmutated = 1\n", encoding="utf-8")
        code_digest.cache_clear()
        kept = source._tree, source._code
        source._tree = lambda f, changed=file, tree=kept[0]: (tree.__wrapped__ if f == changed else tree)(f)
        source._code = lambda f, changed=file, code=kept[1]: (code.__wrapped__ if f == changed else code)(f)
        try:
            moved = code_digest((task,), copy) != before
        finally:
            source._tree, source._code = kept
        file.write_text(text, encoding="utf-8")
        assert moved == (module in closure), module


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text + "\n# A comment.\n",
        lambda text: text.replace('"""', '"""Another docstring. ', 1),
        lambda text: text.replace("\n\n\n", "\n\n\n\n"),
        lambda text: text.replace("batch_size: int,", "batch_size: int,  # how many"),
    ],
)
def test_comments_docstrings_and_layout_are_no_code(copy, change):
    module = "art_denoise.evaluation.scoring"
    before, file = digest(module, copy), file_of(module, copy)
    text = file.read_text(encoding="utf-8")
    assert change(text) != text
    file.write_text(change(text), encoding="utf-8")
    assert digest(module, copy) == before


def test_channels_reversed_in_scoring_move_the_keys_of_scores(copy):
    module, file = "art_denoise.evaluation.tasks.score", file_of("art_denoise.evaluation.scoring", copy)
    before, text = digest(module, copy), file.read_text(encoding="utf-8")
    wrong = text.replace("classifier.predict(images,", "classifier.predict(images[:, ::-1],")
    assert wrong != text
    file.write_text(wrong, encoding="utf-8")
    assert digest(module, copy) != before


def test_scores_do_not_depend_on_what_they_do_not_run():
    closure = module_closure(["art_denoise.evaluation.tasks.score"])
    apart = {
        "art_denoise.defences.checks",
        "art_denoise.defences.rof",
        "art_denoise.defences.defensive_noise",
        "art_denoise.attacks.sgd_uap",
        "art_denoise.attacks.deepfool_uap",
        "art_denoise.evaluation.graph",
        "art_denoise.evaluation.run",
        "art_denoise.evaluation.plan",
        "art_denoise.evaluation.options",
        "art_denoise.evaluation.store",
        "art_denoise.evaluation.attack_table",
        "art_denoise.evaluation.report.tables",
    }
    assert not closure & apart
    assert {"art_denoise.evaluation.scoring", "art_denoise.defences.chain"} <= closure


def test_networks_that_users_have_trained_are_found_again():
    """Training takes minutes to hours, and its results are kept for all runs: whoever changes this digest, as its code
    has to give other weights, writes the new one here and tells users in CHANGELOG.md."""
    assert code_digest(("art_denoise.evaluation.tasks.network",)) == "cde8fc2971e3184f"


def test_only_the_graph_and_the_words_say_that_no_result_depends_on_them():
    said = [m for m in all_modules() if source._part_of_no_result(file_of(m, PACKAGE.parent))]
    assert said == ["art_denoise.choices", "art_denoise.evaluation.graph"]


PACKAGE_OF_TESTS = {
    "__init__.py": "",
    "a.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from art_denoise.types import T\n"
    "def f():\n    import art_denoise.late\nfrom art_denoise.sub import name\n",
    "types.py": "T = 1",
    "late.py": "from . import sibling",
    "sibling.py": "",
    "sub/__init__.py": "from art_denoise.sub.one import name\nfrom art_denoise.sub.two import other\n",
    "sub/one.py": "name = 1",
    "sub/two.py": "other = 2",
}


def test_imports_are_followed_to_where_names_are_defined(tmp_path):
    for name, text in PACKAGE_OF_TESTS.items():
        file = tmp_path / "art_denoise" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    found = module_closure(["art_denoise.a"], tmp_path)
    assert found == {f"art_denoise.{name}" for name in ("a", "late", "sibling", "sub.one")}


def test_a_module_that_is_not_there_is_told(tmp_path):
    with pytest.raises(ModuleNotFoundError, match=r"art_denoise\.nothing"):
        module_closure(["art_denoise.nothing"], tmp_path)
