"""Whether a folder holds the finished results of what is asked for, told in a moment, without PyTorch and ART.

Which results still hold is told by the keys of tasks, and these by what is found with PyTorch and ART, which alone take
seconds to import. So a run that has finished leaves a stamp: a digest of everything that its results may depend on, and
of much that they do not. While nothing of that changes, neither do the results. If anything does, or if a user's own
files have a part in it, nothing is known, and the keys decide.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from art_denoise._files import write_text
from art_denoise.evaluation.options import Machine, Options
from art_denoise.evaluation.results import Results

_FILE, _RESULTS = "finished.json", "results.json"

#: What of a machine's options is about how fast and how loud it is.
_NO_MATTER = ("progress", "jobs", "workers", "decoded_dir")

#: Variables of the environment that decide where and with how many threads it is computed.
_VARIABLES = re.compile(r"(OMP|MKL|ATEN|CUDA|NVIDIA|TORCH|PYTORCH|NUMBA|OPENBLAS)_")


def stamp_of(options: Options, machine: Machine, study: str) -> str | None:
    """Return a digest of everything that results may depend on; None if a user's files have a part in it.

    :param options: The choices.
    :param machine: Where it is computed.
    :param study: Full name of what makes the experiment.
    """
    texts = (options.model, *(options.sources or ()), *(options.defences or ()), *(options.attacks or ()))
    if not options.on_photographs or any(_names_a_file(text) for text in texts):
        return None
    package = Path(__file__).parents[1]
    code = {str(file.relative_to(package)): _digest(file.read_bytes()) for file in sorted(package.rglob("*.py"))}
    about = {
        "options": asdict(options.filled()),
        "machine": {name: str(value) for name, value in vars(machine).items() if name not in _NO_MATTER},
        "study": study,
        "code": code,
        "packages": _versions(),
        "python": platform.python_version(),
        "system": [platform.system(), platform.machine(), platform.node(), os.cpu_count()],
        "gpus": sorted(str(device) for device in Path("/dev").glob("nvidia*")),
        "environment": {name: value for name, value in os.environ.items() if _VARIABLES.match(name)},
    }
    return _digest(json.dumps(about, sort_keys=True).encode())


def mark(folder: Path, stamp: str | None) -> None:
    """Say in a run folder that its results are finished, and of what they are."""
    if stamp is not None:
        results = _digest((folder / _RESULTS).read_bytes())
        write_text(folder / _FILE, json.dumps({"stamp": stamp, "results": results}) + "\n")


def unmark(folder: Path) -> None:
    """Say no longer in a run folder that its results are finished."""
    (folder / _FILE).unlink(missing_ok=True)


def finished_results(folder: Path, stamp: str | None) -> Results | None:
    """Return the results in a run folder if they are finished, and of what a stamp says; None if that is not known."""
    try:
        said = json.loads((folder / _FILE).read_bytes())
        if stamp is None or said != {"stamp": stamp, "results": _digest((folder / _RESULTS).read_bytes())}:
            return None
        return Results.load(folder)
    except (OSError, ValueError):
        return None


def _names_a_file(text: str) -> bool:
    return any(part and Path(part).expanduser().exists() for part in (text, *re.split(r"[:+,=]", text)))


def _versions() -> dict[str, str]:
    """Return the versions of the packages that this one needs, those that are not installed left out."""
    found = {}
    for line in requires("art-denoise") or ():
        name = re.split(r"[^\w.-]", line, maxsplit=1)[0]
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
