"""Universal perturbations from files: this package's, and those that others have published."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, get_args
from zipfile import is_zipfile

import numpy as np
import torch
from scipy.io import loadmat

from art_denoise._checks import check_choice, check_integer, check_number
from art_denoise.attacks.perturbation import Perturbation
from art_denoise.choices import AxisOrder, ChannelOrder

#: Numbers of channels by which the axis of the channels is known.
_CHANNELS = (1, 3)


def load_perturbation(
    path: str | os.PathLike[str],
    *,
    order: ChannelOrder | None = None,
    layout: AxisOrder | None = None,
    units: float | None = None,
    size: int | tuple[int, int] | None = None,
    name: str | None = None,
) -> Perturbation:
    """Read a universal perturbation: this package's `.safetensors`, MATLAB's `.mat`, NumPy's `.npy`, PyTorch's `.pt`.

    Published collections say little about their files. What is not given is assumed, with a `UserWarning` that says
    what; :func:`art_denoise.evaluation.fooling.orientations` finds out which way round a perturbation fools a
    classifier the most.

    :param path: The file; its ending says what it is. Code in it (pickles) is never run.
    :param order: Order of the channels in the file, "rgb" or "bgr". Assumed: "rgb".
    :param layout: Order of the axes in the file, besides a first one of length 1: "CHW", "HWC", "CWH" or "WHC".
        Assumed: where there are 1 or 3, the channels are; height comes before width.
    :param units: Width of the range of the images it is for: 255 if 10 is ten grey levels, 1 if 10/255 is. Assumed: 255
        if any value is beyond ±1, else 1.
    :param size: Height and width to resize to, bilinearly; the values are not scaled up again, so that the norms shrink
        a little. None: as it is.
    :param name: Name of the array in a `.mat` file or of the tensor in a `.pt` file, if it holds several.
    :return: float32 (C, H, W), RGB, in units of the value range; what was assumed is in `provenance["assumed"]`.
    :raises FileNotFoundError: If there is no such file.
    :raises ValueError: If the file is damaged or holds something else, or does not fit what is said of it.
    """
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"`path` = {os.fspath(path)!r}: there is no such file")
    if order is not None:
        check_choice("order", order, get_args(ChannelOrder))
    if layout is not None:
        check_choice("layout", layout, get_args(AxisOrder))
    if units is not None:
        check_number("units", units, low=0, low_open=True)
    if file.suffix == ".safetensors":
        told = {"order": order, "layout": layout, "units": units, "name": name}
        needless = [key for key, value in told.items() if value is not None]
        if needless:
            raise ValueError(
                f"`{needless[0]}` is for files of others: {os.fspath(path)!r} says itself what it holds, leave it out"
            )
        perturbation = Perturbation.load(file)
    else:
        perturbation = _foreign(file, order, layout, units, name)
    return perturbation if size is None else _resized(perturbation, size)


def _foreign(
    file: Path, order: ChannelOrder | None, layout: AxisOrder | None, units: float | None, name: str | None
) -> Perturbation:
    array = _array(file, name)
    assumed = []
    if array.ndim == 4 and len(array) == 1:
        array = array[0]
    if array.ndim != 3 or array.dtype.kind not in "fiu" or 0 in array.shape:
        raise ValueError(
            f"`path` = {os.fspath(file)!r} holds an array {array.shape} of {array.dtype}: a perturbation is one image, "
            "three axes of numbers"
        )
    if layout is None:
        layout = _guessed_layout(file, array.shape)
        assumed.append(f"layout={layout!r}")
    array = array.transpose([layout.index(axis) for axis in "CHW"]).astype(np.float32)
    if order is None and len(array) == 3:
        order = "rgb"
        assumed.append("order='rgb'")
    if order == "bgr":
        array = array[::-1]
    largest = float(np.abs(array).max())
    if not np.isfinite(largest):
        raise ValueError(f"`path` = {os.fspath(file)!r} holds NaN or infinite values")
    if units is None:
        units = 255.0 if largest > 1 else 1.0
        assumed.append(f"units={units:g}, as the greatest value is {largest:.4g}")
    if largest > units:
        raise ValueError(
            f"`units` = {units:g}: the greatest value of {os.fspath(file)!r} is {largest:g}, more than the whole range"
        )
    if assumed:
        warnings.warn(
            f"{os.fspath(file)!r} does not say what it holds. Assumed: {', '.join(assumed)}. Say so, or otherwise, to "
            "load_perturbation",
            UserWarning,
            stacklevel=3,
        )
    array = np.ascontiguousarray(array / np.float32(units))
    return Perturbation(array, attack="from a file", provenance={"file": file.name, "assumed": assumed})


def _array(file: Path, name: str | None) -> np.ndarray:
    """Return the array in a file of others."""
    readers: dict[str, Callable[[Path], Any]] = {
        ".npy": lambda file: np.load(file, allow_pickle=False),
        ".mat": lambda file: {k: v for k, v in loadmat(file).items() if not k.startswith("__")},
        ".pt": _tensors,
        ".pth": _tensors,
    }
    if file.suffix not in readers:
        raise ValueError(
            f"`path` = {os.fspath(file)!r} must end in .safetensors, {', '.join(readers)}: save the array by np.save"
        )
    try:
        content = readers[file.suffix](file)
    except NotImplementedError as error:
        raise ValueError(
            f"`path` = {os.fspath(file)!r} is of MATLAB 7.3, which is HDF5: read the array with h5py, "
            "h5py.File(path)['v'], whose axes are in the reverse order, and save it by np.save"
        ) from error
    except Exception as error:  # readers of damaged files raise whatever they stumble over
        # PyTorch's files are archives; what fails to load from a whole one are objects that are no tensors.
        if "pickle" in str(error).lower() or (isinstance(error, UnpicklingError) and is_zipfile(file)):
            raise ValueError(
                f"`path` = {os.fspath(file)!r} is no array, or holds pickled objects, which could be code and are "
                "refused: save the array alone by np.save"
            ) from error
        reason = type(error).__name__ if isinstance(error, UnpicklingError) else str(error).split("\n")[0][:200]
        raise ValueError(f"`path` = {os.fspath(file)!r} is damaged or of another kind ({reason})") from error
    if isinstance(content, np.ndarray):
        return content
    arrays = {k: np.asarray(v) for k, v in content.items() if isinstance(v, np.ndarray) and v.ndim >= 3}
    names = ", ".join(content) or "nothing"
    if name is not None and name not in content:
        raise ValueError(f"`name` = {name!r} is not in {os.fspath(file)!r}, which holds {names}")
    if name is None and len(arrays) != 1:
        raise ValueError(f"`path` = {os.fspath(file)!r} must hold one image, or `name` say which: it holds {names}")
    return np.asarray(content[name]) if name is not None else next(iter(arrays.values()))


def _tensors(file: Path) -> Any:
    content = torch.load(file, map_location="cpu", weights_only=True)
    if isinstance(content, torch.Tensor):
        return content.detach().numpy()
    return {k: v.detach().numpy() for k, v in dict(content).items() if isinstance(v, torch.Tensor)}


def _guessed_layout(file: Path, shape: tuple[int, ...]) -> AxisOrder:
    first, last = shape[0] in _CHANNELS, shape[2] in _CHANNELS
    if first == last:
        raise ValueError(
            f"`path` = {os.fspath(file)!r} holds an array {shape}, which does not show where its channels are: "
            f"give `layout`, one of {', '.join(get_args(AxisOrder))}"
        )
    return "CHW" if first else "HWC"


def _resized(perturbation: Perturbation, size: int | tuple[int, int]) -> Perturbation:
    height, width = (size, size) if isinstance(size, int) else size
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
