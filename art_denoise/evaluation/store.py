"""What is kept of a run, and how it is found again: the run folder and the cache of trained weights.

Every result is stored under a key of all it depends on. A result whose key fits is used again; any other is computed
anew. Files are written beside their place and moved there, so that an interrupted run leaves whole files or none.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import platformdirs
import torch
from safetensors.torch import save_file

from art_denoise._files import replacing
from art_denoise.attacks import Perturbation


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


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 file, whole or not at all; folders are made as needed."""
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8")


def cached_weights(name: str, key: str, train: Callable[[], torch.nn.Module]) -> Path:
    """Return the file of trained weights in the user's cache folder; train and save them if there is none.

    :param name: Beginning of the file name.
    :param key: Key of all that the weights depend on.
    :param train: Returns the trained network.
    """
    path = platformdirs.user_cache_path("art_denoise") / "weights" / f"{name}-{key}.safetensors"
    if not path.is_file():
        state = {k: v.detach().cpu().contiguous() for k, v in train().state_dict().items()}
        with replacing(path) as beside:
            save_file(state, beside)
    return path


class RunFolder:
    """The folder of one run: its configuration, perturbations, scored cells and report.

    :param path: The folder; made if there is none.
    :param config: All choices, seeds, versions and fingerprints of the run, as JSON-like values.
    :raises ValueError: If the folder holds a run with another configuration; nothing is changed then.
    """

    def __init__(self, path: str | os.PathLike[str], config: dict[str, Any]) -> None:
        self.path = Path(path)
        file = self.path / "config.json"
        if file.is_file():
            there = _read_json(file)
            if there is None:
                raise ValueError(
                    f"{os.fspath(file)} is damaged: choose another folder, or delete this one to start anew"
                )
            differences = _differences(there, json.loads(json.dumps(config)))
            if differences:
                raise ValueError(
                    f"{os.fspath(self.path)} holds a run with other choices ({'; '.join(differences)}): "
                    "choose another folder, or delete this one to start anew"
                )
        else:
            write_text(file, json.dumps(config, indent=2) + "\n")

    def labels(self, name: str, key: str, predict: Callable[[], tuple[np.ndarray, float]]) -> np.ndarray:
        """Return the predicted labels, int64 (N,), of one cell; predict and store them if they are not there.

        :param name: Name of the cell, and of its file.
        :param key: Key of all that the labels depend on.
        :param predict: Returns the labels and the seconds they took.
        """
        file = self.path / "cells" / f"{name}.json"
        cell = _read_json(file) or {}
        if cell.get("key") == key:
            return np.array(cell["labels"], dtype=np.int64)
        labels, seconds = predict()
        cell = {"key": key, "seconds": round(seconds, 3), "labels": labels.tolist()}
        write_text(file, json.dumps(cell) + "\n")
        return labels

    def perturbation(self, name: str, key: str, make: Callable[[Path], Perturbation]) -> Perturbation:
        """Return a perturbation; make and store it if it is not there.

        :param name: Name of its file.
        :param key: Key of all that it depends on.
        :param make: Returns the perturbation; is given a file to keep a checkpoint in, which is deleted in the end.
        """
        file = self.path / "perturbations" / f"{name}.safetensors"
        checkpoint = self.path / "perturbations" / f"{name}.{key}.checkpoint"
        with suppress(FileNotFoundError, ValueError):  # a damaged file counts as none
            stored = Perturbation.load(file)
            if stored.provenance.get("key") == key:
                return stored
        made = make(checkpoint)
        made = made.with_record(provenance={**made.provenance, "key": key})
        made.save(file)
        for old in file.parent.glob(f"{name}.*.checkpoint"):
            old.unlink()
        return made


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
