"""A preprocessor where ART does not take it as it is: NumPy on PyTorch, PyTorch as NumPy, images from flat features."""

from __future__ import annotations

import math
from typing import Any, ClassVar, get_args

import numpy as np
import torch
from art.config import ART_NUMPY_DTYPE
from art.defences.preprocessor import Preprocessor
from art.defences.preprocessor.preprocessor import PreprocessorPyTorch
from sklearn.base import BaseEstimator, TransformerMixin

from art_denoise._autograd import StraightThrough
from art_denoise._checks import check_choice, check_integer
from art_denoise._plain import array_of
from art_denoise.choices import WrappedGradient
from art_denoise.defences._parameters import Parameterised


class Adapter(Parameterised):
    """What the adapters share: one preprocessor, applied when it says so, fitted as it is fitted."""

    params: ClassVar[list[str]] = ["preprocessor"]
    preprocessor: Preprocessor

    @property
    def apply_fit(self) -> bool:
        """Whether ART applies the preprocessor while a model is trained: as the wrapped one says."""
        return self.preprocessor.apply_fit

    @property
    def apply_predict(self) -> bool:
        """Whether ART applies the preprocessor at prediction: as the wrapped one says."""
        return self.preprocessor.apply_predict

    @property
    def is_fitted(self) -> bool:
        """Whether the wrapped preprocessor is fitted."""
        return self.preprocessor.is_fitted

    def fit(self, x: np.ndarray, y: np.ndarray | None = None, **kwargs: Any) -> None:
        """Fit the wrapped preprocessor."""
        self.preprocessor.fit(x, y, **kwargs)

    def _check_params(self) -> None:
        if not isinstance(self.preprocessor, Preprocessor):
            raise TypeError(f"`preprocessor` must be an ART preprocessor, got {_kind(self.preprocessor)}")


class AsPyTorch(Adapter, PreprocessorPyTorch):
    """Make any of ART's NumPy preprocessors one for PyTorch, which can be chained on PyTorch estimators.

    ART refuses `[SpatialSmoothing(), ROFDefence()]` on a `PyTorchClassifier`, and every other list that is neither all
    PyTorch nor one NumPy preprocessor (its issues #1888 and #1350); `[AsPyTorch(SpatialSmoothing()), ROFDefence()]`
    works, and attacks use ART's fast PyTorch implementations.

    Images are copied to the CPU and back, and cast to float32. Layout and value range are the estimator's: set
    `channels_first` and `clip_values` of the wrapped preprocessor accordingly.

    :param preprocessor: A preprocessor that works on arrays. One that draws at random still does.
    :param gradient: "identity" passes the gradient through unchanged (BPDA; the shape must not change). "estimate"
        asks the preprocessor's own `estimate_gradient`, which for most of ART's is the identity as well.
    :raises TypeError: If `preprocessor` is none, or is one for PyTorch already.
    :raises ValueError: If `gradient` is neither.

    Example::

        >>> import numpy as np
        >>> import torch
        >>> from art.defences.preprocessor import SpatialSmoothing
        >>> from art.estimators.classification import PyTorchClassifier
        >>> from art_denoise import AsPyTorch, ROFDefence
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 10))
        >>> loss = torch.nn.CrossEntropyLoss()
        >>> classifier = PyTorchClassifier(network, loss, input_shape=(3, 32, 32), nb_classes=10, clip_values=(0, 1))
        >>> images = np.random.default_rng(0).random((8, 3, 32, 32), dtype=np.float32)
        >>> chain = [AsPyTorch(SpatialSmoothing(channels_first=True)), ROFDefence()]
        >>> classifier.set_params(preprocessing_defences=chain)
        >>> classifier.predict(images).shape
        (8, 10)
    """

    params: ClassVar[list[str]] = ["preprocessor", "gradient"]

    def __init__(self, preprocessor: Preprocessor, gradient: WrappedGradient = "identity") -> None:
        self.preprocessor = preprocessor
        self.gradient = gradient
        self._check_now_and_when_set()
        super().__init__(device_type="cpu")

    def forward(self, x: torch.Tensor, y: Any | None = None) -> tuple[torch.Tensor, Any | None]:
        """Apply the preprocessor to a copy of a tensor on the CPU.

        :param x: What the preprocessor takes, as a tensor on any device.
        :param y: Labels as tensor or anything else; a tensor reaches the preprocessor as an array.
        :return: The result on the device of `x`, float32, and the labels the preprocessor returns.
        :raises TypeError: If `x` is no tensor, or the preprocessor does not return (x, y).
        :raises ValueError: If a gradient is wanted by the identity and the preprocessor changes the shape.
        """
        if not isinstance(x, torch.Tensor):
            raise TypeError(f"`x` must be a tensor, got {type(x).__name__}: call the preprocessor on arrays")
        labels = array_of(y) if isinstance(y, torch.Tensor) else y
        array, labels = pair_of(self.preprocessor, self.preprocessor(_copy(x), labels))
        result = torch.from_numpy(np.array(array, dtype=ART_NUMPY_DTYPE)).to(x.device)
        if isinstance(y, torch.Tensor) and labels is not None:
            labels = torch.as_tensor(labels, device=y.device)
        if not (x.requires_grad and torch.is_grad_enabled()):
            return result, labels
        if self.gradient == "estimate":
            return _OwnEstimate.apply(x, result, self.preprocessor), labels
        if result.shape != x.shape:
            raise ValueError(
                f"`gradient`='identity' needs a preprocessor that keeps the shape, but {_kind(self.preprocessor)} "
                f"makes {tuple(result.shape)} of {tuple(x.shape)}: use gradient='estimate'"
            )
        return StraightThrough.apply(x.to(result.dtype), result), labels

    def __call__(self, x: np.ndarray, y: Any | None = None) -> tuple[np.ndarray, Any | None]:
        """Apply the preprocessor to an array; the result is float32."""
        result, labels = pair_of(self.preprocessor, self.preprocessor(x, y))
        return as_float32(result), labels

    def estimate_gradient(self, x: np.ndarray, grad: np.ndarray) -> np.ndarray:
        """Propagate a gradient back as `gradient` says, for estimators that are not PyTorch's."""
        return grad if self.gradient == "identity" else pull_back(self.preprocessor, x, grad)

    def _check_params(self) -> None:
        super()._check_params()
        if isinstance(self.preprocessor, PreprocessorPyTorch):
            raise TypeError(
                f"`preprocessor` is one for PyTorch already, {_kind(self.preprocessor)}: put it into the list as it is"
            )
        check_choice("gradient", self.gradient, get_args(WrappedGradient))


