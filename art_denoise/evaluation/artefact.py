"""What a task makes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class Artefact:
    """What a task makes: arrays, and a record of them.

    :param record: JSON-like values.
    :param arrays: Arrays by name.
    """

    record: dict[str, Any]
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def absent(cls, why: str) -> Artefact:
        """Return what stands for something that cannot be made: what needs it is left out, and this says why."""
        return cls({"absent": why})

    @property
    def why_absent(self) -> str | None:
        """Why there is nothing; None if there is something."""
        return self.record.get("absent")
