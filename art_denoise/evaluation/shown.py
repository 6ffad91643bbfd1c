"""A few images behind defences of several strengths, as a run keeps them. Needs no model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from art_denoise.evaluation.artefact import Artefact
    from art_denoise.evaluation.experiment import Cell, Defence


@dataclass(frozen=True, eq=False)
class Shown:
    """A few images, as they are and attacked, without a defence and behind several.

    In all arrays of two axes before the images the first is "no defence" and then the defences, the second "as they
    are" and "attacked".

    :param key: Key of the artefact that they are in.
    :param cell: The attack, on the network without a defence.
    :param defences: The defences.
    :param exact: Numbers of those defences of which `changes` are kept: those in the tables of the run.
    :param numbers: Which of the test images they are, int64 (M,).
    :param labels: True labels, int64 (M,).
    :param worked: Of which images the attack made a wrong label out of a right one, bool (M,).
    :param images: uint8 (1 + K, 2, M, 3, H, W).
    :param predicted: Predicted labels, int64 (1 + K, 2, M).
    :param confidence: Probability that the network gives to each of these, float32 (1 + K, 2, M); None where it says
        labels only.
    :param added: What the attack adds, clipping included, as a share of the value range, (M, 3, H, W).
    :param changes: D(v) - v of the exact defences, likewise, (R, 2, M, 3, H, W).
    """

    key: str
    cell: Cell
    defences: tuple[Defence, ...]
    exact: tuple[int, ...]
    numbers: np.ndarray
    labels: np.ndarray
    worked: np.ndarray
    images: np.ndarray
    predicted: np.ndarray
    confidence: np.ndarray | None
    added: np.ndarray
    changes: np.ndarray

    @classmethod
    def of(
        cls, artefact: Artefact, key: str, cell: Cell, defences: tuple[Defence, ...], exact: tuple[int, ...]
    ) -> Shown:
        """Return what :class:`ShowStrengths` made.

        :raises KeyError: If something is not there.
        :raises ValueError: If it is of other defences.
        """
        arrays = artefact.arrays
        found = cls(
            key,
            cell,
            defences,
            exact,
            arrays["numbers"],
            arrays["labels"],
            arrays["worked"].astype(bool),
            arrays["images"],
            arrays["predicted"],
            arrays.get("confidence"),
            arrays["added"].astype(np.float32),
            arrays["changes"].astype(np.float32),
        )
        if len(found.images) != 1 + len(defences) or len(found.changes) != len(exact):
            raise ValueError("the pictures are of other defences")
        return found

    def left(self) -> np.ndarray:
        """Return what is left of what the attack adds, behind each exact defence: D(v + δ) - D(v), (R, M, 3, H, W)."""
        found: np.ndarray = self.changes[:, 1] - self.changes[:, 0] + self.added
        return found
