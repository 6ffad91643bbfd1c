"""DeepFool with one forward pass per step."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from art.attacks.evasion import DeepFool
from art.config import ART_NUMPY_DTYPE
from art.estimators.classification import PyTorchClassifier
from tqdm.auto import trange

from art_denoise.attacks._checked import CheckedAttack
from art_denoise.attacks._classifier import scores_of, warn_of_probabilities

#: Pixels of the copies of a single image that go back through the network at once on a CPU: one copy keeps two cores
#: too little busy, too many no longer fit into the cache. All gradients of ten classes of GoogLeNet take, with 3, 5 and
#: 9 copies, 78, 80 and 65 ms at 64×64, and 432, 505 and 752 ms at 224×224.
_PIXELS_OF_COPIES = 3 * 224 * 224


class SharedForwardDeepFool(CheckedAttack, DeepFool):
    """ART's `DeepFool` for PyTorch classifiers, several times faster.

    ART runs the network forward and back once for every class, and differentiates with respect to the weights too.
    Here all class gradients of a step come from one forward pass, gradients are taken with respect to the images only,
    and only of the images that are not fooled yet.

    Where it differs from ART, ART is wrong: with `nb_grads` below the number of classes, ART considers the classes that
    score highest on any image of the call, not on the image itself, and takes the label's logit from the label's
    place among them, so that its steps are of the wrong length. ART also multiplies each step by the width of
    `clip_values`.

    It stands in for ART's wherever that is used, also inside ART's own attacks::

        UniversalPerturbation.attacks_dict["deepfool"] = "art_denoise.attacks.deepfool.SharedForwardDeepFool"

    Gradients pass through the classifier's preprocessing defences.

    :param classifier: Classifier that returns logits, one for each of at least two classes.
    :param max_iter: Most steps for an image, ≥ 1. Default 10, as in the authors' universal perturbations; ART's is 100.
    :param epsilon: Overshoot, ≥ 0: the perturbation found is lengthened by this share, to cross the boundary and not
        end on it. Default 0.02, the authors'; ART's is 1e-6.
    :param nb_grads: Number of classes considered, ≥ 2: the label and those that score highest besides. Default 10.
    :param batch_size: Images attacked at once, ≥ 1.
    :param verbose: Show a progress bar.

    | Paper: Moosavi-Dezfooli, Fawzi & Frossard (2016), "DeepFool", Algorithm 2, arXiv:1511.04599.
    | Deviation, as ART: images are clipped to `clip_values`, if the classifier has them, after every step.

    Example::

        >>> import numpy as np
        >>> import torch
        >>> from art.estimators.classification import PyTorchClassifier
        >>> from art_denoise import SharedForwardDeepFool
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 10))
        >>> loss = torch.nn.CrossEntropyLoss()
        >>> classifier = PyTorchClassifier(network, loss, input_shape=(3, 32, 32), nb_classes=10, clip_values=(0, 1))
        >>> images = np.random.default_rng(0).random((8, 3, 32, 32), dtype=np.float32)
        >>> attacked = SharedForwardDeepFool(classifier, batch_size=8, verbose=False).generate(images)
        >>> changed = classifier.predict(attacked).argmax(axis=1) != classifier.predict(images).argmax(axis=1)
        >>> bool(changed.all())
        True
    """

    _estimator_requirements = (PyTorchClassifier,)

    def __init__(
        self,
        classifier: PyTorchClassifier,
        max_iter: int = 10,
        epsilon: float = 0.02,
        nb_grads: int = 10,
        batch_size: int = 1,
        verbose: bool = True,
    ) -> None:
        DeepFool.__init__(self, classifier, max_iter, epsilon, nb_grads, batch_size, verbose)
        self._check_now_and_when_set()

    def generate(self, x: np.ndarray, y: np.ndarray | None = None, **kwargs: Any) -> np.ndarray:
        """Find for each image a small perturbation that changes its label.

        :param x: Images (N, ...) in units of the classifier's `clip_values`.
        :param y: Not used: an image is fooled when its label is not what it was predicted as.
        :return: Perturbed images, float32, same shape; an image that was not fooled is where the last step left it.
        :raises ValueError: If the classifier does not return logits (N, K), K >= 2.
        """
        x = np.ascontiguousarray(x, dtype=ART_NUMPY_DTYPE)
        adversarial = x.copy()
        for start in trange(0, len(x), self.batch_size, desc="DeepFool", disable=not self.verbose):
            images = torch.from_numpy(x[start : start + self.batch_size]).to(self.estimator.device)
            with torch.no_grad():
                scores = self._logits(images)
            if start == 0:
                warn_of_probabilities(scores)
            found, _ = shortest_perturbations(
                self._logits,
                images,
                scores,
                max_steps=self.max_iter,
                overshoot=self.epsilon,
                classes=self.nb_grads,
                limit=self._clip,
            )
            adversarial[start : start + self.batch_size] = self._clip(images + found).cpu().numpy()
        return adversarial

    def _check_params(self) -> None:
        super()._check_params()
        if self.nb_grads < 2:
            raise ValueError(f"`nb_grads` must be >= 2, the label and another class, got {self.nb_grads}")

    def _logits(self, images: torch.Tensor) -> torch.Tensor:
        return scores_of(self.estimator, images)

    def _clip(self, images: torch.Tensor) -> torch.Tensor:
        if self.estimator.clip_values is None:
            return images
        low, high = (torch.as_tensor(v, dtype=images.dtype, device=images.device) for v in self.estimator.clip_values)
        return torch.minimum(torch.maximum(images, low), high)


def shortest_perturbations(
    logits: Callable[[torch.Tensor], torch.Tensor],
    images: torch.Tensor,
    scores: torch.Tensor,
    *,
    max_steps: int,
    overshoot: float,
    classes: int,
    crossing: bool = False,
    limit: Callable[[torch.Tensor], torch.Tensor] = lambda images: images,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Find for each image a small perturbation that changes its label: DeepFool, in the L2 norm.

    :param logits: Differentiable function of images (N, ...), returning (N, K).
    :param images: Images (N, ...).
    :param scores: Their logits (N, K).
    :param max_steps: Most steps for an image.
    :param overshoot: Share by which the perturbation is lengthened.
    :param classes: Number of classes considered, the label among them.
    :param crossing: Look at the lengthened perturbation after every step, as the authors do, rather than lengthen the
        last, as the paper and ART do. A step leads to the boundary and, where it is curved, often not across: the
        overshoot does, and saves most of the steps.
    :param limit: Applied to the images after every step.
    :return: Perturbations (N, ...), lengthened; bool (N,): whether the label was seen to change after at most
        `max_steps` steps.
    """
    # Classes by score, (N, classes); the first is the label itself.
    considered = scores.topk(min(classes, scores.shape[1]), dim=1).indices
    looked_at = 1 + overshoot if crossing else 1.0
    found = torch.zeros_like(images)
    active = torch.arange(len(images), device=images.device)
    for step in range(max_steps + 1):
        at, among = images[active] + looked_at * found[active], considered[active]
        if step == max_steps:
            with torch.no_grad():
                active = active[logits(at).argmax(1) == among[:, 0]]
            break
        still, margins, gradients = _linearise(logits, at, among)
        active = active[still]
        if not len(active):
            break
        origin = images[active]
        found[active] = limit(origin + found[active] + _shortest_step(margins, gradients)) - origin
    fooled = torch.ones(len(images), dtype=torch.bool, device=images.device)
    fooled[active] = False
    return (1 + overshoot) * found, fooled


