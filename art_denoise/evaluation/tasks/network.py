"""Networks: what their results depend on, and the training of those for the photographs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import torch

from art_denoise.data.photographs import PHOTOGRAPHS
from art_denoise.evaluation.artefact import Artefact
from art_denoise.evaluation.graph import Environment, Task, Work
from art_denoise.models.photographs import train_on_photographs

if TYPE_CHECKING:
    from art_denoise.choices import DeviceType
    from art_denoise.evaluation.graph import Place
    from art_denoise.evaluation.images import Images
    from art_denoise.models.schedule import Schedule

#: How much longer a training step takes than a gradient with respect to the images, which needs none for the weights.
_TRAINING = 1.5


def environment_here(device_type: DeviceType) -> Environment:
    """Return what it is here.

    :param device_type: "gpu" (falls back to the CPU) or "cpu".
    """
    if device_type == "gpu" and torch.cuda.is_available():
        return Environment(torch.cuda.get_device_name(), torch.__version__, 0)
    # PyTorch has it since 2.1.
    capability = getattr(getattr(torch.backends, "cpu", None), "get_cpu_capability", lambda: "")()
    return Environment(f"cpu {capability}".strip(), torch.__version__, torch.get_num_threads())


@dataclass(frozen=True)
class Train(Task):
    """Train one of the paper's networks on the photographs.

    :param network: Its name.
    :param crops: The training crops.
    :param schedule: How long and how fast.
    :param seed: Seed of the weights and of everything that training draws.
    :param environment: The machine.
    """

    folder: ClassVar[str] = "weights"
    of_run: ClassVar[bool] = False

    network: str
    crops: Images
    schedule: Schedule
    seed: int
    environment: Environment
    text: str = field(default="", compare=False)

    @property
    def title(self) -> str:
        return f"Train {self.text or self.network}"

    @property
    def work(self) -> Work:
        views = self.crops.count * self.schedule.views * self.schedule.epochs
        return Work("Train the networks", self.network, 0, _TRAINING * views)

    def run(self, on: Place) -> Artefact:
        device = "cuda" if on.device_type == "gpu" and torch.cuda.is_available() else "cpu"
        on.expects(self.schedule.steps(self.crops.count))
        network = train_on_photographs(
            self.network, on.split(self.crops), self.schedule, seed=self.seed, device=device, told=on.told
        )
        state = {name: value.detach().cpu().numpy() for name, value in network.state_dict().items()}
        return Artefact({"network": self.network, "classes": len(PHOTOGRAPHS)}, state)
