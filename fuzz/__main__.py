"""`python -m fuzz`: give every reader damaged and hostile files, and print what came of it."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]

#: Seconds that one file may take before it counts as one that never ends, and that a process has to start in.
_LONGEST, _START = 30, 300

#: What runs in a process of its own.
_CHILD = "fuzz.child"

#: The names of fuzz.targets.TARGETS, which is imported in the processes below only.
NAMES = ("images", "mat", "pt", "weights", "npy", "npz", "safetensors", "lists", "kept", "notation")


def fuzz(
    name: str, seconds: float, *, seed: int = 0, engine: str = "random", found: Path | None = None
) -> dict[str, Any]:
    """Give damaged files to a reader, in processes whose end, or silence, is a fault of the file they were reading.

    :param name: One of `NAMES`.
    :param seconds: How long.
    :param engine: "atheris", which looks what code a file reaches, or "random", which is the same on every machine.
    :param found: Folder where files are kept that the reader failed on.
    :return: "tried", "outcomes", the number of different answers, and "faults", each with "what", "text" and "file".
    """
    total: dict[str, Any] = {"engine": engine, "tried": 0, "outcomes": set(), "faults": {}}
    end, started = time.monotonic() + seconds, 0
    while started == 0 or time.monotonic() < end - 1:
        with tempfile.TemporaryDirectory() as work:
            folder = Path(work)
            left = seconds if started == 0 else end - time.monotonic()
            killed = _run(name, folder, left, seed + started, engine)
            started += 1
            if started == 1:
                # What a process needs to start is not of the time.
                end = time.monotonic()
            noted = folder / "noted.json"
            if noted.is_file():
                said = json.loads(noted.read_text(encoding="utf-8"))
                total["tried"] += said["tried"]
                total["outcomes"] |= set(said["outcomes"])
                for fault in said["faults"]:
                    total["faults"].setdefault(fault["what"], fault)
                    _keep(folder / fault["file"], found)
            if killed is not None:
                current = next(iter(folder.glob("current*")), None)
                fault = {"what": killed, "text": "", "file": None}
                if current is not None:
                    fault["file"] = current.rename(folder / f"found-{name}-{seed + started}{current.suffix}").name
                    _keep(folder / fault["file"], found)
                total["faults"].setdefault(killed, fault)
                end = time.monotonic() + seconds / 2 if started < 4 else 0
    return {**total, "outcomes": len(total["outcomes"]), "faults": list(total["faults"].values())}


def _run(name: str, folder: Path, seconds: float, seed: int, engine: str) -> str | None:
    """Run a process, and return why it ended before its time, if it did."""
    command = [sys.executable, "-m", _CHILD, name, str(folder), str(seconds), str(seed), engine]
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
        begun, status = time.time(), None
        try:
            while status is None:
                try:
                    status = process.wait(timeout=0.2)
                except subprocess.TimeoutExpired:
                    current = next(iter(folder.glob("current*")), None)
                    if current is not None and time.time() - current.stat().st_mtime > _LONGEST:
                        return f"no end after {_LONGEST} seconds"
                    if current is None and time.time() - begun > _START:
                        return "did not start"
        finally:
            process.kill()
            process.wait()
    if status == 0:
        return None
    last = (folder / "log").read_text(errors="replace").strip().splitlines()[-1:]
    return (
        f"killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}: {' '.join(last)}"
    )


def _keep(file: Path, found: Path | None) -> None:
    if found is not None and file.is_file():
        found.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, found / file.name)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command, and return 1 if a reader failed."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="target", help=f"readers, of {', '.join(NAMES)}; all by default")
    parser.add_argument("--seconds", type=float, default=60, help="how long for each")
    parser.add_argument("--seed", type=int, default=0, help="decides what is tried")
    parser.add_argument("--engine", choices=("auto", "atheris", "random"), default="auto", help="what makes the files")
    parser.add_argument("--json", type=Path, help="file for what was found, for programs")
    parser.add_argument("--found", type=Path, default=ROOT / "fuzz" / "found", help="folder for what readers failed on")
    given = parser.parse_args(arguments)
    unknown = [name for name in given.targets if name not in NAMES]
    if unknown:
        parser.error(f"there is no target {unknown[0]!r}: they are {', '.join(NAMES)}")
    engine = given.engine
    if engine == "auto":
        engine = "atheris" if importlib.util.find_spec("atheris") else "random"
    results = {}
    print(f"{'reader':<12} {'made by':<8} {'files tried':>12} {'different answers':>18} {'faults':>7}", flush=True)
    for name in given.targets or NAMES:
        results[name] = one = fuzz(name, given.seconds, seed=given.seed, engine=engine, found=given.found)
        print(f"{name:<12} {engine:<8} {one['tried']:>12,} {one['outcomes']:>18,} {len(one['faults']):>7,}", flush=True)
        for fault in one["faults"]:
            print(f"    {fault['what']} {fault['text']} ({given.found / str(fault['file'])})", flush=True)
    faults = sum(len(one["faults"]) for one in results.values())
    summary = {
        "inputs": sum(one["tried"] for one in results.values()),
        "faults": faults,
        "seconds": given.seconds,
        "seed": given.seed,
        "python": platform.python_version(),
        "targets": results,
    }
    print(f"{summary['inputs']:,} files, {faults} faults")
    if given.json is not None:
        given.json.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
