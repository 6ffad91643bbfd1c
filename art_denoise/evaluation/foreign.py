"""Preprocessors that are not this package's: ART's by name, and those that a function in a user's file returns."""

from __future__ import annotations

import importlib
import inspect
import traceback
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from art.defences.preprocessor import Preprocessor
from art.defences.preprocessor.preprocessor import PreprocessorPyTorch

from art_denoise._user_code import run_user_code
from art_denoise.defences.adapters import AsPyTorch, PassedThrough
from art_denoise.evaluation import experiment
from art_denoise.evaluation.differentiable import has_gradient
from art_denoise.evaluation.experiment import CraftedGradient
from art_denoise.evaluation.origins import arguments_of, check_arguments, place_of, source_of, split_file, unknown


def build_foreign(
    preprocessor: experiment.Preprocessor,
    *,
    device_type: str,
    clip_values: tuple[float, float] = (0.0, 1.0),
    gradient: CraftedGradient = "exact",
    input_shape: Sequence[int] | None = None,
) -> list[PreprocessorPyTorch]:
    """Build one of ART's preprocessors, or run the function in a user's file, and make the result fit PyTorch.

    Of ART's classes `channels_first` and `clip_values` are set for the images, if they are not given, and so is that
    they are applied at prediction and return as many images as they get. A NumPy preprocessor with an estimate of its
    gradient of its own is differentiated by it; one without has no gradient but the identity.

    :param device_type: "gpu" or "cpu", for ART's PyTorch preprocessors.
    :param clip_values: Range of the images.
    :param gradient: "exact"; "identity" (BPDA) for all of them; or "partly-exact", the identity where there is none.
    :param input_shape: Shape of an image, for "partly-exact".
    :return: The preprocessor, or the preprocessors of the list, in order.
    :raises ValueError: If there is no such class, file, function or parameter, or what is returned is no preprocessor,
        or would not be applied. The error of a user's code is its cause.
    """
    given = arguments_of(preprocessor)
    file = split_file(preprocessor.name)
    if file:
        built = _of_file(preprocessor.name, *file, given)
    else:
        wanted = {"channels_first": True, "clip_values": clip_values, "device_type": device_type}
        built = [_of_art(preprocessor.name, given, wanted)]
    for stage in built:
        if not stage.apply_predict:
            raise ValueError(
                f"{preprocessor.name}: ART would not apply {type(stage).__name__} at prediction: make it with "
                "`apply_predict=True`"
            )
    return [for_pytorch(stage, gradient, input_shape) for stage in built]


def art_class(name: str) -> type[Preprocessor]:
    """Return one of ART's preprocessors for images by "art:ClassName".

    :raises ValueError: If there is none.
    """
    rooms = vars(importlib.import_module("art.defences.preprocessor"))
    there = {
        key: value
        for key, value in rooms.items()
        if inspect.isclass(value) and issubclass(value, Preprocessor) and value is not Preprocessor
    }
    cls = there.get(name.removeprefix("art:"))
    if cls is None:
        raise unknown("preprocessor", name, [f"art:{key}" for key in there], name, of="ART")
    return cls


def _of_art(name: str, given: Mapping[str, Any], wanted: Mapping[str, Any]) -> Preprocessor:
    cls = art_class(name)
    takes = inspect.signature(cls).parameters
    # ART's augmentations are for training, where they add images.
    filled = {"apply_predict": True, "augmentation": False, "verbose": False, **wanted}
    arguments = {**{key: value for key, value in filled.items() if key in takes}, **given}
    check_arguments(name, cls, arguments)
    try:
        return cls(**arguments)
    except ImportError as error:
        raise ValueError(f"{name} needs a package that ART does not install ({error})") from error


def _of_file(name: str, path: str, function: str, given: Mapping[str, Any]) -> list[Preprocessor]:
    try:
        module = _module_of(path)
    except (Exception, SystemExit) as error:
        raise _told(name, path, error) from error
    make = getattr(module, function, None)
    if not callable(make):
        there = [
            key
            for key, value in vars(module).items()
            if callable(value) and not key.startswith("_") and getattr(value, "__module__", None) == module.__name__
        ]
        raise unknown("function", function, there, name, of=path)
    check_arguments(name, make, given)
    try:
        built = make(**given)
    except (Exception, SystemExit) as error:
        raise _told(name, path, error) from error
    stages = list(built) if isinstance(built, (list, tuple)) else [built]
    if not stages or not all(isinstance(stage, Preprocessor) for stage in stages):
        got = f"a list of {', '.join(type(s).__name__ for s in stages) or 'nothing'}"
        got = got if isinstance(built, (list, tuple)) else type(built).__name__
        raise ValueError(f"{name} must return an ART preprocessor, or a list of them, and returns {got}")
    return stages


def _module_of(path: str) -> ModuleType:
    source_of(path)
    return _run(place_of(path), path)


@cache
def _run(file: Path, path: str) -> ModuleType:
    """Run a user's file, once."""
    return run_user_code(file, source_of(path), "user")


def _told(name: str, path: str, error: BaseException) -> ValueError:
    """Return the error of a user's code in one sentence, with the line of the file that it is from."""
    file = str(place_of(path))
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    where = f", line {lines[-1]}" if lines else ""
    return ValueError(f"{name} cannot be built ({type(error).__name__} in {path}{where}: {error})")


def for_pytorch(
    stage: Preprocessor, gradient: CraftedGradient, input_shape: Sequence[int] | None = None
) -> PreprocessorPyTorch:
    """Return a preprocessor for PyTorch with what is taken for its gradient.

    :param gradient: "exact": its own, where it has one. "identity" (BPDA). "partly-exact": the identity if it has none.
    :param input_shape: Shape of an image, (C, H, W), that "partly-exact" tries it with.
    """
    if gradient == "partly-exact":
        own = for_pytorch(stage, "exact")
        there = has_gradient([own]) if input_shape is None else has_gradient([own], input_shape)
        return own if there else for_pytorch(stage, "identity")
    if isinstance(stage, PreprocessorPyTorch):
        return PassedThrough(stage) if gradient == "identity" else stage
    estimates = type(stage).estimate_gradient is not Preprocessor.estimate_gradient
    return AsPyTorch(stage, gradient="estimate" if estimates and gradient == "exact" else "identity")
