"""The additive defensive noise of Lee, Park & Lee (2018) as an ART preprocessing defence."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, get_args

import numpy as np
import torch

from art_denoise._checks import check_choice, check_integer, check_number
from art_denoise._images import Images
from art_denoise._plain import array_of
from art_denoise.choices import AcceptedDraw, DeviceType, FittedThrough, Gradient
from art_denoise.defences._base import ImageDefence
from art_denoise.defences.adapters import as_float32
from art_denoise.defences.chain import defences_after, defences_of, with_defences
from art_denoise.filters.defensive_noise import mean_accepted_noise

if TYPE_CHECKING:
    from art.utils import CLASSIFIER_TYPE


class DefensiveNoiseDefence(ImageDefence):
    """Add one fixed image, the defensive noise v_def, to every image, and clip to the value range.

    Either give the noise, or estimate it with :meth:`fit` (Eq. 1 of the paper). It is meant to stand before a denoiser:
    ``preprocessing_defences=[DefensiveNoiseDefence(v), ROFDefence()]``.

    | Paper: Lee, Park & Lee (2018), "Defensive denoising methods against adversarial attack", Eq. (1).
    | Deviation: the sum is clipped to `clip_values`, so that what the next defence sees is an image.

    Limitation: an average of random draws is mostly random. Compare it with noise of the same size and random
    direction before crediting its direction.

    :param noise: v_def in units of the *value range*, (C, H, W) or, with `channels_first=False`, (H, W, C), so that the
        same noise serves images in [0, 1] and in [0, 255]. None until :meth:`fit` is called.
    :param clip_values: Least and greatest value of the images, e.g. (0, 1) or (0, 255).
    :param channels_first: True for (N, C, H, W), False for (N, H, W, C).
    :param gradient: "exact" and "identity" are the same here: the gradient is passed through, also through the clip.
    :param chunk_size: Images treated at a time; None chooses from a memory budget (512 MiB, on a GPU 2 GiB).
    :param verbose: Whether to show a progress bar.
    :param apply_fit: Whether ART applies the defence while a model is trained.
    :param apply_predict: Whether ART applies the defence at prediction.
    :param device_type: "gpu" (falls back to the CPU) or "cpu": where arrays are treated. Tensors stay on their device.
    :raises TypeError: If a parameter is of the wrong type.
    :raises ValueError: If a parameter is outside its interval.

    Example::

        >>> import numpy as np
        >>> import torch
        >>> from art.estimators.classification import PyTorchClassifier
        >>> from art_denoise import DefensiveNoiseDefence, ROFDefence
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 10))
        >>> loss = torch.nn.CrossEntropyLoss()
        >>> classifier = PyTorchClassifier(network, loss, input_shape=(3, 32, 32), nb_classes=10, clip_values=(0, 1))
        >>> images = np.random.default_rng(0).random((8, 3, 32, 32), dtype=np.float32)
        >>> labels = np.arange(8)
        >>> defence = DefensiveNoiseDefence()
        >>> defence.fit(images, labels, classifier=classifier, accept="loss", eps=2 / 255)
        >>> defence.noise.shape
        (3, 32, 32)
        >>> classifier.set_params(preprocessing_defences=[defence, ROFDefence()])
        >>> classifier.predict(images).shape
        (8, 10)
    """

    params: ClassVar[list[str]] = ["noise", *ImageDefence.shared_params]
    _memory_factor = 4
    _noise: np.ndarray | None = None

    def __init__(
        self,
        noise: np.ndarray | None = None,
        *,
        clip_values: tuple[float, float] = (0.0, 1.0),
        channels_first: bool = True,
        gradient: Gradient = "exact",
        chunk_size: int | None = None,
        verbose: bool = False,
        apply_fit: bool = False,
        apply_predict: bool = True,
        device_type: DeviceType = "gpu",
    ) -> None:
        #: How the noise was estimated, by name; None if it was given.
        self.estimate: dict[str, Any] | None = None
        self.noise = noise
        super().__init__(
            clip_values=clip_values,
            channels_first=channels_first,
            gradient=gradient,
            chunk_size=chunk_size,
            verbose=verbose,
            apply_fit=apply_fit,
            apply_predict=apply_predict,
            device_type=device_type,
        )

    @property
    def noise(self) -> np.ndarray | None:
        """The noise that is added, in units of the value range; None if there is none yet."""
        return self._noise

    @noise.setter
    def noise(self, noise: np.ndarray | None) -> None:
        self._noise = array_of(noise) if isinstance(noise, torch.Tensor) else noise
        self.estimate = None

    @property
    def is_fitted(self) -> bool:
        """Whether there is a noise to add."""
        return self.noise is not None

    def fit(  # type: ignore[override]
        self,
        x: Any,
        y: np.ndarray | None = None,
        *,
        classifier: CLASSIFIER_TYPE | None = None,
        accept: AcceptedDraw = "flip",
        through: FittedThrough = "defences",
        sigma: float = 16 / 255,
        eps: float = 2 / 255,
        draws: int = 16,
        seed: int = 0,
        batch_size: int = 128,
        progress: str | None = None,
    ) -> None:
        """Estimate the noise by Eq. 1: average the random perturbations that help the classifier.

        Takes O(N · draws) predictions; with `accept="flip"` only of the images that are misclassified.

        :param x: Images as for :meth:`forward`, as an array. Bytes stand for 0 to 255 of the range, as for the attacks,
            and are read a batch at a time: a memory map may be larger than the memory. So may be what has a length and
            returns arrays of floats when it is indexed. The paper uses images that are used for nothing else.
        :param y: Labels, (N,) class indices or (N, K) one-hot.
        :param classifier: Any ART classifier whose `predict` returns logits or log-probabilities.
        :param accept: "flip": a draw counts if it turns a wrong prediction into a right one (the paper's experiment).
            "loss": a draw counts if it lowers the cross-entropy (Eq. 1 as written).
        :param through: "defences": the classifier predicts through its own preprocessing defences, those after this one
            if this one is among them: the noise is fitted as it is used. "classifier": without any.
        :param sigma: Standard deviation of the draws in units of the value range, > 0. Greater flips more predictions
            and leaves more noise in the average.
        :param eps: Root mean square of the result in units of the value range, > 0. Eq. 1 multiplies the average by a
            factor ε instead, which leaves the size to the number of accepted draws; it is `estimate["factor"]`.
        :param draws: Draws per image, ≥ 1.
        :param seed: Seed of the draws.
        :param batch_size: Images per prediction.
        :param progress: Name of the progress bar; None shows none.
        :raises TypeError: If `y` or `classifier` is missing.
        :raises ValueError: If an argument or a label is unfit, or no draw helps any image.
        """
        if y is None or classifier is None:
            raise TypeError("`y` and `classifier` are needed to fit the noise: fit(x, y, classifier=...)")
        eps = check_number("eps", eps, low=0, low_open=True)
        # PyTorch's loaders take no integers of NumPy.
        batch_size = check_integer("batch_size", batch_size, low=1)
        check_choice("through", through, get_args(FittedThrough))
        images = self._images_to_fit(x)
        labels = _class_indices(y, len(images), classifier.nb_classes)

        def logits(unit: torch.Tensor) -> torch.Tensor:
            perturbed = self._to_caller(unit.clamp(0, 1)).numpy()
            return torch.from_numpy(classifier.predict(perturbed, batch_size=batch_size)).float()

        chain = defences_of(classifier)
        following = defences_after(self, chain)
        chain = chain if following is None else following
        with with_defences(classifier, chain if through == "defences" else []):
            estimate = mean_accepted_noise(
                logits,
                images,
                labels,
                sigma=sigma,
                draws=draws,
                accept=accept,
                seed=seed,
                batch_size=batch_size,
                progress=progress,
            )
        factor = eps / float(estimate.mean.double().square().mean().sqrt())
        noise = (estimate.mean * factor).numpy()
        if np.abs(noise).max() > 1:
            raise ValueError(f"`eps` = {eps:g} makes a noise larger than the value range: use a smaller one")
        self.noise = noise if self.channels_first else noise.transpose(1, 2, 0)
        self.estimate = {
            "accept": accept,
            "through": through,
            "sigma": sigma,
            "eps": eps,
            "factor": factor,
            "linf": float(np.abs(noise).max()),
            "draws": draws,
            "drawn": estimate.drawn,
            "accepted": estimate.accepted,
            "images": len(x),
            "seed": seed,
        }

    def _images_to_fit(self, x: Any) -> torch.Tensor | _Read:
        """Return images as (N, C, H, W) in [0, 1]; bytes, and what is no array, are read when they are needed."""
        if isinstance(x, np.ndarray) and x.dtype == np.uint8:
            images = Images(x, x.shape[1:], (float(self.clip_values[0]), float(self.clip_values[1])))
            return _Read(len(x), lambda chosen: self._to_unit(self._checked(torch.from_numpy(images.read(chosen)))))
        if isinstance(x, (np.ndarray, torch.Tensor, list, tuple)) or not hasattr(x, "__getitem__"):
            return self._to_unit(self._checked(self._to_tensor(x)).cpu())
        return _Read(len(x), lambda chosen: self._to_unit(self._checked(self._to_tensor(x[chosen]).cpu())))

    def _filter(self, x: torch.Tensor) -> torch.Tensor:
        if self.noise is None:
            raise ValueError("`noise` is not set: give it to the constructor or call `fit(x, y, classifier=...)` first")
        # Flipped views and other orders of bytes are nothing to PyTorch.
        noise = torch.from_numpy(np.array(as_float32(self.noise), order="C")).to(x)
        if not self.channels_first:
            noise = noise.permute(2, 0, 1)
        if noise.shape != x.shape[1:]:
            raise ValueError(f"`noise` is for images (C, H, W) = {tuple(noise.shape)}, got images {tuple(x.shape[1:])}")
        return x + noise

    def _check_own_params(self) -> None:
        if self.noise is None:
            return
        rule = f"`noise` must be an array {'(C, H, W)' if self.channels_first else '(H, W, C)'} of numbers, got"
        noise = _array_of(self.noise, rule)
        if noise.ndim != 3 or not noise.size or noise.dtype.kind not in "fiu":
            raise ValueError(f"{rule} {noise.dtype} {noise.shape}")
        if not np.isfinite(noise).all() or np.abs(noise).max() > 1:
            raise ValueError(
                "`noise` must be finite and within -1 to 1, as it is in units of the value range: "
                "divide noise made for 0 to 255 by 255"
            )


class _Read:
    """So many images, read when they are indexed."""

    def __init__(self, count: int, read: Callable[[slice | np.ndarray], torch.Tensor]) -> None:
        self._count, self._read = count, read

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, chosen: slice | torch.Tensor) -> torch.Tensor:
        return self._read(chosen if isinstance(chosen, slice) else chosen.numpy())


def _array_of(values: Any, rule: str) -> np.ndarray:
    """Return numbers as an array, or raise `ValueError` with a rule."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # NumPy < 1.24 only warns of rows of unequal lengths
            return array_of(values) if isinstance(values, torch.Tensor) else np.asarray(values)
    except (TypeError, ValueError, Warning):
        raise ValueError(f"{rule} what is no array") from None


def _class_indices(y: np.ndarray, count: int, classes: int) -> torch.Tensor:
    """Return labels, class indices (N,) or one-hot (N, K), as class indices, int64 (N,), or raise."""
    rule = f"`y` must be class indices ({count},) or one-hot labels ({count}, {classes}), got"
    labels = _array_of(y, rule)
    if labels.ndim == 2 and labels.shape[1] == classes and labels.dtype.kind in "fiub":
        labels = labels.argmax(axis=1)
    if labels.shape != (count,) or labels.dtype.kind not in "iu":
        raise ValueError(f"{rule} {labels.dtype} {labels.shape}")
    if count and not (labels.min() >= 0 and labels.max() < classes):
        raise ValueError(f"`y` must be class indices from 0 to {classes - 1}, got {labels.min()} to {labels.max()}")
    return torch.from_numpy(labels.astype(np.int64))
