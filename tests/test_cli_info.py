"""What is installed and kept is told, and the cache emptied only when that is asked for."""

from __future__ import annotations

import platformdirs
import pytest

import art_denoise
from art_denoise.cli import main


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda name: tmp_path / "cache" / name)
    return tmp_path / "cache" / "art_denoise"


def test_versions_devices_and_what_is_kept(cache, capsys):
    (cache / "weights").mkdir(parents=True)
    (cache / "weights" / "a.safetensors").write_bytes(bytes(1_500_000))
    assert main(["info"]) == 0
    shown = capsys.readouterr().out
    assert f"  art_denoise {art_denoise.__version__}\n" in shown
    assert "\n  adversarial-robustness-toolbox " in shown
    assert "\n  CPU, " in shown
    assert f"\nCache in {cache}\n  weights         1 files     1.5 MB   trained networks\n" in shown
    assert (cache / "weights" / "a.safetensors").is_file()


def test_the_cache_is_emptied_if_that_is_asked_for(cache, capsys, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "image.png").write_text("mine")
    (cache / "decoded" / "deep").mkdir(parents=True)
    (cache / "decoded" / "deep" / "b").write_bytes(bytes(200_000))
    (cache / "data").symlink_to(mine, target_is_directory=True)
    assert main(["info", "--clean"]) == 0
    assert capsys.readouterr().out.endswith("  emptied: 0.2 MB are free again\n")
    # What somebody has put elsewhere and linked to is theirs.
    assert [path.name for path in cache.iterdir()] == ["data"]
    assert (mine / "image.png").read_text() == "mine"


def test_an_empty_cache_is_told_of(cache, capsys):
    assert main(["info", "--clean"]) == 0
    assert capsys.readouterr().out.endswith(f"\nCache in {cache}\n  nothing\n")
