"""Compiled code that cannot be kept, or cannot be read, or is of another source, is compiled anew; results stay."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numba
import pytest

from art_denoise.filters import _kept
from art_denoise.filters._compiled import compiled

#: A loop, as the filters have them, in a file.
LOOP = "def loop(x):\n    return 2 * x + 1\n"


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """A folder with a file of a loop; what is compiled is kept in `kept`."""
    (tmp_path / "loops.py").write_text(LOOP)
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "kept"))
    return tmp_path


def again(place: Path) -> Any:
    """Return the loop as another process has it."""
    spec = importlib.util.spec_from_file_location("loops", place / "loops.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return compiled(module.loop)


def was_compiled(loop: Any) -> bool:
    assert loop(4) == 9
    return bool(sum(loop.stats.cache_misses.values()))


def test_it_is_kept(place):
    assert was_compiled(again(place))
    assert not was_compiled(again(place))


def test_without_a_place_for_it_loops_run(place, monkeypatch):
    """A file is where the folder of the cache should be, and there is no home: so it is in most containers."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    monkeypatch.setenv("HOME", "/proc/nohome")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    (place / "__pycache__").write_text("")
    with pytest.raises(RuntimeError, match="no locator"):
        numba.njit(cache=True)(again(place).py_func)
    assert again(place)(4) == 9


@pytest.mark.parametrize("ending", ["nbi", "nbc"])
@pytest.mark.parametrize("damage", [lambda content: content[:40], lambda content: b"", lambda content: b"x" * 400])
def test_what_is_damaged_is_compiled_anew(place, ending, damage):
    again(place)(4)
    (file,) = (place / "kept").rglob(f"*.{ending}")
    file.write_bytes(damage(file.read_bytes()))
    assert was_compiled(again(place))
    assert not was_compiled(again(place)), "not mended"


def test_what_cannot_be_written_is_not_kept(place, monkeypatch):
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("numba.core.caching.IndexDataCacheFile._save_data", full)
    assert was_compiled(again(place))


def test_what_is_damaged_and_cannot_be_mended_is_told(place, monkeypatch):
    again(place)(4)
    (file,) = (place / "kept").rglob("*.nbi")
    file.write_bytes(b"x")

    def full(*args: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("numba.core.caching.IndexDataCacheFile.flush", full)
    with pytest.warns(RuntimeWarning, match="cannot be read, and cannot be mended.*Delete it, or let NUMBA_CACHE_DIR"):
        assert again(place)(4) == 9


def test_another_source_of_any_loop_is_another(place, monkeypatch):
    """What a loop calls is compiled into it, from whatever file; numba sees the time and size of its own."""
    again(place)(4)
    monkeypatch.setattr(_kept, "source_of_all", lambda: "other")
    assert was_compiled(again(place))
    assert not was_compiled(again(place))


def test_the_source_is_that_of_all_files_with_loops(monkeypatch, tmp_path):
    folder = Path(_kept.__file__).parent
    for file in folder.glob("*.py"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    monkeypatch.setattr(_kept, "__file__", str(tmp_path / "_kept.py"))
    read = _kept.source_of_all.__wrapped__
    assert read() == _kept.source_of_all()
    (tmp_path / "rof.py").write_text("other, and without loops")
    assert read() == _kept.source_of_all()
    loops = {file.name for file in folder.glob("*.py") if "\n@compiled" in file.read_text()}
    assert loops == {"_planes.py", *(file.name for file in folder.glob("*_kernels.py"))}
    (tmp_path / "_planes.py").write_text("other")
    assert read() != _kept.source_of_all()


BITS = """
import hashlib, numpy as np, torch
from art_denoise import nl_means_denoise
x = torch.from_numpy(np.random.default_rng(0).random((2, 3, 20, 18), np.float32)).requires_grad_()
u = nl_means_denoise(x, 0.2)
u.square().sum().backward()
print(hashlib.sha256(u.detach().numpy().tobytes() + x.grad.numpy().tobytes()).hexdigest())
"""


@pytest.mark.long
def test_who_compiles_and_who_finds_it_compiled_have_the_same_bits(tmp_path):
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", BITS]
    found = [subprocess.run(command, env=environment, capture_output=True, check=True).stdout for _ in range(2)]
    assert found[0] == found[1] != b""
