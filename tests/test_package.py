"""The package as a whole: public names, and an import that costs nothing."""

from __future__ import annotations

import importlib.metadata
import inspect
import re
import subprocess
import sys
import tarfile
import textwrap
from pathlib import Path
from typing import get_args, get_origin

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import art_denoise
from art_denoise import choices
from art_denoise._extras import EXTRAS, require

NAMES = [
    "AsFlat",
    "AsNumPy",
    "AsPyTorch",
    "Compose",
    "DeepFoolUAP",
    "DefensiveNoiseDefence",
    "NLMeansDefence",
    "Perturbation",
    "ROFDefence",
    "SGDUAP",
    "SharedForwardDeepFool",
    "UniversalNoise",
    "check_chain",
    "inception_v1",
    "load_perturbation",
    "load_photographs",
    "nl_means_denoise",
    "rof_denoise",
    "vgg16",
    "vgg19",
]


def test_every_public_name_is_there():
    for name in art_denoise.__all__:
        assert getattr(art_denoise, name).__doc__
    # No name that users have may go; a new one is one line in the stub.
    assert set(NAMES) <= set(art_denoise.__all__) <= set(dir(art_denoise))
    everything: dict = {}
    exec("from art_denoise import *", everything)
    assert set(art_denoise.__all__) <= set(everything)
    with pytest.raises(AttributeError, match="missing"):
        art_denoise.missing  # noqa: B018


def test_what_fails_while_a_name_is_imported_is_told(tmp_path):
    """An installation whose ART needs what is not there: of ROFDefence it would be said "cannot import name"."""
    (tmp_path / "art").mkdir()
    (tmp_path / "art" / "__init__.py").write_text("import math\nmath.no_such_thing\n")
    found = [str(tmp_path), str(Path(art_denoise.__file__).parents[1])]
    program = f"import sys; sys.path[:0] = {found}; from art_denoise import ROFDefence"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ran.returncode == 1
    assert "AttributeError: module 'math' has no attribute 'no_such_thing'" in ran.stderr
    assert "ImportError: ROFDefence cannot be imported, as something that it needs fails: module 'math'" in ran.stderr


def test_the_stub_is_part_of_the_package():
    """Without it nothing is exported, and type checkers know no name."""
    stub = Path(art_denoise.__file__).with_suffix(".pyi").read_text(encoding="ascii")
    assert all(f" as {name}\n" in stub for name in art_denoise.__all__)
    assert "__version__: str" in stub
    assert art_denoise.__version__ == importlib.metadata.version("art_denoise")


def test_import_loads_nothing_heavy():
    code = "import sys, art_denoise; print(sorted({'torch', 'art', 'skimage', 'scipy'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_what_art_forgets_to_require_is_required():
    """ART imports `packaging` without asking for it; what else brings it may stop to."""
    required = [line.split(";")[0] for line in importlib.metadata.requires("art_denoise")]
    assert any(re.match(r"packaging\b", line) for line in required)


def required_by(extra: str | None) -> set[str]:
    """Names of the distributions that an extra of this package asks for, itself or by another; None: no extra."""
    asked: set[str] = set()
    for line in map(Requirement, importlib.metadata.requires("art_denoise")):
        if line.marker.evaluate({"extra": extra or ""}) if line.marker else extra is None:
            name = canonicalize_name(line.name)
            asked |= set().union(*map(required_by, line.extras)) if name == "art-denoise" else {name}
    return asked


def test_only_what_defences_need_is_required():
    assert required_by(None) == {
        "adversarial-robustness-toolbox",
        "lazy-loader",
        "numba",
        "numpy",
        "packaging",
        "torch",
        "tqdm",
    }


def test_every_extra_is_asked_for_what_it_brings():
    """But for SciPy and scikit-learn, which ART brings, and what a part of the Pythons has itself."""
    # Where a module is called otherwise than what brings it; `packages_distributions` misses some on Python 3.10.
    other = {"PIL": "pillow", "skimage": "scikit-image"}
    for extra, modules in EXTRAS.items():
        known = {other.get(module, module) for module in modules}
        assert required_by(extra) - {"scipy", "scikit-learn", "tomli"} == known, extra


