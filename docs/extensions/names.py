"""What names in docstrings and signatures lead to.

The code calls a thing by the shortest name that it has there, as `Gradient` or `art_denoise.filters.rof_denoise`; the
reference has each under one name. What is there and has no place in the reference is text. Whatever is left is a
mistake, or a name of another package, which leads into its documentation where there is a network.
"""

from __future__ import annotations

import pkgutil
import sys
from operator import attrgetter
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.nodes import make_refnode

PACKAGE = "art_denoise"


def setup(app: Sphinx) -> dict[str, Any]:
    """Listen for references that Sphinx finds nothing for."""
    app.connect("missing-reference", _found)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _found(app: Sphinx, env: BuildEnvironment, node: pending_xref, shown: nodes.TextElement) -> nodes.Element | None:
    if node.get("refdomain") != "py":
        return None
    target = node["reftarget"].strip("'")
    last = target.rpartition(".")[2]
    there = {
        entry.node_id: (name, entry)
        for name, entry in env.get_domain("py").data["objects"].items()
        # Methods of many classes have the same names.
        if name.rpartition(".")[2] == last and entry.objtype in ("class", "data", "exception", "function", "type")
    }
    if len(there) == 1:
        ((name, entry),) = there.values()
        return make_refnode(app.builder, node["refdoc"], entry.docname, entry.node_id, shown, name)
    return shown if _is_there(target) else None


def _is_there(target: str) -> bool:
    """Return whether there is something of a name, in full or as some module of the package calls it."""
    if target.startswith(f"{PACKAGE}."):
        try:
            pkgutil.resolve_name(target)
        except (AttributeError, ImportError):
            return False
        return True
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == PACKAGE:
            try:
                found = attrgetter(target)(module)
            except (AttributeError, ImportError):
                continue
            # What a module has imported from elsewhere is not ours; a name for a type is typing's.
            return str(getattr(found, "__module__", PACKAGE)).partition(".")[0] in (PACKAGE, "typing")
    return False
