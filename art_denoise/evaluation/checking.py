"""What is wrong with a defence or an attack, told before anything takes long. No result depends on it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import torch
from art.defences.preprocessor import Preprocessor
from art.estimators.classification import PyTorchClassifier

from art_denoise._random import drawn_from
from art_denoise.defences._base import ImageDefence
from art_denoise.defences.adapters import AsPyTorch, as_pytorch
from art_denoise.defences.chain import Compose, with_defences
from art_denoise.defences.checks import check_chain
from art_denoise.defences.defensive_noise import DefensiveNoiseDefence
from art_denoise.evaluation import experiment
from art_denoise.evaluation.art_attacks import build_art_attack
from art_denoise.evaluation.building import build_chain, build_universal
from art_denoise.evaluation.experiment import Knowledge, Threat
from art_denoise.evaluation.foreign import PassedThrough

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
    if exact and not has_gradient(chain, classifier.input_shape):
        names = ", ".join(_name(stage) for stage in chain if not has_gradient([stage], classifier.input_shape))
        raise ValueError(
            f"`knowledge` is exact, but {names or 'the chain'} has no gradient of its own: use bpda, which takes the "
            "identity for it, or an attack that only asks, which is black-box"
        )
    return list(chain)


def has_gradient(chain: Sequence[Preprocessor], input_shape: Sequence[int] = (3, 32, 32)) -> bool:
    """Return whether a true gradient gets through a chain: its own, not the identity in its place, and not zero.

    What preprocessors say of themselves is asked first; then a gradient is sent through. Of a PyTorch preprocessor that
    passes the identity off as its gradient it cannot be told.

    :param input_shape: Shape of an image, (C, H, W).
    """
    if not all(_says_so(stage) for stage in chain):
        return False
    with drawn_from(0), torch.enable_grad():
        images = torch.rand(2, *input_shape, device=_device_of(chain)).requires_grad_()
        result = images
        try:
            for stage in chain:
                result = as_pytorch(stage).forward(result)[0]
        except RuntimeError:
            # What goes through NumPy fails only if a gradient is wanted.
            return False
        if not result.requires_grad:
            return False
        gradient = torch.autograd.grad(result, images, torch.rand_like(result), allow_unused=True)[0]
    return gradient is not None and bool(torch.isfinite(gradient).all()) and bool(gradient.any())


def draws_of(chain: Sequence[Preprocessor], input_shape: Sequence[int]) -> Literal["none", "seeded", "own"]:
    """Return how a chain draws at random: not at all, from the generators that are seeded here, or from one of its own.

    Those of Python, NumPy and PyTorch are seeded before every batch. What draws from another is another every time.

    :param chain: The defence, of preprocessors for PyTorch.
    :param input_shape: Shape of an image, (C, H, W).
    """

    def result(seed: int) -> torch.Tensor:
        # A ramp, and not drawn: it has to be the same images.
        images = torch.linspace(0, 1, 2 * math.prod(input_shape), device=_device_of(chain)).reshape(2, *input_shape)
        with drawn_from(seed), torch.no_grad():
            for stage in chain:
                images = as_pytorch(stage).forward(images)[0]
        return images

    first = result(0)
    if not torch.equal(first, result(0)):
        return "own"
    return "none" if torch.equal(first, result(1)) else "seeded"


def _says_so(stage: Preprocessor) -> bool:
    if isinstance(stage, Compose):
        return all(map(_says_so, stage.preprocessors))
    if isinstance(stage, ImageDefence):
        # The gradient of a sum is the identity.
        return stage.gradient == "exact" or isinstance(stage, DefensiveNoiseDefence)
    if isinstance(stage, AsPyTorch):
        return stage.gradient == "estimate" and _estimates(stage.preprocessor)
    return not isinstance(stage, PassedThrough) and _estimates(stage)


def _device_of(chain: Sequence[Preprocessor]) -> torch.device:
    """Return a GPU if one of the preprocessors is on it: a user's own network may be nowhere else."""
    devices = [getattr(getattr(stage, "preprocessor", stage), "device", torch.device("cpu")) for stage in chain]
    return next((device for device in devices if device.type == "cuda"), torch.device("cpu"))


def _estimates(stage: Preprocessor) -> bool:
    return type(stage).estimate_gradient is not Preprocessor.estimate_gradient


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
