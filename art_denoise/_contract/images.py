"""Rules of what a defence makes of images."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from art.defences.preprocessor import Preprocessor

from art_denoise._contract.trial import Breach, NotClaimed, Trial, described, rule, tensor_of

#: How far results in different ranges may be apart, as a share of the range, at most and on average: rounding to
#: float32 in another range moves a stop or a cut-off that is on the borderline.
_APART, _APART_ON_AVERAGE = 2e-3, 1e-4


@rule("make returns an ART preprocessor, a new one each time")
def is_a_preprocessor(trial: Trial) -> Iterator[Breach]:
    made = [trial.make() for _ in range(2)]
    if not isinstance(made[0], Preprocessor):
        yield Breach(
            f"`make()` returned {type(made[0]).__name__}",
            "Derive the class from art.defences.preprocessor.Preprocessor, or from PreprocessorPyTorch",
        )
    if made[0] is made[1]:
        yield Breach("`make()` returned the same object twice", "Make a new one at each call: checks change them")


@rule("the shape is kept")
def shape_is_kept(trial: Trial) -> Iterator[Breach]:
    if trial.result.shape != trial.images.shape:
        yield Breach(
            f"images {trial.images.shape} came back as {trial.result.shape}",
            "Return as many images, with the axes in the order in which they came",
        )


@rule("noisy images are changed")
def images_are_changed(trial: Trial) -> Iterator[Breach]:
    if trial.result.shape == trial.images.shape and np.abs(trial.result - trial.images).max() <= 1e-3 * trial.width:
        yield Breach(
            "noisy images came back as they were",
            "See whether the values are in the range that the defence is made for, and whether it is strong enough",
        )


@rule("the result is float32, whatever the numbers")
def result_is_float32(trial: Trial) -> Iterator[Breach]:
    cast, first = "Return `result.astype(np.float32)`: networks take nothing else", "Cast to float32 before all else"
    for dtype in ("float32", "float64", "float16", ">f4"):
        x = trial.images.astype(dtype)
        result = trial.treated(x)
        if result.dtype != np.float32:
            yield Breach(f"{dtype} images came back as {result.dtype}", cast)
        elif apart := trial.difference(result, trial.treated(x.astype(np.float32))):
            yield Breach(f"{dtype} images and the same numbers as float32 {apart}", first)
    bytes_range = (0, 255)
    if bytes_range in [*trial.ranges, trial.limits]:
        own = {"clip_values": bytes_range} if bytes_range in trial.ranges else {}
        x = np.round(moved(trial, bytes_range)).astype(np.uint8)
        result = trial.treated(x, **own)
        if result.dtype != np.float32:
            yield Breach(f"bytes came back as {result.dtype}", cast)
        elif apart := trial.difference(result, trial.treated(x.astype(np.float32), **own), width=255):
            yield Breach(f"bytes and the same numbers as float32 {apart}", first)


@rule("the result is within clip_values")
def result_is_within_the_range(trial: Trial) -> Iterator[Breach]:
    results = [] if trial.limits is None else [(trial.limits, trial.result)]
    results += [(ends, trial.treated(moved(trial, ends), clip_values=ends)) for ends in trial.ranges]
    if not results:
        raise NotClaimed
    for (low, high), result in results:
        # Not the other way round: NaN is neither.
        if not (result.min() >= low and result.max() <= high):
            yield Breach(
                f"with `clip_values` = ({low:g}, {high:g}) values are from {result.min():g} to {result.max():g}",
                "Clip the result, `np.clip(result, *clip_values)`: what comes next takes it for an image",
            )


@rule("the input is left as it is")
def input_is_left(trial: Trial) -> Iterator[Breach]:
    x = trial.images.copy()
    result, _ = trial.made()(x)
    if not np.array_equal(x, trial.images):
        yield Breach("the array that was given was changed", "Work on a copy: it is the caller's, and is used again")
    if isinstance(result, np.ndarray) and np.shares_memory(result, x):
        yield Breach("the result shares its memory with the input", "Return a copy: whoever changes one changes both")
    if trial.is_pytorch:
        tensor = tensor_of(trial.images)
        trial.made().forward(tensor)
        if not np.array_equal(tensor.numpy(), trial.images):
            yield Breach("the tensor that was given was changed", "Avoid operations in place on `x`, or clone it")


@rule("labels pass through")
def labels_pass_through(trial: Trial) -> Iterator[Breach]:
    count = len(trial.images)
    for y in (None, np.arange(count), np.eye(count, dtype=np.float32)):
        _, returned = trial.made()(trial.images.copy(), y)
        kept = returned is None if y is None else returned is not None and np.array_equal(y, returned)
        if not kept:
            what = "None" if y is None else f"{y.dtype} {y.shape}"
            yield Breach(f"labels {what} came back as {returned!r}", "Return `y` as it came, after the images")


@rule("an image alone is treated as in any batch")
def batch_does_not_matter(trial: Trial) -> Iterator[Breach]:
    many = _many(trial)
    alone = np.concatenate([trial.treated(image[None]) for image in many])
    if apart := trial.difference(trial.treated(many), alone):
        yield Breach(
            f"{len(many)} images together and one by one {apart}",
            "Take no statistic, stop or random number over the batch: accuracy would depend on the batch size",
        )


@rule("chunks do not matter")
def chunks_do_not_matter(trial: Trial) -> Iterator[Breach]:
    trial.needs(chunk_size=1)
    many = _many(trial)
    for size in (1, 3, len(many) + 1):
        if apart := trial.difference(trial.treated(many, chunk_size=size), trial.treated(many)):
            yield Breach(f"results with `chunk_size` = {size} and without {apart}", "Treat each image by itself")


@rule("the same call gives the same result")
def twice_the_same(trial: Trial) -> Iterator[Breach]:
    if trial.random:
        raise NotClaimed
    preprocessor = trial.made()
    first, _, second = (
        np.asarray(preprocessor(x)[0]) for x in (trial.images.copy(), _darker(trial), trial.images.copy())
    )
    if apart := trial.difference(first, second):
        yield Breach(
            f"results of equal calls, with another in between, {apart}",
            "Keep nothing from one call to the next, and seed what is drawn; or say check_defence(..., random=True)",
        )


@rule("arrays and tensors are treated alike")
def arrays_and_tensors(trial: Trial) -> Iterator[Breach]:
    _needs_pytorch(trial)
    result, _ = trial.made().forward(tensor_of(trial.images))
    if result.dtype != torch.float32:
        yield Breach(f"`forward` returned {result.dtype}", "Return `result.to(torch.float32)`")
    elif apart := trial.difference(result.detach().cpu().numpy(), trial.result):
        yield Breach(f"results of `forward` and of `__call__` {apart}", "Let `__call__` do nothing but call `forward`")


@rule("tensors stay on their device")
def tensors_stay_on_their_device(trial: Trial) -> Iterator[Breach]:
    _needs_pytorch(trial)
    if not torch.cuda.is_available():
        raise NotClaimed
    x = tensor_of(trial.images).cuda()
    result, _ = trial.made().forward(x)
    if result.device != x.device:
        yield Breach(f"a tensor on {x.device} came back on {result.device}", "Return `result.to(x.device)`")


@rule("both layouts are treated alike")
def both_layouts(trial: Trial) -> Iterator[Breach]:
    trial.needs(channels_first=not trial.channels_first)
    there, back = ((0, 2, 3, 1), (0, 3, 1, 2)) if trial.channels_first else ((0, 3, 1, 2), (0, 2, 3, 1))
    other = np.ascontiguousarray(trial.images.transpose(there))
    result = trial.treated(other, channels_first=not trial.channels_first)
    if apart := trial.difference(result.transpose(back), trial.result):
        yield Breach(
            f"results with `channels_first` True and False {apart}",
            "Transpose the images at the beginning and at the end; does `make` hand `channels_first` on?",
        )


@rule("the value range does not matter")
def range_does_not_matter(trial: Trial) -> Iterator[Breach]:
    if trial.random or trial.limits is None or not trial.ranges:
        raise NotClaimed
    low, high = trial.limits
    for ends in trial.ranges:
        result = (trial.treated(moved(trial, ends), clip_values=ends) - ends[0]) / (ends[1] - ends[0])
        apart = np.abs(result - (trial.result - low) / (high - low))
        if not (apart.max() <= _APART and apart.mean() <= _APART_ON_AVERAGE):
            yield Breach(
                f"the same images in {ends[0]:g} to {ends[1]:g} come out up to {apart.max():.2g} of the range apart",
                "Take the images to 0 to 1 and back by `clip_values`, and give parameters in units of the range",
            )


@rule("images a little outside the range are clipped first")
def clipped_first(trial: Trial) -> Iterator[Breach]:
    if trial.limits is None:
        raise NotClaimed
    low, high = trial.limits
    beyond = (trial.images - low) * np.float32(1.4) - np.float32(0.2 * (high - low) - low)
    with warnings.catch_warnings():
        # It may say so.
        warnings.simplefilter("ignore")
        clipped = trial.treated(beyond)
    if apart := trial.difference(clipped, trial.treated(np.clip(beyond, low, high))):
        yield Breach(
            f"results of images that step out of the range and of the same images clipped {apart}",
            "Clip the input: attacks that do not clip step out of the range, where no image is",
        )


@rule("strides do not matter")
def strides_do_not_matter(trial: Trial) -> Iterator[Breach]:
    views = {
        "in Fortran order": trial.images.copy(order="F"),
        "with negative strides": trial.images.copy()[:, ::-1, :, ::-1],
    }
    for name, view in views.items():
        expected = trial.treated(np.ascontiguousarray(view))
        if apart := trial.difference(np.asarray(trial.made()(view)[0]), expected):
            yield Breach(f"results of an array {name} and of its copy {apart}", "Use np.ascontiguousarray(x)")
    if trial.is_pytorch:
        strided = tensor_of(trial.images).permute(2, 3, 0, 1).contiguous().permute(2, 3, 0, 1)
        if apart := trial.difference(trial.made().forward(strided)[0].detach().cpu().numpy(), trial.result):
            yield Breach(f"results of a tensor with other strides and of its copy {apart}", "Use x.contiguous()")


@rule("images of any size are treated")
def any_size(trial: Trial) -> Iterator[Breach]:
    remedy = "Treat images of any size; if the defence is for one size, skip this rule"
    for shape in ((2, 1, 5, 4), (2, 3, 1, 9), (2, 3, 1, 1), (1, 5, 6, 7), (0, 3, 5, 4)):
        unit = np.random.default_rng(1).random(shape).astype(np.float32)
        x = unit * np.float32(trial.width) + np.float32((trial.limits or (0.0, 1.0))[0])
        x = x if trial.channels_first else np.ascontiguousarray(x.transpose(0, 2, 3, 1))
        try:
            result = trial.treated(x)
        except Exception as error:  # whatever a preprocessor of others raises
            yield Breach(f"images {x.shape} made it raise {described(error)}", remedy)
        else:
            if result.shape != x.shape or result.dtype != np.float32 or not np.isfinite(result).all():
                kind = "" if np.isfinite(result).all() else ", not all finite"
                yield Breach(f"images {x.shape} came back as {result.dtype} {result.shape}{kind}", remedy)


@rule("images of different sizes are treated one by one, or refused")
def different_sizes(trial: Trial) -> Iterator[Breach]:
    first, second = trial.images[0], trial.images[1][:, :20, :20]
    ragged = np.empty(2, dtype=object)
    ragged[:] = [first, second]
    try:
        result, _ = trial.made()(ragged)
    except (TypeError, ValueError):
        raise NotClaimed from None
    for i, image in enumerate((first, second)):
        if apart := trial.difference(np.asarray(result[i]), trial.treated(image[None])[0]):
            yield Breach(
                f"image {i} of an object array of two and the same image alone {apart}",
                "Treat them one by one, or raise a ValueError that says so",
            )


@rule("arrays that are no images are refused")
def no_images_are_refused(trial: Trial) -> Iterator[Breach]:
    shapes = ((3, 8, 9), (2, 64), (2, 5, 3, 8, 9), (2, 3, 0, 9))
    remedy = "Raise a ValueError that says which shape is wanted and which was given"
    for shape in shapes:
        try:
            trial.treated(np.zeros(shape, dtype=np.float32))
        except (TypeError, ValueError) as error:
            if str(shape) not in str(error):
                yield Breach(f"the error for an array {shape} does not show its shape: {described(error)}", remedy)
        except Exception as error:
            yield Breach(f"an array {shape} made it raise {described(error)}", remedy)
        else:
            yield Breach(f"an array {shape} was taken for images", remedy)


@rule("values that are no intensities are refused")
def no_intensities_are_refused(trial: Trial) -> Iterator[Breach]:
    wrong: dict[str, np.ndarray] = {
        "NaN": np.full_like(trial.images, np.nan),
        "infinite values": np.full_like(trial.images, np.inf),
        "text": np.full(trial.images.shape, "a"),
        "complex numbers": trial.images.astype(complex),
    }
    if trial.limits is not None:
        wrong["values far outside `clip_values`"] = trial.images + np.float32(3 * trial.width)
    remedy = "Raise a ValueError, or a TypeError for what is no number: the result would be no image"
    for name, x in wrong.items():
        try:
            trial.treated(x)
        except (TypeError, ValueError) as error:
            if "clip_values" in name and "clip_values" not in str(error):
                yield Breach(f"the error for {name} does not name them: {described(error)}", remedy)
        except Exception as error:
            yield Breach(f"{name} made it raise {described(error)}", remedy)
        else:
            yield Breach(f"{name} were taken for intensities", remedy)


@rule("images of the other layout are refused")
def other_layout_is_refused(trial: Trial) -> Iterator[Breach]:
    remedy = "Raise a ValueError that names `channels_first` if the channels seem to be on the other axis"
    for first in (True, False):
        trial.needs(channels_first=first)
        x = np.zeros((2, 8, 9, 3) if first else (2, 3, 8, 9), dtype=np.float32)
        try:
            trial.treated(x, channels_first=first)
        except (TypeError, ValueError) as error:
            if "channels_first" not in str(error):
                yield Breach(f"the error for images {x.shape} does not name it: {described(error)}", remedy)
        else:
            yield Breach(f"images {x.shape} were taken with `channels_first` = {first}", remedy)


@rule("nothing is printed unless it is asked for")
def nothing_is_printed(trial: Trial) -> Iterator[Breach]:
    preprocessor = trial.made(verbose=False) if trial.offers(verbose=False) else trial.made()
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        preprocessor(trial.images.copy())
    if printed := (out.getvalue() + err.getvalue()).strip():
        yield Breach(f"it printed {printed[:200]!r}", "Print nothing, or show progress only for `verbose=True`")


def _needs_pytorch(trial: Trial) -> None:
    if not trial.is_pytorch:
        raise NotClaimed


def _darker(trial: Trial) -> np.ndarray:
    """Return the images at half of their brightness."""
    low = (trial.limits or (0.0, 1.0))[0]
    darker: np.ndarray = ((trial.images - low) * 0.5 + low).astype(np.float32)
    return darker


def _many(trial: Trial) -> np.ndarray:
    return np.concatenate([trial.images, _darker(trial)[::-1], trial.images[:, ::-1].copy()])


def moved(trial: Trial, ends: tuple[float, float]) -> np.ndarray:
    """Return the images in another range."""
    low, high = trial.limits or (0.0, 1.0)
    unit: Any = (trial.images - low) / (high - low)
    moved: np.ndarray = np.clip(unit * (ends[1] - ends[0]) + ends[0], *ends).astype(np.float32)
    return moved
