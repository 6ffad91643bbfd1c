"""The documentation is true: its code runs and prints what stands there, its commands, options and links exist."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import tiny_classifier

from art_denoise import __all__ as names
from art_denoise import defences
from art_denoise.cli import commands
from art_denoise.cli.chosen import all_options, choose, tomllib
from art_denoise.cli.debugging import DEBUG
from art_denoise.cli.program import app
from art_denoise.cli.statuses import STATUSES
from art_denoise.evaluation.components import parse_attack, parse_defence
from art_denoise.evaluation.studies.tuning import strengths_of

ROOT = Path(__file__).parents[1]
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *DOCS]


@dataclass
class Block:
    """A block of code of a page: its language, what it holds, and whether nothing but space stands before it."""

    language: str
    code: str
    follows: bool


def blocks(page: Path) -> list[Block]:
    """The blocks of code of a Markdown page; those in list items are indented."""
    found, language, lines, between = [], None, [], "text"
    for line in page.read_text(encoding="utf-8").splitlines():
        fence = re.match(r" *```(.*)", line)
        if fence is None:
            lines.append(line)
            between += line.strip() if language is None else ""
        elif language is None:
            language, lines = fence[1], []
        else:
            found.append(Block(language, textwrap.dedent("\n".join(lines)), not between))
            language, between = None, ""
    assert language is None, f"{page.name}: a block has no end"
    return found


def named(pages: list[Path]) -> list:
    return [pytest.param(page, id=page.relative_to(ROOT).as_posix()) for page in pages]


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


#: What a reader of a page has; of all other pages nothing but what stands there.
HAVING = {"README.md": reader, "index.md": reader, "art.md": reader, "attacks.md": attacker}


def pages_with_code() -> list:
    pages = [page for page in PAGES if any(block.language == "python" for block in blocks(page))]
    # Trains a network, and attacks it.
    long = {"tutorial.md": [pytest.mark.long]}
    return [pytest.param(page, id=page.relative_to(ROOT).as_posix(), marks=long.get(page.name, [])) for page in pages]


@pytest.mark.parametrize("page", pages_with_code())
@pytest.mark.filterwarnings("ignore:.*lie outside `clip_values`:RuntimeWarning")
@pytest.mark.filterwarnings("ignore::UserWarning:art")  # where it adds the noise of randomized smoothing
@pytest.mark.filterwarnings("ignore:'binom_test' is deprecated:DeprecationWarning")  # in the oldest ART
def test_code_runs(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    namespace, printed = HAVING.get(page.name, dict)(), ""
    for block in blocks(page):
        if block.language == "python":
            exec(compile(block.code, page.name, "exec"), namespace)
            printed = capsys.readouterr().out
        elif block.language == "text" and block.follows:
            assert differences(block.code, printed) == [], printed


#: How far figures may be off, in points or as a share: other versions train other networks.
_POINTS, _SHARE = 15, 0.3


def differences(told: str, printed: str) -> list[str]:
    """Return what was printed otherwise than a page says: words are the same, numbers about; … is anything."""
    number = r"[-−]?\d+(?:[.,]\d+)*"
    pattern = "".join(
        "(?s:.*)" if part == "…" else rf"({number})" if re.fullmatch(number, part) else re.escape(part)
        for part in re.split(rf"(…|{number})", told.strip())
    )
    found = re.fullmatch(pattern, printed.strip())
    if found is None:
        return ["the words"]
    pairs = zip(re.findall(number, told), found.groups(), strict=True)
    values = [tuple(float(n.replace(",", "").replace("−", "-")) for n in pair) for pair in pairs]
    return [f"{a} is {b}" for a, b in values if abs(a - b) > max(_POINTS if "%" in told else 0, _SHARE * abs(a))]


def test_what_is_printed_otherwise_is_seen():
    assert differences("81 % are right", "84 % are right\n") == []
    assert differences("81 % are right", "4 % are right") == ["81.0 is 4.0"]
    assert differences("81 % are right", "81 % are wrong") == ["the words"]
    assert differences("first\n…\n3 rows", "first\nother\nlines\n3 rows") == []


def test_every_block_of_code_is_looked_at():
    """A language that no test knows would be run by none."""
    known = {"", "python", "shell", "text", "toml", "bibtex"}
    for page in PAGES:
        directives = {block.language for block in blocks(page) if block.language.startswith("{")}
        assert {block.language for block in blocks(page)} - directives <= known, page.name


@pytest.mark.parametrize("page", named([page for page in PAGES if "art-denoise " in page.read_text(encoding="utf-8")]))
def test_commands_can_be_given(page):
    """Each option is one of its command, and its value can be read."""
    program = app()
    lines = [
        line
        for block in blocks(page)
        if block.language in ("", "shell")
        for line in block.code.replace("\\\n", " ").splitlines()
        if re.match(r"(\.venv/bin/)?art-denoise ", line)
    ]
    for line in lines:
        command, bound, _ = program.parse_args(
            shlex.split(line, comments=True)[1:], print_error=False, exit_on_error=False
        )
        without = commands.WITHOUT.get(command.__name__)
        # Files that the reader has are not here.
        if without is None or "config" in bound.kwargs or ".py:" in line:
            continue
        options = choose(bound.kwargs, command.__name__, without).options
        for written in options.defences or ():
            # Only the command that tries strengths takes several.
            for text in strengths_of(written) if command.__name__ == "tune" else [written]:
                parse_defence(text)
        for text in options.attacks or ():
            parse_attack(text)


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


#: Options of other programs, by the page that names them.
OF_OTHERS = {"nightly.md": {"--part", "--quick", "--write"}}


def test_options_in_the_documentation_are_options():
    options = {f"--{option.name}" for option in all_options()}
    options |= {"--help", "--version", "--no-preflight", "--no-progress", "--format", "--sample", "--out", "--side"}
    options |= {"--clean", "--option", "--install-completion", "--output", DEBUG}
    assert len(options) > 30
    for page in (ROOT / "README.md", *DOCS):
        mentioned = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", page.read_text(encoding="utf-8")))
        assert mentioned <= options | OF_OTHERS.get(page.name, set()), page
    page = (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")
    for option in ("--data", "--model", "--source", "--plan", "--sweep", "--change", "--skip-broken", "--weights-dir"):
        assert option in page


def anchors(page: Path) -> set[str]:
    """The names that a page's headings have in links, as GitHub and the site make them."""
    text = re.sub(r"^ *```.*?^ *```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in re.findall(r"^#+ (.*)$", text, re.M)
    }


