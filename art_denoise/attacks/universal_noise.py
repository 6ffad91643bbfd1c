"""Controls: universal noise of the size of an attack, and of no direction."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from art.attacks.attack import EvasionAttack
from art.estimators.classification import PyTorchClassifier

from art_denoise._checks import check_integer, check_number
from art_denoise._images import Images
from art_denoise.attacks._checked import CheckedAttack
from art_denoise.attacks._classifier import labels_of, value_range
from art_denoise.attacks.perturbation import Perturbation
from art_denoise.attacks.universal import DEFAULT_EPS, check_eps


def random_signs(shape: tuple[int, int, int], eps: float, seed: int = 0) -> Perturbation:
    """Draw +`eps` or -`eps`, with equal chance, for every pixel and channel.

    :param shape: (C, H, W).
    :param eps: Size, as a share of the value range, above 0, at most 1.
    :param seed: Seed of the draw.
    """
    check_number("eps", eps, low=0, high=1, low_open=True)
    check_integer("seed", seed, low=0)
    signs = np.random.default_rng(seed).choice(np.array([-1, 1], dtype=np.float32), shape)
    return Perturbation(np.float32(eps) * signs, attack="random signs", norm="inf", eps=float(eps), seed=seed)


def random_direction(like: Perturbation, seed: int = 0) -> Perturbation:
    """Draw a perturbation of a random direction and of the same L2 and L∞ norm as another.

    It has the other's values, in random places and with random signs, and so the same of every norm that does not look
    at places.

    :param like: The other perturbation.
    :param seed: Seed of the draw.
    """
    check_integer("seed", seed, low=0)
    rng = np.random.default_rng(seed)
    values = rng.permutation(np.abs(like.array).ravel()) * rng.choice(
        np.array([-1, 1], dtype=np.float32), like.array.size
    )
    return Perturbation(
        values.reshape(like.array.shape).astype(np.float32),
        attack=f"random direction, size of {like.attack}",
        norm=like.norm,
        eps=like.eps,
        value_range=like.value_range,
        seed=seed,
        provenance={"source_of_the_size": like.source},
    )


class UniversalNoise(CheckedAttack):
    """Universal noise without an aim, as an attack of ART: what an attack has to be better than.

    :param classifier: Classifier with `clip_values`. It decides shape and units, and is asked for nothing else.
    :param eps: Size of random signs, in units of `clip_values`. None: 10/255 of the range.
    :param like: A perturbation whose L2 and L∞ norms the noise is to have, in a random direction; `eps` is not used
        then.
    :param seed: Seed of the draw.

    Example::

        >>> import numpy as np
        >>> import torch
        >>> from art.estimators.classification import PyTorchClassifier
        >>> from art_denoise import UniversalNoise
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 10))
        >>> loss = torch.nn.CrossEntropyLoss()
        >>> classifier = PyTorchClassifier(network, loss, input_shape=(3, 32, 32), nb_classes=10, clip_values=(0, 1))
        >>> images = np.random.default_rng(0).random((8, 3, 32, 32), dtype=np.float32)
        >>> control = UniversalNoise(classifier, eps=8 / 255)
        >>> noisy = control.generate(images)
        >>> bool(np.abs(noisy - images).max() <= 8 / 255 + 1e-6)
        True
        >>> 0 <= control.fooling_rate <= 1
        True
    """

    attack_params: ClassVar[list[str]] = [*EvasionAttack.attack_params, "eps", "like", "seed"]
    _estimator_requirements = (PyTorchClassifier,)

    def __init__(
        self,
        classifier: PyTorchClassifier,
        eps: float | None = None,
        *,
        like: Perturbation | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(estimator=classifier)
        self.eps, self.like, self.seed = eps, like, seed
        self._fooling_rate: float | None = None
        self._check_now_and_when_set()

    @property
    def noise(self) -> np.ndarray:
        """The noise, float32 (1, C, H, W), in the classifier's units."""
        low, high = value_range(self.estimator)
        return (np.float32(high - low) * self._drawn().array)[None]

    @property
    def fooling_rate(self) -> float | None:
        """Share of the images of the last call whose label it changed, 0 to 1; None before the first."""
        return self._fooling_rate

    def craft(self, x: np.ndarray, y: np.ndarray | None = None) -> Perturbation:
        """Draw the noise, and measure how many images it fools.

        :param x: Images, as for the other universal attacks; the noise does not depend on them.
        :param y: Not used.
        """
        low, high = value_range(self.estimator)
        images, drawn = Images(x, self.estimator.input_shape, (low, high)), self._drawn()
        perturbed = labels_of(self.estimator, images, self.noise[0])
        self._fooling_rate = float(np.mean(perturbed != labels_of(self.estimator, images)))
        return drawn.with_record(value_range=(low, high), fooling_rates={"images drawn for": self._fooling_rate})

    def generate(self, x: np.ndarray, y: np.ndarray | None = None, **kwargs: Any) -> np.ndarray:
        """Return the images with the noise, float32 (N, C, H, W), clipped to `clip_values`."""
        ends = value_range(self.estimator)
        return self.craft(x).add_to(Images(x, self.estimator.input_shape, ends).read(slice(None)), ends)

    def _drawn(self) -> Perturbation:
        low, high = value_range(self.estimator)
        if self.like is not None:
            shape = tuple(self.estimator.input_shape)
            if self.like.array.shape != shape:
                raise ValueError(f"`like` must be of the classifier's shape {shape}, got {self.like.array.shape}")
            return random_direction(self.like, self.seed)
        eps = DEFAULT_EPS if self.eps is None else check_eps(self.eps, low, high) / (high - low)
        return random_signs(self.estimator.input_shape, eps, self.seed)

    def _check_params(self) -> None:
        check_integer("seed", self.seed, low=0)
        if self.eps is not None:
            check_number("eps", self.eps, low=0, low_open=True)
        if self.like is not None and not isinstance(self.like, Perturbation):
            raise TypeError(f"`like` must be a Perturbation, got {type(self.like).__name__}")
