"""What ART would refuse, or do wrong without a word, with the preprocessors of an estimator."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
from art.defences.preprocessor import Preprocessor, TotalVarMin
from art.defences.preprocessor.preprocessor import PreprocessorPyTorch, PreprocessorTensorFlowV2
from art.estimators.classification import EnsembleClassifier, XGBoostClassifier
from art.estimators.classification.classifier import ClassGradientsMixin
from art.estimators.classification.scikitlearn import ScikitlearnLogisticRegression
from art.estimators.estimator import LossGradientsMixin
from art.estimators.object_detection.pytorch_object_detector import PyTorchObjectDetector
from art.estimators.pytorch import PyTorchEstimator
from art.estimators.tensorflow import TensorFlowV2Estimator
from art.preprocessing.standardisation_mean_std.numpy import StandardisationMeanStd
from art.preprocessing.standardisation_mean_std.pytorch import StandardisationMeanStdPyTorch
from art.preprocessing.standardisation_mean_std.tensorflow import StandardisationMeanStdTensorFlow

from art_denoise.defences._base import ImageDefence
from art_denoise.defences._shapes import check_shape
from art_denoise.defences.adapters import Adapter, AsFlat
from art_denoise.defences.chain import Compose
from art_denoise.defences.defensive_noise import DefensiveNoiseDefence

if TYPE_CHECKING:
    from art.utils import ESTIMATOR_TYPE

_STANDARDISATIONS = (StandardisationMeanStd, StandardisationMeanStdPyTorch, StandardisationMeanStdTensorFlow)


def check_chain(estimator: ESTIMATOR_TYPE) -> None:
    """Say, before the first call, what would go wrong with the preprocessing of an ART estimator, and the remedy.

    ART accepts any list of preprocessors when an estimator is made and refuses most of them when it is first used;
    some it accepts and gets wrong. Nothing is computed here and the estimator is not changed.

    :param estimator: Any ART estimator; an ensemble is checked member by member.
    :raises TypeError: If `estimator` is none.
    :raises ValueError: If ART would refuse the chain, or a preprocessor would see images of another layout, value
        range or shape than it is set to. Every problem is named, with its remedy.
    :warns UserWarning: If predictions are right but a gradient would not be, or training would leave one out.

    Example::

        >>> import torch
        >>> from art.estimators.classification import PyTorchClassifier
        >>> from art_denoise import ROFDefence, check_chain
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 10))
        >>> loss = torch.nn.CrossEntropyLoss()
        >>> classifier = PyTorchClassifier(network, loss, input_shape=(3, 32, 32), nb_classes=10, clip_values=(0, 1))
        >>> classifier.set_params(preprocessing_defences=[ROFDefence()])
        >>> check_chain(classifier)  # nothing is wrong
        >>> classifier.set_params(preprocessing_defences=[ROFDefence(clip_values=(0, 255))])
        >>> check_chain(classifier)
        Traceback (most recent call last):
            ...
        ValueError: The preprocessing of this PyTorchClassifier would not work:
        - ROFDefence has `clip_values`=(0, 255), but sees images in (0, 1): use `clip_values=(0, 1)`
    """
    if isinstance(estimator, EnsembleClassifier):
        for member in estimator.classifiers:
            check_chain(member)
        return
    operations = getattr(estimator, "preprocessing_operations", None)
    if operations is None:
        raise TypeError(f"`estimator` must be an ART estimator, got {type(estimator).__name__}")
    problems = [*_combination(estimator, operations), *_order(operations)]
    view = _view(estimator, operations)
    for operation in operations:
        problems += _mismatches(operation, view)
    if problems:
        lines = "\n".join(f"- {problem}" for problem in problems)
        raise ValueError(f"The preprocessing of this {type(estimator).__name__} would not work:\n{lines}")
    for warning in _silent(estimator, operations):
        warnings.warn(warning, UserWarning, stacklevel=2)


@dataclass(frozen=True)
class _View:
    """What a preprocessor gets to see; None where it is not known."""

    shape: tuple[int | None, ...] | None
    channels_first: bool | None
    clip_values: tuple[float, float] | None


def _view(estimator: Any, operations: list[Preprocessor]) -> _View:
    # Without an input, or with one of which not even the first axis is known, there is no shape to judge by.
    shape = tuple(getattr(estimator, "input_shape", None) or ())
    view = _View(
        shape=shape if shape and shape[0] is not None else None,
        channels_first=getattr(estimator, "channels_first", None),
        clip_values=_limits(estimator.clip_values),
    )
    if isinstance(estimator, PyTorchObjectDetector) and _all_pytorch(operations):
        # There ART takes images to channels first and divides them by the upper limit before its PyTorch preprocessors.
        if view.shape is not None and len(view.shape) == 3 and not view.channels_first:
            view = replace(view, shape=(view.shape[2], *view.shape[:2]))
        limits = None if view.clip_values is None else (view.clip_values[0] / view.clip_values[1], 1.0)
        view = replace(view, channels_first=True, clip_values=limits)
    return view


def _limits(clip_values: Any) -> tuple[float, float] | None:
    """Return least and greatest value as two numbers, None if there are none or they differ from feature to feature."""
    if clip_values is None:
        return None
    low, high = (np.unique(np.asarray(limit, dtype=float)) for limit in clip_values)
    return (float(low[0]), float(high[0])) if len(low) == len(high) == 1 else None


def _all_pytorch(operations: list[Preprocessor]) -> bool:
    return all(isinstance(operation, PreprocessorPyTorch) for operation in operations)


def _without_standardisation(operations: list[Preprocessor]) -> list[Preprocessor]:
    return [operation for operation in operations if not isinstance(operation, _STANDARDISATIONS)]


def _combination(estimator: Any, operations: list[Preprocessor]) -> Iterator[str]:
    """Name a combination of kinds of preprocessors that ART refuses at the first call."""
    if isinstance(estimator, PyTorchEstimator):
        kind, framework = PreprocessorPyTorch, "PyTorch"
    elif isinstance(estimator, TensorFlowV2Estimator):
        kind, framework = PreprocessorTensorFlowV2, "TensorFlow"
    else:
        return  # All others call one after the other.
    alone = len(operations) == 1 or (len(operations) == 2 and isinstance(operations[-1], _STANDARDISATIONS))
    others = [type(operation).__name__ for operation in operations if not isinstance(operation, kind)]
    if not others or alone:
        return
    chain = _without_standardisation(operations)
    names = ", ".join(type(operation).__name__ for operation in chain)
    remedies = []
    if len({(operation.apply_fit, operation.apply_predict) for operation in chain}) == 1:
        remedies.append(f"make them one, `Compose([{names}])`")
    if framework == "PyTorch":
        remedies.append(f"wrap each that is not for PyTorch, `AsPyTorch({others[0]}(...))`")
    remedy = ", or ".join(remedies) or f"set `apply_fit` and `apply_predict` alike and use `Compose([{names}])`"
    yield (
        f"ART refuses the combination {names} on a {framework} estimator "
        f"(NotImplementedError at the first call), as {' and '.join(sorted(set(others)))} "
        f"{'is' if len(set(others)) == 1 else 'are'} not for {framework}: {remedy}"
    )


def _order(operations: list[Preprocessor]) -> Iterator[str]:
    """Name defences that come after a standardisation."""
    standardised = ""
    for operation in _flat(operations):
        if isinstance(operation, _STANDARDISATIONS):
            trivial = np.all(np.asarray(operation.mean) == 0) and np.all(np.asarray(operation.std) == 1)
            standardised = standardised or ("" if trivial else type(operation).__name__)
        elif isinstance(operation, ImageDefence) and standardised:
            yield (
                f"{type(operation).__name__} comes after {standardised}, which takes images out of `clip_values`: put "
                "the defence first, and the standardisation into the estimator's `preprocessing=(mean, std)`"
            )


def _flat(operations: Any) -> Iterator[Preprocessor]:
    """Walk through compositions and adapters."""
    for operation in operations:
        if isinstance(operation, Compose):
            yield from _flat(operation.preprocessors)
        elif isinstance(operation, Adapter):
            yield from _flat([operation.preprocessor])
        else:
            yield operation


def _mismatches(operation: Preprocessor, view: _View) -> Iterator[str]:
    """Name what one preprocessor would see other than it is set to."""
    name = type(operation).__name__
    if isinstance(operation, Compose):
        for stage in operation.preprocessors:
            yield from _mismatches(stage, view)
        return
    if isinstance(operation, AsFlat):
        pixels = math.prod(operation.image_shape)
        if view.shape is not None and view.shape != (pixels,):
            yield f"AsFlat with `image_shape`={operation.image_shape} takes {pixels} features, not inputs {view.shape}"
        view = _View(tuple(operation.image_shape), None, view.clip_values)
    if isinstance(operation, Adapter):
        yield from _mismatches(operation.preprocessor, view)
        return
    if isinstance(operation, ImageDefence) and _is_video(view.shape, channels_first=operation.channels_first):
        view = replace(view, shape=_frame(view.shape, channels_first=operation.channels_first))
    if isinstance(operation, ImageDefence) and view.shape is not None and len(view.shape) != 3:
        remedy = (
            f"if they are the pixels of images, use `AsFlat({name}(...), image_shape=(C, H, W))`"
            if len(view.shape) == 1
            else "it takes images (C, H, W) or (H, W, C), and videos (C, F, H, W) or (F, H, W, C)"
        )
        yield f"{name} needs images, but the inputs are {view.shape}: {remedy}"
        return
    first = getattr(operation, "channels_first", None)
    if isinstance(operation, TotalVarMin) and view.channels_first:
        yield "TotalVarMin takes images channels last only and smooths others along the channels: use `ROFDefence()`"
    elif first is not None and view.channels_first is not None and first != view.channels_first:
        yield (
            f"{name} has `channels_first`={first}, but sees images channels "
            f"{'first' if view.channels_first else 'last'}: use `channels_first={view.channels_first}`"
        )
    limits = _limits(getattr(operation, "clip_values", None))
    if limits is not None and view.clip_values is not None and not np.allclose(limits, view.clip_values):
        seen = f"({view.clip_values[0]:g}, {view.clip_values[1]:g})"
        yield f"{name} has `clip_values`={operation.clip_values}, but sees images in {seen}: use `clip_values={seen}`"
    if isinstance(operation, DefensiveNoiseDefence):
        if operation.noise is None:
            yield "DefensiveNoiseDefence has no noise yet: give it `noise`, or call its `fit` first"
        elif view.shape is not None and None not in view.shape and np.shape(operation.noise) != view.shape:
            yield f"DefensiveNoiseDefence has a noise for images {np.shape(operation.noise)}, but sees {view.shape}"


def _is_video(shape: tuple[int | None, ...] | None, *, channels_first: bool) -> TypeGuard[tuple[int | None, ...]]:
    """Whether a shape is that of one video in a layout."""
    if shape is None or len(shape) != 4:
        return False
    try:
        check_shape((1, *(1 if size is None else size for size in shape)), channels_first=channels_first)
    except ValueError:
        return False
    return True


def _frame(video: tuple[int | None, ...], *, channels_first: bool) -> tuple[int | None, ...]:
    """Return the shape of a frame of a video."""
    return (video[0], *video[2:]) if channels_first else video[1:]


def _silent(estimator: Any, operations: list[Preprocessor]) -> Iterator[str]:
    """Name what ART gets wrong without a word although the predictions are right."""
    kind = type(estimator).__name__
    defences = _without_standardisation(operations)
    names = ", ".join(type(operation).__name__ for operation in defences)
    if isinstance(estimator, XGBoostClassifier) and any(operation.apply_fit for operation in defences):
        yield f"{kind}.fit ignores preprocessors: train on `defence(x)[0]` instead of `x`"
    applied = [operation for operation in defences if operation.apply_predict]
    if isinstance(estimator, ScikitlearnLogisticRegression) and applied:
        yield (
            f"the `loss_gradient` of a {kind} takes its prediction at inputs preprocessed twice, and so is only near "
            "the gradient: use attacks by `class_gradient`, e.g. DeepFool, or a PyTorchClassifier with the same "
            "weights"
        )
    if isinstance(estimator, PyTorchObjectDetector):
        if applied and _all_pytorch(operations):
            yield (
                f"the gradients of a {kind} stop at the output of preprocessors for PyTorch, so attacks do not see "
                f"{names}: use `AsNumPy({'Compose([...])' if len(defences) > 1 else names + '(...)'})`, with the "
                "detector's own `clip_values` and `channels_first`"
            )
        elif applied and not estimator.channels_first:
            yield (
                f"a {kind} with `channels_first=False` hands gradients channels first to preprocessors of images "
                "channels last: for gradients use a detector with `channels_first=True`"
            )
    base = not isinstance(estimator, (PyTorchEstimator, TensorFlowV2Estimator))
    if base and len(applied) > 1 and isinstance(estimator, (LossGradientsMixin, ClassGradientsMixin)):
        yield (
            f"the gradients of a {kind} hand the unprocessed input to every preprocessor, which is wrong for more than "
            f"one: use `Compose([{names}])`"
        )
