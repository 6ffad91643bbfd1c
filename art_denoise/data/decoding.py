"""Files of images become squares of bytes, as torchvision makes them; nothing but formats of images is tried."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from threading import Lock

import numpy as np
from PIL import Image, UnidentifiedImageError

from art_denoise._checks import check_choice, check_integer
from art_denoise._within import Within

#: Formats of images that are read, in the files of whatever ending.
_FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "BMP", "DIB", "TIFF", "GIF", "PPM", "JPEG2000", "AVIF")

#: Most bytes of a file, and most pixels of an image in it: Pillow's own limit, half a gigabyte as RGB. They are looked
#: at before anything is decoded, so that a file of some bytes does not take all memory.
_MOST_BYTES, _MOST_PIXELS = 2**30, 2 * (2**30 // 12)

#: Most pixels of a resized image, before it is cut: some 100 MB.
_MOST_RESIZED = 2**25

#: Values of 16 bits that all stay below this are most likely of 12 bits, and would come out as good as black.
_TWELVE_BITS = 2**12

#: Number of a TIFF's tag.
_BITS_PER_SAMPLE = 258


@dataclass(frozen=True)
class Framing:
    """How an image becomes a square of bytes: torchvision's recipe of ImageNet networks.

    :param resize: Length of the shorter side, in pixels, that an image is resized to.
    :param crop: Side of the square cut from its centre, in pixels, at most `resize`.
    :param interpolation: "nearest", "bilinear" or "bicubic"; Pillow's, which smooths where it shrinks.
    :param margin: Where the crop begins if half of what is cut off is no whole number: "even", the even number next to
        it, as torchvision does it, or "down", the smaller one, as most other programs do.
    """

    resize: int = 256
    crop: int = 224
    interpolation: str = "bilinear"
    margin: str = "even"

    def __post_init__(self) -> None:
        check_integer("resize", self.resize, low=1)
        check_integer("crop", self.crop, low=1)
        check_choice("interpolation", self.interpolation, ("nearest", "bilinear", "bicubic"))
        check_choice("margin", self.margin, ("even", "down"))
        if self.crop > self.resize:
            raise ValueError(f"`crop` must be <= `resize` = {self.resize}, got {self.crop}")


def decode_image(path: str | os.PathLike[str], framing: Framing) -> np.ndarray:
    """Return one image as uint8 (3, H, W), RGB.

    As torchvision reads ImageNet: grey images have three equal channels, CMYK and palettes are converted, an alpha
    channel and the orientation in the metadata are ignored, and of several images in one file, as animations and
    telephones have them (MPO), the first is taken. Sixteen bits are scaled to eight, where torchvision would cut them
    off; so are the twelve bits of a TIFF that says so.

    Nothing but formats of images is tried, no other program is run, and an image that is too large is refused before it
    is decoded.

    :raises ValueError: If it cannot be read or is no image; if it is of floats or of whole numbers of 32 bits; if it is
        of 16 bits and would be as good as black; if it has more than 179 million pixels, or is far longer than wide.
    """
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms import functional as transforms

    try:
        with open_image(path) as image:
            _check_size(image.size, framing.resize)
            rgb = _rgb(image)
        # A file may hold another size than its header says.
        _check_size(rgb.size, framing.resize)
        interpolation = InterpolationMode(framing.interpolation)
        resized = transforms.resize(rgb, framing.resize, interpolation)
        if framing.margin == "even":
            framed = transforms.center_crop(resized, [framing.crop] * 2)
        else:
            left, top = ((side - framing.crop) // 2 for side in resized.size)
            framed = resized.crop((left, top, left + framing.crop, top + framing.crop))
    except Exception as error:  # Pillow's readers of damaged files raise whatever they stumble over
        raise ValueError(why_not_read(error)) from None
    return np.ascontiguousarray(np.asarray(framed).transpose(2, 0, 1))


@contextmanager
def open_image(path: str | os.PathLike[str]) -> Iterator[Image.Image]:
    """Open a file of an image, whose size is known and nothing else of it read; nothing but formats of images is tried.

    :raises ValueError: If it is no file, or larger than images are.
    :raises Exception: Whatever Pillow stumbles over, see :func:`why_not_read`.
    """
    if not os.path.isfile(path):
        # Neither opened nor waited for.
        raise ValueError("is no file" if os.path.exists(path) else "leads nowhere")
    if os.path.getsize(path) > _MOST_BYTES:
        raise ValueError(f"is a file of {os.path.getsize(path) / 1e9:.1f} GB, larger than images are")
    with _WITHOUT_WARNINGS, Within(path) as file, Image.open(file, formats=image_formats()) as image:
        yield image


def why_not_read(error: Exception) -> str:
    """Return why a file of an image could not be read, in one line that begins with a verb."""
    reason = "is no image" if isinstance(error, UnidentifiedImageError) else str(error)
    return " ".join(reason.split()) or type(error).__name__


class _WithoutWarnings:
    """Leaves out Pillow's warnings, of transparency and metadata, which are not used, while any thread is in it.

    `warnings.catch_warnings` changes the whole process: threads that enter and leave it in turns would leave what the
    first of them changed, and nobody would be warned of anything any more.
    """

    def __init__(self) -> None:
        self._lock, self._inside, self._before = Lock(), 0, warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                self._before = warnings.catch_warnings()
                self._before.__enter__()
                warnings.simplefilter("ignore")

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._before.__exit__(None, None, None)


_WITHOUT_WARNINGS = _WithoutWarnings()


def _rgb(image: Image.Image) -> Image.Image:
    """Return the first image of a file, decoded, with eight bits in each of three channels."""
    if image.mode == "F":
        raise ValueError("holds floating-point numbers, whose range is not known: save it as bytes")
    # As they are in the file; Pillow cuts those of colour images off by itself.
    sixteen_bits = ";16" in repr(getattr(image, "tile", ()))
    if not image.mode.startswith("I"):
        rgb = image.convert("RGB")
        greatest = 257 * int(np.asarray(rgb).max()) if sixteen_bits else None
    else:
        grey = np.asarray(image)
        least, greatest = int(grey.min()), int(grey.max())
        if least < 0 or greatest > 65535:
            raise ValueError(f"holds whole numbers from {least} to {greatest}, of 32 bits: save it as bytes")
        white = 65535
        if image.format == "TIFF" and getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE) == (12,):
            white, greatest = _TWELVE_BITS - 1, None
        rgb = Image.fromarray(np.round(grey * (255 / white)).astype(np.uint8)).convert("RGB")
    if greatest is not None and 0 < greatest < _TWELVE_BITS:
        raise ValueError(
            f"holds values of 16 bits or more, and none above {greatest}: as of 12 bits, or of 8, it would come out as "
            "good as black. Multiply them, so that white is 65535, or save it as bytes"
        )
    return rgb


@cache
def image_formats() -> list[str]:
    """Return the formats of images that this Pillow reads by itself; it would run another program for some."""
    Image.init()
    return [name for name in _FORMATS if name in Image.OPEN]


def check_pixels(size: tuple[int, int]) -> None:
    """Raise if an image has more pixels than are decoded."""
    width, height = size
    if width * height > _MOST_PIXELS:
        raise ValueError(
            f"is {width} × {height}, {width * height / 1e6:.0f} million pixels, where {_MOST_PIXELS / 1e6:.0f} million "
            "are most that is decoded: make it smaller"
        )


def _check_size(size: tuple[int, int], shorter: int) -> None:
    """Raise if an image is too large, or would become so when its shorter side is resized."""
    check_pixels(size)
    width, height = size
    pixels = shorter * shorter * max(size) / max(1, min(size))
    if pixels > _MOST_RESIZED:
        raise ValueError(
            f"is {width} × {height}, so long that with a shorter side of {shorter} it would have "
            f"{pixels / 1e6:.0f} million pixels"
        )
