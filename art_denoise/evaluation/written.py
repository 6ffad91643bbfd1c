"""How columns are written: models, and files of perturbations with what they do not say. Needs no PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from art_denoise.models.names import PAPER_NAMES

#: Endings of files of perturbations, those that `art_denoise.attacks.array_files` reads.
ENDINGS = (".npy", ".npz", ".mat", ".pt", ".pth", ".safetensors")

#: What may be said of files of perturbations, and how it is read.
_OF_FILES: dict[str, Callable[[str], str | float]] = {
    "order": str,
    "layout": str,
    "units": float,
    "offset": float,
    "size": int,
    "name": str,
    "index": int,
    "title": str,
}


def read_source(source: str) -> tuple[str, dict[str, Any]] | None:
    """Return the path of a file of a perturbation, and what is said of it behind a colon; None if it is a model.

    :raises ValueError: If it is another file, or what is said of it makes no sense.
    """
    path = _path(source)
    if path is None:
        if Path(source).is_file() and not source.endswith(".py"):
            raise ValueError(
                f"`sources` has {source!r}, which is neither a model, path/to/file.py:function, nor a file of a "
                f"perturbation, {', '.join(ENDINGS)}: save the perturbation by np.save or "
                "Perturbation.save"
            )
        return None
    told: dict[str, Any] = {}
    for part in filter(None, source[len(path) :].lstrip(":").split(",")):
        name, equals, value = part.partition("=")
        if name not in _OF_FILES or not equals:
            said = "=, ".join(key for key in _OF_FILES if key != "title")
            raise ValueError(
                f"source {source!r}: after the file may stand {said}=, as for load_perturbation, and title=, "
                f"what tables call it, separated by commas, got {part!r}"
            )
        try:
            told[name] = _OF_FILES[name](value)
        except ValueError:
            raise ValueError(f"source {source!r}: `{name}` must be a number, got {value!r}") from None
    return path, told


def _path(source: str) -> str | None:
    whole, path = source, source.rpartition(":")[0]
    for candidate in (whole, path):
        if candidate.lower().endswith(ENDINGS) and source.partition(":")[0] not in PAPER_NAMES:
            return candidate
    return None
