"""Attacks and labels of a classifier in memory, a cell at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from art.defences.preprocessor import Preprocessor as ArtPreprocessor
from art.estimators.classification import PyTorchClassifier

from art_denoise._random import drawn_from
from art_denoise.attacks._classifier import value_range
from art_denoise.attacks.universal_noise import random_signs
from art_denoise.defences.adapters import as_pytorch
from art_denoise.defences.chain import with_defences
from art_denoise.evaluation.added import spread
from art_denoise.evaluation.art_attacks import attack_one_by_one
from art_denoise.evaluation.building import build_universal
from art_denoise.evaluation.experiment import Cell, Condition, Defence, Threat
from art_denoise.evaluation.fixed_draws import FixedDraws
from art_denoise.evaluation.foreign import for_pytorch
from art_denoise.evaluation.passes import passes_of
from art_denoise.evaluation.planted import try_attack
from art_denoise.evaluation.statistics import ATTACK_FAILED, NOT_ATTACKED

#: Images that are classified at once.
_AT_ONCE = 128


@dataclass
class Bench:
    """Where attacks are made and labels are predicted.

    :param target: Name of the classifier that is defended.
    :param networks: The classifiers by name.
    :param chains: The preprocessors of each defence.
    :param images: Images, float32 (N, C, H, W) in [0, 1].
    :param truth: Their labels, int64 (N,).
    :param craft: Images that perturbations for all images are crafted on, likewise.
    :param draws: How often an image is classified behind each defence.
    :param seed: Seed of all that is drawn.
    :param remarks: What attacks failed on.
    :param passes: What attacks took, by what attacked images depend on.
    """

    target: str
    networks: Mapping[str, PyTorchClassifier]
    chains: Mapping[Defence, Sequence[ArtPreprocessor]]
    images: np.ndarray
    truth: np.ndarray
    craft: np.ndarray | None
    draws: Mapping[Defence, int]
    seed: int
    remarks: list[str] = field(default_factory=list)
    passes: dict[tuple[Threat | None, str | None, Defence | None], dict[str, int]] = field(default_factory=dict)
    _attacked: dict[tuple[Any, ...], tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)

    def labels_of(self, cell: Cell) -> np.ndarray:
        """Return the labels that are predicted in a cell, int64 (D, N), by draw of the defence."""
        threat, defence = cell.condition.threat, cell.condition.defence
        if threat is None:
            images, marks = self.images, np.zeros(len(self.images), dtype=np.int64)
        else:
            key = self.key(cell)
            if key not in self._attacked:
                # What somebody knows of a defence is of use for that one only.
                kept = {k: v for k, v in self._attacked.items() if k[2] is None}
                self._attacked = {**kept, key: self._attack(cell, threat)}
            images, marks = self._attacked[key]
        network, chain, draws = self.networks[cell.target], self.chains[defence], self.draws[defence]
        if threat is not None and threat.knows_draws:
            chain, draws = self._with_fixed_draws(chain), 1
        labels = [self._predicted(network, chain, images, draw) for draw in range(draws)]
        return np.where(marks < 0, marks, labels)

    @staticmethod
    def key(cell: Cell) -> tuple[Threat | None, str | None, Defence | None]:
        """Return what the attacked images of a cell depend on."""
        threat = cell.condition.threat
        aware = threat is not None and threat.knowledge.knows_defence
        return threat, cell.source, cell.condition.defence if aware else None

    def tried(self, row: Condition, few: int) -> dict[str, Any] | None:
        """Return what the attack of a row does where it has to succeed; None if it could not be tried."""
        threat, classifier = row.threat, self.networks[self.target]
        assert threat is not None
        x = self.images[spread(len(self.images), few)]
        try:
            return try_attack(
                classifier, threat.attack, self._known(row), x, eps=threat.eps, norm=threat.norm, seed=self.seed
            )
        except Exception as error:
            self.remarks.append(f"{row.text}: the attack could not be tried where it has to succeed ({error})")
            return None

    def _predicted(
        self, classifier: PyTorchClassifier, chain: Sequence[ArtPreprocessor], images: np.ndarray, draw: int
    ) -> np.ndarray:
        low, high = value_range(classifier)
        found = []
        with with_defences(classifier, [as_pytorch(stage) for stage in chain]):
            for first in range(0, len(images), _AT_ONCE):
                batch = (low + (high - low) * images[first : first + _AT_ONCE]).astype(np.float32)
                with drawn_from(self.seed, draw, first):
                    found.append(classifier.predict(batch, batch_size=_AT_ONCE).argmax(axis=1))
        return np.concatenate(found).astype(np.int64)

    def _attack(self, cell: Cell, threat: Threat) -> tuple[np.ndarray, np.ndarray]:
        """Return attacked images, and 0 for each, or what says that it was not attacked, or that this failed."""
        marks = np.zeros(len(self.images), dtype=np.int64)
        if not threat.crafted:
            shape = self.images.shape[1:]
            return random_signs(shape, threat.size_of_signs(shape), self.seed).add_to(self.images), marks
        classifier = self.networks[str(cell.source)]
        with with_defences(classifier, self._known(cell.condition)), passes_of(classifier) as passes:
            if threat.attack.kind == "universal":
                low, high = value_range(classifier)
                if self.craft is None:
                    raise ValueError("there are no images to craft a perturbation for all images on: give `craft`")
                crafting = build_universal(threat.attack, threat.eps, threat.norm, self.seed, classifier=classifier)
                made = crafting.craft((low + (high - low) * self.craft).astype(np.float32))
                return made.add_to(self.images), marks
            attacked, chosen = self.images.copy(), spread(len(self.images), threat.images)
            attacked[chosen], failed = attack_one_by_one(
                classifier,
                threat.attack,
                eps=threat.eps,
                norm=threat.norm,
                x=self.images[chosen],
                y=self.truth[chosen],
                seed=self.seed,
            )
        self.passes[self.key(cell)] = {"images": len(chosen), **passes}
        marks[~np.isin(np.arange(len(marks)), chosen)] = NOT_ATTACKED
        for i, why in failed.items():
            number = int(chosen[i])
            marks[number] = ATTACK_FAILED
            self.remarks.append(f"{cell.text}: the attack failed on image {number}, which counts as wrong ({why})")
        return attacked, marks

    def _known(self, row: Condition) -> list[ArtPreprocessor]:
        """Return the defence as the attacker has it."""
        threat = row.threat
        if threat is None or not threat.knowledge.knows_defence:
            return []
        shape = self.images.shape[1:]
        chain = [for_pytorch(stage, threat.knowledge.gradient, shape) for stage in self.chains[row.defence]]
        return self._with_fixed_draws(chain) if threat.knows_draws else list(chain)

    def _with_fixed_draws(self, chain: Sequence[ArtPreprocessor]) -> list[ArtPreprocessor]:
        return [FixedDraws([as_pytorch(stage) for stage in chain], self.seed)]
