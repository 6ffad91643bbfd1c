"""One reader, given one file after the other, in a process that may be killed: `python -m fuzz.child` does it."""

from __future__ import annotations

import hashlib
import importlib
import json
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

#: Memory that a reader may take beyond what the process has before.
_ROOM = 2**30

#: Seconds between what is noted down for the process above.
_NOTED = 0.5


def main(name: str, folder: str, seconds: float, seed: int, engine: str) -> None:
    """Give files to a reader until the time is over.

    :param name: Key of the targets.
    :param folder: Where the file is that is being read, and what has been found.
    :param engine: "atheris" or "random".
    """
    if engine == "atheris":
        # As a value: not everybody has it, and it brings no types.
        atheris: Any = importlib.import_module("atheris")
        with atheris.instrument_imports(include=["art_denoise", "PIL"]):
            from fuzz.targets import TARGETS
    else:
        from fuzz.targets import TARGETS
    target, place = TARGETS[name], Path(folder)
    with tempfile.TemporaryDirectory() as work:
        corpus = target.corpus(Path(work))
    session = _Session(place, place / f"current{target.ending}")
    for data in corpus:
        # The first call imports and compiles: neither the clock nor the memory runs before.
        session.one_input(target, data)
    _limit_memory()
    if engine == "atheris":
        seeds = place / "corpus"
        seeds.mkdir(exist_ok=True)
        for i, data in enumerate(corpus):
            (seeds / str(i)).write_bytes(data)
        options = [f"-max_total_time={max(1, round(seconds))}", f"-seed={seed + 1}", "-rss_limit_mb=0"]
        atheris.Setup(
            [sys.argv[0], *options, "-max_len=65536", "-verbosity=0", str(seeds)],
            lambda data: (session.one_input(target, data), None)[1],
        )
        atheris.Fuzz()
        return
    from fuzz.mutations import mutated

    rng, pool, end = random.Random(seed), list(corpus), time.monotonic() + seconds
    while time.monotonic() < end:
        data = mutated(rng.choice(pool), pool, rng)
        # What is answered in new words may lead on.
        if session.one_input(target, data) and len(pool) < 2000:
            pool.append(data)
    session.note()


class _Session:
    """What has been tried, and what came of it."""

    def __init__(self, folder: Path, file: Path) -> None:
        self.folder, self.file = folder, file
        self.tried, self.outcomes, self.faults = 0, Counter[str](), dict[str, dict[str, Any]]()
        self.noted = 0.0

    def one_input(self, target: Any, data: bytes) -> bool:
        """Try a file, and return whether its answer is a new one."""
        self.file.write_bytes(data)
        self.tried += 1
        try:
            outcome = target.outcome(self.file)
        except Exception as error:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            outcome = f"{type(error).__name__} in {Path(frame.filename).name}:{frame.lineno}"
            if outcome not in self.faults:
                saved = self.folder / f"found-{hashlib.sha256(data).hexdigest()[:12]}{target.ending}"
                saved.write_bytes(data)
                self.faults[outcome] = {"what": outcome, "text": str(error)[:300], "file": saved.name}
                self.note()
        self.outcomes[outcome] += 1
        if time.monotonic() > self.noted + _NOTED:
            self.note()
        return self.outcomes[outcome] == 1

    def note(self) -> None:
        """Write down what there is, for the process above."""
        self.noted = time.monotonic()
        found = {"tried": self.tried, "outcomes": self.outcomes, "faults": list(self.faults.values())}
        part = self.folder / "noted.part"
        part.write_text(json.dumps(found), encoding="utf-8")
        part.replace(self.folder / "noted.json")


def _limit_memory() -> None:
    try:
        import resource
    except ImportError:  # Windows
        return
    (line,) = [text for text in Path("/proc/self/status").read_text().splitlines() if text.startswith("VmSize")]
    room = 1024 * int(line.split()[1]) + _ROOM
    resource.setrlimit(resource.RLIMIT_AS, (room, room))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4]), sys.argv[5])
