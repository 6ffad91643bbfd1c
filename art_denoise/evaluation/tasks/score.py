"""The labels that a network predicts for attacked images behind a defence."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from art_denoise.evaluation.added import Added, ForAll, OneByOne, perturbation_of
from art_denoise.evaluation.artefact import Artefact
from art_denoise.evaluation.graph import Task, Work
from art_denoise.evaluation.scoring import predicted_labels
from art_denoise.evaluation.statistics import ATTACK_FAILED, NOT_ATTACKED, over_draws
from art_denoise.evaluation.tasks.chain import chain, noise_modules

if TYPE_CHECKING:
    from art_denoise.evaluation.experiment import Preprocessor
    from art_denoise.evaluation.graph import Network, Place
    from art_denoise.evaluation.images import Images
    from art_denoise.evaluation.tasks.attack import AttackImages
    from art_denoise.evaluation.tasks.check import CheckHalf
    from art_denoise.evaluation.tasks.noise import NoiseTask
    from art_denoise.evaluation.tasks.perturbations import Craft, Given, Signs

    #: What adds something to images: one task for all of them, or tasks for parts of them.
    AddedTask = Craft | Signs | Given | tuple[AttackImages, ...]

#: Seconds after which the labels so far are kept.
_CHECKPOINT_SECONDS = 60.0


@dataclass(frozen=True)
class Score(Task):
    """Predict the labels of images.

    :param network: The network.
    :param images: The images.
    :param added: What the attack adds.
    :param noise: v_def.
    :param preprocessors: What images go through after that.
    :param half: The check that decides whether it is computed in half precision; None: it is not.
    :param seed: Seed of what the preprocessors draw.
    :param draws: How often they draw: an image counts as right if it is with each draw.
    :param draws_seed: Seed of what they draw, if it is the same for every image; None: it is drawn anew.
    :param text: The cell, for messages.
    """

    folder: ClassVar[str] = "labels"

    network: Network
    images: Images
    added: AddedTask | None = None
    noise: NoiseTask | None = None
    preprocessors: tuple[Preprocessor, ...] = ()
    half: CheckHalf | None = None
    seed: int = 0
    draws: int = 1
    draws_seed: int | None = None
    text: str = field(default="", compare=False)

    def modules(self) -> tuple[str, ...]:
        return (__name__, *noise_modules(self.noise))

    @property
    def title(self) -> str:
        return f"Score {self.text}"

    @property
    def work(self) -> Work:
        return Work("Score", self.network.name, self.draws * self.images.count, 0, self.preprocessors)

    def run(self, on: Place) -> Artefact:
        half = self.half is not None and on.artefact(self.half).record["differing"] == 0
        count, before = self.draws * self.images.count, on.so_far(self)
        labels = [] if before is None else [before.arrays["labels"]]
        done = sum(map(len, labels))
        on.expects(count)
        on.told(done)
        started = written = time.monotonic()
        spent = 0.0 if before is None else before.record["seconds"]
        for part in self._predicted(on, half, done):
            labels.append(part)
            now = time.monotonic()
            if now - written > _CHECKPOINT_SECONDS:
                so_far = Artefact({"seconds": spent + now - started}, {"labels": np.concatenate(labels)})
                on.keep_so_far(self, so_far)
                written = now
        predicted = np.concatenate(labels).astype(np.int64)
        if len(predicted) != count:
            raise RuntimeError(f"{self.text}: {len(predicted)} labels for {count} images")
        drawn = predicted.reshape(self.draws, self.images.count)
        self._mark(drawn, on)
        arrays = {"labels": over_draws(drawn, on.split(self.images).labels)}
        if self.draws > 1:
            arrays["drawn"] = drawn
        return Artefact({"seconds": round(spent + time.monotonic() - started, 3)}, arrays)

    def _predicted(self, on: Place, half: bool, done: int) -> Iterator[np.ndarray]:
        """Yield labels, some images at a time, draw after draw.

        :param done: How many there are already.
        """
        added = self.added_to(on)
        defences = chain(on, self.preprocessors, self.noise, draws_seed=self.draws_seed)
        first, start = divmod(done, self.images.count)
        for draw in range(first, self.draws):
            yield from predicted_labels(
                on.classifier(self.network, half=half),
                on.split(self.images),
                on.batch_size(self.network),
                added=added,
                defences=defences,
                seed=self.seed,
                draw=draw,
                start=start if draw == first else 0,
                told=on.told,
            )

    def _mark(self, labels: np.ndarray, on: Place) -> None:
        """Say in the place of labels which images were not attacked, and on which the attack failed."""
        if isinstance(self.added, tuple):
            attacked = np.concatenate([part.where for part in self.added])
            labels[:, ~np.isin(np.arange(labels.shape[1]), attacked)] = NOT_ATTACKED
            for part in self.added:
                labels[:, [int(i) for i in on.artefact(part).record["failed"]]] = ATTACK_FAILED

    def added_to(self, on: Place) -> Added | None:
        """Return what the attack adds to the images."""
        if self.added is None:
            return None
        if isinstance(self.added, tuple):
            parts = self.added
            return OneByOne([part.where for part in parts], lambda number: on.artefact(parts[number]).arrays["images"])
        return ForAll(perturbation_of(on.artefact(self.added)))
