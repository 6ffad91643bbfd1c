"""A defence as it stands in a classifier, from values and from the v_def that was fitted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from art.defences.preprocessor import Preprocessor as ArtPreprocessor

from art_denoise.evaluation.added import perturbation_of
from art_denoise.evaluation.building import build_chain

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
    """

    preprocessors: tuple[Preprocessor, ...] = ()
    gradient: CraftedGradient = "exact"
    noise: Task | None = None

    def chain(self, on: Place) -> list[ArtPreprocessor]:
        """Return it as ART preprocessors."""
        return chain(on, self.preprocessors, self.noise, self.gradient)


def chain(
    on: Place,
    preprocessors: Sequence[Preprocessor],
    noise: Task | None = None,
    gradient: CraftedGradient = "exact",
) -> list[ArtPreprocessor]:
    """Return a defence as ART preprocessors: v_def, if any, before others.

    :param on: Where v_def is found.
    :param preprocessors: The others.
    :param noise: The task that made v_def.
    :param gradient: What is taken for their gradient.
    """
    before: list[ArtPreprocessor] = []
    if noise is not None:
        added = perturbation_of(on.artefact(noise)).array
        before = [import_module(_NOISE).DefensiveNoiseDefence(added, device_type=on.device_type)]
    return before + build_chain(
        preprocessors, device_type=on.device_type, input_shape=on.image_shape, gradient=gradient
    )


def noise_modules(noise: Task | None) -> tuple[str, ...]:
    """Return the modules that a chain with v_def depends on besides."""
    return () if noise is None else (_NOISE,)