class PassedThrough(Adapter, PreprocessorPyTorch):
    """A preprocessor for PyTorch whose gradient is taken as the identity (BPDA, Athalye et al. 2018, arXiv:1802.00420).

    :param preprocessor: The preprocessor; it keeps the shape of what it is given.
    """

    def __init__(self, preprocessor: PreprocessorPyTorch) -> None:
        self.preprocessor: PreprocessorPyTorch = preprocessor
        self._check_now_and_when_set()
        super().__init__(device_type="cpu")

    def forward(self, x: torch.Tensor, y: Any | None = None) -> tuple[torch.Tensor, Any | None]:
        """Apply the preprocessor; autograd passes the gradient through unchanged.

        :raises ValueError: If the preprocessor changes the shape.
        """
        with torch.no_grad():
            result, y = self.preprocessor.forward(x, y)
        if not (x.requires_grad and torch.is_grad_enabled()):
            return result, y
        if result.shape != x.shape:
            raise ValueError(
                f"{type(self.preprocessor).__name__} makes {tuple(result.shape)} of {tuple(x.shape)}, and so its "
                "gradient cannot be taken as the identity (bpda)"
            )
        return StraightThrough.apply(x.to(result.dtype), result), y

    def __call__(self, x: np.ndarray, y: Any | None = None) -> tuple[np.ndarray, Any | None]:
        """Apply the preprocessor to an array."""
        return self.preprocessor(x, y)

    def estimate_gradient(self, x: np.ndarray, grad: np.ndarray) -> np.ndarray:
        """Return the gradient unchanged."""
        return grad


