"""Universal perturbations by DeepFool: the algorithm of Moosavi-Dezfooli et al. (2017)."""

from __future__ import annotations

import os
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from art.attacks.attack import EvasionAttack
from art.attacks.evasion import UniversalPerturbation
from art.estimators.classification import PyTorchClassifier

from art_denoise._checks import check_choice, check_integer, check_number
from art_denoise.attacks._classifier import at_once, scores_of
from art_denoise.attacks.deepfool import shortest_perturbations
from art_denoise.attacks.universal import UniversalAttack

#: DeepFool's parameters in the authors' code.
_DEEPFOOL = {"max_iter": 10, "epsilon": 0.02, "nb_grads": 10}


class DeepFoolUAP(UniversalAttack, UniversalPerturbation):
    """The universal perturbation of Moosavi-Dezfooli et al. (2017), with the arguments of ART's.

    An image whose label the perturbation v does not change yet is taken to the nearest boundary by DeepFool, and what
    that adds is added to v, which is then projected onto the norm ball::

        for x in the images, in random order:
            if f(x + v) = f(x):
                r = DeepFool(x + v)
                if DeepFool got across the boundary: v = project(v + r)

    Passes follow until v changes the label of a share 1 - `delta` of the images, or `max_iter` are done, or the share
    has not risen for `patience` passes. Where ART's `UniversalPerturbation` differs from this, ART departs from the
    paper: it clips x + v + r to the range and takes the difference from x as the new v, so that v is lost where the
    last image is black or white; it adds what DeepFool found though no boundary was reached; it counts `y` ≠ f(x + v)
    as fooled; its draws follow Python's global generator.

    Defences of the classifier are attacked too, by their own gradient, and see clipped images.

    With `batch_size` > 1 it is another algorithm, for GPUs: DeepFool is run for all images of a batch from the same v,
    and the sum of what it found is added, which is what the images one after another would add if v did not change
    meanwhile. Not in the paper; as many passes come as far, where the mean, or the sum over √n, come less far.

    :param classifier: Classifier with `clip_values` that returns logits, one for each of at least two classes.
    :param attacker: "deepfool", there for ART's sake.
    :param attacker_params: Parameters of DeepFool: "max_iter" (default 10, ≥ 3), "epsilon" (overshoot, default 0.02)
        and "nb_grads" (classes considered, default 10), the authors'; "batch_size" and "verbose" have no effect.
    :param delta: Share of the images that may keep their label, 0 to 1.
    :param max_iter: Most passes over the images, ≥ 1. The authors say that about five suffice for 10 000 images.
    :param eps: Bound on the norm of v, in units of `clip_values`, above 0. None: 10/255 of the range, for the norm inf.
    :param norm: `np.inf` or "inf", or 2.
    :param batch_size: Images that make one update. 1 is the paper's algorithm.
    :param verbose: Show one progress bar, over the images of all passes, with the fooling rate.
    :param seed: Seed of the order of the images, and of what defences draw.
    :param patience: Passes without a higher fooling rate after which crafting ends; None: never.
    :param measurements: How often in a pass the fooling rate is measured, ≥ 1: the perturbation with the highest is the
        result, and crafting ends when it is high enough. A measurement takes one forward pass for each image.
    :param checkpoint: File that is written after every measurement, and every minute; found there, crafting goes on
        from it and ends with the same perturbation as if it had not been interrupted, to the bit on a CPU with as many
        threads. More passes than the file was made with may be asked for; everything else must be as it was.
    :param eot_samples: Draws of the defences that the logits, and so their gradients, are the mean of, ≥ 1 (expectation
        over transformation, Athalye et al. 2018, arXiv:1707.07397): whether an image is fooled, which boundary is
        nearest and whether it is crossed are then asked of the mean. One suffices unless a defence draws at random.
    :param starts: How many perturbations are crafted, each with a seed and a checkpoint of its own, ≥ 1. The result is
        the one that fools most of the images that were set aside for that, one in five.

    Cost: a pass takes one forward pass for each image, and for each that is not fooled some one to three steps of one
    forward and `nb_grads` - 1 backward passes, all of them `eot_samples` times. Memory: that of `at_once` images, times
    `eot_samples`, through the network, besides `x`.

    Source: S.-M. Moosavi-Dezfooli, A. Fawzi, O. Fawzi, P. Frossard, "Universal adversarial perturbations", CVPR 2017,
    Algorithm 1, arXiv:1610.08401. As the authors' code has it, DeepFool looks at the image with the overshoot after
    every step, and an update is made only if it needed fewer than `max_iter` - 1 steps. Deviations: the fooling rate is
    that of clipped images, which are what a classifier is shown; it is measured `measurements` times in a pass,
    not once, as it goes up and down by several percent with the last few images; the result is the v with the highest,
    not the last.

    Example::

        >>> import numpy as np
        >>> import torch
        >>> from art.estimators.classification import PyTorchClassifier
        >>> from art_denoise import DeepFoolUAP
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 10))
        >>> loss = torch.nn.CrossEntropyLoss()
        >>> classifier = PyTorchClassifier(network, loss, input_shape=(3, 32, 32), nb_classes=10, clip_values=(0, 1))
        >>> images = np.random.default_rng(0).random((8, 3, 32, 32), dtype=np.float32)
        >>> attack = DeepFoolUAP(classifier, eps=8 / 255, max_iter=1, verbose=False)
        >>> attacked = attack.generate(images)
        >>> attack.fooling_rate > 0
        True
        >>> bool(np.abs(attacked - images).max() <= 8 / 255 + 1e-6)
        True
    """

    attack_params: ClassVar[list[str]] = [
        *EvasionAttack.attack_params,
        "attacker",
        "attacker_params",
        *UniversalAttack.universal_params,
    ]
    _estimator_requirements = (PyTorchClassifier,)
    _remedy_for_zero = "Let DeepFool take more steps, attacker_params={'max_iter': 50}, or use more images"

    def __init__(
        self,
        classifier: PyTorchClassifier,
        attacker: Literal["deepfool"] = "deepfool",
        attacker_params: dict[str, Any] | None = None,
        delta: float = 0.2,
        max_iter: int = 20,
        eps: float | None = None,
        norm: float | Literal["inf"] = np.inf,
        batch_size: int = 1,
        verbose: bool = True,
        *,
        seed: int = 0,
        patience: int | None = None,
        measurements: int = 4,
        checkpoint: str | os.PathLike[str] | None = None,
        eot_samples: int = 1,
        starts: int = 1,
    ) -> None:
        EvasionAttack.__init__(self, estimator=classifier)
        self.attacker, self.attacker_params = attacker, attacker_params
        self.delta, self.max_iter, self.eps, self.norm = delta, max_iter, eps, norm
        self.batch_size, self.verbose = batch_size, verbose
        self.seed, self.patience, self.checkpoint = seed, patience, checkpoint
        self.measurements, self.eot_samples, self.starts = measurements, eot_samples, starts
        self._check_now_and_when_set()

    def _check_own_params(self) -> None:
        check_choice("attacker", self.attacker, ("deepfool",))
        known = [*_DEEPFOOL, "batch_size", "verbose"]
        for name in self.attacker_params or {}:
            if name not in known:
                raise ValueError(f"`attacker_params` must be of {', '.join(known)}, got {name!r}")
        deepfool = self._deepfool
        check_integer("attacker_params['max_iter']", deepfool["max_iter"], low=3)
        check_number("attacker_params['epsilon']", deepfool["epsilon"], low=0)
        check_integer("attacker_params['nb_grads']", deepfool["nb_grads"], low=2)

    @property
    def _deepfool(self) -> dict[str, Any]:
        return {name: (self.attacker_params or {}).get(name, default) for name, default in _DEEPFOOL.items()}

    def _update(
        self, noise: torch.Tensor, images: torch.Tensor, labels: torch.Tensor, passes: int
    ) -> tuple[torch.Tensor, int, int]:
        parameters = self._deepfool
        scores_at = partial(scores_of, self.estimator, samples=self.eot_samples)
        found, fooled = [], 0
        for part in torch.arange(len(images), device=images.device).split(at_once(self.estimator)):
            perturbed = images[part] + noise
            with torch.no_grad():
                scores = scores_at(perturbed)
            unmoved = scores.argmax(1) == labels[part]
            fooled += len(part) - int(unmoved.sum())
            if unmoved.any():
                shortest, crossed = shortest_perturbations(
                    scores_at,
                    perturbed[unmoved],
                    scores[unmoved],
                    # An update is made if fewer than max_iter - 1 steps sufficed: the rest need not be taken.
                    max_steps=parameters["max_iter"] - 2,
                    overshoot=parameters["epsilon"],
                    classes=parameters["nb_grads"],
                    crossing=True,
                )
                found.append(shortest[crossed])
        updates = torch.cat(found) if found else images[:0]
        if len(updates):
            noise = self._project(noise + updates.sum(0))
        return noise, fooled, len(updates)
