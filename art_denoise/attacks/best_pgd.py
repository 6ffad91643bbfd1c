"""Projected gradient descent on single images that keeps the best iterate, and averages over what a defence draws."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import torch
from art.attacks.attack import EvasionAttack
from art.estimators.classification import PyTorchClassifier
from art.utils import check_and_transform_label_format
from torch.nn import functional
from tqdm.auto import tqdm

from art_denoise._checks import check_choice, check_flag, check_integer, check_number
from art_denoise._images import Images
from art_denoise._random import drawn_from
from art_denoise.attacks._checked import CheckedAttack
from art_denoise.attacks._classifier import at_once, labels_of, logits_of, margins_of, scores_of, value_range
from art_denoise.choices import ImageLoss

#: Draws that a gradient is the mean of, by default, if there is anything drawn.
SAMPLES = 8

#: Keeps quotients finite.
_TINY = 1e-30


class BestPGD(CheckedAttack):
    """Projected gradient descent (Madry et al. 2018) that returns the best point it came by, not the last.

    From x, or from random points within the bound, with the step s(t) = `eps_step` (1 + cos(π t / `max_iter`)) / 2::

        g  = gradient of the loss at x' with respect to x', the mean over `eot_samples` draws of the defences
        m  = momentum m + g / |g|₁
        x' = clip(project(x' + s(t) sign(m)))       norm inf
        x' = clip(project(x' + s(t) m / |m|₂))      norm 2

    ART's PGD returns the last iterate, also where one along the way had succeeded; here an image is left alone from the
    moment it is classified wrong, which makes the attack cheaper, too. If a defence draws at random, one draw proves
    nothing: all iterations are made, and the point with the least margin, the mean over the draws, is the result.

    Defences of the classifier are in the loop, each with its own gradient, as of :class:`art_denoise.SGDUAP`.

    :param estimator: Classifier with `clip_values` that returns logits, one for each of at least two classes.
    :param norm: `np.inf` or "inf", or 2.
    :param eps: Bound on the norm of what is added, in units of `clip_values`, above 0.
    :param eps_step: The first step, in the same units, above 0; it falls to 0. None: `eps` for the norm inf, half of it
        for the norm 2.
    :param max_iter: Iterations from each start, ≥ 1.
    :param num_random_init: Random starts after the one from the image itself, ≥ 0. Each of them is made for the images
        only that are still classified right.
    :param loss: "cross-entropy"; or "margin", the largest of the other logits less that of the label (Carlini & Wagner
        2017), which goes on where probabilities are 1 in float32. "both": the one, and then the other for what is left.
    :param momentum: Share of the direction before that is kept, 0 to below 1.
    :param eot_samples: Draws of the defences that each gradient is the mean of, ≥ 1 (expectation over transformation,
        Athalye et al. 2018, arXiv:1707.07397). None: 1, or 8 if the classifier returns something else each time.
    :param batch_size: Images that are attacked at once; None: by their size. No result depends on it, unless a defence
        draws at random.
    :param seed: Seed of the random starts, of which each image has its own, and of what defences draw.
    :param verbose: Show a progress bar.

    Untargeted. `y`, if given to `generate`, are the labels to get away from; by default those that are predicted.

    Cost: at most (1 + `num_random_init`) `max_iter` `eot_samples` forward and backward passes for each image, times two
    for both losses.

    Source: A. Madry, A. Makelov, L. Schmidt, D. Tsipras, A. Vladu, "Towards deep learning models resistant to
    adversarial attacks", ICLR 2018, arXiv:1706.06083, Eq. 2. Deviations: the best iterate is kept, momentum (Dong et
    al. 2018, arXiv:1710.06081), and a step that falls, where the paper's is constant.

    Example::

        >>> import numpy as np
        >>> import torch
        >>> from art.estimators.classification import PyTorchClassifier
        >>> from art_denoise import BestPGD, ROFDefence
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 10))
        >>> loss = torch.nn.CrossEntropyLoss()
        >>> classifier = PyTorchClassifier(network, loss, input_shape=(3, 32, 32), nb_classes=10, clip_values=(0, 1))
        >>> images = np.random.default_rng(0).random((8, 3, 32, 32), dtype=np.float32)
        >>> classifier.set_params(preprocessing_defences=[ROFDefence()])  # and the attacker knows it
        >>> attacked = BestPGD(classifier, eps=8 / 255, max_iter=5, verbose=False).generate(images)
        >>> bool(np.abs(attacked - images).max() <= 8 / 255 + 1e-6)
        True
        >>> changed = classifier.predict(attacked).argmax(axis=1) != classifier.predict(images).argmax(axis=1)
        >>> bool(changed.any())
        True
    """

    attack_params: ClassVar[list[str]] = [
        *EvasionAttack.attack_params,
        "norm",
        "eps",
        "eps_step",
        "max_iter",
        "num_random_init",
        "loss",
        "momentum",
        "eot_samples",
        "batch_size",
        "seed",
        "verbose",
    ]
    _estimator_requirements = (PyTorchClassifier,)

    #: Is told how many images are done since it was told last.
    told: Callable[[int], object] = staticmethod(lambda count: None)

    def __init__(
        self,
        estimator: PyTorchClassifier,
        norm: float | Literal["inf"] = np.inf,
        eps: float = 8 / 255,
        eps_step: float | None = None,
        max_iter: int = 40,
        num_random_init: int = 1,
        loss: ImageLoss = "both",
        momentum: float = 0.75,
        eot_samples: int | None = None,
        batch_size: int | None = None,
        seed: int = 0,
        verbose: bool = True,
    ) -> None:
        super().__init__(estimator=estimator)
        self.norm, self.eps, self.eps_step, self.max_iter = norm, eps, eps_step, max_iter
        self.num_random_init, self.loss, self.momentum = num_random_init, loss, momentum
        self.eot_samples, self.batch_size, self.seed, self.verbose = eot_samples, batch_size, seed, verbose
        self._check_now_and_when_set()

    def generate(self, x: np.ndarray, y: np.ndarray | None = None, **kwargs: Any) -> np.ndarray:
        """Attack images.

        :param x: Images (N, C, H, W), floats in units of the classifier's `clip_values`.
        :param y: Labels, int (N,) or one-hot (N, K); None: what the classifier predicts.
        :return: The attacked images, float32 (N, C, H, W), within `eps` of `x` and within `clip_values`.
        :raises ValueError: If `x` is not of the classifier's shape or beyond its range, there is another number of
            labels, or a defence has no gradient that autograd can pass.
        """
        classifier: PyTorchClassifier = self.estimator
        images = Images(x, classifier.input_shape, value_range(classifier))
        if y is None:
            labels = labels_of(classifier, images)
        else:
            labels = np.argmax(check_and_transform_label_format(y, nb_classes=classifier.nb_classes), axis=1)
        if len(labels) != len(images):
            raise ValueError(f"`y` must be as many labels as `x` are images, got {len(labels)} for {len(images)}")
        attacked = np.empty((len(images), *classifier.input_shape), dtype=np.float32)
        with tqdm(total=len(images), desc="BestPGD", unit="image", disable=not self.verbose) as bar:
            for part, batch in images.batches(self.batch_size or at_once(classifier)):
                with drawn_from(self.seed, part.start):
                    clean = torch.from_numpy(batch).to(classifier.device)
                    truth = torch.from_numpy(labels[part]).to(classifier.device)
                    numbers = np.arange(part.start, part.start + len(batch))
                    attacked[part] = self._attacked(clean, truth, numbers).cpu().numpy()
                bar.update(len(batch))
                self.told(len(batch))
        return attacked

    def _attacked(self, clean: torch.Tensor, truth: torch.Tensor, numbers: np.ndarray) -> torch.Tensor:
        """Return images as the attack leaves them: the point with the least margin of each."""
        with torch.no_grad():
            first, second = (scores_of(self.estimator, clean) for _ in range(2))
        # Rounding is the same each time.
        draws = not torch.equal(first, second)
        samples = self.eot_samples or (SAMPLES if draws else 1)
        best, margins = clean.clone(), margins_of(first, truth)
        for loss in get_args(ImageLoss)[:2] if self.loss == "both" else (self.loss,):
            for start in range(1 + self.num_random_init):
                # What was classified wrong once is done with, if it is classified the same each time.
                left = torch.arange(len(clean), device=clean.device)[(margins > 0) | draws]
                if not len(left):
                    return best
                x, m = self._started(clean[left], numbers[left.cpu().numpy()], start), torch.zeros_like(clean[left])
                for iteration in range(self.max_iter + 1):
                    gradient, found = self._gradient(x, truth[left], loss, samples)
                    better = found < margins[left]
                    margins[left[better]], best[left[better]] = found[better], x[better]
                    if iteration == self.max_iter:
                        break
                    step = self._first_step * (1 + math.cos(math.pi * iteration / self.max_iter)) / 2
                    m = self.momentum * m + gradient / gradient.abs().sum((1, 2, 3), keepdim=True).clamp(min=_TINY)
                    x = self._projected(x + step * self._direction(m), clean[left])
                    if not draws:
                        going = found > 0
                        left, x, m = left[going], x[going], m[going]
                        if not len(left):
                            break
        return best

    def _gradient(
        self, x: torch.Tensor, truth: torch.Tensor, loss: str, samples: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the gradient of the loss, and the margins, both the mean over the draws of defences."""
        gradient, margins = torch.zeros_like(x), torch.zeros(len(x), dtype=x.dtype, device=x.device)
        for _ in range(samples):
            with torch.enable_grad():
                point = x.clone().requires_grad_()
                logits, labels = logits_of(self.estimator, point, labels=truth)
                assert labels is not None
                if loss == "margin":
                    value = -margins_of(logits, labels).sum()
                else:
                    value = functional.cross_entropy(logits, labels, reduction="sum")
                gradient += torch.autograd.grad(value, point)[0] / samples
            copies = logits.detach().view(len(x), -1, logits.shape[1]).mean(1)
            margins += margins_of(copies, truth) / samples
        # Where there is none, the step is none: what is not finite would spoil the image.
        return gradient.nan_to_num(0, 0, 0), margins

    def _started(self, clean: torch.Tensor, numbers: np.ndarray, start: int) -> torch.Tensor:
        """Return the points that iterations begin at: the images, and then random points within the bound."""
        if not start:
            return clean.clone()
        drawn = np.empty(clean.shape, dtype=np.float32)
        for i, number in enumerate(numbers):
            rng = np.random.default_rng((self.seed, start, int(number)))
            if self._p == math.inf:
                drawn[i] = rng.uniform(-self.eps, self.eps, clean.shape[1:])
            else:
                normal = rng.normal(size=clean.shape[1:])
                radius = self.eps * rng.uniform() ** (1 / normal.size)
                drawn[i] = radius * normal / np.linalg.norm(normal)
        return self._projected(clean + torch.from_numpy(drawn).to(clean.device), clean)

    def _direction(self, m: torch.Tensor) -> torch.Tensor:
        return m.sign() if self._p == math.inf else m / m.square().sum((1, 2, 3), keepdim=True).sqrt().clamp(min=_TINY)

    def _projected(self, x: torch.Tensor, clean: torch.Tensor) -> torch.Tensor:
        added = x - clean
        if self._p == math.inf:
            added = added.clamp(-self.eps, self.eps)
        else:
            size = added.square().sum((1, 2, 3), keepdim=True).sqrt()
            added = added * (self.eps / size.clamp(min=_TINY)).clamp(max=1)
        return (clean + added).clamp(*value_range(self.estimator))

    @property
    def _p(self) -> float:
        return math.inf if self.norm == "inf" else float(self.norm)

    @property
    def _first_step(self) -> float:
        if self.eps_step is not None:
            return self.eps_step
        return self.eps if self._p == math.inf else self.eps / 2

    def _check_params(self) -> None:
        if self.norm not in (np.inf, "inf", 2):
            raise ValueError(f"`norm` must be np.inf or 2, got {self.norm!r}")
        check_number("eps", self.eps, low=0, low_open=True)
        if self.eps_step is not None:
            check_number("eps_step", self.eps_step, low=0, low_open=True)
        check_integer("max_iter", self.max_iter, low=1)
        check_integer("num_random_init", self.num_random_init, low=0)
        check_choice("loss", self.loss, get_args(ImageLoss))
        check_number("momentum", self.momentum, low=0, high=1)
        for name in ("eot_samples", "batch_size"):
            if getattr(self, name) is not None:
                check_integer(name, getattr(self, name), low=1)
        check_integer("seed", self.seed, low=0)
        check_flag("verbose", self.verbose)
