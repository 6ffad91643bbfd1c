"""ART preprocessing defences. They hold parameters, range, layout and chunks; the mathematics is in `filters`."""

from art_denoise.defences.adapters import AsFlat, AsNumPy, AsPyTorch
from art_denoise.defences.augmentation import AsAugmentation
from art_denoise.defences.chain import Compose
from art_denoise.defences.checks import check_chain
from art_denoise.defences.defensive_noise import DefensiveNoiseDefence
from art_denoise.defences.nl_means import NLMeansDefence
from art_denoise.defences.rof import ROFDefence

__all__ = [
    "AsAugmentation",
    "AsFlat",
    "AsNumPy",
    "AsPyTorch",
    "Compose",
    "DefensiveNoiseDefence",
    "NLMeansDefence",
    "ROFDefence",
    "check_chain",
]