class AsNumPy(Adapter):
    """Hide that a preprocessor is PyTorch's, so that ART asks its `estimate_gradient`.

    For ART's object detectors, whose `loss_gradient` stops at the output of PyTorch preprocessors and goes through
    NumPy ones: `PyTorchFasterRCNN(..., preprocessing_defences=AsNumPy(ROFDefence(clip_values=(0, 255))))` has the exact
    gradient. As ART does for all NumPy preprocessors there, the defence then sees the detector's own layout and range,
    not images in [0, 1].

    :param preprocessor: A preprocessor for PyTorch.
    :raises TypeError: If it is none.

    Example::

        >>> import numpy as np
        >>> from art.estimators.object_detection import PyTorchFasterRCNN
        >>> from torchvision.models.detection import fasterrcnn_mobilenet_v3_large_320_fpn
        >>> from art_denoise import AsNumPy, ROFDefence
        >>> detector = PyTorchFasterRCNN(
        ...     fasterrcnn_mobilenet_v3_large_320_fpn(weights=None, weights_backbone=None, min_size=64, max_size=64),
        ...     input_shape=(3, 64, 64),
        ...     clip_values=(0, 255),
        ...     channels_first=True,
        ...     preprocessing_defences=AsNumPy(ROFDefence(clip_values=(0, 255))),
        ... )
        >>> images = np.random.default_rng(0).uniform(0, 255, (2, 3, 64, 64)).astype(np.float32)
        >>> [sorted(found) for found in detector.predict(images)]
        [['boxes', 'labels', 'scores'], ['boxes', 'labels', 'scores']]
    """

    def __init__(self, preprocessor: PreprocessorPyTorch) -> None:
        self.preprocessor = preprocessor
        self._check_now_and_when_set()
        super().__init__()

    def __call__(self, x: np.ndarray, y: Any | None = None) -> tuple[np.ndarray, Any | None]:
        """Apply the preprocessor to an array."""
        return self.preprocessor(x, y)

    def estimate_gradient(self, x: np.ndarray, grad: np.ndarray) -> np.ndarray:
        """Propagate a gradient back through the preprocessor."""
        return self.preprocessor.estimate_gradient(x, grad)

    def _check_params(self) -> None:
        super()._check_params()
        if not isinstance(self.preprocessor, PreprocessorPyTorch):
            raise TypeError(f"`preprocessor` must be one for PyTorch, got {_kind(self.preprocessor)}: use it as it is")


class AsFlat(Adapter, PreprocessorPyTorch, TransformerMixin, BaseEstimator):
    """Apply a preprocessor of images to flat features that are the pixels of images, e.g. for scikit-learn.

    `ScikitlearnSVC(model, preprocessing_defences=[AsFlat(ROFDefence(clip_values=(0, 16)), image_shape=(1, 8, 8))])`
    denoises rows of 64 pixels as images of 8×8. Works on every estimator that takes features (N, F), and is itself a
    step of scikit-learn's pipelines: `make_pipeline(AsFlat(…), SVC())`.

    :param preprocessor: A preprocessor of images, for PyTorch or NumPy.
    :param image_shape: Shape of one image in the preprocessor's layout, e.g. (C, H, W), as the features are its
        pixels in row-major order.
    :raises TypeError: If `preprocessor` is none.
    :raises ValueError: If `image_shape` is not three numbers ≥ 1.

    Example::

        >>> import numpy as np
        >>> from art.estimators.classification import SklearnClassifier
        >>> from sklearn.datasets import load_digits
        >>> from sklearn.naive_bayes import GaussianNB
        >>> from art_denoise import AsFlat, ROFDefence
        >>> digits, labels = load_digits(return_X_y=True)  # rows of 64 pixels, 0 to 16
        >>> defence = AsFlat(ROFDefence(clip_values=(0, 16)), image_shape=(1, 8, 8))
        >>> model = GaussianNB().fit(digits, labels)
        >>> classifier = SklearnClassifier(model, clip_values=(0, 16), preprocessing_defences=[defence])
        >>> classifier.predict(digits[:5].astype(np.float32)).shape
        (5, 10)
    """

    params: ClassVar[list[str]] = ["preprocessor", "image_shape"]

    def __init__(self, preprocessor: Preprocessor, image_shape: tuple[int, int, int]) -> None:
        self.preprocessor = preprocessor
        self.image_shape = image_shape
        self._check_now_and_when_set()
        super().__init__(device_type="cpu")

    def forward(self, x: torch.Tensor, y: Any | None = None) -> tuple[torch.Tensor, Any | None]:
        """Apply the preprocessor to features (N, F) as a tensor.

        :raises ValueError: If `x` is not (N, F) with as many features as an image has pixels, or as the preprocessor.
        """
        self._check_features(x.shape)
        result, y = as_pytorch(self.preprocessor).forward(x.reshape(len(x), *self.image_shape), y)
        return result.flatten(1), y

    def __call__(self, x: np.ndarray, y: Any | None = None) -> tuple[np.ndarray, Any | None]:
        """Apply the preprocessor to features (N, F) as an array; the result is float32."""
        self._check_features(np.shape(x))
        result, y = self.preprocessor(np.asarray(x).reshape(len(x), *self.image_shape), y)
        return as_float32(result).reshape(len(result), math.prod(np.shape(result)[1:])), y

    def estimate_gradient(self, x: np.ndarray, grad: np.ndarray) -> np.ndarray:
        """Propagate a gradient (N, F), or (N, K, F) for K classes, back through the preprocessor."""
        self._check_features(np.shape(x))
        images = np.asarray(x).reshape(len(x), *self.image_shape)
        pulled = pull_back(self.preprocessor, images, grad.reshape(*grad.shape[:-1], *self.image_shape))
        return pulled.reshape(grad.shape)

    # ART asks for nothing.
    def fit(self, x: np.ndarray, y: np.ndarray | None = None, **kwargs: Any) -> AsFlat:  # type: ignore[override]
        """Fit the wrapped preprocessor, on features as it is given them, and return this one, as scikit-learn asks."""
        super().fit(x, y, **kwargs)
        return self

    def transform(self, x: np.ndarray) -> np.ndarray:
        """Apply the preprocessor to features (N, F), as a step of a pipeline of scikit-learn does.

        :param x: Features (N, F), an array or what becomes one.
        :return: The result (N, F), float32.
        :raises ValueError: If `x` has not as many features as an image has pixels.
        """
        return self(np.asarray(x))[0]

    def __sklearn_is_fitted__(self) -> bool:
        """Whether the wrapped preprocessor is fitted; most need not be."""
        return bool(self.is_fitted)

    def _check_params(self) -> None:
        super()._check_params()
        if not isinstance(self.image_shape, (tuple, list)) or len(self.image_shape) != 3:
            raise ValueError(f"`image_shape` must be three numbers, e.g. (C, H, W), got {self.image_shape!r}")
        for size in self.image_shape:
            check_integer("image_shape", size, low=1)

    def _check_features(self, shape: tuple[int, ...]) -> None:
        if len(shape) != 2 or shape[1] != math.prod(self.image_shape):
            raise ValueError(
                f"`x` must be features (N, {math.prod(self.image_shape)}), the pixels of images "
                f"{tuple(self.image_shape)}, got {tuple(shape)}"
            )


