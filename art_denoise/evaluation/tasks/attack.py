"""Images attacked one by one, some at a time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from art_denoise._random import numbered_seed
from art_denoise.defences.chain import with_defences
from art_denoise.evaluation.added import PART, spread
from art_denoise.evaluation.art_attacks import attack_one_by_one
from art_denoise.evaluation.artefact import Artefact
from art_denoise.evaluation.attack_table import steps_of
from art_denoise.evaluation.graph import Task, Work
from art_denoise.evaluation.passes import passes_of
from art_denoise.evaluation.scoring import unit_batch
from art_denoise.evaluation.tasks.chain import Through, noise_modules

if TYPE_CHECKING:
    from art_denoise.choices import NormName
    from art_denoise.evaluation.experiment import Attack
    from art_denoise.evaluation.graph import Network, Place
    from art_denoise.evaluation.images import Images


@dataclass(frozen=True)
class AttackImages(Task):
    """Attack some images, each by itself.

    :param attack: The attack.
    :param eps: Its bound, as a share of the value range.
    :param norm: Norm of the bound.
    :param network: Network that is attacked.
    :param images: All the images.
    :param number: Which part of those that are attacked, of `PART` images each.
    :param through: What the attacker crafts through.
    :param seed: Seed of the attack; each part draws for itself.
    :param few: How many of all the images are attacked, see :func:`spread`; None: all.
    :param text: What is attacked by what, for messages.
    """

    folder: ClassVar[str] = "images"

    attack: Attack
    eps: float
    norm: NormName
    network: Network
    images: Images
    number: int
    through: Through
    seed: int
    few: int | None = None
    text: str = field(default="", compare=False)

    @property
    def where(self) -> np.ndarray:
        """The numbers of the images of this part that are attacked, int64 (M,)."""
        return spread(self.images.count, self.few)[self.number * PART : (self.number + 1) * PART]

    def modules(self) -> tuple[str, ...]:
        return (__name__, *noise_modules(self.through.noise))

    @property
    def title(self) -> str:
        where = self.where
        which = f"{where[0] + 1} to {where[-1] + 1}" if self.few is None else f"{len(where)} of {self.images.count}"
        return f"Attack images {which}: {self.text}"

    @property
    def work(self) -> Work:
        count = len(self.where)
        stage = f"Attack images, {self.attack.name}"
        return Work(stage, self.network.name, count, count * steps_of(self.attack), self.through.preprocessors)

    def run(self, on: Place) -> Artefact:
        classifier, split, where = on.classifier(self.network), on.split(self.images), self.where
        on.expects(len(where))
        with with_defences(classifier, self.through.chain(on)), passes_of(classifier) as passes:
            images, failed = attack_one_by_one(
                classifier,
                self.attack,
                eps=self.eps,
                norm=self.norm,
                x=unit_batch(split, where),
                y=split.labels[where],
                seed=numbered_seed(self.seed, self.number),
                told=on.told,
            )
        record = {"attack": self.attack.name, "failed": {str(where[i]): why for i, why in failed.items()}}
        record["passes"] = {"images": len(where), **passes}
        return Artefact(record, {"images": images})


def attack_all(
    attack: Attack,
    eps: float,
    norm: NormName,
    network: Network,
    images: Images,
    through: Through,
    seed: int,
    text: str,
    few: int | None = None,
) -> tuple[AttackImages, ...]:
    """Return the tasks that attack all images, part by part."""
    parts = range(-(-len(spread(images.count, few)) // PART))
    return tuple(AttackImages(attack, eps, norm, network, images, n, through, seed, few, text) for n in parts)
