"""Filters of kornia as preprocessors, to compare defences with: median, Gaussian, bilateral, guided and others."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from art.defences.preprocessor.preprocessor import PreprocessorPyTorch

from art_denoise._autograd import clip
from art_denoise.evaluation import experiment
from art_denoise.evaluation.experiment import CraftedGradient
from art_denoise.evaluation.foreign import for_pytorch
from art_denoise.evaluation.origins import arguments_of, check_arguments, not_installed, unknown

#: Parameters of kornia's that hold a number for each axis; one number stands for both.
_OF_TWO_AXES = ("sigma", "sigma_space")

#: Of filters that are guided by an image, the parameter that takes it: they are guided by what they filter.
_GUIDE = "guidance"


class KorniaFilter(PreprocessorPyTorch):
    """A function of `kornia.filters` as an ART preprocessor for PyTorch, with the gradient that autograd has of it.

    :param name: Name of the function, which takes images (N, C, H, W) in [0, 1] first.
    :param arguments: Its other arguments; one number for `sigma` and `sigma_space` stands for both axes.
    :param clip_values: Range of the images, which the result is clipped to; the gradient is let through the clip.
    :raises ValueError: If kornia is not installed, has no such filter, or it does not take an argument.
    """

    def __init__(self, name: str, arguments: Mapping[str, Any], clip_values: tuple[float, float] = (0.0, 1.0)) -> None:
        super().__init__(device_type="cpu", is_fitted=True, apply_fit=False, apply_predict=True)
        self.name, self.arguments, self.clip_values = name, dict(arguments), clip_values
        self._filter = _filter(name, self.arguments)

    def forward(self, x: torch.Tensor, y: Any | None = None) -> tuple[torch.Tensor, Any | None]:
        """Filter images (N, C, H, W) in units of `clip_values`.

        :return: The filtered images, of the same shape, within `clip_values`, and `y` as it is.
        """
        low, high = self.clip_values
        filtered = self._filter((x - low) / (high - low))
        return clip(low + (high - low) * filtered, low, high), y


def build_kornia(
    preprocessor: experiment.Preprocessor,
    *,
    device_type: str,
    clip_values: tuple[float, float] = (0.0, 1.0),
    gradient: CraftedGradient = "exact",
    input_shape: Sequence[int] | None = None,
) -> list[PreprocessorPyTorch]:
    """Build a filter of kornia; arguments as for :func:`art_denoise.evaluation.foreign.build_foreign`.

    :param device_type: Not used: a filter is where its images are.
    :raises ValueError: As of :class:`KorniaFilter`.
    """
    made = KorniaFilter(preprocessor.name.partition(":")[2], arguments_of(preprocessor), clip_values)
    return [for_pytorch(made, gradient, input_shape)]


def _filter(name: str, given: Mapping[str, Any]) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return a function of images in [0, 1], with all else given."""
    try:
        filters = importlib.import_module("kornia.filters")
    except ImportError:
        raise not_installed(f"kornia:{name}", "kornia") from None
    there = {key: value for key, value in vars(filters).items() if inspect.isfunction(value) and _takes_images(value)}
    if name not in there:
        raise unknown("filter", name, tuple(there), f"kornia:{name}", of="kornia")
    function = there[name]
    images = [key for key in inspect.signature(function).parameters if key in (_GUIDE, "input")]
    check_arguments(f"kornia:{name}", function, {**dict.fromkeys(images), **given})
    arguments = {
        key: (value, value) if key in _OF_TWO_AXES and isinstance(value, (int, float)) else value
        for key, value in given.items()
    }
    return lambda x: function(**dict.fromkeys(images, x), **arguments)


def _takes_images(function: Callable[..., Any]) -> bool:
    return next(iter(inspect.signature(function).parameters), "") in ("input", _GUIDE)
