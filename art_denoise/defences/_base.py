"""What the defences share: parameters, checks of images, layout, value range, chunks and gradient. No mathematics."""

from __future__ import annotations

import abc
import logging
import warnings
from collections.abc import Callable
from typing import Any, ClassVar, get_args

import numpy as np
import torch
from art.config import ART_NUMPY_DTYPE
from art.defences.preprocessor.preprocessor import PreprocessorPyTorch
from tqdm.auto import tqdm

from art_denoise._autograd import StraightThrough, clip
from art_denoise._checks import check_choice, check_flag, check_integer, check_number
from art_denoise.choices import DeviceType, Gradient
from art_denoise.defences._parameters import Parameterised
from art_denoise.defences._scale import are_of_another_scale, likely_range, share_outside
from art_denoise.defences._shapes import check_shape, frames_of, videos_of

_logger = logging.getLogger(__name__)

#: Memory, in bytes, that the filtering of one chunk is meant to stay under, by type of device.
CHUNK_BUDGET = {"cpu": 512 * 2**20, "cuda": 2048 * 2**20}


#: Greatest absolute value of a range, and inverse of its least width: their quotients are still numbers in float32.
_MOST = 1e30


class ImageDefence(Parameterised, PreprocessorPyTorch, abc.ABC):
    """Base of the defences: everything but the filter.

    A subclass sets `params`, stores its own parameters, implements `_filter` and `_check_own_params`, and calls
    `super().__init__` last.
    """

    #: Parameters that every defence has, after its own.
    shared_params: ClassVar[list[str]] = [
        "clip_values",
        "channels_first",
        "gradient",
        "chunk_size",
        "verbose",
        "apply_fit",
        "apply_predict",
        "device_type",
    ]

    #: Working memory of the filter as a multiple of the chunk, without a gradient, on the device that needs the most.
    _memory_factor = 16

    #: The range that values were told to lie outside of: each is told once.
    _told_of: tuple[float, float] | None = None

    def __init__(
        self,
        *,
        clip_values: tuple[float, float],
        channels_first: bool,
        gradient: Gradient,
        chunk_size: int | None,
        verbose: bool,
        apply_fit: bool,
        apply_predict: bool,
        device_type: DeviceType,
    ) -> None:
        check_choice("device_type", device_type, get_args(DeviceType))
        check_flag("apply_fit", apply_fit)
        check_flag("apply_predict", apply_predict)
        super().__init__(device_type=device_type, is_fitted=True, apply_fit=apply_fit, apply_predict=apply_predict)
        self.clip_values = clip_values
        self.channels_first = channels_first
        self.gradient = gradient
        self.chunk_size = chunk_size
        self.verbose = verbose
        self._device_type = device_type
        self._check_now_and_when_set()

    @property
    def apply_fit(self) -> bool:
        """Whether ART applies the defence while a model is trained."""
        return self._apply_fit

    @apply_fit.setter
    def apply_fit(self, value: bool) -> None:
        self._apply_fit = check_flag("apply_fit", value)

    @property
    def apply_predict(self) -> bool:
        """Whether ART applies the defence at prediction."""
        return self._apply_predict

    @apply_predict.setter
    def apply_predict(self, value: bool) -> None:
        self._apply_predict = check_flag("apply_predict", value)

    @property
    def device_type(self) -> DeviceType:
        """Where arrays are filtered: "gpu", which falls back to the CPU, or "cpu"."""
        return self._device_type

    @device_type.setter
    def device_type(self, value: DeviceType) -> None:
        check_choice("device_type", value, get_args(DeviceType))
        self._device_type = value
        PreprocessorPyTorch.__init__(
            self,
            device_type=value,
            is_fitted=self._is_fitted,
            apply_fit=self._apply_fit,
            apply_predict=self._apply_predict,
        )

    @abc.abstractmethod
    def _filter(self, x: torch.Tensor) -> torch.Tensor:
        """Filter float32 images (N, C, H, W) whose value range is [0, 1]; each image by itself."""

    def _check_own_params(self) -> None:
        """Raise if a parameter of the subclass is unfit."""

    def forward(self, x: torch.Tensor, y: Any | None = None) -> tuple[torch.Tensor, Any | None]:
        """Apply the defence to a tensor; autograd differentiates it as `gradient` says.

        Exact is the derivative of the filter; the clip to `clip_values` before and after it passes the gradient
        through, as its own derivative, 0 where anything is clipped, would hide the filter's from attacks.

        :param x: Images, (N, C, H, W) or, with `channels_first=False`, (N, H, W, C), of any real dtype, on any device,
            in units of `clip_values`; or videos, (N, C, F, H, W) or (N, F, H, W, C), whose frames are images. Values
            outside, as of noise or of a step of an attack, are clipped first; so are results, as the filters may
            overshoot a little.
        :param y: Labels of any kind; returned as they are.
        :return: Images of the same shape on the same device, float32, inside `clip_values`, and `y`.
        :raises TypeError: If `x` is not a tensor of numbers.
        :raises ValueError: If the shape is none of images, a value is NaN or infinite, or the images are of another
            scale than `clip_values`: many values lie farther outside than its width, as no noise has it.
        :warns RuntimeWarning: Once, if values are clipped, unless it is by rounding.
        """
        images = self._checked(x)
        if images.ndim == 5:
            frames, _ = self.forward(frames_of(images, channels_first=self.channels_first))
            return videos_of(frames, images, channels_first=self.channels_first), y
        if self.gradient == "identity":
            with torch.no_grad():
                filtered = self._apply(images)
            return StraightThrough.apply(images, filtered), y
        return self._apply(images), y

    def __call__(self, x: np.ndarray, y: Any | None = None) -> tuple[np.ndarray, Any | None]:
        """Apply the defence to an array.

        :param x: Images as for `forward`, as a NumPy array with any strides; or an object array (N,) of images
            (C, H, W) of different sizes. Not changed.
        :param y: Labels of any kind; returned as they are.
        :return: A new float32 array of the same shape, inside `clip_values`, or an object array of such; and `y`.
        :raises TypeError: As `forward`.
        :raises ValueError: As `forward`.
        """
        if _is_ragged(x):
            return _each_image(lambda image: self(image[None])[0][0], x), y
        with torch.no_grad():
            filtered, _ = self.forward(self._to_tensor(x))
        return filtered.cpu().numpy(), y

    def estimate_gradient(self, x: np.ndarray, grad: np.ndarray) -> np.ndarray:
        """Propagate a gradient back through the defence, for estimators that are not PyTorch's.

        :param x: Input of the defence, as for `__call__`.
        :param grad: Gradient with respect to the output, of the shape of `x`, or with one more axis for the classes
            after the first, (N, K, ...), as ART's `class_gradient` passes it. For an object array an object array.
        :return: Gradient with respect to `x`, float32, of the shape of `grad`.
        :raises ValueError: If the shapes of `x` and `grad` do not fit, or as `forward`.
        """
        if _is_ragged(x):
            if len(grad) != len(x):
                raise ValueError(f"`grad` must have a gradient for each of {len(x)} images, got {len(grad)}")
            return _each_image(lambda image, g: self.estimate_gradient(image[None], g[None])[0], x, grad)
        grad_tensor = self._to_tensor(grad)
        shape = tuple(grad_tensor.shape)
        per_class = len(shape) == np.ndim(x) + 1 and shape[1] > 0
        if (shape[:1] + shape[2:] if per_class else shape) != np.shape(x):
            raise ValueError(
                f"`grad` must have the shape of `x`, {np.shape(x)}, or one more axis of at least one class after the "
                f"first, got {shape}"
            )
        x_tensor = self._to_tensor(x).to(torch.float32).requires_grad_()
        with torch.enable_grad():
            filtered, _ = self.forward(x_tensor)
        stages = grad_tensor.to(torch.float32).unbind(1) if per_class else (grad_tensor.to(torch.float32),)
        pulled = [torch.autograd.grad(filtered, x_tensor, stage, retain_graph=True)[0] for stage in stages]
        result = torch.stack(pulled, dim=1) if per_class else pulled[0]
        return result.cpu().numpy().astype(ART_NUMPY_DTYPE, copy=False)

    def _check_params(self) -> None:
        try:
            low, high = (check_number("clip_values", value) for value in self.clip_values)
        except (TypeError, ValueError):
            raise ValueError(
                "'clip_values' should be a tuple of 2 floats or arrays containing the allowed data range. "
                f"This defence takes two finite numbers, e.g. (0.0, 1.0) or (0, 255), got {self.clip_values!r}"
            ) from None
        if low >= high:
            raise ValueError(f"Invalid 'clip_values': min >= max. Got {self.clip_values!r}")
        if max(-low, high) > _MOST or high - low < 1 / _MOST or np.float32(low) == np.float32(high):
            raise ValueError(
                f"`clip_values` must be within ±{_MOST:g}, at least {1 / _MOST:g} apart and different in float32, as "
                f"images are, got {self.clip_values!r}: scale the images"
            )
        check_flag("channels_first", self.channels_first)
        check_flag("verbose", self.verbose)
        check_choice("gradient", self.gradient, get_args(Gradient))
        if self.chunk_size is not None:
            check_integer("chunk_size", self.chunk_size, low=1)
        self._check_own_params()

    def _to_tensor(self, x: np.ndarray) -> torch.Tensor:
        """Copy an array of numbers to a tensor on the defence's device."""
        try:
            # Of a list the type is given, or NumPy < 1.24 makes an object array of rows of unequal lengths.
            array = x if isinstance(x, np.ndarray) else np.asarray(x, dtype=ART_NUMPY_DTYPE)
            if array.dtype == object:
                array = array.astype(ART_NUMPY_DTYPE)
        except (TypeError, ValueError):
            raise TypeError(
                "`x` must be an array of real numbers; images of different sizes go into an object array (N,)"
            ) from None
        if array.dtype.kind not in "fiub":
            raise TypeError(f"`x` must be an array of real numbers, got dtype {array.dtype}")
        if array.dtype not in (np.float16, np.float32, np.float64) or not array.dtype.isnative:
            array = array.astype(ART_NUMPY_DTYPE)
        # Copied, as a view whose only negative strides are along axes of one pixel counts as contiguous.
        return torch.from_numpy(np.array(array, order="C")).to(self.device)

    def _checked(self, x: Any) -> torch.Tensor:
        """Return `x` as float32, clipped to `clip_values`, if it is images in their units, or raise."""
        if not isinstance(x, torch.Tensor) or x.is_complex():
            raise TypeError(f"`x` must be a tensor of real numbers, got {type(x).__name__}: call the defence on arrays")
        check_shape(tuple(x.shape), channels_first=self.channels_first)
        images = x.to(torch.float32).resolve_neg()
        if not images.numel():
            return images
        least, greatest = (float(v) for v in torch.aminmax(images.detach()))
        if not (np.isfinite(least) and np.isfinite(greatest)):
            raise ValueError("`x` must be finite, got NaN or infinite values: find where they come from")
        low, high = map(float, self.clip_values)
        if least >= low and greatest <= high:
            return images
        self._tell_of_values_outside(images.detach(), least, greatest)
        return clip(images, low, high)

    def _tell_of_values_outside(self, images: torch.Tensor, least: float, greatest: float) -> None:
        """Raise if images are of another scale than `clip_values`; warn, once, if values are clipped."""
        low, high = map(float, self.clip_values)
        share = share_outside(images, low, high)
        if not share:
            return
        likely = likely_range(least, greatest)
        remedy = "set `clip_values` to the range of the data" + (f", most likely {likely}" if likely else "")
        frames = frames_of(images, channels_first=self.channels_first) if images.ndim == 5 else images
        if are_of_another_scale(frames if self.channels_first else frames.permute(0, 3, 1, 2), low, high):
            raise ValueError(
                f"`x` must be in units of `clip_values` = ({low:g}, {high:g}), got values from {least:g} to "
                f"{greatest:g}: {remedy}; defences come before standardisation"
            )
        if self._told_of != (low, high):
            self._told_of = low, high
            warnings.warn(
                f"{share:.1%} of the values of `x` lie outside `clip_values` = ({low:g}, {high:g}), from {least:g} to "
                f"{greatest:g}, and {type(self).__name__} clips them. That is right for noise and "
                f"for steps of attacks; if the images are of another scale, {remedy}, and put the defence before any "
                "standardisation. This is told once",
                RuntimeWarning,
                stacklevel=4,
            )

    def _apply(self, images: torch.Tensor) -> torch.Tensor:
        """Filter float32 images in the caller's layout and range, chunk by chunk."""
        unit = self._to_unit(images)
        size, start = self._images_per_chunk(unit), 0
        filtered: list[torch.Tensor] = []
        with tqdm(total=len(unit), desc=type(self).__name__, unit="image", disable=not self.verbose) as bar:
            while start < len(unit) or not filtered:
                chunk = unit[start : start + size]
                try:
                    filtered.append(self._filter(chunk))
                except torch.cuda.OutOfMemoryError:
                    if len(chunk) == 1:
                        raise
                    size = len(chunk) // 2
                else:
                    start += size
                    bar.update(len(chunk))
                    continue
                # Out of the handler, whose traceback keeps the tensors of the failed attempt alive.
                torch.cuda.empty_cache()
                _logger.info("the memory of the GPU does not suffice for %d images at once: %d", len(chunk), size)
        result = filtered[0] if len(filtered) == 1 else torch.cat(filtered)
        return clip(self._to_caller(result), *map(float, self.clip_values))

    def _to_unit(self, images: torch.Tensor) -> torch.Tensor:
        """Take images from the caller's layout and range to (N, C, H, W) and [0, 1]."""
        low, high = map(float, self.clip_values)
        images = images if self.channels_first else images.permute(0, 3, 1, 2)
        # A pass over the images takes a tenth of the time of a filter: none is made for nothing.
        return images if (low, high) == (0, 1) else (images - low) / (high - low)

    def _to_caller(self, unit: torch.Tensor) -> torch.Tensor:
        """Undo `_to_unit`."""
        low, high = map(float, self.clip_values)
        images = unit if (low, high) == (0, 1) else unit * (high - low) + low
        return images if self.channels_first else images.permute(0, 2, 3, 1)

    def _images_per_chunk(self, images: torch.Tensor) -> int:
        if self.chunk_size is not None:
            return self.chunk_size
        per_image = images[:1].numel() * images.element_size() * self._memory_factor
        budget = CHUNK_BUDGET.get(images.device.type, CHUNK_BUDGET["cuda"])
        return max(1, budget // max(1, per_image))


def _is_ragged(x: Any) -> bool:
    """Whether `x` is an object array with one image an element, as ART has images of different sizes."""
    return isinstance(x, np.ndarray) and x.dtype == object and x.ndim == 1


def _each_image(function: Callable[..., np.ndarray], *arrays: np.ndarray) -> np.ndarray:
    """Apply a function to one image after the other; the results may differ in size."""
    results = np.empty(len(arrays[0]), dtype=object)
    for i, images in enumerate(zip(*arrays, strict=True)):
        try:
            results[i] = function(*map(_image_of, images))
        except (TypeError, ValueError) as error:
            raise type(error)(f"image {i} of {len(results)}: {error}") from None
    return results


def _image_of(element: Any) -> np.ndarray:
    """Return an element of an object array as an array of numbers; one of objects would again be taken apart."""
    try:
        # Of a list the type is given, as NumPy < 1.24 makes objects of rows of unequal lengths.
        image = element if isinstance(element, np.ndarray) else np.asarray(element, dtype=ART_NUMPY_DTYPE)
        return image.astype(ART_NUMPY_DTYPE) if image.dtype == object else image
    except (TypeError, ValueError):
        raise TypeError(f"`x` must be arrays of real numbers, got one of type {type(element).__name__}") from None
