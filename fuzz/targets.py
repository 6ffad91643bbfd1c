"""The readers, what they may answer, and whole files of each kind to begin with, which are made here."""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, features
from safetensors.numpy import save
from scipy.io import savemat

from art_denoise import load_perturbation
from art_denoise.data.decoding import Framing, decode_image
from art_denoise.data.folders import match_classes
from art_denoise.evaluation.artefact import Artefact
from art_denoise.evaluation.notation import read_component, read_share, read_value, split_chain
from art_denoise.evaluation.store import read_artefact, write_artefact
from art_denoise.models.weights import load_weights


@dataclass(frozen=True)
class Target:
    """A reader.

    :param ending: Of the file that it is given.
    :param read: Reads it. It may return anything, or raise a `ValueError` or an `OSError`; all else is a fault.
    :param corpus: Makes whole files, in a folder that may be written to.
    """

    ending: str
    read: Callable[[Path], object]
    corpus: Callable[[Path], list[bytes]]

    def outcome(self, file: Path) -> str:
        """Return what a reader makes of a file, in words that are the same for the same answer.

        :raises Exception: What it should not raise; a `MemoryError` also if the reader named it an error of the file,
            for it had made room by then.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                self.read(file)
            except (ValueError, OSError) as error:
                cause: BaseException | None = error
                while cause is not None:
                    if isinstance(cause, MemoryError) or "t allocate memory" in str(cause):
                        raise MemoryError(str(error)) from error
                    cause = cause.__cause__ or cause.__context__
                words = str(error).replace(str(file), "")
                return "".join(c for c in words if c.isascii() and (c.isalpha() or c == " "))[:50]
            return "read"


def _written(file: Path, write: Callable[..., object], *args: object, **kwargs: object) -> bytes:
    """Return what a function writes that takes the file first."""
    write(file, *args, **kwargs)
    return file.read_bytes()


def _perturbation() -> np.ndarray:
    return np.linspace(-0.04, 0.04, 105, dtype=np.float32).reshape(3, 5, 7)


def _images(folder: Path) -> list[bytes]:
    rough = np.random.default_rng(0).integers(0, 256, (9, 13, 3), dtype=np.uint8)
    colours, grey = Image.fromarray(rough), Image.fromarray(rough[..., 0].astype(np.uint16) * 257)
    second = Image.fromarray(255 - rough)
    kinds = ["PNG", "JPEG", "BMP", "PPM", "TIFF", "GIF"]
    kinds += ["WEBP"] * bool(features.check("webp")) + ["JPEG2000"] * bool(features.check("jpg_2000"))
    kinds += ["AVIF"] * ("AVIF" in Image.SAVE)
    file = folder / "x"
    found = [_written(file, colours.save, kind) for kind in kinds]
    found += [_written(file, grey.save, kind) for kind in ("PNG", "TIFF", "PPM")]
    for kind in ("GIF", "PNG", "TIFF", "MPO"):
        found.append(_written(file, colours.save, kind, save_all=True, append_images=[second]))
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "jpeg", "group4", "packbits"):
        image = colours.convert("1") if compression == "group4" else colours
        found.append(_written(file, image.save, "TIFF", compression=compression))
    for mode in ("P", "LA", "RGBA", "CMYK", "1"):
        found.append(_written(file, colours.convert(mode).save, "TIFF" if mode == "CMYK" else "PNG"))
    return found


def _matlab(folder: Path) -> list[bytes]:
    v = _perturbation()
    holds = {
        "v": v,
        "b": np.eye(3, dtype=np.uint8),
        "s": {"uap": v, "n": 3},
        "c": np.array([[1.0], "two"], dtype=object),
    }
    file = folder / "x.mat"
    return [
        _written(file, savemat, {"v": v}),
        _written(file, savemat, holds),
        _written(file, savemat, holds, do_compression=True),
        _written(file, savemat, {"v": v[0]}, format="4"),
    ]


def _pytorch(folder: Path) -> list[bytes]:
    v, found = torch.from_numpy(_perturbation()), []
    contents = [
        v,
        (v, 0.8),
        {"state_dict": {"weight": v[0], "bias": v[0, :, 0].clone()}, "epoch": 3},
        v.bfloat16(),
        v[:, ::2, 1:],
    ]
    for content in [*contents, torch.nn.Parameter(v), v.to_sparse(), v[:1].expand(3, 5, 7)]:
        for new in (True, False):
            file = io.BytesIO()
            torch.save(content, file, _use_new_zipfile_serialization=new)
            found.append(file.getvalue())
    return found


def _npy(folder: Path) -> list[bytes]:
    v = _perturbation()
    arrays = [v, v[::-1].astype(">f8"), np.asfortranarray(v), v.astype(np.float16), np.zeros((), dtype="u1")]
    return [_written(folder / "x.npy", np.save, array) for array in arrays]


def _npz(folder: Path) -> list[bytes]:
    v = _perturbation()
    file = folder / "x.npz"
    return [_written(file, np.savez, uap=v, rate=0.8), _written(file, np.savez_compressed, uap=v)]


def _safetensors(folder: Path) -> list[bytes]:
    v = _perturbation()
    record = json.dumps({"value_range": [0, 1], "attack": "x", "fooling_rates": {"here": 0.5}})
    ours = {"units": "value range", "record": record}
    return [save({"v": v, "w": v[0]}), save({"perturbation": v}, metadata=ours), save({}), save({"v": v.astype("u1")})]


def _lists(folder: Path) -> list[bytes]:
    return [b'{"cats": 0, "dogs": 1}', b"folder,label\ncats,0\ndogs,1\n", b'"cats",0\r\n"do""gs", 1', b'{"cats": "1"}']


def _kept(folder: Path) -> list[bytes]:
    artefact = Artefact({"rate": 0.5, "names": ["a", None]}, {"labels": np.arange(5), "v": _perturbation()})
    return [_written(folder / "x.safetensors", write_artefact, "0" * 16, artefact)]


def _notation(folder: Path) -> list[bytes]:
    return [
        b"rof:weight=5/255+nl_means:h=10,patch_size=3",
        b"art:JpegCompression:quality=50,clip_values=(0,1)",
        b"a+b/c.py:make:x=1e+3,y=(1,(2,none)),attacker_params.max_iter=50",
        b"5/255",
        b"(1,2,true,-.5e-3)",
    ]


def _match(file: Path) -> None:
    # What begins as JSON is given as such.
    place = file.with_suffix(".json") if file.read_bytes()[:1] in b"{[" else file
    if place != file:
        file.replace(place)
    match_classes(["cats", "dogs"], 2, mapping=place)


def _read_notation(file: Path) -> None:
    text = file.read_text(encoding="utf-8", errors="replace")
    for stage in split_chain(text, lambda name: name in ("rof", "nl_means")):
        _, given = read_component(stage)
        for name, value in given.items():
            read_value(value)
            read_share(name, value, text)
    read_value(text)


_FRAMING = Framing(resize=20, crop=16)

TARGETS = {
    "images": Target(".img", lambda file: decode_image(file, _FRAMING), _images),
    "mat": Target(".mat", load_perturbation, _matlab),
    "pt": Target(".pt", load_perturbation, _pytorch),
    "weights": Target(".pt", lambda file: load_weights(torch.nn.Linear(7, 5), file), _pytorch),
    "npy": Target(".npy", load_perturbation, _npy),
    "npz": Target(".npz", load_perturbation, _npz),
    "safetensors": Target(".safetensors", load_perturbation, _safetensors),
    "lists": Target(".csv", _match, _lists),
    "kept": Target(".safetensors", lambda file: read_artefact(file, "0" * 16), _kept),
    "notation": Target(".txt", _read_notation, _notation),
}
