"""Files made of others: bytes changed, and the parts of archives and of PNGs inside their checksums."""

from __future__ import annotations

import io
import random
import struct
import zipfile
import zlib
from collections.abc import Sequence

#: Numbers at which sizes, counts and types go wrong.
_NUMBERS = (
    0,
    1,
    2,
    7,
    8,
    14,
    15,
    16,
    127,
    128,
    255,
    256,
    4096,
    32767,
    65535,
    65536,
    2**24,
    2**31 - 1,
    2**31,
    2**32 - 1,
)
_LARGER = (2**32, 2**40, 2**62, 2**63 - 1, 2**64 - 1)

#: What means something in one form or another.
_WORDS = (
    b"(",
    b")",
    b"[",
    b"]",
    b"{",
    b"}",
    b'"',
    b",",
    b"=",
    b"+",
    b"-",
    b"\n",
    b"\0",
    b".",
    b"R",
    b"h\0",
    b"e",
    b"t",
)


def mutated(data: bytes, others: Sequence[bytes], rng: random.Random, most: int = 2**16) -> bytes:
    """Return a file that is like another: what is checked by a sum stays right half of the time."""
    if rng.random() < 0.5:
        if data[:4] == b"PK\3\4":
            data = _in_archive(data, others, rng)
        elif data[:4] == b"\x89PNG":
            data = _in_png(data, others, rng)
        else:
            data = _changed(data, others, rng)
    else:
        data = _changed(data, others, rng)
    return data[:most]


def _changed(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    for _ in range(rng.choice((1, 1, 2, 4, 8))):
        at = rng.randrange(len(data) + 1)
        kind = rng.randrange(9)
        if kind == 0 and data:
            at = min(at, len(data) - 1)
            data = data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]
        elif kind == 1:
            data = data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :]
        elif kind in (2, 3):
            width, order = rng.choice((1, 2, 4, 4, 8)), rng.choice(("little", "big"))
            number = rng.choice(_NUMBERS if width < 8 else _NUMBERS + _LARGER) % 256**width
            data = data[:at] + number.to_bytes(width, order) + data[at + width :]
        elif kind == 4:
            data = data[:at] + data[at + rng.choice((1, 2, 4, 8, 64)) :]
        elif kind == 5:
            data = data[:at] + rng.choice(_WORDS) * rng.choice((1, 1, 2, 2000)) + data[at:]
        elif kind == 6:
            begin = rng.randrange(len(data) + 1)
            data = data[:at] + data[begin : begin + rng.choice((1, 8, 64, 512))] + data[at:]
        elif kind == 7:
            other = rng.choice(others)
            data = data[:at] + other[rng.randrange(len(other) + 1) :]
        elif rng.random() < 0.3:
            data = data[:at]
    return data


def _in_archive(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            parts = [(member.filename, archive.read(member)) for member in archive.infolist()]
    except Exception:  # it is damaged already
        return _changed(data, others, rng)
    if not parts:
        return data
    which = rng.randrange(len(parts))
    content, compression = io.BytesIO(), rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    with zipfile.ZipFile(content, "w", compression) as archive:
        for i, (name, part) in enumerate(parts):
            archive.writestr(zipfile.ZipInfo(name), _changed(part, others, rng) if i == which else part, compression)
    return content.getvalue()


def _in_png(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    parts, at = [], 8
    while at + 12 <= len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        parts.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    if not parts:
        return _changed(data, others, rng)
    which, found = rng.randrange(len(parts)), data[:8]
    for i, (name, part) in enumerate(parts):
        new = _changed(part, others, rng) if i == which else part
        found += struct.pack(">I", len(new)) + name + new + struct.pack(">I", zlib.crc32(name + new))
    return found
