"""Fooling rates that were published, to stand beside one's own."""

from __future__ import annotations

import math
from collections.abc import Mapping

from art_denoise.evaluation.experiment import Threat

#: Fooling rates in percent on the ILSVRC-2012 validation set, L∞ ≤ 10/255: S.-M. Moosavi-Dezfooli, A. Fawzi, O. Fawzi,
#: P. Frossard, "Universal adversarial perturbations", CVPR 2017, Table 2, by source and target.
PUBLISHED: Mapping[str, Mapping[str, float]] = {
    source: dict(zip(("vgg_f", "caffenet", "inception_v1", "vgg16", "vgg19", "resnet152"), rates, strict=True))
    for source, rates in {
        "vgg_f": (93.7, 71.8, 48.4, 42.1, 42.1, 47.4),
        "caffenet": (74.0, 93.3, 47.7, 39.9, 39.9, 48.0),
        "inception_v1": (46.2, 43.8, 78.9, 39.2, 39.8, 45.5),
        "vgg16": (63.4, 55.8, 56.5, 78.3, 73.1, 63.4),
        "vgg19": (64.0, 57.2, 53.6, 73.5, 77.8, 58.0),
        "resnet152": (46.3, 46.3, 50.5, 47.0, 45.5, 84.0),
    }.items()
}

#: Whose these figures are.
PUBLISHED_BY = "Moosavi-Dezfooli et al. (2017) on ImageNet"


def published_rates(threat: Threat) -> Mapping[str, Mapping[str, float]]:
    """Return the published fooling rates of an attack, in percent by source and target; none for others than theirs."""
    theirs = threat.attack.name == "deepfool-uap" and threat.norm == "inf" and math.isclose(threat.eps, 10 / 255)
    return PUBLISHED if theirs else {}
