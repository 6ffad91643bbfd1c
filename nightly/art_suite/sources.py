"""ART's tests, which its wheel does not hold: from a place that is named, from its source distribution, or by git."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

#: Environment variable with a folder that holds ART's `tests`, or a git repository of ART: no network is needed.
PLACE = "ART_SOURCES"

_REPOSITORY = "https://github.com/Trusted-AI/adversarial-robustness-toolbox"


class NoSourcesError(Exception):
    """Raised when ART's tests cannot be had."""


def put_tests(version: str, folder: Path) -> None:
    """Put ART's folder `tests` below `folder`; ART itself stays the installed one.

    :raises NoSourcesError: If they are neither in the place that `ART_SOURCES` names nor to be fetched.
    """
    place = os.environ.get(PLACE)
    if place:
        if (Path(place) / "tests").is_dir():
            shutil.copytree(Path(place) / "tests", folder / "tests")
        else:
            _unpack(["git", "-C", place, "archive", version, "tests"], folder)
        return
    reasons = []
    for fetch in (_from_index, _from_git):
        try:
            return fetch(version, folder)
        except NoSourcesError as error:
            reasons.append(str(error))
    raise NoSourcesError("; ".join(reasons))


def _from_index(version: str, folder: Path) -> None:
    wanted = f"adversarial-robustness-toolbox=={version}"
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", ":all:", "--dest", str(folder)]
    _run([*command, wanted])
    with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
        _take_tests(archive, folder)
    if not (folder / "tests").is_dir():
        raise NoSourcesError(f"the source distribution of ART {version} holds no tests")


def _from_git(version: str, folder: Path) -> None:
    clone = folder / "clone"
    _run(["git", "clone", "--quiet", "--depth", "1", "--branch", version, _REPOSITORY, str(clone)])
    shutil.copytree(clone / "tests", folder / "tests")


def _unpack(command: list[str], folder: Path) -> None:
    archive = folder / "tests.tar"
    _run([*command, "--output", str(archive)])
    with tarfile.open(archive) as opened:
        _take_tests(opened, folder)


def _take_tests(archive: tarfile.TarFile, folder: Path) -> None:
    """Write the files below `tests`, whatever the name of the folder around it; nothing leaves `folder`."""
    for member in archive:
        parts = Path(member.name).parts
        below = parts[parts.index("tests") :] if "tests" in parts[:2] else ()
        content = archive.extractfile(member) if below and ".." not in parts and member.isfile() else None
        if content is not None:
            target = folder.joinpath(*below)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content.read())


def _run(command: list[str]) -> None:
    environment = os.environ | {"GIT_TERMINAL_PROMPT": "0"}
    try:
        ran = subprocess.run(command, capture_output=True, text=True, errors="replace", env=environment, check=False)
    except FileNotFoundError:
        raise NoSourcesError(f"{command[0]} is not installed") from None
    if ran.returncode:
        last = " ".join(ran.stderr.strip().splitlines()[-1:])
        raise NoSourcesError(f"`{' '.join(command[:4])} …` failed: {last}")
