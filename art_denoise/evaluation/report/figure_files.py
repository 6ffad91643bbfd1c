"""How figures are kept: as PNG and as PDF, drawn anew if, and only if, there is another one to be drawn.

Drawing takes seconds, telling whether it has to be done milliseconds. So a file carries a key of what is drawn and of
the code that draws it, and a digest of the rest of it; a file that does not have both is not believed.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import struct
import unicodedata
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from art_denoise._files import replacing
from art_denoise._words import one_line
from art_denoise.evaluation.report.document import Picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

#: Keyword of what a file says of what it is of.
_STAMP = "art_denoise"

_PNG = b"\x89PNG\r\n\x1a\n"

#: How a figure is kept, by the ends of its files; without the version of matplotlib and the time in it the same figure
#: is the same file.
_FORMS: dict[str, dict[str, Any]] = {
    ".png": {"format": "png", "metadata": {"Software": None}},
    ".pdf": {"format": "pdf", "metadata": {"Creator": None, "Producer": None, "CreationDate": None}},
}

#: Files with the code that draws figures.
_CODE = ("figure_files.py", "figures.py", "paper_drawings.py", "spectrum.py")


@dataclass(frozen=True, eq=False)
class Figure:
    """A figure that can be drawn.

    :param picture: Its place, and what it shows.
    :param data: All that is drawn, JSON-like.
    :param draw: Draws it with matplotlib.
    :param dpi: Points of the PNG on an inch.
    """

    picture: Picture
    data: Any
    draw: Callable[[], Drawing]
    dpi: int = 110

    def files(self, folder: Path) -> tuple[Path, ...]:
        """Return its files in a folder."""
        return tuple((folder / self.picture.file).with_suffix(end) for end in _FORMS)

    @property
    def key(self) -> str:
        """16 hexadecimal digits that change with what is drawn, with the code that draws, and with matplotlib."""
        drawn = json.dumps([self.data, _source(), version("matplotlib")], sort_keys=True)
        return hashlib.sha256(drawn.encode()).hexdigest()[:16]


def keep(figure: Figure, folder: Path) -> None:
    """See to it that a figure is in a folder: draw it, unless it is there, whole, and of the same things.

    :raises OSError: If it cannot be written.
    """
    for file in figure.files(folder):
        if stamp(file) != figure.key:
            # Drawn for each file: where things come to lie is found for each form anew, from where they were before.
            save_drawing(figure.draw(), file, figure.key, figure.dpi)


def stamp(file: Path) -> str | None:
    """Return the key in a file of a figure; None if there is no such file, or it is not as it was written."""
    try:
        content = file.read_bytes()
    except OSError:
        return None
    key, digest, rest = _in_pdf(content) if file.suffix == ".pdf" else _in_png(content)
    return key if digest == hashlib.sha256(rest).hexdigest() else None


def save_drawing(drawing: Drawing, file: Path, key: str = "", dpi: int = 110) -> None:
    """Write a drawing, whole or not at all.

    :param file: PDF, if it ends in .pdf, else PNG.
    :param key: Key that it carries.
    :param dpi: Points of a PNG on an inch.
    :raises OSError: If it cannot be written.
    """
    content = io.BytesIO()
    drawing.savefig(content, dpi=dpi, **_FORMS.get(file.suffix, _FORMS[".png"]))
    with replacing(file) as beside:
        beside.write_bytes(_stamped(content.getvalue(), key))


def _stamped(content: bytes, key: str) -> bytes:
    """Return a file with a key, and a digest of the file without it: in a text before its end, or a comment behind."""
    digest = hashlib.sha256(content).hexdigest()
    if not content.startswith(_PNG):
        return content + f"%{_STAMP} {key} {digest}\n".encode()
    data = f"{_STAMP}\0{key} {digest}".encode("latin-1")
    chunk = struct.pack(">I", len(data)) + b"tEXt" + data + struct.pack(">I", zlib.crc32(b"tEXt" + data))
    end = content.rindex(b"IEND") - 4
    return content[:end] + chunk + content[end:]


def _in_png(content: bytes) -> tuple[str, str, bytes]:
    """Return the key and the digest in a PNG file, and the rest of it; "" for what is not there."""
    for name, data, place in _chunks(content):
        keyword, _, text = data.partition(b"\0")
        if name == b"tEXt" and keyword == _STAMP.encode():
            key, _, digest = text.decode("latin-1").partition(" ")
            return key, digest, content[: place[0]] + content[place[1] :]
    return "", "", b""


def _in_pdf(content: bytes) -> tuple[str, str, bytes]:
    rest, mark, text = content.rpartition(f"%{_STAMP} ".encode())
    key, _, digest = text.decode("latin-1").partition(" ")
    return (key, digest[:-1], rest) if mark and digest.endswith("\n") else ("", "", b"")


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes, tuple[int, int]]]:
    """Yield the name, the data and the place of each part of a PNG file, as far as it is one."""
    at = len(_PNG) if content.startswith(_PNG) else len(content)
    while at + 12 <= len(content):
        (length,) = struct.unpack(">I", content[at : at + 4])
        yield content[at + 4 : at + 8], content[at + 8 : at + 8 + length], (at, at + 12 + length)
        at += 12 + length


@cache
def _source() -> str:
    """Return a digest of the code that draws."""
    files = [Path(__file__).with_name(name) for name in _CODE]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def digest_of(array: np.ndarray) -> str:
    """Return digits that change with any value of an array."""
    content = np.ascontiguousarray(array)
    return hashlib.sha256(f"{content.dtype.str} {content.shape}".encode() + content.tobytes()).hexdigest()


def plain(text: str, most: int) -> str:
    """Return a text short enough for its place; dollar signs would be mathematics."""
    text = one_line(text)
    return (text if len(text) <= most else f"{text[: most - 1]}…").replace("$", r"\$")


def class_name(names: Mapping[int, str], label: int) -> str:
    """Return what a class is called."""
    return one_line(names.get(label, f"class {label}"))


def slug(text: str) -> str:
    """Return a text as the name of a file: letters, digits and hyphens; "" if there are none."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")[:60].rstrip("-")