def _linearise(
    logits: Callable[[torch.Tensor], torch.Tensor], images: torch.Tensor, classes: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Linearise the margins of images (B, ...) to classes (B, K), the first of which is the label.

    :return: bool (B,): whether an image still has its label. Of those A that have: (A, K - 1), the logits of the other
        classes less that of the label; (A, K - 1, ...), their gradients.
    """
    count = classes.shape[1] - 1
    fitting = count if images.is_cuda else max(1, _PIXELS_OF_COPIES // math.prod(images.shape[2:]))
    copies = min(fitting, count) if len(images) == 1 else 1
    with torch.enable_grad():
        inputs = images.repeat(copies, *[1] * (images.ndim - 1)).requires_grad_()
        scores = logits(inputs)
        still = scores[: len(images)].argmax(1) == classes[:, 0]
        if not still.any():
            return still, scores[:0], images[:0, None]
        chosen = scores.gather(1, classes.expand(len(inputs), -1))
        margins = chosen[:, 1:] - chosen[:, :1]
        columns = []
        for first in range(0, count, copies):
            if copies == 1:
                columns.append(torch.autograd.grad(margins[:, first].sum(), inputs, retain_graph=True)[0][still])
            else:
                # Each copy takes a class of its own.
                share = margins[:, first : first + copies].diagonal()
                grads = torch.autograd.grad(share.sum(), inputs, retain_graph=True)[0]
                columns += [grad[None] for grad in grads[: len(share)]]
    return still, margins[: len(images)][still].detach(), torch.stack(columns, dim=1)


def _shortest_step(margins: torch.Tensor, gradients: torch.Tensor) -> torch.Tensor:
    """Return the shortest step, in L2, to the nearest of the linearised boundaries, for each image."""
    distances = margins.abs()
    norms = gradients.flatten(2).norm(dim=2) + 1e-7  # a class whose gradient vanishes is infinitely far
    nearest = (distances / norms).argmin(1)
    rows = torch.arange(len(nearest), device=nearest.device)
    length = distances[rows, nearest] / norms[rows, nearest].square()
    direction = gradients[rows, nearest]
    return length.view(-1, *[1] * (direction.ndim - 1)) * direction
