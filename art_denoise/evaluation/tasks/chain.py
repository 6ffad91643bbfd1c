"""A defence as it stands in a classifier, from values and from the v_def that was fitted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from art.defences.preprocessor import Preprocessor as ArtPreprocessor
from art.defences.preprocessor.preprocessor import PreprocessorPyTorch

from art_denoise.evaluation.added import perturbation_of
from art_denoise.evaluation.building import build_chain
from art_denoise.evaluation.fixed_draws import FixedDraws

if TYPE_CHECKING:
    from art_denoise.evaluation.experiment import CraftedGradient, Preprocessor
    from art_denoise.evaluation.graph import Place, Task

#: Module of what adds v_def to images. It is imported where there is v_def, so that nothing else depends on it.
_NOISE = "art_denoise.defences.defensive_noise"


@dataclass(frozen=True)
class Through:
    """What an attacker crafts through: the defence, as he knows it.

    :param preprocessors: The preprocessors.
    :param gradient: What he takes for their gradient.
    :param noise: v_def before them.
    :param draws_seed: Seed of what they draw, if it is the same for every image; None: it is drawn anew.
    """

    preprocessors: tuple[Preprocessor, ...] = ()
    gradient: CraftedGradient = "exact"
    noise: Task | None = None
    draws_seed: int | None = None

    def chain(self, on: Place) -> list[ArtPreprocessor]:
        """Return it as ART preprocessors."""
        return chain(on, self.preprocessors, self.noise, self.gradient, self.draws_seed)


def chain(
    on: Place,
    preprocessors: Sequence[Preprocessor],
    noise: Task | None = None,
    gradient: CraftedGradient = "exact",
    draws_seed: int | None = None,
) -> list[ArtPreprocessor]:
    """Return a defence as ART preprocessors: v_def, if any, before others.

    :param on: Where v_def is found.
    :param preprocessors: The others.
    :param noise: The task that made v_def.
    :param gradient: What is taken for their gradient.
    :param draws_seed: Seed of what they draw, if it is the same for every image; None: it is drawn anew.
    """
    before: list[PreprocessorPyTorch] = []
    if noise is not None:
        added = perturbation_of(on.artefact(noise)).array
        before = [import_module(_NOISE).DefensiveNoiseDefence(added, device_type=on.device_type)]
    stages = before + build_chain(
        preprocessors, device_type=on.device_type, input_shape=on.image_shape, gradient=gradient
    )
    return list(stages) if draws_seed is None else [FixedDraws(stages, draws_seed)]


def noise_modules(noise: Task | None) -> tuple[str, ...]:
    """Return the modules that a chain with v_def depends on besides."""
    return () if noise is None else (_NOISE,)
