"""How many inputs the property tests have tried in this process."""

from __future__ import annotations

COUNT = [0]


def tried() -> None:
    COUNT[0] += 1
