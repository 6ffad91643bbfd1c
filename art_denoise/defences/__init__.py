"""ART preprocessing defences. They hold parameters, range, layout and chunks; the mathematics is in `filters`."""

from art_denoise.defences.defensive_noise import DefensiveNoiseDefence
from art_denoise.defences.nl_means import NLMeansDefence
from art_denoise.defences.rof import ROFDefence

__all__ = ["DefensiveNoiseDefence", "NLMeansDefence", "ROFDefence"]
