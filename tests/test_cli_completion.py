"""A shell completes commands and options after `--install-completion`."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from art_denoise.cli import main
from art_denoise.cli.program import app

COMMANDS = [name for name in app() if not name.startswith("-")]


def completed(script, *words: str) -> list[str]:
    """Return what bash offers for the last of some words of a command line."""
    asked = """
    source "$1"; shift
    COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}
    complete -p art-denoise >&2
    function=$(complete -p art-denoise | sed -E 's/.*-F ([^ ]+).*/\\1/')
    "$function" art-denoise "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
    printf '%s\\n' "${COMPREPLY[@]}"
    """
    done = subprocess.run(
        ["bash", "--norc", "-c", asked, "-", str(script), *words],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_offers_commands_and_options(tmp_path, capsys):
    script = tmp_path / "art-denoise"
    assert main(["--install-completion", "--shell", "bash", "--output", str(script)]) == 0
    # Nothing that bash reads at its start names the file.
    assert capsys.readouterr().out == f"Completion for bash: {script}, read when it is sourced\n"
    subprocess.run(["bash", "-n", str(script)], check=True)
    assert sorted(completed(script, "art-denoise", "ta")) == ["table1"]
    assert {*COMMANDS} <= {*completed(script, "art-denoise", "")}
    assert "--rof-weight" in completed(script, "art-denoise", "table1", "--ro")
    assert "--rof-weight" not in completed(script, "art-denoise", "transfer", "--ro")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_it_is_written_where_the_shell_looks_for_it(tmp_path, monkeypatch, capsys, shell):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("ZSH", "ZSH_CUSTOM", "ZDOTDIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert main(["--install-completion", "--shell", shell]) == 0
    assert f"Completion for {shell}: {tmp_path}" in capsys.readouterr().out
    (file,) = [f for f in tmp_path.rglob("*") if f.is_file() and "table1" in f.read_text()]
    if shell != "fish":
        assert str(file.parent) in (tmp_path / f".{shell}rc").read_text()


def test_a_shell_that_is_not_known_is_asked_for(monkeypatch, capsys):
    from cyclopts.completion import detect

    def fail() -> str:
        raise detect.ShellDetectionError

    monkeypatch.setattr(detect, "detect_shell", fail)
    assert main(["--install-completion"]) == 2
    assert capsys.readouterr().err == (
        "Error: the shell that this is called from is not known: name it, as --shell bash\n"
    )
