"""What is mended in pages before they are written: a title too many, and two hyphens that stand for a dash."""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx


def setup(app: Sphinx) -> dict[str, Any]:
    """Look at every page when it has been read."""
    app.connect("doctree-read", _mended)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _mended(app: Sphinx, page: nodes.document) -> None:
    # Headings that a directive makes below the title of a page would stand beside that.
    first, *others = page.findall(lambda node: isinstance(node, nodes.section) and node.parent is page)
    for section in others:
        page.remove(section)
        first.append(section)
    # Sphinx leaves it to typographic quotes, which would also take the hyphens from options and the quotes from words.
    for text in list(page.findall(nodes.Text)):
        if text == " -- ":
            text.parent.replace(text, nodes.Text(" – "))
