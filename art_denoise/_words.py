"""Words of messages."""

from __future__ import annotations

from collections.abc import Iterable


def some(texts: Iterable[str]) -> str:
    """Name up to three things, and say how many more there are."""
    first = list(texts)
    return ", ".join(first[:3]) + (f" and {len(first) - 3} more" if len(first) > 3 else "")
