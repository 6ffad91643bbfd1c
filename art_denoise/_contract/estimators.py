"""Rules of a defence in ART's estimators."""

from __future__ import annotations

import contextlib
import io
import pickle
import tempfile
from collections.abc import Iterator
from typing import Any
from unittest import mock

import numpy as np
import torch
from art import config
from art.attacks.evasion import FastGradientMethod
from art.defences.trainer import AdversarialTrainer
from art.estimators.classification import PyTorchClassifier

from art_denoise._contract.gradients import claims_a_gradient, inner_images
from art_denoise._contract.trial import Breach, NotClaimed, Trial, far_apart, rule

_CLASSES = 4


@rule("ART applies it when it says so")
def applied_when_it_says_so(trial: Trial) -> Iterator[Breach]:
    wanted: list[dict[str, bool]] = [{}]
    if trial.offers(apply_fit=True, apply_predict=True):
        wanted += [{"apply_fit": fit, "apply_predict": predict} for fit in (True, False) for predict in (True, False)]
    for flags in wanted:
        preprocessor = trial.made(**flags)
        for name, value in flags.items():
            if getattr(preprocessor, name) != value:
                yield Breach(
                    f"made with `{name}` = {value}, it says {getattr(preprocessor, name)}",
                    f"Hand `{name}` on to the constructor of ART's Preprocessor",
                )
        classifier = _classifier(trial, **flags)
        reached = _watched(classifier)
        classifier.predict(trial.images.copy())
        classifier.fit(trial.images.copy(), _targets(trial), batch_size=len(trial.images), nb_epochs=1)
        for when, applied, seen in (
            ("at prediction", preprocessor.apply_predict, reached[0]),
            ("while training", preprocessor.apply_fit, reached[-1]),
        ):
            # `fit` shuffles.
            if applied:
                told, apart = "applied, but its result", trial.difference(_sorted(seen), _sorted(trial.result))
            else:
                told, apart = "left out, but the images", far_apart(_sorted(seen), _sorted(trial.images), 0)
            if apart:
                yield Breach(
                    f"{when} it is to be {told} and what the network sees {apart}",
                    "Treat arrays and tensors alike; `apply_fit` and `apply_predict` are all that ART asks",
                )


@rule("attacks get the gradient through ART")
def attacks_get_the_gradient(trial: Trial) -> Iterator[Breach]:
    x, y = inner_images(trial)[:1], _targets(trial)[:1]
    classifier = _classifier(trial)
    if not classifier.preprocessing_defences[0].apply_predict:
        raise NotClaimed
    gradient = classifier.loss_gradient(x.copy(), y)
    if not np.abs(gradient).max() > 0:
        yield Breach(
            "the `loss_gradient` of a defended classifier is zero everywhere",
            "ART differentiates `forward`, not `estimate_forward`: let it carry a gradient, the identity if need be",
        )
    elif not trial.random and claims_a_gradient(trial):
        off = []
        for size in (1e-3, 2e-3, 4e-3):
            step = size * trial.width * gradient / np.sqrt(np.mean(np.square(gradient)))
            ahead, behind = (_loss(classifier, x + s, y) for s in (step, -step))
            off.append(abs((ahead - behind) / (2 * float(np.sum(step * gradient))) - 1))
        if not min(off) <= 0.1:
            yield Breach(
                f"the `loss_gradient` of a defended classifier is off by {min(off):.0%} of differences of its loss",
                "Let `forward` be differentiable throughout, or `estimate_gradient` of one for NumPy be its derivative",
            )


@rule("ART attacks and trains through it")
def trains_through_it(trial: Trial) -> Iterator[Breach]:
    classifier = _classifier(trial, **({"apply_fit": True} if trial.offers(apply_fit=True) else {}))
    before = [parameter.detach().clone() for parameter in classifier.model.parameters()]
    attack = FastGradientMethod(classifier, eps=0.05 * trial.width)
    trainer = AdversarialTrainer(classifier, attack, ratio=0.5)
    # ART shows progress that cannot be turned off.
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        trainer.fit(trial.images.copy(), _targets(trial), batch_size=len(trial.images), nb_epochs=1)
    after = list(classifier.model.parameters())
    if not all(bool(torch.isfinite(parameter).all()) for parameter in after):
        yield Breach(
            "adversarial training gave weights that are not finite", "See what the defence returns for attacks"
        )
    elif all(torch.equal(old, new) for old, new in zip(before, after, strict=True)):
        yield Breach("adversarial training changed no weight", "See whether what the defence returns is constant")


@rule("an estimator with it can be copied and pickled")
def estimators_can_be_copied(trial: Trial) -> Iterator[Breach]:
    classifier = _classifier(trial)
    predicted = classifier.predict(trial.images.copy())
    clone = classifier.clone_for_refitting()
    clone.model.load_state_dict(classifier.model.state_dict())
    # ART writes the network into its folder of data.
    with tempfile.TemporaryDirectory() as folder, mock.patch.object(config, "ART_DATA_PATH", folder):
        again = pickle.loads(pickle.dumps(classifier))
    for what, other in (("`clone_for_refitting`", clone), ("pickling", again)):
        if not trial.random and not np.allclose(other.predict(trial.images.copy()), predicted, atol=1e-4):
            yield Breach(
                f"after {what} a defended classifier predicts otherwise",
                "Let copies have all parameters; see the rules of `params` and of pickling",
            )


def _classifier(trial: Trial, **parameters: Any) -> PyTorchClassifier:
    """Return a small smooth classifier of the trial's images, whatever their layout, defended."""
    generator = torch.Generator().manual_seed(0)
    size = int(np.prod(trial.images.shape[1:]))
    # Whatever device and type the caller has made the default.
    plain: dict[str, Any] = {"dtype": torch.float32, "device": "cpu"}
    first, last = torch.nn.Linear(size, 8, **plain), torch.nn.Linear(8, _CLASSES, **plain)
    network = torch.nn.Sequential(torch.nn.Flatten(), first, torch.nn.Tanh(), last)
    low, high = trial.limits or (0.0, 1.0)
    with torch.no_grad():
        for layer, scale in ((first, 1 / (size**0.5 * trial.width)), (last, 1.0)):
            layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator, **plain) * scale)
            layer.bias.zero_()
    return PyTorchClassifier(
        network.eval(),
        loss=torch.nn.CrossEntropyLoss(),
        optimizer=torch.optim.SGD(network.parameters(), lr=0.01),
        input_shape=trial.images.shape[1:],
        nb_classes=_CLASSES,
        channels_first=trial.channels_first,
        clip_values=(low, high),
        preprocessing_defences=[trial.made(**parameters)],
        device_type="cpu",
    )


def _watched(classifier: PyTorchClassifier) -> list[np.ndarray]:
    """Return a list to which every batch is added that reaches the network."""
    reached: list[np.ndarray] = []
    classifier.model[0].register_forward_pre_hook(lambda _, inputs: reached.append(inputs[0].detach().numpy()))
    return reached


def _targets(trial: Trial) -> np.ndarray:
    return np.eye(_CLASSES, dtype=np.float32)[np.arange(len(trial.images)) % _CLASSES]


def _loss(classifier: PyTorchClassifier, x: np.ndarray, y: np.ndarray) -> float:
    logits = classifier.predict(x.astype(np.float32)).astype(float)
    return float((np.log(np.exp(logits).sum(1)) - (logits * y).sum(1)).sum())


def _sorted(x: np.ndarray) -> np.ndarray:
    """Return images by their mean, so that it does not matter in which order they come."""
    return x[x.mean(axis=tuple(range(1, x.ndim))).argsort()]
