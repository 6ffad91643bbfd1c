"""DeepFool with one forward pass per step."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from art.attacks.evasion import DeepFool
from art.config import ART_NUMPY_DTYPE
from art.estimators.classification import PyTorchClassifier
from tqdm.auto import trange


class SharedForwardDeepFool(DeepFool):
    """ART's `DeepFool` for PyTorch classifiers, several times faster.

    ART runs the network forward and back once for every class, and differentiates with respect to the weights too.
    Here all class gradients of a step come from one forward pass, gradients are taken with respect to the images only,
    and only of the images that are not fooled yet. A single image is stacked as often as there are classes, so that
    all gradients come from one backward pass too.

    Where it differs from ART, ART is wrong: with `nb_grads` below the number of classes, ART considers the classes that
    score highest on any image of the call, not on the image itself, and takes the label's logit from the label's
    place among them, so that its steps are of the wrong length. ART also multiplies each step by the width of
    `clip_values`.

    Takes ART's parameters, with ART's meaning: `max_iter` steps at most, `epsilon` overshoot, `nb_grads` classes,
    `batch_size`, `verbose`. Gradients pass through the classifier's preprocessing defences.

    | Paper: Moosavi-Dezfooli, Fawzi & Frossard (2016), "DeepFool", Algorithm 2, arXiv:1511.04599.
    | Deviation, as ART: images are clipped to `clip_values`, if the classifier has them, after every step. The authors
      use `max_iter=50`, `epsilon=0.02` and `nb_grads=10`.
    """

    _estimator_requirements = (PyTorchClassifier,)

    def generate(self, x: np.ndarray, y: np.ndarray | None = None, **kwargs: Any) -> np.ndarray:
        """Find for each image a small perturbation that changes its label.

        :param x: Images (N, ...) in units of the classifier's `clip_values`.
        :param y: Not used: an image is fooled when its label is not what it was predicted as.
        :return: Perturbed images, float32, same shape; an image that was not fooled is where the last step left it.
        :raises ValueError: If the classifier has a single output, or `nb_grads` is below 2.
        """
        if self.nb_grads < 2:
            raise ValueError(f"`nb_grads` must be >= 2, the label and another class, got {self.nb_grads}")
        x = np.asarray(x, dtype=ART_NUMPY_DTYPE)
        adversarial = x.copy()
        for start in trange(0, len(x), self.batch_size, desc="DeepFool", disable=not self.verbose):
            batch = slice(start, start + self.batch_size)
            adversarial[batch] = self._attack(x[batch])
        return adversarial

    def _attack(self, x: np.ndarray) -> np.ndarray:
        original = torch.from_numpy(x).to(self.estimator.device)
        with torch.no_grad():
            # Classes by score, (N, K); the first is the label itself.
            logits = self._logits(original)
            classes = logits.topk(min(self.nb_grads, logits.shape[1]), dim=1).indices
        current = original.clone()
        active = torch.arange(len(x), device=current.device)
        for _ in range(self.max_iter):
            images = current[active]
            still, margins, gradients = self._linearise(images, classes[active])
            active = active[still]
            if not len(active):
                break
            current[active] = self._clip(images[still] + self._shortest(margins[still], gradients[still]))
        result = original + (1 + self.epsilon) * (current - original)
        adversarial: np.ndarray = self._clip(result).cpu().numpy()
        return adversarial

    def _logits(self, images: torch.Tensor) -> torch.Tensor:
        """Predict, with gradient if autograd is on, through the preprocessing, in evaluation mode."""
        self.estimator.model.eval()
        inputs, _ = self.estimator._apply_preprocessing(images, y=None, fit=False, no_grad=False)
        logits: torch.Tensor = self.estimator.model(inputs)
        if logits.ndim != 2 or logits.shape[1] < 2:
            raise ValueError(
                f"the classifier must return logits (N, K) with K >= 2, got {tuple(logits.shape)}: "
                "DeepFool needs one logit per class"
            )
        return logits

    def _linearise(
        self, images: torch.Tensor, classes: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Linearise the margins of images (B, ...) to classes (B, K), the first of which is the label.

        :return: bool (B,): whether an image still has its label; (B, K - 1): logits of the other classes less that of
            the label; (B, K - 1, ...): their gradients.
        """
        count = classes.shape[1] - 1
        with torch.enable_grad():
            if len(images) == 1:
                # One image keeps neither a CPU nor a GPU busy: as many copies as classes go back together.
                images = images.expand(count, *images.shape[1:]).clone().requires_grad_()
                logits = self._logits(images)
                copies = torch.arange(count, device=images.device)
                margins = logits[copies, classes[0, 1:]] - logits[copies, classes[0, 0]]
                still = (logits[:1].argmax(1) == classes[:, 0]).detach()
                gradients = torch.autograd.grad(margins.sum(), images)[0] if still.any() else torch.zeros_like(images)
                return still, margins.detach()[None], gradients[None]
            images = images.clone().requires_grad_()
            logits = self._logits(images)
            scores = logits.gather(1, classes)
            margins = scores[:, 1:] - scores[:, :1]
            still = (logits.argmax(1) == classes[:, 0]).detach()
            columns = [
                torch.autograd.grad(column.sum(), images, retain_graph=True)[0] if still.any() else images
                for column in margins.unbind(1)
            ]
            return still, margins.detach(), torch.stack(columns, dim=1).detach()

    @staticmethod
    def _shortest(margins: torch.Tensor, gradients: torch.Tensor) -> torch.Tensor:
        """Return the shortest step, in L2, to the nearest of the linearised boundaries, for each image."""
        distances = margins.abs()
        norms = gradients.flatten(2).norm(dim=2) + 1e-7  # a class whose gradient vanishes is infinitely far
        nearest = (distances / norms).argmin(1)
        rows = torch.arange(len(nearest), device=nearest.device)
        length = distances[rows, nearest] / norms[rows, nearest].square()
        direction = gradients[rows, nearest]
        return length.view(-1, *[1] * (direction.ndim - 1)) * direction

    def _clip(self, images: torch.Tensor) -> torch.Tensor:
        if self.estimator.clip_values is None:
            return images
        low, high = (torch.as_tensor(v, dtype=images.dtype, device=images.device) for v in self.estimator.clip_values)
        return torch.minimum(torch.maximum(images, low), high)
