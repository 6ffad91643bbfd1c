"""An attack tried where it has to succeed, through the defence."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from art_denoise.evaluation.added import spread
from art_denoise.evaluation.artefact import Artefact
from art_denoise.evaluation.attack_table import steps_of
from art_denoise.evaluation.graph import Task, Work
from art_denoise.evaluation.planted import try_attack
from art_denoise.evaluation.scoring import unit_batch
from art_denoise.evaluation.tasks.chain import Through, noise_modules

if TYPE_CHECKING:
    from art_denoise.choices import NormName
    from art_denoise.evaluation.experiment import Attack
    from art_denoise.evaluation.graph import Network, Place
    from art_denoise.evaluation.images import Images


@dataclass(frozen=True)
class TryAttack(Task):
    """Try an attack on single images where it has to succeed.

    :param attack: The attack.
    :param eps: Its bound, as a share of the value range.
    :param norm: Norm of the bound.
    :param network: Network that gets the new last layer.
    :param images: The images.
    :param few: On how many of them it is tried.
    :param through: The defence, as the attacker has it.
    :param seed: Seed of the attack, and of the points.
    :param text: What is tried through what, for messages.
    """

    folder: ClassVar[str] = "audits"

    attack: Attack
    eps: float
    norm: NormName
    network: Network
    images: Images
    few: int
    through: Through
    seed: int
    text: str = field(default="", compare=False)

    def modules(self) -> tuple[str, ...]:
        return (__name__, *noise_modules(self.through.noise))

    @property
    def title(self) -> str:
        return f"Try where it has to succeed: {self.text}"

    @property
    def work(self) -> Work:
        count = min(self.few, self.images.count)
        return Work(
            "Try attacks", self.network.name, 100 * count, count * steps_of(self.attack), self.through.preprocessors
        )

    def run(self, on: Place) -> Artefact:
        split, where = on.split(self.images), spread(self.images.count, self.few)
        on.expects(1)
        record = try_attack(
            on.classifier(self.network),
            self.attack,
            self.through.chain(on),
            unit_batch(split, where),
            eps=self.eps,
            norm=self.norm,
            seed=self.seed,
        )
        on.told(1)
        return Artefact(record)
