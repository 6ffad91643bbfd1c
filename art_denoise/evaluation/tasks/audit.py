"""What comes back through a defence, looked at before attacks with gradients are believed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from art_denoise.evaluation.added import spread
from art_denoise.evaluation.artefact import Artefact
from art_denoise.evaluation.gradients import IMAGES, audit_gradients
from art_denoise.evaluation.graph import Task, Work
from art_denoise.evaluation.scoring import unit_batch
from art_denoise.evaluation.tasks.chain import Through, noise_modules

if TYPE_CHECKING:
    from art_denoise.evaluation.graph import Network, Place
    from art_denoise.evaluation.images import Images


@dataclass(frozen=True)
class AuditGradients(Task):
    """Look at the gradients of a defended network on a few images.

    :param network: The network.
    :param images: The images, of which a few are looked at.
    :param through: The defence.
    :param seed: Seed of what is drawn.
    :param text: The defence, for messages.
    """

    folder: ClassVar[str] = "audits"

    network: Network
    images: Images
    through: Through
    seed: int
    text: str = field(default="", compare=False)

    def modules(self) -> tuple[str, ...]:
        return (__name__, *noise_modules(self.through.noise))

    @property
    def title(self) -> str:
        return f"Look at the gradients through {self.text}"

    @property
    def work(self) -> Work:
        # Forward passes for the differences, a gradient with the defence and one without.
        return Work("Look at gradients", self.network.name, 16 * IMAGES, 2 * IMAGES, self.through.preprocessors)

    def run(self, on: Place) -> Artefact:
        split = on.split(self.images)
        few = spread(self.images.count, IMAGES)
        on.expects(1)
        x, y, chain = unit_batch(split, few), split.labels[few], self.through.chain(on)
        record = audit_gradients(on.classifier(self.network), chain, x, y, seed=self.seed)
        on.told(1)
        return Artefact(record)
