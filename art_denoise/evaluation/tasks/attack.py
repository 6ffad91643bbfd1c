"""Images attacked one by one, some at a time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from art_denoise.defences.chain import with_defences
from art_denoise.evaluation.added import PART, spread
from art_denoise.evaluation.art_attacks import attack_one_by_one
from art_denoise.evaluation.artefact import Artefact
from art_denoise.evaluation.graph import Task, Work
from art_denoise.evaluation.scoring import unit_batch
from art_denoise.evaluation.tasks.chain import Through, noise_modules

if TYPE_CHECKING:
    from art_denoise.choices import NormName
    from art_denoise.evaluation.experiment import Attack
    from art_denoise.evaluation.graph import Network, Place
    from art_denoise.evaluation.images import Images

#: What a plan supposes of attacks that do not say how often they look at an image.
_STEPS = 100


@dataclass(frozen=True)
class AttackImages(Task):
    """Attack some images, each by itself.

    :param attack: The attack.
    :param eps: Its bound, as a share of the value range.
    :param norm: Norm of the bound.
    :param network: Network that is attacked.
    :param images: All the images.
    :param number: Which part of them, of `PART` images each.
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
    def _chosen(self) -> np.ndarray:
        """Which images of the part are attacked, bool (M,)."""
        return spread(self.images.count, self.few)[self._part]

    @property
    def _part(self) -> slice:
        return slice(self.number * PART, min((self.number + 1) * PART, self.images.count))

    def modules(self) -> tuple[str, ...]:
        return (__name__, *noise_modules(self.through.noise))

    @property
    def title(self) -> str:
        return f"Attack images {self._part.start + 1} to {self._part.stop}: {self.text}"

    @property
    def work(self) -> Work:
        count = int(self._chosen.sum())
        steps = dict(self.attack.params).get("max_iter", _STEPS)
        stage = f"Attack images, {self.attack.name}"
        return Work(stage, self.network.name, count, count * steps, self.through.preprocessors)

    def run(self, on: Place) -> Artefact:
        classifier, split = on.classifier(self.network), on.split(self.images)
        images, chosen, first = unit_batch(split, self._part), self._chosen, self._part.start
        on.expects(int(chosen.sum()))
        with with_defences(classifier, self.through.chain(on)):
            images[chosen], failed = attack_one_by_one(
                classifier,
                self.attack,
                eps=self.eps,
                norm=self.norm,
                x=images[chosen],
                y=split.labels[self._part][chosen],
                # A number of its own for each part.
                seed=self.seed + 1_000_003 * self.number,
                told=on.told,
            )
        where = first + np.flatnonzero(chosen)
        record = {
            "attack": self.attack.name,
            "first": first,
            "left_out": (first + np.flatnonzero(~chosen)).tolist(),
            "failed": {str(where[i]): why for i, why in failed.items()},
        }
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
    parts = range(-(-images.count // PART))
    return tuple(AttackImages(attack, eps, norm, network, images, n, through, seed, few, text) for n in parts)
