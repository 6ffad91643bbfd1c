"""Faults put into runs: killed processes, damaged files, full disks, jumping clocks, two processes at once.

After each of them the same command is given again, and what it then finds has to be what a run finds that nothing
happened to, to the byte: the results and every file of the report.
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import json
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nightly.frame import Part

_TESTS = Path(__file__).resolve().parents[1] / "tests"

#: What is done to a file that was kept: bytes of it to other bytes.
Damage = Callable[[bytes, random.Random], bytes]


def _cut(content: bytes, chance: random.Random) -> bytes:
    return content[: chance.randrange(len(content))] if content else content


def _flipped(content: bytes, chance: random.Random) -> bytes:
    changed = bytearray(content)
    if changed:
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


DAMAGES: dict[str, Damage] = {
    "cut": _cut,
    "a bit flipped": _flipped,
    "emptied": lambda content, chance: b"",
    "of another shape": lambda content, chance: json.dumps([[{"content": None}]] * 2).encode(),
    "of nothing but zeros": lambda content, chance: bytes(len(content)),
}


def run(quick: bool) -> Part:
    """Put faults into small runs, and compare what is found in the end."""
    if os.name != "posix":
        return Part("faults", "Nothing: processes are killed and limited in the ways of POSIX.")
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        tried = _Trial(Path(folder), quick)
        for kind in (_kills, _damages, _failing_writes, _clocks, _two_at_once):
            kind(tried)
    counts = ", ".join(f"{count} {what}" for what, count in tried.counts.items())
    return Part("faults", f"{counts}; {tried.compared} reports compared.", tuple(tried.failures))


class _Trial:
    """A project, what a run of it finds that nothing happens to, and what was found so far."""

    def __init__(self, place: Path, quick: bool) -> None:
        sys.path.insert(0, str(_TESTS))
        from folders import write_project

        self.place, self.quick, self.chance = place, quick, random.Random(0)
        self.counts: dict[str, int] = {}
        self.failures: list[str] = []
        self.compared = 0
        self.project = write_project(place / "project")
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(["art_denoise.evaluation.run", "nightly.faults"])
        self._numbers = itertools.count()
        whole = place / "whole"
        start = time.monotonic()
        error = self.again(whole)
        self.seconds = time.monotonic() - start
        if error:
            raise RuntimeError(f"the run that nothing happens to fails: {error}")
        self.expected = _digests(whole)

    def folder(self) -> Path:
        """Return a place for a run."""
        return self.place / f"run{next(self._numbers)}"

    def copy(self) -> Path:
        """Return a copy of the run that nothing happened to, and of what it keeps elsewhere."""
        folder = self.folder()
        shutil.copytree(self.place / "whole", folder)
        return folder

    def start(self, folder: Path, fault: str | None = None, seed: int = 0) -> Any:
        """Start a run in a process of its own; it puts why it failed, or None, into a queue."""
        queue = self.context.SimpleQueue()
        process = self.context.Process(target=_child, args=(queue, self.project, folder, fault, seed))
        process.start()
        return process, queue

    def again(self, folder: Path, fault: str | None = None, seed: int = 0) -> str | None:
        """Run to the end; return why it failed, or None."""
        process, queue = self.start(folder, fault, seed)
        process.join(600)
        if process.is_alive():
            process.kill()
            process.join()
            return "it did not end within ten minutes"
        if queue.empty():
            return f"it ended with status {process.exitcode} and without a word"
        said: str | None = queue.get()
        return said

    def note(self, what: str, count: int = 1) -> None:
        """Count faults of a kind."""
        self.counts[what] = self.counts.get(what, 0) + count

    def compare(self, folder: Path, after: str) -> None:
        """Run once more without a fault, and compare what is found; delete the folder if all is well."""
        error = self.again(folder)
        self.compared += 1
        if error is not None:
            self.failures.append(f"After {after} the run cannot be ended: {error}")
            return
        found = _digests(folder)
        other = sorted(name for name in found.keys() | self.expected if found.get(name) != self.expected.get(name))
        if other:
            self.failures.append(f"After {after} other contents: {', '.join(other)}")
        else:
            shutil.rmtree(folder)


def _digests(folder: Path) -> dict[str, str]:
    """Return what is in the results and the report, by the names of the files."""
    files = [folder / "results.json", *(file for file in (folder / "report").rglob("*") if file.is_file())]
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def _child(queue: Any, project: Path, folder: Path, fault: str | None, seed: int) -> None:
    """Run the project and write its report, with a fault."""
    sys.path.insert(0, str(_TESTS))
    import torch
    from folders import machine_of, options_of, run_project

    from art_denoise.evaluation.report import write_report

    torch.set_num_threads(1)
    try:
        with warnings.catch_warnings(), _FAULTS[fault](random.Random(seed)):
            warnings.simplefilter("ignore")
            machine = machine_of(project, decoded_dir=folder.parent / f"{folder.name}-decoded")
            write_report(run_project(folder, options_of(project), machine), folder / "report")
        queue.put(None)
    except (ValueError, OSError) as error:
        queue.put(f"{type(error).__name__}: {error}")
    except BaseException as error:
        queue.put(f"unnamed, {type(error).__name__}: {error}")


@contextmanager
def _no_fault(chance: random.Random) -> Iterator[None]:
    yield


@contextmanager
def _full_disk(chance: random.Random) -> Iterator[None]:
    """Let writing fail from some moment on, as on a full disk."""
    left, real = chance.randrange(60), os.fsync

    def fsync(handle: int) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(handle)

    os.fsync = fsync  # type: ignore[assignment]
    try:
        yield
    finally:
        os.fsync = real


@contextmanager
def _read_only(chance: random.Random) -> Iterator[None]:
    """Let files get their names no longer from some moment on, as where a folder was made read-only."""
    left, real = chance.randrange(60), os.replace

    def replace(*args: Any, **kwargs: Any) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        real(*args, **kwargs)

    os.replace = replace
    try:
        yield
    finally:
        os.replace = real


@contextmanager
def _jumping_clock(chance: random.Random) -> Iterator[None]:
    """Let the time of day jump by up to a year at every look."""
    real = time.time

    def jumping() -> float:
        return real() + chance.uniform(-3e7, 3e7)

    time.time = jumping
    try:
        yield
    finally:
        time.time = real


_FAULTS: dict[str | None, Any] = {
    None: _no_fault,
    "full disk": _full_disk,
    "read-only folder": _read_only,
    "jumping clock": _jumping_clock,
}


def _kills(trial: _Trial) -> None:
    """Kill runs at moments anywhere between their start and their end, several times on the way."""
    kills, count = 0, 3 if trial.quick else 50
    while kills < count:
        folder, here = trial.folder(), 0
        while here < 5:
            process, _ = trial.start(folder)
            process.join(trial.chance.uniform(0, trial.seconds / 2))
            if not process.is_alive():
                break
            process.kill()
            process.join()
            here += 1
        if not here:
            continue
        kills += here
        trial.compare(folder, f"{here} kills")
    trial.note("kills", kills)


def _damages(trial: _Trial) -> None:
    """Damage every file that is kept, each in every way."""
    whole = trial.place / "whole"
    kept = sorted(f.relative_to(trial.place) for f in whole.rglob("*") if f.is_file() and f.suffix != ".lock")
    decoded = trial.place / "whole-decoded"
    kept += sorted(f.relative_to(trial.place) for f in decoded.rglob("*") if f.is_file() and f.suffix != ".lock")
    cases = [(file, how) for file in kept for how in DAMAGES]
    if trial.quick:
        cases = trial.chance.sample(cases, 6)
    for file, how in cases:
        folder = trial.copy()
        shutil.copytree(decoded, trial.place / f"{folder.name}-decoded")
        outer, *inner = file.parts
        damaged = trial.place.joinpath(outer.replace("whole", folder.name), *inner)
        damaged.write_bytes(DAMAGES[how](damaged.read_bytes(), trial.chance))
        trial.note("damaged files")
        trial.compare(folder, f"{file} was {how}")


def _failing_writes(trial: _Trial) -> None:
    """Let the disk be full, and the folder be read-only, from some moment on."""
    for fault in ("full disk", "read-only folder"):
        for seed in range(1 if trial.quick else 15):
            folder = trial.folder()
            error = trial.again(folder, fault, seed)
            if error is not None and error.startswith("unnamed"):
                trial.failures.append(f"A {fault} ends in an error that nobody expects: {error}")
            trial.note(f"{fault}s")
            trial.compare(folder, f"a {fault}")


def _clocks(trial: _Trial) -> None:
    for seed in range(1 if trial.quick else 5):
        folder = trial.folder()
        error = trial.again(folder, "jumping clock", seed)
        if error is not None:
            trial.failures.append(f"While the clock jumps the run fails: {error}")
        trial.note("jumping clocks")
        trial.compare(folder, "a jumping clock")


def _two_at_once(trial: _Trial) -> None:
    """Start two runs in one folder: one of them is told of the other, or both find the same."""
    for _ in range(1 if trial.quick else 10):
        folder = trial.folder()
        first, said = trial.start(folder)
        time.sleep(trial.chance.uniform(0, trial.seconds))
        error = trial.again(folder)
        first.join()
        if error is not None and "another process" not in error:
            trial.failures.append(f"The second of two runs in one folder fails: {error}")
        if (error_of_first := said.get()) is not None and "another process" not in error_of_first:
            trial.failures.append(f"The first of two runs in one folder fails: {error_of_first}")
        trial.note("second processes")
        trial.compare(folder, "a second process")
