"""Files of pictures are read as planes of floats, and written as they were: size, depth, transparency, metadata."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from art_denoise._files import replacing
from art_denoise.data.decoding import check_pixels, image_formats, open_image, why_not_read

#: Quality of JPEG and WebP, of 100.
_QUALITY = 95

#: Formats that hold values of 16 bits, and those that hold transparency.
_SIXTEEN_BITS, _TRANSPARENCY = ("PNG", "TIFF"), ("PNG", "TIFF", "WEBP", "GIF", "JPEG2000", "AVIF")

#: Formats that a telephone's JPEG of several images may have.
_SEVERAL_IMAGES = ("MPO",)


@dataclass(frozen=True)
class Picture:
    """A picture of a file.

    :param values: Its planes, float32 (C, H, W) in [0, 1]: one if it is grey, else red, green and blue.
    :param alpha: How opaque each pixel is, uint8 (H, W); None: all of them are.
    :param sixteen_bits: Whether it was of sixteen bits, not eight.
    :param kept: What else is kept of the file: metadata and the profile of its colours.
    """

    values: np.ndarray
    alpha: np.ndarray | None = None
    sixteen_bits: bool = False
    kept: dict[str, Any] = field(default_factory=dict)


def read_picture(path: str | os.PathLike[str]) -> Picture:
    """Read a picture from a file of any format that Pillow reads by itself.

    Grey pictures have one plane, all others three; palettes, CMYK and the like become RGB. It is turned as its metadata
    says, and transparency is kept.

    :raises ValueError: If it cannot be read or is no picture, holds several, or values of 32 bits.
    """
    try:
        with open_image(path) as image:
            check_pixels(image.size)
            frames = getattr(image, "n_frames", 1)
            if frames > 1 and image.format not in _SEVERAL_IMAGES:
                raise ValueError(f"holds {frames} pictures, as an animation: save the one that is meant by itself")
            if image.mode in ("I", "F") and not _is_of_sixteen_bits(image):
                raise ValueError("holds values of 32 bits, whose range is not known: save it with 8 or 16 bits")
            kept = {name: image.info[name] for name in ("icc_profile", "dpi") if image.info.get(name)}
            turned = ImageOps.exif_transpose(image) or image
            exif = turned.getexif()
            if len(exif):
                kept["exif"] = exif.tobytes()
            return _planes(turned, kept)
    except Exception as error:  # Pillow's readers of damaged files raise whatever they stumble over
        raise ValueError(f"{os.fspath(path)} {_as_predicate(why_not_read(error))}") from None


def _as_predicate(reason: str) -> str:
    """Return a reason that stands behind the name of a file."""
    return reason if reason.split(" ", 1)[0] in ("is", "holds", "leads") else f"cannot be read: {reason}"


def _is_of_sixteen_bits(image: Image.Image) -> bool:
    """Return whether whole numbers are of sixteen bits: Pillow has some of them in 32."""
    if image.mode != "I":
        return False
    values = np.asarray(image)
    return bool(values.min() >= 0 and values.max() <= 65535)


def _planes(image: Image.Image, kept: dict[str, Any]) -> Picture:
    if image.mode.startswith("I"):
        return Picture((np.asarray(image, np.float32) / 65535)[None], None, True, kept)
    transparent = image.mode in ("LA", "RGBA", "PA", "La", "RGBa") or "transparency" in image.info
    grey = image.mode in ("1", "L", "LA", "La")
    whole = np.asarray(image.convert(("LA" if grey else "RGBA") if transparent else "L" if grey else "RGB"))
    planes = whole[..., None] if whole.ndim == 2 else whole
    alpha = np.ascontiguousarray(planes[..., -1]) if transparent else None
    if alpha is not None:
        planes = planes[..., :-1]
        if alpha.min() == 255:
            alpha = None
    return Picture(planes.transpose(2, 0, 1).astype(np.float32) / 255, alpha, False, kept)


def check_format(path: str | os.PathLike[str], picture: Picture | None = None) -> str:
    """Return the format of a file that a picture is to be written to, by its ending.

    :raises ValueError: If there is none, or it cannot hold what is in the picture.
    """
    Image.init()
    ending = Path(path).suffix.lower()
    form = Image.EXTENSION.get(ending)
    if form not in image_formats() or form not in Image.SAVE or form in _SEVERAL_IMAGES:
        raise ValueError(f"{os.fspath(path)} must end in .png, .jpg, .webp, .tif, .bmp or the like, got {ending!r}")
    if picture is not None and picture.alpha is not None and form not in _TRANSPARENCY:
        raise ValueError(f"{os.fspath(path)} cannot hold the transparency of the picture: let it end in .png")
    return form


def write_picture(picture: Picture, path: str | os.PathLike[str]) -> None:
    """Write a picture to a file, in the format of its ending, whole or not at all.

    Values of 16 bits stay so in PNG and TIFF, and become 8 in other formats.

    :raises ValueError: If there is no such format, or it cannot hold what is in the picture.
    :raises OSError: If it cannot be written.
    """
    form = check_format(path, picture)
    deep = picture.sixteen_bits and form in _SIXTEEN_BITS
    kind, white = (np.uint16, 65535) if deep else (np.uint8, 255)
    planes = list(np.round(picture.values.clip(0, 1) * white).astype(kind))
    if picture.alpha is not None:
        planes.append(picture.alpha)
    image = Image.fromarray(planes[0] if len(planes) == 1 else np.stack(planes, axis=-1))
    with replacing(Path(path)) as beside:
        image.save(beside, form, **picture.kept, **({"quality": _QUALITY} if form in ("JPEG", "WEBP") else {}))


def pictures_below(folder: Path) -> Iterator[Path]:
    """Yield the files in a folder and those below it whose endings are those of pictures, in order."""
    Image.init()
    endings = {ending for ending, form in Image.EXTENSION.items() if form in image_formats()}
    for file in sorted(folder.rglob("*")):
        if file.suffix.lower() in endings and not file.name.startswith(".") and file.is_file():
            yield file
