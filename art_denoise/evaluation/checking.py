"""What is wrong with a defence or an attack, told before anything takes long. No result depends on it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from art.defences.preprocessor import Preprocessor
from art.estimators.classification import PyTorchClassifier

from art_denoise._random import drawn_from
from art_denoise.defences.chain import with_defences
from art_denoise.defences.checks import check_chain
from art_denoise.evaluation import experiment
from art_denoise.evaluation.art_attacks import build_art_attack
from art_denoise.evaluation.building import build_chain, build_universal
from art_denoise.evaluation.differentiable import has_gradient, known_of
from art_denoise.evaluation.experiment import Knowledge, Threat

if TYPE_CHECKING:
    from art.utils import CLASSIFIER_TYPE

#: Images of the network that components are tried on.
_SHAPE, _CLASSES = (3, 16, 16), 4


def check_preprocessor(preprocessor: experiment.Preprocessor, text: str) -> None:
    """Build a preprocessor.

    :param text: How it is written.
    :raises ValueError: If it cannot be built, in one sentence; the error that says so is its cause.
    """
    try:
        build_chain([preprocessor], device_type="cpu")
    except (TypeError, ValueError) as error:
        raise _in_one(text, error) from error


def check_attack(threat: Threat, text: str) -> None:
    """Build an attack on a small network.

    :param text: How it is written.
    :raises ValueError: If it cannot be built, in one sentence; the error that says so is its cause.
    """
    if threat.attack.kind == "control":
        return
    try:
        with drawn_from(0):
            classifier = _small_classifier()
            if threat.attack.kind == "universal":
                build_universal(threat.attack, threat.eps, threat.norm, 0, classifier=classifier)
            else:
                build_art_attack(classifier, threat.attack, eps=threat.eps, norm=threat.norm)
    except (TypeError, ValueError) as error:
        raise _in_one(text, error) from error


def checked_chain(
    classifier: CLASSIFIER_TYPE, chain: Sequence[Preprocessor], threat: Threat | None = None
) -> list[Preprocessor]:
    """Return a chain if a classifier can have it, and the attacker can do with it what he is to do.

    :param classifier: Any ART classifier; it keeps the defences that it has.
    :param chain: The defence that it would have.
    :param threat: Who attacks.
    :raises ValueError: If ART would refuse the chain or get it wrong (:func:`art_denoise.check_chain`), or the attacker
        is to use the defence's own gradient, and it has none.
    """
    with with_defences(classifier, chain):
        check_chain(classifier)
    exact = threat is not None and threat.knowledge is Knowledge.EXACT
    known = known_of(chain, classifier.input_shape) if exact else Knowledge.EXACT
    if known is not Knowledge.EXACT:
        names = ", ".join(_name(stage) for stage in chain if not has_gradient([stage], classifier.input_shape))
        raise ValueError(
            f"`knowledge` is exact, but {names or 'the chain'} has no gradient of its own: use {known.value}, which "
            "takes the identity for it, or an attack that only asks, which is black-box"
        )
    return list(chain)


def _name(stage: Preprocessor) -> str:
    return type(getattr(stage, "preprocessor", stage)).__name__


def _in_one(text: str, error: Exception) -> ValueError:
    said = str(error)
    return ValueError(said if said.startswith(repr(text)) else f"{text!r}: {said}")


def _small_classifier() -> PyTorchClassifier:
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(math.prod(_SHAPE), _CLASSES))
    return PyTorchClassifier(
        network.eval(), torch.nn.CrossEntropyLoss(), _SHAPE, _CLASSES, clip_values=(0.0, 1.0), device_type="cpu"
    )
