"""Damaged and hostile files for every reader of files from strangers."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from nightly.frame import Part
from nightly.processes import run as run_command

#: Seconds for each reader.
SECONDS, QUICK_SECONDS = 120, 1


def run(quick: bool) -> Part:
    """Run `python -m fuzz`."""
    with tempfile.TemporaryDirectory() as folder:
        summary = Path(folder) / "summary.json"
        seconds = QUICK_SECONDS if quick else SECONDS
        ran = run_command([sys.executable, "-m", "fuzz", "--seconds", str(seconds), "--json", str(summary)])
        if not summary.exists():
            raise RuntimeError(f"`python -m fuzz` did not come to its end:\n{ran.stdout[-3000:]}")
        said = json.loads(summary.read_text(encoding="utf-8"))
    targets = said["targets"]
    engines = ", ".join(sorted({one["engine"] for one in targets.values()}))
    faults = [f"{name}: {fault['what']} {fault['text']}" for name, one in targets.items() for fault in one["faults"]]
    idle = [f"{name}: no file was tried" for name, one in targets.items() if not one["tried"]]
    return Part(
        "fuzz",
        f"{said['inputs']:,} damaged and hostile files ({engines}) for {len(targets)} readers, {seconds} seconds each: "
        f"read, or one named error; {sum(one['outcomes'] for one in targets.values())} different answers.",
        (*faults, *idle),
    )
