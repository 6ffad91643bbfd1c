"""The defensive noise of the paper's Eq. 1: fitted, its size chosen, and a control of its size."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from scipy.special import log_softmax

from art_denoise.attacks.perturbation import Perturbation
from art_denoise.defences.chain import with_defences
from art_denoise.defences.defensive_noise import DefensiveNoiseDefence
from art_denoise.evaluation.added import artefact_of, perturbation_of
from art_denoise.evaluation.artefact import Artefact
from art_denoise.evaluation.graph import Task, Work
from art_denoise.evaluation.scoring import UnitImages, unit_batch
from art_denoise.evaluation.tasks.chain import chain
from art_denoise.filters.defensive_noise import NoHelpfulDrawError

if TYPE_CHECKING:
    from collections.abc import Callable

    from art.estimators.classification import PyTorchClassifier

    from art_denoise.choices import AcceptedDraw, FittedThrough
    from art_denoise.data.sets import Split
    from art_denoise.evaluation.experiment import Preprocessor
    from art_denoise.evaluation.graph import Network, Place
    from art_denoise.evaluation.images import Images

#: What a plan supposes of the share of images that a network gets wrong, for which alone noise is drawn.
_WRONG = 0.35


class NoiseTask(Task):
    """A task that makes a defensive noise."""

    folder: ClassVar[str] = "perturbations"


@dataclass(frozen=True)
class FitNoise(NoiseTask):
    """Fit v_def before a chain of preprocessors.

    :param network: The network that it is to help.
    :param images: Images to fit it on.
    :param preprocessors: What follows it.
    :param sigma: Standard deviation of the draws, as a share of the value range; None: that of `like`.
    :param eps: Root mean square of the result; None: that of `like`.
    :param accept: Which draws count, see :meth:`DefensiveNoiseDefence.fit`.
    :param through: Whether they are judged behind the preprocessors, likewise.
    :param draws: Draws for each image.
    :param seed: Seed of the draws.
    :param added: The attack that the images are perturbed by, for a defender who knows it.
    :param like: The noise whose sigma and eps are taken.
    :param text: What it is fitted for, for messages.
    """

    network: Network
    images: Images
    preprocessors: tuple[Preprocessor, ...]
    sigma: float | None
    eps: float | None
    accept: AcceptedDraw
    through: FittedThrough
    draws: int
    seed: int
    added: Task | None = None
    like: NoiseTask | None = None
    text: str = field(default="", compare=False)

    @property
    def title(self) -> str:
        return f"Fit v_def for {self.text}"

    @property
    def work(self) -> Work:
        share = _WRONG if self.accept == "flip" else 1.0
        return Work("Fit v_def", self.network.name, self.images.count * (1 + share * self.draws), 0, self.preprocessors)

    def run(self, on: Place) -> Artefact:
        sigma, eps = self.sigma, self.eps
        if self.like is not None:
            like = on.artefact(self.like).record["provenance"]
            sigma, eps = like["sigma"], like["eps"]
        if sigma is None or eps is None:
            raise ValueError("`sigma` and `eps` must be given, or `like`, which has them")
        split, target = on.split(self.images), on.classifier(self.network)
        added = None if self.added is None else on.perturbation(self.added)
        defence = DefensiveNoiseDefence(device_type=on.device_type)
        on.expects(round(self.work.forward))
        try:
            with with_defences(target, chain(on, self.preprocessors)):
                defence.fit(
                    UnitImages(split, added, on.told),
                    split.labels,
                    classifier=target,
                    accept=self.accept,
                    through=self.through,
                    sigma=sigma,
                    eps=eps,
                    draws=self.draws,
                    seed=self.seed,
                    batch_size=on.batch_size(self.network),
                )
        except NoHelpfulDrawError as error:
            # The rest of the table does without.
            return Artefact.absent(str(error).partition(":")[0])
        estimate = {"sigma": sigma, "eps": eps, **(defence.estimate or {})}
        return artefact_of(Perturbation(np.asarray(defence.noise), attack="defensive noise", provenance=estimate))


@dataclass(frozen=True)
class ChooseNoise(NoiseTask):
    """Choose σ and ε of v_def by the loss on clean tuning images.

    :param fitted: The noise fitted with each σ.
    :param eps: Root mean squares to choose from.
    :param images: The tuning images.
    """

    tolerates_absent: ClassVar[bool] = True

    fitted: tuple[FitNoise, ...]
    eps: tuple[float, ...]
    images: Images
    text: str = field(default="", compare=False)

    @property
    def title(self) -> str:
        return f"Choose σ and ε of v_def for {self.text}"

    @property
    def work(self) -> Work:
        first = self.fitted[0]
        tried = len(self.fitted) * len(self.eps)
        return Work("Choose v_def", first.network.name, tried * self.images.count, 0, first.preprocessors)

    def run(self, on: Place) -> Artefact:
        there = [a for a in map(on.artefact, self.fitted) if a.why_absent is None]
        if not there:
            return Artefact.absent(str(on.artefact(self.fitted[0]).why_absent))
        candidates = [_scaled(perturbation_of(artefact), eps) for artefact in there for eps in self.eps]
        first = self.fitted[0]
        target, size = on.classifier(first.network), on.batch_size(first.network)
        on.expects(len(candidates) * self.images.count)
        losses = []
        for noise in candidates:
            defences = [DefensiveNoiseDefence(noise.array), *chain(on, first.preprocessors)]
            with with_defences(target, defences):
                losses.append(_loss(target, on.split(self.images), size, on.told))
        tried = [
            {"sigma": noise.provenance["sigma"], "eps": noise.provenance["eps"], "tuning_loss": loss}
            for noise, loss in zip(candidates, losses, strict=True)
        ]
        best = candidates[int(np.argmin(losses))]
        return artefact_of(best.with_record(provenance={**best.provenance, "tuning_loss": min(losses), "tried": tried}))


@dataclass(frozen=True)
class RandomDirection(NoiseTask):
    """Draw noise of the size of v_def in a random direction, as a control.

    :param like: v_def.
    :param seed: Seed of the draws.
    :param number: Which of the draws of that seed it is, so that no two defences have the same.
    """

    like: NoiseTask
    seed: int
    number: int

    @property
    def title(self) -> str:
        return "Draw noise of the size of v_def"

    @property
    def work(self) -> Work:
        return Work("Draw controls")

    def run(self, on: Place) -> Artefact:
        like = on.perturbation(self.like).array
        rng = np.random.default_rng([self.seed, 1])
        for _ in range(self.number + 1):
            direction = rng.standard_normal(like.shape)
        noise = (direction * np.sqrt(np.square(like).mean() / np.square(direction).mean())).astype(np.float32)
        return artefact_of(Perturbation(noise, attack="random direction", seed=self.seed))


def _loss(target: PyTorchClassifier, split: Split, size: int, told: Callable[[int], object]) -> float:
    """Return the mean cross-entropy of a split's images behind the classifier's defences."""
    total = 0.0
    for first in range(0, len(split), size):
        labels = split.labels[first : first + size]
        batch = unit_batch(split, slice(first, first + size))
        scores = log_softmax(target.predict(batch, batch_size=size), axis=1)
        total -= float(scores[np.arange(len(labels)), labels].sum())
        told(len(labels))
    return total / len(split)


def _scaled(noise: Perturbation, eps: float) -> Perturbation:
    """Return a defensive noise with another root mean square."""
    by = eps / noise.provenance["eps"]
    changed = {"eps": eps, "factor": by * noise.provenance["factor"], "linf": by * noise.provenance["linf"]}
    return noise.with_record(array=(by * noise.array).astype(np.float32), provenance={**noise.provenance, **changed})
