"""What is kept of a run, and how it is found again: the run folder and the cache of trained weights.

Every result is stored under a key of all it depends on. A result whose key fits is used again; any other is computed
anew, and stays beside it under its key. Files are written beside their place and moved there, so that an interrupted
run leaves whole files or none; long computations keep checkpoints.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import numpy as np
import platformdirs
import torch
from filelock import FileLock, Timeout
from safetensors.torch import save_file

from art_denoise._files import replacing, write_text
from art_denoise.attacks import Perturbation
from art_denoise.models import Model

#: Seconds after which the labels of a cell that is being scored are written.
_CHECKPOINT_SECONDS = 60.0

#: Predicts the labels of images, from the one of this number on, in order: arrays of int64, any number at a time.
Predict = Callable[[int], Iterator[np.ndarray]]


@dataclass(frozen=True)
class Work:
    """What a task takes, for a plan.

    :param stage: Which of the table's stages it belongs to.
    :param model: The model that images go through.
    :param forward: Images that are classified.
    :param backward: Images that the gradient is taken for, each with a forward pass of its own.
    :param denoiser: Denoiser that all of them go through, "none", "rof" or "nlm".
    """

    stage: str
    model: Model
    forward: float
    backward: float = 0.0
    denoiser: str = "none"


class Store(Protocol):
    """Where tasks leave their results, and find them again."""

    def labels(self, name: str, key: str, count: int, work: Work, predict: Predict) -> np.ndarray: ...

    def perturbation(self, name: str, key: str, work: Work, make: Callable[[Path], Perturbation]) -> Perturbation: ...

    def record(self, name: str, key: str, work: Work, make: Callable[[], dict[str, Any]]) -> dict[str, Any]: ...


def key_of(value: Any) -> str:
    """Return 16 hexadecimal digits that change with any part of a JSON-like value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def file_digest(path: Path) -> str:
    """Return 16 hexadecimal digits that change with any byte of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def source_digest(*modules: ModuleType) -> str:
    """Return 16 hexadecimal digits that change with the source of any module, or of any module of a package."""
    digest = hashlib.sha256()
    for module in modules:
        source = Path(str(module.__file__))
        for file in sorted(source.parent.rglob("*.py")) if source.name == "__init__.py" else [source]:
            digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def weights_file(name: str, key: str) -> Path:
    """Return the place of trained weights in the user's cache folder.

    :param name: Beginning of the file name.
    :param key: Key of all that the weights depend on.
    """
    return platformdirs.user_cache_path("art_denoise") / "weights" / f"{name}-{key}.safetensors"


def cached_weights(path: Path, train: Callable[[], torch.nn.Module]) -> Path:
    """Return the file of trained weights; train and save them if there is none.

    :param path: The file.
    :param train: Returns the trained network.
    """
    if not path.is_file():
        # The place is made before the weights are, so that minutes of training are not for nothing.
        with replacing(path) as beside:
            save_file({k: v.detach().cpu().contiguous() for k, v in train().state_dict().items()}, beside)
    return path


class RunFolder:
    """The folder of one run: its configuration, perturbations, scored cells and report. One process at a time.

    :param path: The folder; made if there is none.
    :param config: All choices, seeds, versions and fingerprints of the run, as JSON-like values.
    :param change: Whether a folder with another configuration goes on with this one. What does not depend on the
        change is used again; what does is computed anew, and what was there stays beside it.
    :raises ValueError: If the folder holds a run with another configuration and `change` is False, or another process
        is at work in it; nothing is changed then.
    """

    def __init__(self, path: str | os.PathLike[str], config: dict[str, Any], *, change: bool = False) -> None:
        self.path = Path(path)
        file = self.path / "config.json"
        self._check(file, config, change)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            reason = f"the run folder {self.path} cannot be made ({error.strerror}): choose another place for `out`"
            raise OSError(error.errno, reason) from error
        self._lock = FileLock(self.path / ".lock", timeout=0)
        try:
            self._lock.acquire()
        except Timeout:
            raise ValueError(
                f"another process is at work in {self.path}: wait for its end, or choose another folder"
            ) from None
        # Left by processes that were killed while they wrote; nobody else writes here.
        for left in self.path.rglob("*.part"):
            left.unlink()
        text = json.dumps(config, indent=2) + "\n"
        if not file.is_file() or file.read_text(encoding="utf-8") != text:
            write_text(file, text)

    def close(self) -> None:
        """Let other processes work in the folder."""
        self._lock.release()

    def labels(self, name: str, key: str, count: int, work: Work, predict: Predict) -> np.ndarray:
        """Return the predicted labels, int64 (N,), of one cell; predict and store them if they are not there.

        :param name: Name of the cell, and of its file.
        :param key: Key of all that the labels depend on.
        :param count: N.
        :param work: What it takes.
        :param predict: Predicts the labels. What it has predicted is kept every minute, and not predicted again.
        """
        file = self.path / "cells" / f"{name}.json"
        stored = self._stored(file, key)
        if stored is not None:
            return np.array(stored["labels"], dtype=np.int64)
        checkpoint = self.path / "cells" / f"{name}.{key}.checkpoint"
        so_far = _read_json(checkpoint) or {"labels": [], "seconds": 0.0}
        labels, before = list(so_far["labels"]), so_far["seconds"]
        started = written = time.monotonic()
        for part in predict(len(labels)):
            labels += part.tolist()
            now = time.monotonic()
            if now - written > _CHECKPOINT_SECONDS:
                write_text(checkpoint, json.dumps({"labels": labels, "seconds": before + now - started}))
                written = now
        if len(labels) != count:
            raise AssertionError(f"{name}: {len(labels)} labels for {count} images")
        self._keep(file, {"seconds": round(before + time.monotonic() - started, 3), "labels": labels}, key)
        checkpoint.unlink(missing_ok=True)
        return np.array(labels, dtype=np.int64)

    def perturbation(self, name: str, key: str, work: Work, make: Callable[[Path], Perturbation]) -> Perturbation:
        """Return a perturbation; make and store it if it is not there.

        :param name: Name of its file.
        :param key: Key of all that it depends on.
        :param work: What it takes.
        :param make: Returns the perturbation; is given a file to keep a checkpoint in, which is deleted in the end.
        """
        file = self.path / "perturbations" / f"{name}.safetensors"
        checkpoint = self.path / "perturbations" / f"{name}.{key}.checkpoint"
        there = _load_perturbation(file)
        if there is not None and there.provenance.get("key") == key:
            return there
        made = stored_perturbation(file, key)
        if made is None:
            made = make(checkpoint)
            made = made.with_record(provenance={**made.provenance, "key": key})
        if there is not None:
            os.replace(file, _beside(file, str(there.provenance.get("key"))))
        made.save(file)
        _beside(file, key).unlink(missing_ok=True)
        checkpoint.unlink(missing_ok=True)
        return made

    def record(self, name: str, key: str, work: Work, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return a JSON-like record; make and store it if it is not there. Parameters as for :meth:`labels`."""
        file = self.path / "checks" / f"{name}.json"
        stored = self._stored(file, key)
        return self._keep(file, make(), key) if stored is None else stored

    def _stored(self, file: Path, key: str) -> dict[str, Any] | None:
        """Return what is stored under a key, in its place or, from before a change, beside it."""
        found = read_json(file, key)
        if found is not None and _beside(file, key).is_file():
            self._keep(file, found, key)
            _beside(file, key).unlink()
        return found

    def _keep(self, file: Path, value: dict[str, Any], key: str) -> dict[str, Any]:
        """Write a result in its place; what was there under another key moves beside it."""
        there = _read_json(file)
        if there is not None and there.get("key") not in (None, key):
            os.replace(file, _beside(file, there["key"]))
        write_text(file, json.dumps({"key": key, **value}) + "\n")
        return value

    def _check(self, file: Path, config: dict[str, Any], change: bool) -> None:
        """Raise if the folder holds a run with another configuration."""
        parts = ("cells", "perturbations", "checks")
        if change or not file.is_file() or not any(any(self.path.glob(f"{part}/*")) for part in parts):
            return  # nothing would be lost
        if _read_json(file) is None:
            raise ValueError(f"{os.fspath(file)} is damaged: choose another folder, or delete this one to start anew")
        differences = changes(self.path, config)
        if differences:
            raise ValueError(
                f"{os.fspath(self.path)} holds a run with other choices ({'; '.join(differences)}): "
                "choose another folder, or allow the `change`, which computes anew what depends on it"
            )


