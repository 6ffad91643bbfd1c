"""Files of arrays that others wrote, read within limits whatever they claim, and without running code in them."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Callable
from pathlib import Path
from pickle import UnpicklingError
from typing import IO, Any
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, is_zipfile

import numpy as np
import torch
from numpy.lib import format as npy
from safetensors import safe_open

from art_denoise._plain import array_of
from art_denoise._tensor_files import MOST_HEADER_BYTES, FileRefusedError, check_header, items_of, read_pytorch
from art_denoise.attacks._mat import read_mat

#: Most values that are read from one file: a thousand perturbations of 299 × 299 pixels, one for each of ImageNet's
#: classes, are just fewer. They take 1 GiB as float32.
MOST_VALUES = 2**28

#: Most bytes of the header of an array, NumPy's own limit.
_MOST_NPY_HEADER = 10_000


def read_arrays(file: Path) -> dict[str, np.ndarray]:
    """Return the arrays in a file, each by the names and numbers that lead to it; by "" if the file is one array.

    :raises ValueError: If it is none of such files, damaged, or too large, with its path and a remedy.
    """
    where, read = f"`path` = {os.fspath(file)!r}", _READERS.get(file.suffix.lower())
    if read is None:
        raise ValueError(f"{where} must end in {', '.join(_READERS)}: save the array by np.save")
    try:
        if file.stat().st_size > 8 * MOST_VALUES + MOST_HEADER_BYTES:
            raise _too_large(file.stat().st_size // 8)
        found: dict[str, np.ndarray] = {}
        for name, item in items_of(read(file)):
            if isinstance(item, torch.Tensor):
                if item.numel() > MOST_VALUES:
                    raise _too_large(item.numel())
                found[name] = array_of(item)
            elif isinstance(item, np.ndarray):
                found[name] = item
        return found
    except FileRefusedError as error:
        remedy = "" if ": " in str(error) else ": save the perturbation alone by np.save"
        raise ValueError(f"{where} {error}{remedy}") from error
    except Exception as error:  # readers of damaged files raise whatever they stumble over
        # PyTorch's files are archives; what fails to load from a whole one are objects that are no tensors.
        if "pickle" in str(error).lower() or (isinstance(error, UnpicklingError) and is_zipfile(file)):
            raise ValueError(
                f"{where} is no array, or holds pickled objects, which could be code and are "
                "refused: save the array alone by np.save"
            ) from error
        reason = type(error).__name__ if isinstance(error, UnpicklingError) else str(error).split("\n")[0][:200]
        raise ValueError(
            f"{where} is damaged or of another kind ({reason or type(error).__name__}): "
            "get it again, or save the array by np.save"
        ) from error


def _too_large(values: int) -> FileRefusedError:
    return FileRefusedError(f"says that it holds {values:,} values, where {MOST_VALUES:,} are most that is read")


def _of_numpy(file: Path) -> np.ndarray:
    with file.open("rb") as opened:
        return _npy(opened, file.stat().st_size)


def _npy(opened: IO[bytes], size: int) -> np.ndarray:
    """Return NumPy's array in a file or a member of an archive, of so many bytes as are there."""
    version = npy.read_magic(io.BytesIO(opened.read(8)))
    # The third form is of names that are no Latin-1, which no plain numbers have.
    width, read_header = {(1, 0): (2, npy.read_array_header_1_0), (2, 0): (4, npy.read_array_header_2_0)}[version]
    length = opened.read(width)
    header_bytes = int.from_bytes(length, "little")
    if header_bytes > _MOST_NPY_HEADER:
        raise ValueError(f"a header of {header_bytes:,} bytes")
    shape, reverse, dtype = read_header(io.BytesIO(length + opened.read(header_bytes)))
    if dtype.hasobject:
        raise ValueError("pickled objects")
    count = math.prod(shape)
    if min(shape, default=0) < 0:
        raise ValueError(f"a shape of {shape}")
    if count > MOST_VALUES:
        raise _too_large(count)
    if count * dtype.itemsize > size - 8 - width - header_bytes:
        raise ValueError(f"{count:,} values in {size:,} bytes")
    values = np.frombuffer(opened.read(count * dtype.itemsize), dtype)
    return values.reshape(shape, order="F" if reverse else "C")


def _of_archive(file: Path) -> dict[str, np.ndarray]:
    found, room = {}, 8 * MOST_VALUES
    with ZipFile(file) as archive:
        for member in archive.infolist():
            # The other ways of compression are not NumPy's, and inflate without a bound.
            if member.filename.endswith(".npy") and member.compress_type in (ZIP_STORED, ZIP_DEFLATED):
                with archive.open(member) as opened:
                    found[member.filename.removesuffix(".npy")] = array = _npy(opened, member.file_size)
                room -= array.nbytes
                if room < 0:
                    raise FileRefusedError(f"holds arrays of more than {8 * MOST_VALUES:,} bytes in all")
    return found


def _of_matlab(file: Path) -> dict[str, Any]:
    return read_mat(memoryview(file.read_bytes()), MOST_VALUES)


def _of_pytorch(file: Path) -> Any:
    return read_pytorch(file)


def _of_safetensors(file: Path) -> dict[str, torch.Tensor]:
    check_header(file)
    with safe_open(file, framework="pt") as opened:
        return {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118, it is no mapping


#: What reads the files of others, by their endings.
_READERS: dict[str, Callable[[Path], Any]] = {
    ".npy": _of_numpy,
    ".npz": _of_archive,
    ".mat": _of_matlab,
    ".pt": _of_pytorch,
    ".pth": _of_pytorch,
    ".safetensors": _of_safetensors,
}
