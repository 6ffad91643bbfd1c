"""Whether bars that are drawn anew again and again are of any use."""

from __future__ import annotations

import sys


def is_drawn() -> bool:
    """Return whether what is drawn again and again is seen so: on a terminal, or in a notebook, and not in a file."""
    return "ipykernel" in sys.modules or bool(getattr(sys.stderr, "isatty", bool)())
