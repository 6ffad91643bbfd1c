"""Universal perturbations by stochastic gradient ascent: Shafahi et al. (2020)."""

from __future__ import annotations

import math
import os
from typing import ClassVar, Literal, TypeAlias, get_args

import numpy as np
import torch
from art.attacks.attack import EvasionAttack
from art.estimators.classification import PyTorchClassifier
from torch.nn import functional

from art_denoise._checks import check_choice, check_integer, check_number
from art_denoise.attacks._classifier import at_once, logits_of, margins_of, value_range
from art_denoise.attacks.universal import UniversalAttack

#: `loss` of SGDUAP: the cross-entropy; by how much another logit is above the label's; or the negative cosine between
#: the logits with and without the perturbation.
UniversalLoss: TypeAlias = Literal["cross-entropy", "margin", "cosine"]

#: How far from 0 the first gradient of the cosine is taken, as a share of `eps`.
_BESIDE = 0.01


class SGDUAP(UniversalAttack):
    """The universal perturbation of Shafahi et al. (2020): sign-gradient ascent on the clipped cross-entropy.

    Cheaper and stronger than DeepFool's. For each batch of images x with labels y, with step s::

        g = mean over the batch of the gradient of min(cross-entropy(f(clip(x + v)), y), beta) with respect to v
        v = project(v + s eps sign(g))              norm inf
        v = project(v + s eps g / |g|)              norm 2

    The clipping by `beta` keeps single images that are fooled already from drawing v to themselves.

    With `search_size` the gradient is aggregated (SGA, Liu et al. 2023): before each step a copy u of v goes through
    the batch in small batches, `searches` times, each a step of its own, and g is the sum of their gradients::

        g = sum over the small batches of h,  h = gradient as above at u,  u = project(u + s eps sign(h))

    A large batch has few and stable steps, small ones leave poor local maxima: this has both.

    Defences of the classifier are in the loop, each with its own gradient: crafted on a classifier with
    `preprocessing_defences=[ROFDefence()]` the perturbation is that of an attacker who knows of the defence. If a
    defence draws at random, each gradient is the mean of `eot_samples` draws (expectation over transformation, Athalye
    et al. 2018, arXiv:1707.07397); ART's `EoT...` preprocessors, which repeat images, serve as well.

    :param classifier: Classifier with `clip_values` that returns logits, one for each of at least two classes.
    :param delta: Share of the images that may keep their label, 0 to 1. Default 0: all passes are made.
    :param max_iter: Most passes over the images, ≥ 1.
    :param eps: Bound on the norm of v, in units of `clip_values`, above 0. None: 10/255 of the range, for the norm inf.
    :param norm: `np.inf` or "inf", or 2.
    :param batch_size: Images that make one step.
    :param verbose: Show one progress bar, over the images of all passes, with the fooling rate.
    :param seed: Seed of the order of the images, and of what defences draw.
    :param patience: Passes without a higher fooling rate after which crafting ends; None: never.
    :param measurements: How often in a pass the fooling rate is measured, ≥ 1: the perturbation with the highest is the
        result, and crafting ends when it is high enough. A measurement takes one forward pass for each image.
    :param checkpoint: File that is written after every measurement, and every minute; found there, crafting goes on
        from it and ends with the same perturbation as if it had not been interrupted, to the bit on a CPU with as many
        threads.
    :param step_size: s, the first step as a share of `eps`, above 0; it falls to 0 in a line over `max_iter` passes.
    :param beta: Bound on an image's cross-entropy, above 0.
    :param eot_samples: Gradients that are averaged for each step, ≥ 1. One suffices unless a defence draws at random.
    :param starts: How many perturbations are crafted, each with a seed and a checkpoint of its own, ≥ 1. The result is
        the one that fools most of the images that were set aside for that, one in five.
    :param loss: What is climbed: "cross-entropy"; "margin", by how much the largest other logit is above the label's,
        at most `beta`; or "cosine", the negative cosine between the logits of x + v and of x, which needs no label
        (Zhang et al. 2021, arXiv:2010.05300); as that is flat at 0, the first gradient is taken beside it.
    :param search_size: Images of the small batches, ≥ 1; None: gradients are not aggregated.
    :param searches: How often the small batches go through a batch before each step, ≥ 1.

    `y`, if given to `craft` or `generate`, are the labels in the cross-entropy; by default those that the classifier
    predicts. The fooling rate is f(x) ≠ f(x + v) either way.

    Cost: a pass takes `eot_samples` forward and backward passes for each image, `searches` times as many where
    gradients are aggregated, one more forward pass for each with the cosine, and one forward pass to measure.

    Source: A. Shafahi, M. Najibi, Z. Xu, J. Dickerson, L. S. Davis, T. Goldstein, "Universal adversarial training",
    AAAI 2020, Algorithm 2, arXiv:1811.11304, with the sign of the gradient as its optimiser. Deviations: the step
    falls, where the paper's is constant; the result is the v with the highest fooling rate measured. Aggregation:
    X. Liu, Y. Zhong, Y. Zhang, L. Qin, W. Deng, "Enhancing generalization of universal adversarial perturbation through
    gradient aggregation", ICCV 2023, arXiv:2308.06015, Algorithm 1. Deviations: the small batches are a partition of
    the batch, where the paper's are drawn; u has the step of v; no momentum.

    Example::

        >>> import numpy as np
        >>> import torch
        >>> from art.estimators.classification import PyTorchClassifier
        >>> from art_denoise import SGDUAP
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 10))
        >>> loss = torch.nn.CrossEntropyLoss()
        >>> classifier = PyTorchClassifier(network, loss, input_shape=(3, 32, 32), nb_classes=10, clip_values=(0, 1))
        >>> images = np.random.default_rng(0).random((8, 3, 32, 32), dtype=np.float32)
        >>> attack = SGDUAP(classifier, eps=8 / 255, max_iter=2, verbose=False)
        >>> perturbation = attack.craft(images)
        >>> perturbation.array.shape
        (3, 32, 32)
        >>> perturbation.linf <= 8 / 255 + 1e-6, attack.fooling_rate > 0
        (True, True)
        >>> attacked = perturbation.add_to(images)
    """

    attack_params: ClassVar[list[str]] = [
        *EvasionAttack.attack_params,
        *UniversalAttack.universal_params,
        "step_size",
        "beta",
        "loss",
        "search_size",
        "searches",
    ]
    _takes_labels: ClassVar[bool] = True
    # The step falls over all passes, so that their number decides what each of them does.
    _of_the_end: ClassVar[tuple[str, ...]] = ("delta", "verbose", "patience", "checkpoint", "starts")

    def __init__(
        self,
        classifier: PyTorchClassifier,
        delta: float = 0.0,
        max_iter: int = 10,
        eps: float | None = None,
        norm: float | Literal["inf"] = np.inf,
        batch_size: int = 32,
        verbose: bool = True,
        *,
        seed: int = 0,
        patience: int | None = None,
        measurements: int = 1,
        checkpoint: str | os.PathLike[str] | None = None,
        step_size: float = 0.5,
        beta: float = 12.0,
        eot_samples: int = 1,
        starts: int = 1,
        loss: UniversalLoss = "cross-entropy",
        search_size: int | None = None,
        searches: int = 1,
    ) -> None:
        super().__init__(estimator=classifier)
        self.delta, self.max_iter, self.eps, self.norm = delta, max_iter, eps, norm
        self.batch_size, self.verbose = batch_size, verbose
        self.seed, self.patience, self.checkpoint = seed, patience, checkpoint
        self.measurements = measurements
        self.step_size, self.beta, self.eot_samples, self.starts = step_size, beta, eot_samples, starts
        self.loss, self.search_size, self.searches = loss, search_size, searches
        self._check_now_and_when_set()

    def _check_own_params(self) -> None:
        check_number("step_size", self.step_size, low=0, low_open=True)
        check_number("beta", self.beta, low=0, low_open=True)
        check_choice("loss", self.loss, get_args(UniversalLoss))
        if self.search_size is not None:
            check_integer("search_size", self.search_size, low=1)
        check_integer("searches", self.searches, low=1)

    def _update(
        self, noise: torch.Tensor, images: torch.Tensor, labels: torch.Tensor, passes: int
    ) -> tuple[torch.Tensor, int, int]:
        step = self.step_size * (1 - passes / self.max_iter) * self._eps(*value_range(self.estimator))
        if self.search_size is None:
            gradient, fooled = self._gradient(noise, images, labels)
        else:
            gradient, fooled = self._aggregated(noise, images, labels, step, self.search_size)
        return self._stepped(noise, gradient, step), fooled, len(images)

    def _stepped(self, noise: torch.Tensor, gradient: torch.Tensor, step: float) -> torch.Tensor:
        direction = gradient.sign() if self._p == math.inf else gradient / gradient.norm().clamp(min=1e-12)
        return self._project(noise + step * direction)

    def _aggregated(
        self, noise: torch.Tensor, images: torch.Tensor, labels: torch.Tensor, step: float, size: int
    ) -> tuple[torch.Tensor, int]:
        """Return the sum of gradients on the way of a search in batches of a size, and how many images were fooled."""
        searching, total, fooled = noise, torch.zeros_like(noise), 0
        for search in range(self.searches):
            # The order is drawn on the CPU, so that it is the same on every device.
            for part in torch.randperm(len(images), device="cpu").to(images.device).split(size):
                gradient, there = self._gradient(searching, images[part], labels[part])
                total += gradient
                fooled += there if search == 0 else 0
                searching = self._stepped(searching, gradient, step)
        return total, fooled

    def _gradient(self, noise: torch.Tensor, images: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, int]:
        """Return the gradient of the mean loss of some images, and how many of them are fooled."""
        low, high = value_range(self.estimator)
        gradient, fooled = torch.zeros_like(noise), 0
        if self.loss == "cosine" and not bool(noise.any()):
            noise = (
                _BESIDE
                * self._eps(low, high)
                * (torch.rand(noise.shape, dtype=torch.float32, device="cpu") - 0.5).sign().to(noise)
            )
        for part in torch.arange(len(images), device=images.device).split(at_once(self.estimator)):
            for sample in range(self.eot_samples):
                with torch.enable_grad():
                    added = noise.clone().requires_grad_()
                    logits, targets = logits_of(
                        self.estimator, (images[part] + added).clamp(low, high), labels=labels[part]
                    )
                    assert targets is not None
                    loss = self._loss(logits, targets, images[part])
                    gradient += torch.autograd.grad(loss.sum() / len(loss) * len(part), added)[0]
                if sample == 0:
                    fooled += round(float(torch.ne(logits.argmax(1), targets).float().mean()) * len(part))
        return gradient, fooled

    def _loss(self, logits: torch.Tensor, targets: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
        """Return what is climbed, of each image."""
        if self.loss == "cosine":
            with torch.no_grad():
                clean, _ = logits_of(self.estimator, images)
            return -functional.cosine_similarity(logits, clean, dim=1)
        if self.loss == "margin":
            return (-margins_of(logits, targets)).clamp(max=self.beta)
        return functional.cross_entropy(logits, targets, reduction="none").clamp(max=self.beta)
