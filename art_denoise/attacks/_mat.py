"""MATLAB's files of version 5, as `save` writes them: arrays of real numbers, and cells and structures of them.

Nothing is read but what is there, so that no file can crash the process or claim memory that it does not fill. The form
is that of MathWorks, *MAT-File Format*, chapter 1.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from art_denoise._tensor_files import FileRefusedError

#: Types of elements, by number: numbers as they are kept, and the two that hold others.
_KEPT = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_MATRIX, _COMPRESSED = 14, 15

#: Classes of arrays, by number: what numbers are in MATLAB, however they are kept, and the two that hold others.
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
_CELL, _STRUCTURE = 1, 2

#: Bits of an array's flags.
_COMPLEX, _LOGICAL = 0x800, 0x200

#: How deep cells and structures may be in each other, how many arrays there may be, and how many axes one may have.
_DEEPEST, _MOST_PARTS, _MOST_AXES = 16, 2**16, 32


def read_mat(content: memoryview, most_values: int) -> dict[str, Any]:
    """Return the variables of a file by name: arrays, lists of them for cells, mappings for structures.

    What is no real number is left out: texts, complex and sparse arrays, functions, objects.

    :param content: All bytes of the file.
    :param most_values: Most numbers that all arrays may hold.
    :raises FileRefusedError: If it is of another version of MATLAB, or holds more.
    :raises ValueError: If it is damaged.
    """
    _check_version(content)
    order = {b"IM": "<", b"MI": ">"}.get(bytes(content[126:128]))
    if order is None:
        raise ValueError("no file of MATLAB")
    reader = _Reader(order, most_values)
    found = {}
    for kind, data in reader.elements(content[128:]):
        inner = reader.inflated(data) if kind == _COMPRESSED else data if kind == _MATRIX else None
        if inner is not None:
            name, value = reader.array(inner)
            # What MATLAB keeps for itself has no name.
            if name and value is not None:
                found[name] = value
    return found


def _check_version(content: memoryview) -> None:
    if bytes(content[:10]) == b"MATLAB 7.3" or bytes(content[:8]) == b"\x89HDF\r\n\x1a\n":
        raise FileRefusedError(
            "is of MATLAB 7.3, which is HDF5: read the array with h5py, h5py.File(path)['v'], whose axes are in the "
            "reverse order, and save it by np.save"
        )
    # The older form begins with a number below 5000, where a text is that says what wrote the file.
    if len(content) >= 20 and 0 in bytes(content[:4]):
        raise FileRefusedError(
            "is of MATLAB 4, whose arrays have two axes: save it anew by MATLAB's save(file, 'v', '-v7') or np.save"
        )
    if len(content) < 128:
        raise ValueError("it is cut off")


@dataclass
class _Reader:
    """What has been read so far counts, so that many small things are no more than one large.

    :param order: Order of bytes, "<" or ">".
    :param values: Numbers that there may still be.
    """

    order: str
    values: int
    parts: int = field(default=_MOST_PARTS)

    def elements(self, content: memoryview) -> Iterator[tuple[int, memoryview]]:
        """Yield the types and the data of elements that follow each other."""
        at = 0
        while at < len(content):
            if len(content) - at < 8:
                raise ValueError("it is cut off")
            kind, size = (int(n) for n in np.frombuffer(content[at : at + 8], f"{self.order}u4"))
            if kind >> 16:
                # A small one: its size and its type share four bytes, and its data are the other four.
                kind, size, begin, end = kind & 0xFFFF, kind >> 16, at + 4, at + 8
                if size > 4:
                    raise ValueError("a small element has more than four bytes")
            else:
                begin, end = at + 8, at + 8 + size
                # To whole eight bytes, but for what is compressed; the last may lack them.
                end += 0 if kind == _COMPRESSED else -size % 8
            if begin + size > len(content):
                raise ValueError("it is cut off")
            yield kind, content[begin : begin + size]
            at = end

    def inflated(self, data: memoryview) -> memoryview:
        """Return the array in a compressed element."""
        stream = zlib.decompressobj()
        start = stream.decompress(data, 8)
        if len(start) < 8:
            raise ValueError("it is cut off")
        kind, size = (int(n) for n in np.frombuffer(start, f"{self.order}u4"))
        if kind != _MATRIX:
            raise ValueError(f"a compressed element of type {kind}")
        # With room for the names of what it holds.
        if size > 8 * self.values + 2**20:
            raise FileRefusedError(f"holds {size:,} bytes, compressed")
        # What is cut off shows in the elements that are in it.
        return memoryview(stream.decompress(stream.unconsumed_tail, size) if size else b"")

    def array(self, content: memoryview, depth: int = 0) -> tuple[str, Any]:
        """Return an array's name and what it holds, None if that is no real numbers."""
        self.parts -= 1
        if depth > _DEEPEST or self.parts < 0:
            raise FileRefusedError(
                f"holds arrays in each other, more than {_DEEPEST} deep or more than {_MOST_PARTS:,} in all"
            )
        if not content:
            return "", np.zeros((0, 0))
        parts = self.elements(content)
        # As its parts follow each other, so does what is read here.
        flags = int(self._numbers(next(parts, None), "u4", 2)[0])
        kind = flags & 0xFF
        if kind not in (*_CLASSES, _CELL, _STRUCTURE):
            return "", None
        shape = self._numbers(next(parts, None), "i4").tolist()
        if not 2 <= len(shape) <= _MOST_AXES or min(shape) < 0:
            raise ValueError(f"an array of {len(shape)} axes, {shape[:4]}")
        count = math.prod(shape)
        name = self._text(next(parts, None))
        if kind in (_CELL, _STRUCTURE):
            return name, self._held(parts, kind, count, depth)
        if flags & _COMPLEX:
            return name, None
        self.values -= count
        if self.values < 0:
            raise FileRefusedError(f"says that it holds an array of {count:,} values")
        numbers = self._numbers(next(parts, None), None, count)
        return name, numbers.astype(bool if flags & _LOGICAL else _CLASSES[kind], copy=False).reshape(shape, order="F")

    def _held(self, parts: Iterator[tuple[int, memoryview]], kind: int, count: int, depth: int) -> Any:
        """Return what is in a cell or a structure."""
        names = [""]
        if kind == _STRUCTURE:
            (length,) = self._numbers(next(parts, None), "i4", 1).tolist()
            text = bytes(next(parts, (0, b""))[1])
            if not 0 < length <= 256:
                raise ValueError(f"names of {length} bytes")
            names = [text[i : i + length].split(b"\0")[0].decode("ascii") for i in range(0, len(text), length)]
        # A structure without fields is something, too.
        inside = count * max(1, len(names))
        if inside > self.parts:
            raise FileRefusedError(f"says that it holds {inside:,} arrays in one")
        if not names:
            self.parts -= count
        found = []
        for _ in range(count):
            one = {}
            for name in names:
                inner, data = next(parts, (0, memoryview(b"")))
                if inner != _MATRIX:
                    raise ValueError("it is cut off")
                one[name] = self.array(data, depth + 1)[1]
            found.append(one if kind == _STRUCTURE else one[""])
        return found[0] if kind == _STRUCTURE and count == 1 else found

    def _text(self, element: tuple[int, memoryview] | None) -> str:
        return bytes(self._numbers(element, None).astype("u1")).decode("ascii")

    def _numbers(self, element: tuple[int, memoryview] | None, of: str | None, count: int | None = None) -> np.ndarray:
        """Return the numbers in an element, in the order of bytes of this machine.

        :param of: Of what type they have to be; None: of any.
        :param count: How many they have to be; None: any number.
        """
        kind, data = element or (0, memoryview(b""))
        dtype = _KEPT.get(kind)
        if dtype is None or (of is not None and dtype != of):
            raise ValueError(f"an element of type {kind} where there should be numbers")
        numbers = np.frombuffer(data, self.order + dtype)
        if count is not None and len(numbers) != count:
            raise ValueError(f"{len(numbers)} values where there should be {count}")
        return numbers.astype(dtype, copy=False)
