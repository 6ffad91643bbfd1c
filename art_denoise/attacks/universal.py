"""What the universal attacks share: arguments, checks, properties, and one perturbation as the result."""

from __future__ import annotations

import abc
import math
import os
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from art.estimators.classification import PyTorchClassifier

from art_denoise._checks import check_flag, check_integer, check_number
from art_denoise._images import Images, SomeImages
from art_denoise._plain import plain
from art_denoise._random import drawn_from, numbered_seed
from art_denoise.attacks._checked import CheckedAttack
from art_denoise.attacks._classifier import labels_of, scores_of, value_range
from art_denoise.attacks._crafting import Checkpoint, State, craft, digest_of
from art_denoise.attacks.perturbation import Perturbation

#: The paper's bound, as a share of the value range.
DEFAULT_EPS = 10 / 255

#: One in how many images decides between several starts, and is not crafted from.
_IN = 5


class UniversalAttack(CheckedAttack, abc.ABC):
    """Base of the attacks that craft one perturbation from many images, pass after pass.

    A subclass has the parameters of `universal_params`, checks its own in `_check_own_params`, and says in `_update`
    what a batch of images does to the perturbation.
    """

    #: Parameters that every universal attack has.
    universal_params: ClassVar[list[str]] = [
        "delta",
        "max_iter",
        "eps",
        "norm",
        "batch_size",
        "verbose",
        "seed",
        "patience",
        "measurements",
        "checkpoint",
        "eot_samples",
        "starts",
    ]
    _estimator_requirements = (PyTorchClassifier,)

    #: Whether the labels that a caller gives are used.
    _takes_labels: ClassVar[bool] = False

    #: Parameters that do not change what a pass does: a checkpoint goes on with others.
    _of_the_end: ClassVar[tuple[str, ...]] = ("delta", "max_iter", "verbose", "patience", "checkpoint", "starts")

    delta: float
    max_iter: int
    eps: float | None
    norm: float | Literal["inf"]
    batch_size: int
    verbose: bool
    seed: int
    patience: int | None
    measurements: int
    checkpoint: str | os.PathLike[str] | None
    eot_samples: int
    starts: int

    #: Is told how many images of a pass have been gone through since it was told last.
    told: Callable[[int], object] = staticmethod(lambda count: None)

    _state: State | None = None

    @property
    def noise(self) -> np.ndarray | None:
        """The perturbation, float32 (1, C, H, W), in the classifier's units; None before the first call."""
        return None if self._state is None else self._state.best[None]

    @property
    def fooling_rate(self) -> float | None:
        """Share of the images it was crafted from whose label it changes, 0 to 1: f(x) ≠ f(x + v), x + v clipped.

        With several `starts`, one in five images is for the choice between them, and was not crafted from.
        """
        return None if self._state is None else max(self._state.fooling_rates)

    @property
    def converged(self) -> bool | None:
        """Whether the fooling rate asked for, 1 - `delta`, was reached."""
        return None if self._state is None else max(self._state.fooling_rates) >= 1 - self.delta

    @property
    def history(self) -> list[dict[str, Any]]:
        """One record for each measurement: `passes` made, `fooling_rate`, and since the last one `updates`, the images
        that changed the perturbation, and `seconds`.
        """
        return [] if self._state is None else [dict(record) for record in self._state.history]

    def generate(self, x: np.ndarray, y: np.ndarray | None = None, **kwargs: Any) -> np.ndarray:
        """Craft a perturbation from images and add it to them, as ART's attacks do.

        For images that do not fit into memory use `craft`, which copies none of them.

        :param x: As for `craft`.
        :param y: As for `craft`.
        :return: Perturbed images, float32 (N, C, H, W), clipped to `clip_values`. The perturbation itself is `noise`.
        """
        perturbation = self.craft(x, y)
        value_range = perturbation.value_range
        return perturbation.add_to(Images(x, self.estimator.input_shape, value_range).read(slice(None)), value_range)

    def craft(self, x: np.ndarray, y: np.ndarray | None = None) -> Perturbation:
        """Craft a perturbation from images.

        :param x: Images (N, C, H, W), floats in units of the classifier's `clip_values`, or bytes, which stand for 0 to
            255 of that range. An array or a memory map (`np.load(path, mmap_mode="r")`), which is never read whole.
        :param y: Labels, int (N,) or one-hot (N, K), for `SGDUAP`'s loss; None: what the classifier predicts.
            `DeepFoolUAP` goes by what the classifier predicts and does not use them.
        :return: The perturbation with the highest fooling rate measured, within ±`eps`, in units of the value range.
        :raises TypeError: If `x` is neither of floats nor of bytes.
        :raises ValueError: If `x` is not of the classifier's shape or beyond its range, `eps` is larger than the range,
            the checkpoint is of another crafting, the perturbation stayed zero, or there are fewer than five images for
            several `starts`.

        Warns with a `RuntimeWarning` if a defence draws at random and `eot_samples` is 1.
        """
        classifier: PyTorchClassifier = self.estimator
        low, high = value_range(classifier)
        if self.eps is None and self._p != math.inf:
            raise ValueError("`eps` must be given for norm 2; its default is for the norm inf")
        check_eps(
            self._eps(low, high), low, high, elements=1 if self._p == math.inf else math.prod(classifier.input_shape)
        )
        images = Images(x, classifier.input_shape, (low, high))
        if self.eot_samples == 1:
            self._warn_of_draws(images)
        labels = None if y is None or not self._takes_labels else self._given_labels(y, len(images))
        name = type(self).__name__
        parameters = {
            k: _for_json(getattr(self, k))
            for k in self.attack_params
            if k not in self._of_the_end and k != "summary_writer"
        }
        rates, chosen_by = {}, {}
        if self.starts == 1:
            self._state = self._crafted(images, labels, parameters)
        else:
            crafting, choosing = self._divided(len(images))
            images, apart = SomeImages(images, crafting), SomeImages(images, choosing)
            labels = None if labels is None else labels[crafting]
            states = [self._crafted(images, labels, parameters, start) for start in range(self.starts)]
            with drawn_from(self.seed):
                before = labels_of(classifier, apart)
                found = [float(np.mean(labels_of(classifier, apart, state.best) != before)) for state in states]
            self._state = states[int(np.argmax(found))]
            rates, chosen_by = {"images for the choice": max(found)}, {"fooling_rates_of_starts": found}
        if not self._state.best.any():
            raise ValueError(
                f"the perturbation stayed zero: none of {len(images)} images could be fooled. {self._remedy_for_zero}"
            )
        assert self.fooling_rate is not None
        return Perturbation(
            (self._state.best / np.float32(high - low)).astype(np.float32),
            attack=name,
            norm="inf" if self._p == math.inf else "2",
            eps=self._eps(low, high) / (high - low),
            value_range=(low, high),
            seed=self.seed,
            fooling_rates={"crafting images": self.fooling_rate, **rates},
            provenance={
                "images": len(images),
                "passes": self._state.history[-1]["passes"],
                "history": self.history,
                **chosen_by,
                **{k: v for k, v in parameters.items() if k not in ("eps", "norm", "seed")},
            },
        )

    def _crafted(self, images: Images, labels: np.ndarray | None, parameters: dict[str, Any], start: int = 0) -> State:
        """Craft once, each start with a seed and a checkpoint of its own."""
        classifier, name = self.estimator, type(self).__name__
        seed = numbered_seed(self.seed, start)
        checkpoint = None
        if self.checkpoint is not None:
            depends = {
                "attack": name,
                "classifier": digest_of(classifier),
                "images": images.fingerprint,
                "labels": None if labels is None else labels.tolist(),
                **parameters,
                "seed": seed,
            }
            file = os.fspath(self.checkpoint)
            checkpoint = Checkpoint(f"{file}.{start}" if start else file, depends)
        title = name if self.starts == 1 else f"{name}, start {start + 1} of {self.starts}"
        parts = self._parts(len(images))
        return craft(
            classifier,
            images,
            self._update,
            partial(self._finished, parts=parts),
            batch_size=self.batch_size,
            max_passes=self.max_iter,
            measurements=parts,
            seed=seed,
            labels=labels,
            checkpoint=checkpoint,
            title=title if self.verbose else None,
            told=self.told,
        )

    def _divided(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the numbers of the images to craft from, and of those that decide between starts, in order."""
        if count < _IN:
            raise ValueError(f"`x` must be at least {_IN} images for {self.starts} starts, got {count}")
        drawn = np.random.default_rng([self.seed, _IN]).permutation(count)
        return np.sort(drawn[count // _IN :]), np.sort(drawn[: count // _IN])

    #: What to try when nothing could be fooled.
    _remedy_for_zero = "Use more images, or a larger `eps`"

    @abc.abstractmethod
    def _update(
        self, noise: torch.Tensor, images: torch.Tensor, labels: torch.Tensor, passes: int
    ) -> tuple[torch.Tensor, int, int]:
        """Let a batch of images change the perturbation: an `Update` of `_crafting`."""

    def _warn_of_draws(self, images: Images) -> None:
        """Warn if the same images have other scores a second time."""
        few = torch.from_numpy(images.read(slice(min(2, len(images))))).to(self.estimator.device)
        with drawn_from(self.seed), torch.no_grad():
            first, second = (scores_of(self.estimator, few) for _ in range(2))
        if not torch.allclose(first, second, rtol=1e-3, atol=1e-4):
            warnings.warn(
                "`classifier` returns something else each time, as a defence that draws at random makes it do, and "
                "one gradient is mostly noise: average several, eot_samples=10",
                RuntimeWarning,
                stacklevel=3,
            )

    def _given_labels(self, y: np.ndarray, count: int) -> np.ndarray | None:
        """Return the labels, int64 (N,), that the caller gave."""
        labels = np.asarray(y)
        labels = labels.argmax(axis=1) if labels.ndim == 2 else labels
        if labels.shape != (count,):
            raise ValueError(f"`y` must be labels ({count},) or one-hot ({count}, K), got {np.shape(y)}")
        return labels.astype(np.int64)

    def _parts(self, count: int) -> int:
        """Return how often a pass over so many images is measured: at most once a batch."""
        return min(self.measurements, math.ceil(count / self.batch_size))

    def _finished(self, rates: list[float], parts: int) -> bool:
        """Whether crafting ends after these fooling rates were measured, so many in each pass."""
        if not rates:
            return False
        if rates[-1] >= 1 - self.delta or len(rates) >= self.max_iter * parts:
            return True
        if self.patience is None or len(rates) % parts or len(rates) <= self.patience * parts:
            return False
        return max(rates[-self.patience * parts :]) <= max(rates[: -self.patience * parts])

    @property
    def _p(self) -> float:
        return math.inf if self.norm in ("inf", math.inf) else 2.0

    def _eps(self, low: float, high: float) -> float:
        """Return the bound in the classifier's units."""
        return DEFAULT_EPS * (high - low) if self.eps is None else float(self.eps)

    def _project(self, noise: torch.Tensor) -> torch.Tensor:
        """Return the nearest perturbation within the bound."""
        eps = self._eps(*value_range(self.estimator))
        if self._p == math.inf:
            return noise.clamp(-eps, eps)
        return noise * (eps / noise.norm().clamp(min=eps))

    def _check_params(self) -> None:
        for name in self.attack_params:
            # Of NumPy's numbers neither checkpoints nor records could be written, after all the work.
            if hasattr(self, name):
                setattr(self, name, plain(getattr(self, name)))
        check_number("delta", self.delta, low=0, high=1)
        check_integer("max_iter", self.max_iter, low=1)
        check_integer("batch_size", self.batch_size, low=1)
        check_integer("seed", self.seed, low=0)
        check_integer("measurements", self.measurements, low=1)
        check_integer("eot_samples", self.eot_samples, low=1)
        check_integer("starts", self.starts, low=1)
        check_flag("verbose", self.verbose)
        if self.eps is not None:
            check_number("eps", self.eps, low=0, low_open=True)
        if self.patience is not None:
            check_integer("patience", self.patience, low=1)
        if not isinstance(self.norm, str) and isinstance(self.norm, (int, float)) and self.norm in (2, math.inf):
            pass
        elif self.norm != "inf":
            raise ValueError(f"`norm` must be np.inf, 'inf' or 2, got {self.norm!r}")
        self._check_own_params()

    def _check_own_params(self) -> None:
        """Raise if a parameter of the subclass is unfit."""


def check_eps(eps: float, low: float, high: float, elements: int = 1) -> float:
    """Return a bound in units of images from `low` to `high`, or raise if it does not bound anything.

    :param elements: 1 for the norm inf, the number of elements for the norm 2.
    :raises ValueError: If it is larger than the range; most likely it was meant for images in 0 to 255.
    """
    if eps > (high - low) * math.sqrt(elements):
        meant = eps * (high - low) / 255
        raise ValueError(
            f"`eps` = {eps:g} is larger than the range of the images, {low:g} to {high:g}, in whose units it is: if it "
            f"was meant for images in 0 to 255, use eps={eps:g} * {high - low:g} / 255, which is {meant:.4g}"
        )
    return float(eps)


def _for_json(value: Any) -> Any:
    """Return a parameter as JSON has it."""
    return "inf" if value == math.inf else value