def changes(folder: Path, config: dict[str, Any]) -> list[str]:
    """List where the configuration of a run folder differs from another, as `name: value there, value now`."""
    there = _read_json(folder / "config.json")
    return [] if there is None else _differences(there, json.loads(json.dumps(config)))


def read_json(file: Path, key: str) -> dict[str, Any] | None:
    """Return what is stored under a key, in its place or beside it, or None."""
    for place in (file, _beside(file, key)):
        value = _read_json(place)
        if value is not None and value.get("key") == key:
            return {k: v for k, v in value.items() if k != "key"}
    return None


def stored_perturbation(file: Path, key: str) -> Perturbation | None:
    """Return the perturbation stored under a key, in its place or beside it, or None."""
    for place in (file, _beside(file, key)):
        value = _load_perturbation(place)
        if value is not None and value.provenance.get("key") == key:
            return value
    return None


def _beside(file: Path, key: str) -> Path:
    """Return where a result goes when one of another key takes its place."""
    return file.with_name(f"{file.stem}.{key}{file.suffix}")


def _load_perturbation(file: Path) -> Perturbation | None:
    """Return a perturbation, or None if there is none or the file is damaged."""
    with suppress(FileNotFoundError, ValueError):
        return Perturbation.load(file)
    return None


def _read_json(file: Path) -> dict[str, Any] | None:
    """Return what a JSON file holds, or None if there is none or it is damaged."""
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def _differences(there: dict[str, Any], here: dict[str, Any], prefix: str = "") -> list[str]:
    """List where two configurations differ, as `name: value there, not value here`."""
    found = []
    for name in sorted(there.keys() | here.keys()):
        old, new = there.get(name), here.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            found += _differences(old, new, f"{prefix}{name}.")
        elif old != new:
            found.append(f"{prefix}{name}: {old} there, {new} now")
    return found
