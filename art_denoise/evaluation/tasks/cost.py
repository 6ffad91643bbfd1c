"""What a defence takes beside the network."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from art_denoise.evaluation.added import spread
from art_denoise.evaluation.artefact import Artefact
from art_denoise.evaluation.cost import IMAGES, measure_cost
from art_denoise.evaluation.graph import Task, Work
from art_denoise.evaluation.scoring import unit_batch
from art_denoise.evaluation.tasks.chain import Through, noise_modules

if TYPE_CHECKING:
    from art_denoise.evaluation.graph import Network, Place
    from art_denoise.evaluation.images import Images


@dataclass(frozen=True)
class MeasureCost(Task):
    """Measure what a defence takes in time and memory; no two measurements are the same.

    :param network: The network.
    :param images: The images, of which a few go through.
    :param through: The defence.
    :param text: The defence, for messages.
    """

    folder: ClassVar[str] = "costs"

    network: Network
    images: Images
    through: Through
    text: str = field(default="", compare=False)

    def modules(self) -> tuple[str, ...]:
        return (__name__, *noise_modules(self.through.noise))

    @property
    def title(self) -> str:
        return f"Measure what {self.text} takes"

    @property
    def work(self) -> Work:
        return Work("Measure costs", self.network.name, 14 * IMAGES, 12 * IMAGES, self.through.preprocessors)

    def run(self, on: Place) -> Artefact:
        split = on.split(self.images)
        on.expects(1)
        x = unit_batch(split, spread(self.images.count, IMAGES))
        record = measure_cost(on.classifier(self.network), self.through.chain(on), x)
        on.told(1)
        return Artefact(record)