def links(page: Path) -> list[tuple[str, str]]:
    """Where a page's links and pictures lead, each with the heading that is meant there, or ""."""
    return re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]+))?\)", page.read_text(encoding="utf-8"))


def test_links_lead_somewhere():
    for page in PAGES:
        for target, anchor in links(page):
            if ":" in target:
                continue
            to = page.parent / target if target else page
            assert to.exists(), f"{page.name}: {target}"
            assert not anchor or anchor in anchors(to), f"{page.name}: {target}#{anchor}"


def test_links_of_the_readme_lead_somewhere_from_anywhere():
    """PyPI shows it, too, where a link needs the whole address. Those into the repository lead to files of this one."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        repository = tomllib.load(file)["project"]["urls"]["Repository"]
    raw = repository.replace("https://github.com/", "https://raw.githubusercontent.com/")
    found = []
    for target, anchor in links(ROOT / "README.md"):
        assert target.startswith("https://"), target
        for base in (f"{repository}/blob/main/", f"{raw}/main/"):
            if target.startswith(base):
                to = ROOT / target.removeprefix(base)
                assert to.is_file(), target
                assert not anchor or anchor in anchors(to), f"{target}#{anchor}"
                found.append(to.name)
        assert found[-1:] == [target.rpartition("/")[2]] or not target.startswith((repository, raw)), target
    assert {"attacked.png", "table1.md"} <= set(found)


def test_no_table_stands_twice():
    """One that was written over another says something else than the text around it."""
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        tables = re.findall(r"(?:^\|.*\n){4,}", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
        assert len({*tables}) == len(tables), page


def test_every_page_can_be_found():
    """Each stands in the navigation, once, and nothing else does."""
    contents = [block.code for block in blocks(ROOT / "docs" / "index.md") if block.language == "{toctree}"]
    listed = [line for code in contents for line in code.splitlines() if re.fullmatch(r"[\w-]+", line)]
    assert sorted(listed) == sorted(page.stem for page in DOCS if page.stem != "index")


def test_every_public_name_is_in_the_reference():
    reference = "".join(page.read_text(encoding="utf-8") for page in DOCS if page.stem.startswith("reference-"))
    described = set(re.findall(r"^\.\. auto(?:class|function):: (?:art_denoise\.)?(\w+)$", reference, flags=re.M))
    assert set(names) - described == set()


def test_every_status_of_the_program_is_told_of():
    """In one place: a second table would come to say something else."""
    page = (ROOT / "docs" / "reference-commands.md").read_text(encoding="utf-8")
    assert [int(n) for n in re.findall(r"^\| (\d+) \|", page, flags=re.MULTILINE)] == list(STATUSES)
    assert [p.name for p in DOCS if re.search(r"^\| 143 \|", p.read_text(encoding="utf-8"), re.MULTILINE)] == [
        "reference-commands.md"
    ]


@pytest.mark.long
def test_the_site_is_built_without_a_warning(tmp_path):
    """Half a minute: what is told of in docstrings is imported."""
    pytest.importorskip("sphinx")
    site = tmp_path / "site"
    environment = {k: v for k, v in os.environ.items() if k != "ART_DENOISE_DOCS_ONLINE"}
    build = "import sys; from sphinx.cmd.build import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", build, "-q", "-W", "--keep-going", "-n", "-d", str(tmp_path / "read")]
    built = subprocess.run(
        [*command, str(ROOT / "docs"), str(site)], capture_output=True, text=True, env=environment, check=False
    )
    assert built.returncode == 0, built.stderr
    page = (site / "reference-defences.html").read_text(encoding="utf-8")
    assert 'id="art_denoise.ROFDefence"' in page
    # A name in a docstring leads to where it is described, and a formula needs nothing from the network.
    assert 'href="reference-filters.html#art_denoise.rof_denoise"' in page
    assert "<mfrac" in (site / "reference-filters.html").read_text(encoding="utf-8")
    shown = re.sub(r"<[^>]+>", "", (site / "reference-commands.html").read_text(encoding="utf-8"))
    assert "--fail-on-flag" in shown
    assert "art-denoise report [OPTIONS] FOLDER" in shown
    for page in site.rglob("*.html"):
        fetched = re.findall(
            r"<(?:script|img)[^>]+src=\"(https?:[^\"]+)|<link[^>]+href=\"(https?:[^\"]+)", page.read_text("utf-8")
        )
        assert fetched == [], page.name
