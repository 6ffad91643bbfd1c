"""Universal perturbations: crafted, drawn as a control, or read from a file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from art_denoise.attacks._crafting import CheckpointError
from art_denoise.attacks.perturbation import Perturbation
from art_denoise.attacks.universal_noise import random_signs
from art_denoise.defences.chain import with_defences
from art_denoise.evaluation.added import artefact_of
from art_denoise.evaluation.artefact import Artefact
from art_denoise.evaluation.building import build_universal
from art_denoise.evaluation.graph import Task, Work
from art_denoise.evaluation.tasks.chain import Through, noise_modules

if TYPE_CHECKING:
    from art_denoise.choices import NormName
    from art_denoise.evaluation.experiment import Attack
    from art_denoise.evaluation.graph import Network, Place
    from art_denoise.evaluation.images import Images

#: What a plan supposes of DeepFoolUAP: how often in a pass DeepFool takes a step, for each image.
_STEPS_PER_IMAGE = 1.2


@dataclass(frozen=True)
class Craft(Task):
    """Craft a universal perturbation.

    :param attack: The attack.
    :param eps: Its bound, as a share of the value range.
    :param norm: Norm of the bound.
    :param network: Network that is attacked.
    :param images: Images to craft from.
    :param through: What the attacker crafts through.
    :param seed: Seed of the attack.
    :param text: What is crafted on what, for messages.
    """

    folder: ClassVar[str] = "perturbations"

    attack: Attack
    eps: float
    norm: NormName
    network: Network
    images: Images
    through: Through
    seed: int
    text: str = field(default="", compare=False)

    def modules(self) -> tuple[str, ...]:
        return (__name__, *noise_modules(self.through.noise))

    @property
    def title(self) -> str:
        return f"Craft {self.text}"

    @property
    def work(self) -> Work:
        given = dict(self.attack.params)
        n, passes = self.images.count, given.get("max_iter", 10) * given.get("starts", 1)
        stage, through = f"Craft, {self.attack.name}", self.through.preprocessors
        if self.attack.name == "deepfool-uap":
            steps = n * passes * _STEPS_PER_IMAGE * given.get("eot_samples", 1)
            # Ten classes: nine gradients a step. The fooling rate is measured four times a pass.
            return Work(stage, self.network.name, n * passes * 5 + steps, 9 * steps, through)
        return Work(stage, self.network.name, n * passes, n * passes * given.get("eot_samples", 1), through)

    def run(self, on: Place) -> Artefact:
        classifier = on.classifier(self.network)
        with with_defences(classifier, self.through.chain(on)):
            crafting = build_universal(
                self.attack,
                eps=self.eps,
                norm=self.norm,
                seed=self.seed,
                classifier=classifier,
                checkpoint=on.checkpoint(self),
                verbose=False,
            )
            crafting.told = on.told
            on.expects(self.images.count * crafting.max_iter * crafting.starts)
            images = on.split(self.images).images[: self.images.count]
            try:
                made = crafting.craft(images)
            except CheckpointError:
                # Crafted anew, like what was not kept.
                on.begin_anew(self)
                made = crafting.craft(images)
        return artefact_of(made.with_record(source=self.network.name))


@dataclass(frozen=True)
class Signs(Task):
    """Draw random signs, a control.

    :param shape: (3, H, W).
    :param eps: Their size, as a share of the value range.
    :param seed: Seed of the draw.
    """

    folder: ClassVar[str] = "perturbations"

    shape: tuple[int, int, int]
    eps: float
    seed: int

    def modules(self) -> tuple[str, ...]:
        return (random_signs.__module__,)

    @property
    def title(self) -> str:
        return "Draw random signs"

    @property
    def work(self) -> Work:
        return Work("Draw controls")

    def run(self, on: Place) -> Artefact:
        return artefact_of(random_signs(self.shape, self.eps, self.seed))


@dataclass(frozen=True)
class Given(Task):
    """Take a perturbation from a file.

    :param source: Name of the column.
    :param fingerprint: Digits that change with any of its values.
    """

    folder: ClassVar[str] = "perturbations"

    source: str = field(compare=False)
    fingerprint: str

    def modules(self) -> tuple[str, ...]:
        return (Perturbation.__module__,)

    @property
    def title(self) -> str:
        return f"Read the perturbation {self.source}"

    @property
    def work(self) -> Work:
        return Work("Read perturbations")

    def run(self, on: Place) -> Artefact:
        return artefact_of(on.given(self.source))
