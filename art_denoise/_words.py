"""Words of messages, and texts of strangers as they can be shown."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

#: Unicode's categories of what is not shown but acted upon, by terminals for one: control and format characters, and
#: separators of lines and paragraphs.
_ACTED_UPON = ("Cc", "Cf", "Zl", "Zp")


def some(texts: Iterable[str]) -> str:
    """Name up to three things, and say how many more there are."""
    first = list(texts)
    return ", ".join(first[:3]) + (f" and {len(first) - 3} more" if len(first) > 3 else "")


def printable(text: str) -> str:
    r"""Return a text as any terminal and any UTF-8 file can have it; ends of lines stay.

    A control or format character is a space, so that no name moves the cursor, colours what follows, or turns the
    direction of writing; a byte of a file's name that is no text is there as its number, "\xff".
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c == "\n" else _shown(c) for c in text)


def one_line(text: str) -> str:
    """Return a text on one line, without control characters: each run of white space and of those becomes a space."""
    return " ".join(printable(text).split())


def _shown(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Cs":
        # Python's names of files hold bytes that are no UTF-8 in the upper half of these.
        byte = ord(character) - 0xDC00
        return f"\\x{byte:02x}" if 0x80 <= byte <= 0xFF else f"\\u{ord(character):04x}"
    return " " if category in _ACTED_UPON else character


def capital(text: str) -> str:
    """Return a text with a capital at its start; Greek letters are symbols and stay."""
    return text[0].upper() + text[1:] if text[:1].isascii() and text[1:2].isalpha() else text