class _OwnEstimate(torch.autograd.Function):
    """The backward pass by a preprocessor's own `estimate_gradient`."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, result: torch.Tensor, preprocessor: Preprocessor) -> torch.Tensor:
        ctx.save_for_backward(x)
        ctx.preprocessor = preprocessor
        return result.view_as(result)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (x,) = ctx.saved_tensors
        pulled = ctx.preprocessor.estimate_gradient(_copy(x), _copy(grads[0]))
        return torch.as_tensor(np.asarray(pulled)).to(x), None, None


def as_pytorch(preprocessor: Preprocessor) -> PreprocessorPyTorch:
    """Return a preprocessor for PyTorch as it is, any other wrapped, with its own estimate of the gradient."""
    if isinstance(preprocessor, PreprocessorPyTorch):
        return preprocessor
    return AsPyTorch(preprocessor, gradient="estimate")


def pull_back(preprocessor: Preprocessor, x: np.ndarray, grad: np.ndarray) -> np.ndarray:
    """Propagate a gradient back through a preprocessor by `estimate_gradient`, class by class where it is one of many.

    :param x: What the preprocessor was applied to, an array (N, ...).
    :param grad: Gradient of the shape of its result, or with one more axis for the classes after the first.
    """
    # NumPy preprocessors with an estimate of their own need not know of the axis of the classes; PyTorch's do.
    if isinstance(preprocessor, PreprocessorPyTorch) or x.dtype == object or grad.ndim == x.ndim:
        return preprocessor.estimate_gradient(x, grad)
    if grad.ndim < 2 or not grad.shape[1] or len(grad) != len(x):
        raise ValueError(
            f"`grad` must be of the shape of the result for `x`, {np.shape(x)}, or have one more axis of at least one "
            f"class after the first, got {grad.shape}"
        )
    return np.stack([preprocessor.estimate_gradient(x, grad[:, k]) for k in range(grad.shape[1])], axis=1)


def _copy(x: torch.Tensor) -> np.ndarray:
    """Copy a tensor to an array, which a preprocessor may then change."""
    return np.array(array_of(x), dtype=ART_NUMPY_DTYPE)


def as_float32(x: np.ndarray) -> np.ndarray:
    """Return numbers as float32; all else, as images of different sizes, stays what it is."""
    x = np.asarray(x)
    return x.astype(ART_NUMPY_DTYPE, copy=False) if x.dtype.kind in "fiub" else x


def _kind(value: Any) -> str:
    return value.__name__ if isinstance(value, type) else type(value).__name__


def pair_of(preprocessor: Preprocessor, returned: Any) -> tuple[Any, Any]:
    """Return what a preprocessor returned for images and labels, or raise: two images alone could be taken for it."""
    if not isinstance(returned, (tuple, list)) or len(returned) != 2:
        kind = type(returned).__name__
        raise TypeError(f"{_kind(preprocessor)} must return (x, y), also if y is None, got {kind}")
    return returned[0], returned[1]
