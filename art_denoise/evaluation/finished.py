"""Whether a folder holds the finished results of what is asked for, told in a moment, without PyTorch and ART.

Which results still hold is told by the keys of tasks, and these by what is found with PyTorch and ART, which alone take
seconds to import. So a run that has finished leaves a stamp: a digest of everything that its results may depend on, and
of much that they do not. While nothing of that changes, neither do the results. If anything does, nothing is known, and
the keys decide. So they do wherever a user's own code has a part in it, as nobody knows what else that reads.

Folders of images and of weights are known by the names, sizes and times of their files,
of which that of the last change of anything about a file cannot be set; other files by their content.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
from collections.abc import Iterator
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import platformdirs

from art_denoise._documents import keep_document, read_document
from art_denoise._files import set_aside
from art_denoise.evaluation.options import Machine, Options
from art_denoise.evaluation.results import FILE as _RESULTS
from art_denoise.evaluation.results import Results
from art_denoise.evaluation.run_folder import CHOICES, LISTING

FILE = "finished.json"

#: Changes with the form of the file.
SCHEMA = 1

#: What of a machine's options is about how fast and how loud it is.
_NO_MATTER = ("progress", "jobs", "workers", "decoded_dir")

#: Variables of the environment that decide where and with how many threads it is computed.
_VARIABLES = re.compile(r"(OMP|MKL|ATEN|CUDA|NVIDIA|TORCH|PYTORCH|NUMBA|OPENBLAS)_")

#: Ends the name of a file, in a text that is not the path of one.
_ENDS_A_FILE = re.compile(r"\.(py|safetensors|np[yz]|mat|pth?)\b", re.IGNORECASE)


def stamp_of(options: Options, machine: Machine, study: str) -> str | None:
    """Return a digest of everything that results may depend on; None if that is not known.

    :param options: The choices.
    :param machine: Where it is computed.
    :param study: Full name of what makes the experiment.
    """
    try:
        read = _read(options, machine)
    except (_UnknownError, OSError):
        return None
    package = Path(__file__).parents[1]
    code = {str(file.relative_to(package)): _digest(file.read_bytes()) for file in sorted(package.rglob("*.py"))}
    about = {
        "options": asdict(options.filled()),
        "machine": {name: str(value) for name, value in vars(machine).items() if name not in _NO_MATTER},
        "study": study,
        "read": read,
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
        keep_document(folder / FILE, {"stamp": stamp, "files": _documents(folder)}, SCHEMA)


def unmark(folder: Path) -> None:
    """Say no longer in a run folder that its results are finished."""
    (folder / FILE).unlink(missing_ok=True)


def finished_results(folder: Path, stamp: str | None) -> Results | None:
    """Return the results in a run folder if they are finished, and of what a stamp says; None if that is not known."""
    try:
        said = read_document(folder / FILE, SCHEMA)
    except FileNotFoundError:
        return None
    except ValueError as error:
        set_aside(folder / FILE, str(error), "written anew when everything has been looked at")
        return None
    try:
        if stamp is None or said != {"stamp": stamp, "files": _documents(folder)}:
            return None
        return Results.load(folder)
    except (OSError, ValueError):
        # What is damaged is told of, and mended, by the run.
        return None


def _documents(folder: Path) -> dict[str, str]:
    """Return the digests of the documents of a run."""
    files = [folder / name for name in (_RESULTS, CHOICES, LISTING)]
    return {file.name: _digest(file.read_bytes()) for file in files if file.is_file()}


class _UnknownError(Exception):
    """It is not known what a run reads."""


def _read(options: Options, machine: Machine) -> dict[str, object]:
    """Return what a run reads besides the code: other files by their content, folders by what they list.

    :raises _UnknownError: If a user's code is run, or there is no such file or folder.
    :raises OSError: If it cannot be read.
    """
    several = (options.targets, options.sources, options.defences, options.attacks)
    texts = (options.model, *(text for texts in several for text in texts or ()))
    read: dict[str, object] = {text: _digest(file.read_bytes()) for text in texts for file in _files_in(text)}
    if options.classes is not None:
        read["classes"] = _digest(Path(options.classes).read_bytes())
    if not options.on_photographs:
        read["images"] = _listing(_images(options))
        read["weights"] = _listing(machine.weights_dir or _torchvision_weights())
    return read


def _files_in(text: str) -> Iterator[Path]:
    """Yield the files that are named in how a model, a source, a defence or an attack is written.

    :raises _UnknownError: If one of them is code, or it cannot be told which it is.
    """
    paths = [Path(part).expanduser() for part in (text, *re.split(r"[:+,=]", text)) if part]
    there = [path for path in dict.fromkeys(paths) if path.exists()]
    if any(path.suffix == ".py" or not path.is_file() for path in there) or (not there and _ENDS_A_FILE.search(text)):
        raise _UnknownError
    yield from there


def _images(options: Options) -> Path:
    """Return the folder that the images of a run are in."""
    if options.data_dir is not None or options.data not in ("imagenet", "imagenette"):
        return Path(options.data_dir or options.data)
    return platformdirs.user_cache_path("art_denoise") / "data"


def _torchvision_weights() -> Path:
    """Return the folder that PyTorch downloads weights into, by its own rule."""
    cache = os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")
    return Path(os.environ.get("TORCH_HOME", Path(cache, "torch")), "hub", "checkpoints")


def _listing(folder: Path) -> list[object]:
    """Return the files below a folder with their sizes and times, and where it is; links are followed."""
    found: list[object] = [str(folder.resolve())]
    for parent, folders, files in os.walk(folder, followlinks=True):
        # In the same order everywhere.
        folders.sort()
        for name in sorted(files):
            about = os.stat(os.path.join(parent, name))
            found.append(
                [
                    os.path.relpath(os.path.join(parent, name), folder),
                    about.st_size,
                    about.st_mtime_ns,
                    about.st_ctime_ns,
                ]
            )
    return found


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
