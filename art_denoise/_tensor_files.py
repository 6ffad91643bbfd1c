"""Files of tensors that others wrote, read without running code that is in them, and never larger than they are."""

from __future__ import annotations

import mmap
import os
import re
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO
from zipfile import ZIP_STORED, ZipFile, is_zipfile

import torch

from art_denoise._within import Within

#: Most bytes of what describes tensors, in PyTorch's and in safetensors' files: some hundred thousand of them.
MOST_HEADER_BYTES = 2**25

#: How deep containers may be in each other.
_DEEPEST = 32

#: What may be called while tensors are unpickled and makes memory out of a number, or doubles what it is given.
_GROWS = re.compile(rb"c(?:_codecs\nencode|(?:__builtin__|builtins)\nbytearray)\n")

_OTHER_TENSORS = "holds tensors that are sparse, quantised or nested: save plain ones, `tensor.to_dense()`"


class FileRefusedError(ValueError):
    """A file is not what it may be; the text is what is wrong with it, and goes after its name."""


def read_pytorch(path: str | os.PathLike[str]) -> Any:
    """Return what `torch.save` wrote, tensors in containers, on the CPU.

    Code in it is not run: PyTorch reads the tensors alone. All is first read without its values, so that there is no
    room made for what a file of a kilobyte says of itself.

    :raises FileRefusedError: If it is larger in memory than as a file, too deep, of a kind that could run code, or
        holds tensors that are not dense.
    :raises Exception: Whatever PyTorch raises for a file that is damaged, or holds more than tensors.
    """
    size = Path(path).stat().st_size
    with Within(path) as file:
        _check_file(file, size)
        try:
            sketch = torch.load(file, map_location="meta", weights_only=True)
        except NotImplementedError as error:
            raise FileRefusedError(_OTHER_TENSORS) from error
        for _, item in items_of(sketch):
            if isinstance(item, torch.Tensor):
                if item.layout is not torch.strided:
                    raise FileRefusedError(_OTHER_TENSORS)
                # Of what is repeated, and of what PyTorch would make its storage larger for.
                room = max(item.numel() * item.element_size(), item.untyped_storage().nbytes())
                if room > size:
                    raise FileRefusedError(f"holds a tensor of {room:,} bytes in a file of {size:,}")
        file.seek(0)
        return torch.load(file, map_location="cpu", weights_only=True)


def check_header(file: Path) -> None:
    """Raise if the header of a file of safetensors is longer than any is.

    :raises FileRefusedError: If so.
    """
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
    # One that is longer than its file is damaged, and safetensors says so.
    if MOST_HEADER_BYTES < length < file.stat().st_size:
        raise FileRefusedError(f"has a header of {length:,} bytes, where {MOST_HEADER_BYTES:,} are most that is read")


def items_of(content: Any) -> Iterator[tuple[str, Any]]:
    """Yield what is in containers, each with the names and numbers that lead to it, with points between.

    A container that is there twice, or in itself, is looked into once.

    :raises FileRefusedError: If they are in each other too deep.
    """
    seen: set[int] = set()
    todo = [("", content, 0)]
    while todo:
        name, item, depth = todo.pop()
        if not isinstance(item, (Mapping, list, tuple)):
            yield name, item
            continue
        if depth > _DEEPEST:
            raise FileRefusedError(f"holds containers in each other, more than {_DEEPEST} deep")
        if id(item) not in seen:
            seen.add(id(item))
            inner = item.items() if isinstance(item, Mapping) else enumerate(item)
            # The first is on top.
            todo += [(f"{name}.{key}" if name else str(key), value, depth + 1) for key, value in inner][::-1]


def _check_file(file: BinaryIO, size: int) -> None:
    """Raise if PyTorch should not be given a file at all."""
    if is_zipfile(file):
        with ZipFile(file) as archive:
            members = archive.infolist()
        if any(member.compress_type != ZIP_STORED for member in members):
            raise FileRefusedError("is a compressed archive, which PyTorch does not write")
        if sum(member.file_size for member in members) > size:
            raise FileRefusedError("is an archive of more than there is in the file")
        if any(member.file_size > MOST_HEADER_BYTES for member in members if member.filename.endswith(".pkl")):
            raise FileRefusedError(f"describes its tensors in more than {MOST_HEADER_BYTES:,} bytes")
    elif _is_tar(file):
        # PyTorch before 2.6 runs the code in them, whatever it is asked for.
        raise FileRefusedError("is of the form that PyTorch had before its version 0.1.10, which can run code")
    file.seek(0)
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else memoryview(b"") as content:
        if _GROWS.search(content):
            raise FileRefusedError("holds bytes that are made while it is read, besides tensors")


def _is_tar(file: BinaryIO) -> bool:
    file.seek(0)
    try:
        tarfile.open(fileobj=file, mode="r:").close()
    except tarfile.TarError:
        return False
    return True
