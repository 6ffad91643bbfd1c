"""Universal perturbations from files: this package's, and those that others have published."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from safetensors import safe_open

from art_denoise._checks import check_choice, check_integer, check_number
from art_denoise._tensor_files import check_header
from art_denoise.attacks.array_files import read_arrays
from art_denoise.attacks.perturbation import Perturbation
from art_denoise.choices import AxisOrder, ChannelOrder

#: Numbers of channels by which the axis of the channels is known.
_CHANNELS = (1, 3)


#: Larger ones are most likely of other units: attacks are of 4 to 16 grey levels, as a share of the range.
_LARGE = 32 / 255

#: Most names of arrays in a message.
_NAMED = 20


def load_perturbation(
    path: str | os.PathLike[str],
    *,
    order: ChannelOrder | None = None,
    layout: AxisOrder | None = None,
    units: float | Sequence[float] | None = None,
    offset: float | None = None,
    size: int | tuple[int, int] | None = None,
    name: str | None = None,
    shape: tuple[int, ...] | None = None,
    index: int | None = None,
) -> Perturbation:
    """Read a universal perturbation: this package's files, MATLAB's `.mat`, NumPy's `.npy` and `.npz`, PyTorch's `.pt`
    and `.pth`, and others' `.safetensors`.

    Published collections say little about their files. What is not given is assumed, with a `UserWarning` that says
    what; so is it said if the perturbation is far larger than attacks are, above 32/255 of the range.
    :func:`art_denoise.evaluation.fooling.orientations` finds out which way round a perturbation fools a classifier the
    most.

    :param path: The file; its ending says what it is. Code in it (pickles) is never run.
    :param order: Order of the channels in the file, "rgb" or "bgr". Assumed: "rgb".
    :param layout: Order of the axes in the file, besides a first one of length 1: "CHW", "HWC", "CWH" or "WHC".
        Assumed: where there are 1 or 3, the channels are; height comes before width.
    :param units: Width of the range of the images it is for: 255 if 10 is ten grey levels, 1 if 10/255 is; or one for
        each channel, red first: (1 / 0.229, 1 / 0.224, 1 / 0.225) if it is for images that ImageNet's standard
        deviation was divided out of; 25.5 if it is of ±1 and stands for ±10/255. Assumed: 255 if any value is beyond
        ±1, else 1.
    :param offset: The value that changes nothing, in the file's own numbers: 128 if it is kept as bytes about that.
        None: 0.
    :param size: Height and width to resize to, bilinearly; the values are not scaled up again, so that the norms shrink
        a little. None: as it is.
    :param name: Name of the array in a file that holds several; "state_dict.uap" is in a mapping in a mapping, "0" is
        the first of a list.
    :param shape: Shape of the perturbation in the file, if that holds a flat vector: (1, 28, 28).
    :param index: Which perturbation, counted from 0, if the file holds several on top of each other.
    :return: float32 (C, H, W), RGB, in units of the value range; what was assumed is in `provenance["assumed"]`.
    :raises FileNotFoundError: If there is no such file.
    :raises ValueError: If the file is damaged or holds something else, does not fit what is said of it, or is an image,
        which has no value below 0, rather than what is added to one.

    Example::

        >>> import numpy as np
        >>> from art_denoise import load_perturbation
        >>> np.save("published.npy", np.random.default_rng(0).uniform(-10, 10, (224, 224, 3)))
        >>> perturbation = load_perturbation("published.npy", order="bgr", layout="HWC", units=255, size=32)
        >>> perturbation.array.shape
        (3, 32, 32)
        >>> perturbation.linf <= 10 / 255
        True
    """
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"`path` = {os.fspath(path)!r}: there is no such file")
    if order is not None:
        check_choice("order", order, get_args(ChannelOrder))
    if layout is not None:
        check_choice("layout", layout, get_args(AxisOrder))
    widths = None if units is None else np.atleast_1d(units).tolist()
    for width in widths or ():
        check_number("units", width, low=0, low_open=True)
    if offset is not None:
        check_number("offset", offset)
    if index is not None:
        check_integer("index", index, low=0)
    if file.suffix.lower() == ".safetensors" and _is_ours(file):
        told = {"order": order, "layout": layout, "units": units, "offset": offset, "name": name, "shape": shape}
        needless = [key for key, value in {**told, "index": index}.items() if value is not None]
        if needless:
            raise ValueError(
                f"`{needless[0]}` is for files of others: {os.fspath(path)!r} says itself what it holds, leave it out"
            )
        perturbation = Perturbation.load(file)
    else:
        array = _one_image(file, _array(file, name), shape, index)
        perturbation = _foreign(file, array, order, layout, widths, offset)
    return perturbation if size is None else _resized(perturbation, size)


def _foreign(
    file: Path,
    array: np.ndarray,
    order: ChannelOrder | None,
    layout: AxisOrder | None,
    widths: list[float] | None,
    offset: float | None,
) -> Perturbation:
    where = f"`path` = {os.fspath(file)!r}"
    assumed = []
    if layout is None:
        layout = _guessed_layout(file, array.shape)
        assumed.append(f"layout={layout!r}")
    unsigned = array.dtype.kind == "u"
    with np.errstate(over="ignore", invalid="ignore"):  # what is beyond float32 is infinite, and told of below
        array = array.transpose([layout.index(axis) for axis in "CHW"]).astype(np.float32) - np.float32(offset or 0)
    if order is None and len(array) == 3:
        order = "rgb"
        assumed.append("order='rgb'")
    if order == "bgr":
        array = array[::-1]
    largest = float(np.abs(array).max())
    if not np.isfinite(largest):
        raise ValueError(f"{where} holds NaN or infinite values")
    if unsigned and offset is None:
        raise ValueError(
            f"{where} holds bytes, from {array.min():g} to {array.max():g}, and none below 0: that is an image. "
            "If it is a perturbation about a middle, say which value changes nothing, offset=128"
        )
    if widths is None:
        widths = [255.0 if largest > 1 else 1.0]
        assumed.append(f"units={widths[0]:g}, as the greatest value is {largest:.4g}")
    if len(widths) not in (1, len(array)):
        raise ValueError(f"`units` must be one number, or one for each of {len(array)} channels, got {len(widths)}")
    in_units = array / np.array(widths, dtype=np.float32)[:, None, None]
    share = float(np.abs(in_units).max())
    if share > 1:
        raise ValueError(
            f"`units` = {', '.join(f'{width:g}' for width in widths)}: the greatest value of {os.fspath(file)!r} is "
            f"{largest:g}, more than the whole range"
        )
    if share > _LARGE and (in_units.min() >= 0 or in_units.max() <= 0):
        raise ValueError(
            f"{where} holds values from {array.min():g} to {array.max():g}, all of one sign: that is an image. If it "
            "is a perturbation about a middle, say which value changes nothing, such as offset=0.5"
        )
    if share > _LARGE:
        _warn(
            f"{os.fspath(file)!r} holds a perturbation of {255 * share:.4g}/255, where attacks are of 4 to 16/255. If "
            "it is for standardised images, give their standard deviation, units=(1 / 0.229, 1 / 0.224, 1 / 0.225); if "
            "it is of signs that stand for ±10/255, units=25.5 times their size; if it is kept about a middle, `offset`"
        )
    if assumed:
        _warn(
            f"{os.fspath(file)!r} does not say what it holds. Assumed: {', '.join(assumed)}. Say so, or otherwise, to "
            "load_perturbation"
        )
    found = np.ascontiguousarray(in_units)
    return Perturbation(found, attack="from a file", provenance={"file": file.name, "assumed": assumed})


def _warn(text: str) -> None:
    warnings.warn(text, UserWarning, stacklevel=4)


def _one_image(file: Path, array: np.ndarray, shape: tuple[int, ...] | None, index: int | None) -> np.ndarray:
    """Return the one of what a file holds that is asked for, with three axes."""
    where = f"`path` = {os.fspath(file)!r} holds an array {array.shape} of {array.dtype}"
    if shape is not None:
        shape = tuple(np.atleast_1d(shape).tolist())
        count = math.prod(shape)
        if len(shape) != 3 or count < 1 or array.size % count or not array.size:
            raise ValueError(
                f"{where}, which is not of `shape` = {shape}: give three numbers whose product is its size"
            )
        array = array.reshape(-1, *shape)
    if array.ndim == 4 and len(array) == 1 and not index:
        array = array[0]
    if array.ndim == 4 and array.dtype.kind in "fiu" and 0 not in array.shape:
        if index is None:
            raise ValueError(
                f"{where}: a perturbation is one image, three axes of numbers. If these are {len(array)} of them, say "
                "which, index=0; if not, say the shape of one, `shape`"
            )
        if index >= len(array):
            raise ValueError(f"`index` = {index}: {os.fspath(file)!r} holds {len(array)}, counted from 0")
        array = array[index]
    if array.ndim != 3 or array.dtype.kind not in "fiu" or 0 in array.shape:
        raise ValueError(
            f"{where}: a perturbation is one image, three axes of numbers. Of a flat vector say its shape, such as "
            "shape=(1, 28, 28)"
        )
    return array


def _is_ours(file: Path) -> bool:
    """Return whether a safetensors file says that this package wrote it; one that cannot be read is told of later."""
    try:
        check_header(file)
        with safe_open(file, framework="np") as opened:
            return {"units", "record"} <= set(opened.metadata() or {})
    except Exception:  # whatever a damaged file leads to
        return False


def _array(file: Path, name: str | None) -> np.ndarray:
    """Return the array in a file of others that is asked for."""
    there = read_arrays(file)
    if list(there) == [""]:
        return there[""]
    names = ", ".join(list(there)[:_NAMED]) or "no array"
    names += f" and {len(there) - _NAMED} more" if len(there) > _NAMED else ""
    if name is not None and name not in there:
        raise ValueError(f"`name` = {name!r} is not in {os.fspath(file)!r}, which holds {names}")
    if name is not None:
        return there[name]
    images = [array for array in there.values() if array.ndim >= 3]
    if len(there) != 1 and len(images) != 1:
        raise ValueError(f"`path` = {os.fspath(file)!r} must hold one image, or `name` say which: it holds {names}")
    return images[0] if images else next(iter(there.values()))


def _guessed_layout(file: Path, shape: tuple[int, ...]) -> AxisOrder:
    first, last = shape[0] in _CHANNELS, shape[2] in _CHANNELS
    if first == last:
        raise ValueError(
            f"`path` = {os.fspath(file)!r} holds an array {shape}, which does not show where its channels are: "
            f"give `layout`, one of {', '.join(get_args(AxisOrder))}"
        )
    return "CHW" if first else "HWC"


def _resized(perturbation: Perturbation, size: int | tuple[int, int]) -> Perturbation:
    given = np.atleast_1d(size).tolist()
    height, width = given * 2 if len(given) == 1 else given
    check_integer("size", height, low=1)
    check_integer("size", width, low=1)
    old = perturbation.array.shape[1:]
    if old == (height, width):
        return perturbation
    array = torch.nn.functional.interpolate(
        torch.from_numpy(np.ascontiguousarray(perturbation.array))[None],
        size=(height, width),
        mode="bilinear",
        align_corners=False,
        antialias=True,
    )[0].numpy()
    changed = {**perturbation.provenance, "resized_from": list(old)}
    return Perturbation(array, **{**_record(perturbation), "provenance": changed, "fooling_rates": {}})


def _record(perturbation: Perturbation) -> dict[str, Any]:
    return {k: v for k, v in vars(perturbation).items() if k != "array"}
