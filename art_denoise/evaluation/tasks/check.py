"""Checks of networks before hours of work, and of half precision."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from art_denoise.attacks.universal_noise import random_signs
from art_denoise.evaluation.added import ForAll
from art_denoise.evaluation.artefact import Artefact
from art_denoise.evaluation.graph import Task, Work
from art_denoise.evaluation.preflight import check_model
from art_denoise.evaluation.scoring import drawn_from_all, predicted_labels

if TYPE_CHECKING:
    from art_denoise.evaluation.graph import Network, Place
    from art_denoise.evaluation.images import Images

#: Images that are scored at once, and the size of random signs, in the check of half precision.
_AT_ONCE, _EPS = 16, 10 / 255


@dataclass(frozen=True)
class CheckNetwork(Task):
    """Look at a network before anything else: does it take what it is given, and is it as good as it should be?

    :param network: The network.
    :param images: The images.
    :param few: How many of them it looks at, drawn from all.
    :param published: Accuracy in percent that it should have on them.
    :param otherwise: Whether it is also tried on other kinds of input, as a user's own network is.
    """

    folder: ClassVar[str] = "checks"

    network: Network
    images: Images
    few: int
    published: float | None
    otherwise: bool
    text: str = field(default="", compare=False)

    @property
    def title(self) -> str:
        return f"Check {self.text}"

    @property
    def work(self) -> Work:
        count = min(self.few, self.images.count)
        return Work("Check the networks", self.network.name, count * (6 if self.otherwise else 1))

    def run(self, on: Place) -> Artefact:
        on.expects(round(self.work.forward))
        few = drawn_from_all(on.split(self.images), self.few)
        return Artefact(
            check_model(
                on.model(self.network),
                on.classifier(self.network),
                few,
                batch_size=on.batch_size(self.network),
                published=self.published,
                told=on.told,
            )
        )


@dataclass(frozen=True)
class CheckHalf(Task):
    """Find out whether a network predicts the same labels in half precision: clean images, and with random signs.

    :param network: The network.
    :param images: The images.
    :param few: Of how many of them, drawn from all, the labels have to be the same.
    """

    folder: ClassVar[str] = "checks"

    network: Network
    images: Images
    few: int

    @property
    def title(self) -> str:
        return f"Check half precision of {self.network.name}"

    @property
    def work(self) -> Work:
        return Work("Check the networks", self.network.name, 4 * min(self.few, self.images.count))

    def run(self, on: Place) -> Artefact:
        few, differing = drawn_from_all(on.split(self.images), self.few), 0
        on.expects(4 * len(few))
        whole, half = on.classifier(self.network), on.classifier(self.network, half=True)
        for added in (None, ForAll(random_signs(few.images.shape[1:], _EPS))):
            single, other = (
                np.concatenate([*predicted_labels(c, few, _AT_ONCE, added=added, told=on.told)]) for c in (whole, half)
            )
            differing += int(np.sum(single != other))
        return Artefact({"differing": differing})
