"""Links that lead out of this folder, as they have to for those who read the pages as files of the repository.

A file outside that a page of this folder includes is that page; a link to any other is text.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

ROOT = Path(__file__).parents[2]

_LINK = re.compile(r"\[([^\]]+)\]\(([^)#:\s]+)(#[^)\s]*)?\)")
_INCLUDED = re.compile(r"^```\{include\} \.\./(\S+)\n```$", flags=re.MULTILINE)


def setup(app: Sphinx) -> dict[str, Any]:
    """Look at every page before it is read."""
    app.connect("source-read", _read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _read(app: Sphinx, page: str, content: list[str]) -> None:
    text = _led_inside(content[0], "docs")
    # By hand, as what the parser itself includes is not to be had before it is read.
    content[0] = _INCLUDED.sub(
        lambda found: _led_inside((ROOT / found[1]).read_text("utf-8"), posixpath.dirname(found[1])), text
    )


def pages_of_files() -> dict[str, str]:
    """Return the page that each file outside of this folder is, by the place of the file in the repository."""
    return {
        file: page.name
        for page in sorted((ROOT / "docs").glob("*.md"))
        for file in _INCLUDED.findall(page.read_text("utf-8"))
    }


def _led_inside(text: str, folder: str) -> str:
    """Return a page of a folder of the repository with its links as those of a page of docs."""
    pages = pages_of_files()

    def link(found: re.Match[str]) -> str:
        shown, target, part = found[1], found[2], found[3] or ""
        place = posixpath.normpath(posixpath.join(folder, target))
        if place in pages:
            return f"[{shown}]({pages[place]}{part})"
        return f"[{shown}]({place.removeprefix('docs/')}{part})" if place.startswith("docs/") else shown

    return _LINK.sub(link, text)
