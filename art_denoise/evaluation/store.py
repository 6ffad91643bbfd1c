"""Where results are kept: one file for each, found by its key, with the digest of what is in it.

A file's name is the key of the task that made it, never words joined to a name, so that no two results share a place
and nothing is ever replaced by something else. Every file says which schema and key it has and what its content hashes
to; all of that is verified whenever it is read, and a file that fails is set aside and computed anew.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from tempfile import TemporaryFile
from typing import Protocol

import numpy as np
from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from art_denoise._files import content_digest, replacing, set_aside
from art_denoise.evaluation.artefact import Artefact

#: Changes with the form of the files. Files of another schema are not read.
SCHEMA = 1

#: What this package leaves when it is killed while it writes; of others' files nothing is ever deleted.
_LEFT_OVER = re.compile(
    r"([0-9a-f]{16}\.(safetensors|checkpoint(\.\d+)?)|(config|finished|results|splits)\.json)\.\d+(-[0-9a-f]{8})?\.part"
)
#: The names of the files in which tasks keep how far they have come.
CHECKPOINT = re.compile(r"([0-9a-f]{16})\.checkpoint(\.\d+)?")


class Kept(Protocol):
    """What a store has to know of a task."""

    @property
    def key(self) -> str: ...
    @property
    def folder(self) -> str: ...


class BusyError(ValueError):
    """Another process is at work in the folder."""


class Store:
    """A folder of artefacts.

    :param path: The folder; made when the first artefact is written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def file(self, task: Kept) -> Path:
        """Return the place of a task's artefact."""
        return self.path / task.folder / f"{task.key}.safetensors"

    def checkpoint(self, task: Kept) -> Path:
        """Return the place where a task may keep how far it has come."""
        return self.path / task.folder / f"{task.key}.checkpoint"

    def __contains__(self, task: Kept) -> bool:
        return self.file(task).is_file()

    def read(self, task: Kept) -> Artefact | None:
        """Return a task's artefact, verified; None if there is none, or it was damaged and has been set aside.

        :warns RuntimeWarning: If it was damaged.
        """
        file = self.file(task)
        try:
            return read_artefact(file, task.key)
        except FileNotFoundError:
            return None
        except ValueError as error:
            set_aside(file, str(error))
            return None

    def read_as_it_is(self, task: Kept) -> Artefact | None:
        """Return a task's artefact, verified; None if there is none, or it is damaged: it stays where it is."""
        try:
            return read_artefact(self.file(task), task.key)
        except (FileNotFoundError, ValueError):
            return None

    def why_absent(self, task: Kept) -> str | None:
        """Return why a task's artefact is absent, or None if it is there or not known. Its arrays are not read."""
        try:
            with safe_open(self.file(task), framework="np") as opened:
                return Artefact(json.loads((opened.metadata() or {})["record"])).why_absent
        except (OSError, SafetensorError, KeyError, ValueError, RecursionError):
            return None

    def write(self, task: Kept, artefact: Artefact) -> None:
        """Keep a task's artefact; its checkpoint is no longer needed."""
        write_artefact(self.file(task), task.key, artefact)
        self.begin_anew(task)

    def checkpoints(self, task: Kept) -> list[Path]:
        """Return the files of how far a task has come: its checkpoint, and those with a number behind its name."""
        file = self.checkpoint(task)
        # Most tasks keep none; and where there are numbered ones, there is the first.
        if not file.exists():
            return []
        numbered = re.compile(re.escape(file.name) + r"\.\d+")
        return [file, *(there for there in file.parent.glob(f"{file.name}.*") if numbered.fullmatch(there.name))]

    def begin_anew(self, task: Kept) -> None:
        """Delete how far a task has come."""
        # The first one last: without it the numbered ones are not looked for.
        for file in reversed(self.checkpoints(task)):
            file.unlink(missing_ok=True)

    def check_writable(self) -> None:
        """Raise if nothing can be kept here, before anything is computed in vain.

        :raises OSError: With the folder, the reason and the remedy.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with TemporaryFile(dir=self.path):
                pass
        except OSError as error:
            raise OSError(
                error.errno,
                f"there are results to compute, and nothing can be written in {self.path} ({error.strerror}): make it "
                "writable, or copy what is there to a place that is and go on there",
            ) from error

    def clean(self) -> None:
        """Delete what processes that were killed while they wrote have left. For who has the folder alone."""
        for part in (*self.path.glob("*.part"), *self.path.glob("*/*.part")):
            if _LEFT_OVER.fullmatch(part.name):
                part.unlink(missing_ok=True)
        # Killed between an artefact and the end of its checkpoint.
        for file in self.path.glob("*/*.checkpoint*"):
            named = CHECKPOINT.fullmatch(file.name)
            if named and file.with_name(f"{named[1]}.safetensors").exists():
                file.unlink(missing_ok=True)


class Lock:
    """Keeps other processes out of a run folder, in a `with` block.

    :param path: The folder; made if there is none.
    :raises BusyError: If another process is at work in it.
    :raises OSError: If it cannot be made or written.
    """

    def __init__(self, path: Path) -> None:
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            reason = f"the run folder {path} cannot be made ({error.strerror}): choose another place for `out`"
            raise OSError(error.errno, reason) from error
        self._path, self._lock = path, FileLock(path / ".lock", timeout=0)

    def __enter__(self) -> None:
        try:
            self._lock.acquire()
        except Timeout:
            raise BusyError(
                f"another process is at work in {self._path}: wait for its end, or choose another folder"
            ) from None

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def write_artefact(file: Path, key: str, artefact: Artefact) -> None:
    """Write an artefact under its key, whole or not at all."""
    arrays = {name: np.ascontiguousarray(array) for name, array in artefact.arrays.items()}
    record = json.dumps(artefact.record, sort_keys=True)
    metadata = {
        "schema": str(SCHEMA),
        "key": key,
        # As perturbations have it, which can be read by `load_perturbation` from here.
        "units": "value range",
        "record": record,
    }
    with replacing(file) as beside:
        save_file(arrays, beside, metadata={**metadata, "sha256": content_digest(metadata, arrays)})


def read_artefact(file: Path, key: str | None = None) -> Artefact:
    """Return the artefact in a file.

    :param key: Key that it must have; None: any.
    :raises FileNotFoundError: If there is no file.
    :raises ValueError: If it is not as it was written.
    """
    metadata, arrays = _content(file)
    if metadata.get("schema") != str(SCHEMA):
        raise ValueError(f"it is of schema {metadata.get('schema')}, not {SCHEMA}")
    if key is not None and metadata.get("key") != key:
        raise ValueError(f"it is of another key, {metadata.get('key')}")
    _check_digest(metadata, arrays)
    try:
        record = json.loads(metadata["record"])
    except (KeyError, ValueError, RecursionError) as error:
        raise ValueError("it says nothing of how it came about") from error
    if not isinstance(record, dict):
        raise ValueError("it says nothing of how it came about")
    return Artefact(record, arrays)


def check_checkpoint(file: Path) -> None:
    """Compare a file of how far a task has come, of whatever kind, with the digest in it.

    :raises FileNotFoundError: If there is no file.
    :raises ValueError: If it is not as it was written.
    """
    _check_digest(*_content(file))


def _content(file: Path) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """Return the texts and the arrays in a file, as they are.

    :raises FileNotFoundError: If there is no file.
    :raises ValueError: If it cannot be read.
    """
    if not file.is_file():
        raise FileNotFoundError(f"there is no file {file}")
    try:
        with safe_open(file, framework="np") as opened:
            arrays = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118, it is no mapping
            return dict(opened.metadata() or {}), arrays
    except (SafetensorError, OSError, ValueError) as error:
        raise ValueError(f"it cannot be read: {' '.join(str(error).split())[:120]}") from error


def _check_digest(metadata: dict[str, str], arrays: dict[str, np.ndarray]) -> None:
    texts = {name: text for name, text in metadata.items() if name != "sha256"}
    if metadata.get("sha256") != content_digest(texts, arrays):
        raise ValueError("its content is not what was written")