def test_what_is_missing_is_told_with_the_command_that_installs_it(monkeypatch):
    require("evaluation", "It")
    monkeypatch.setitem(EXTRAS, "attacks", ("numpy", "no_such_module"))
    with pytest.raises(ImportError, match=r"^It needs no_such_module, which is not installed: pip install \"art_deno"):
        require("attacks", "It")
    monkeypatch.setitem(EXTRAS, "attacks", ("no_such_module", "nor_this"))
    with pytest.raises(ImportError, match="It needs no_such_module, nor_this, which are not installed"):
        require("attacks", "It")


def test_every_part_says_what_it_needs():
    """Without the modules of the extras: as in an environment that has none, of which tox makes one."""
    program = """
        import importlib.util, sys
        absent = {"safetensors", "PIL", "skimage", "torchvision", "cyclopts"}
        found = importlib.util.find_spec
        importlib.util.find_spec = lambda name, *given: None if name in absent else found(name, *given)
        for part in ("attacks", "data", "models", "evaluation", "evaluation.results"):
            try:
                __import__(f"art_denoise.{part}")
            except ImportError as error:
                print(part, str(error).rpartition(" ")[2])
        from art_denoise.cli import main
        print(main(["list"]))
        assert not absent & set(sys.modules)
    """
    ran = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True)
    assert ran.stdout.split() == [
        *("attacks", '"art_denoise[attacks]"'),
        *("data", '"art_denoise[photographs]"'),
        *("models", '"art_denoise[evaluation]"'),
        *("evaluation", '"art_denoise[evaluation]"'),
        *("evaluation.results", '"art_denoise[evaluation]"'),
        "2",
    ]
    assert ran.stderr.startswith("Error: art-denoise needs safetensors, PIL, skimage, torchvision, cyclopts, which are")


def test_arguments_that_are_words_are_typed_by_those_that_the_checks_go_by():
    """No argument of a public callable whose default is a word is a mere `str`, and each default is one of the words.

    Exceptions: `weights`, which may also be the path of a file.
    """
    found = set()
    for name in art_denoise.__all__:
        callable_ = getattr(art_denoise, name)
        function = callable_.__init__ if inspect.isclass(callable_) else callable_
        for parameter in inspect.signature(function).parameters.values():
            if isinstance(parameter.default, str) and parameter.name != "weights":
                words = get_args(eval(parameter.annotation, vars(sys.modules[function.__module__])))
                assert parameter.default in words, f"{name}: {parameter}"
                found.add((parameter.name, words))
    assert {("solver", get_args(choices.ROFSolver)), ("gradient", get_args(choices.Gradient))} <= found


def test_every_choice_is_a_literal_of_words():
    aliases = {name: value for name, value in vars(choices).items() if get_args(value)}
    assert sorted(aliases) == sorted(choices.__all__)
    assert all(isinstance(word, str) for value in aliases.values() for word in get_args(value))
    assert len({get_origin(value) for value in aliases.values()}) == 1


def test_what_packagers_get_holds_every_file(tmp_path):
    """Of a checkout: the source distribution has its tests and documentation, and nothing else."""
    pytest.importorskip("setuptools")
    root = Path(__file__).parents[1]
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True, check=False)
    if listed.returncode or not listed.stdout:
        pytest.skip("this is no checkout")
    files = [name for name in listed.stdout.split("\0") if name and (root / name).is_file()]
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes((root / name).read_bytes())
    command = [sys.executable, "-W", "ignore", "-c", "import setuptools; setuptools.setup()", "-q", "sdist"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    (made,) = (tmp_path / "dist").iterdir()
    with tarfile.open(made) as archive:
        there = {member.name.partition("/")[2] for member in archive if member.isfile()}
    made_by_it = {
        name for name in there if name in ("PKG-INFO", "setup.cfg") or name.startswith("art_denoise.egg-info/")
    }
    assert there - made_by_it == set(files) - {".gitignore"}
