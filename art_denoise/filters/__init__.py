"""Mathematics on tensors: the two denoisers and the estimator of the defensive noise. Knows neither ART nor files."""

from art_denoise.filters.defensive_noise import NoiseEstimate, mean_accepted_noise
from art_denoise.filters.modules import NLMeansDenoise, ROFDenoise
from art_denoise.filters.nl_means import nl_means_denoise
from art_denoise.filters.rof import rof_denoise

__all__ = ["NLMeansDenoise", "NoiseEstimate", "ROFDenoise", "mean_accepted_noise", "nl_means_denoise", "rof_denoise"]
