"""ImageNet, Imagenette, and any folder of classes: found, split, labelled, decoded once."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs

from art_denoise.data.class_lists import read_mapping
from art_denoise.data.decoded import BrokenImagesError, decode_files, decoded_files
from art_denoise.data.decoding import Framing, decode_image
from art_denoise.data.folders import (
    PAPER_SIZES,
    Classes,
    Listing,
    check_folder,
    draw_splits,
    links_out,
    list_folder,
    match_classes,
)
from art_denoise.data.sets import PURPOSES, ImageSet, ImageSource, Split, shared_images

#: Imagenette's folders, those of the largest images first.
_IMAGENETTE = ("imagenette2", "imagenette2-320", "imagenette2-160")

#: Files for each purpose that are decoded to find out how long it takes.
_TIMED = 32


@dataclass(frozen=True)
class FolderImages(ImageSource):
    """Images in folders, split and labelled, not yet decoded.

    :param name: What they are, for reports.
    :param pools: Folders by name of the pool; see :func:`draw_splits`.
    :param drawn: By purpose, the pool and the positions in its listing.
    :param classes: Which class each folder is.
    :param framing: How an image becomes a square.
    """

    name: str
    pools: Mapping[str, Listing]
    drawn: Mapping[str, tuple[str, np.ndarray]]
    classes: Classes
    framing: Framing

    noun = "image"

    @cached_property
    def title(self) -> str:
        """What the images are, for reports."""
        return f"images of {self.name}, {len(self.classes.labels)} classes"

    @cached_property
    def counts(self) -> dict[str, int]:
        """Number of images by purpose."""
        return {purpose: len(chosen) for purpose, (_, chosen) in self.drawn.items()}

    def files(self, purpose: str) -> tuple[Path, list[str]]:
        """Return the folder and the paths within it of the images for a purpose."""
        pool, chosen = self.drawn[purpose]
        return self.pools[pool].root, [self.pools[pool].files[i] for i in chosen]

    def labels(self, purpose: str) -> np.ndarray:
        """Return their labels, int64 (N,)."""
        pool, chosen = self.drawn[purpose]
        listing = self.pools[pool]
        of_folder = np.array([self.classes.labels[name] for name in listing.folders], dtype=np.int64)
        return of_folder[listing.positions[chosen]]

    @property
    def fingerprints(self) -> dict[str, str]:
        """16 hexadecimal digits by purpose that change with the name or the label of any file."""
        found = {}
        for purpose in self.drawn:
            digest = hashlib.sha256(self.labels(purpose).tobytes())
            digest.update(os.fsencode("\0".join(self.files(purpose)[1])))
            found[purpose] = digest.hexdigest()[:16]
        return found

    def ready(self, folder: Path) -> dict[str, bool]:
        """Return by purpose whether the images are decoded already.

        :param folder: Where decoded images are kept.
        :raises OSError: If a file is gone.
        """
        return {p: decoded_files(*self.files(p), self.framing, folder) for p in self.drawn}

    def load(
        self, folder: Path, *, skip_broken: bool = False, workers: int | None = None, progress: bool = True
    ) -> ImageSet:
        """Decode what is not decoded yet, and return the images.

        :param folder: Where decoded images are kept.
        :param skip_broken: Leave out files that cannot be read.
        :param workers: Threads; None: as many as cores.
        :param progress: Show progress bars.
        :raises ValueError: If files cannot be read.
        :raises OSError: If the decoded images cannot be kept.
        """
        splits, remarks = {}, []
        errors: list[BrokenImagesError] = []
        for purpose in self.drawn:
            root, files = self.files(purpose)
            try:
                decoded = decode_files(
                    root,
                    files,
                    self.framing,
                    folder,
                    skip_broken=skip_broken,
                    workers=workers,
                    progress=f"Decode images for {purpose}" if progress else None,
                )
            except BrokenImagesError as error:
                # All are told at once.
                errors.append(error)
                continue
            labels = self.labels(purpose)[decoded.kept]
            digest = hashlib.sha256("".join(decoded.digests).encode() + labels.tobytes())
            names = tuple(files[i] for i in decoded.kept)
            splits[purpose] = Split(decoded.images, labels, digest.hexdigest()[:16], decoded.digests, names)
            if decoded.broken:
                named = ", ".join(list(decoded.broken)[:3])
                remarks.append(f"{len(decoded.broken)} of {len(files)} images for {purpose} could not be read: {named}")
            if linked := links_out(root, names):
                remarks.append(
                    f"{len(linked)} of {len(files)} images for {purpose} are not in the folder, links lead out of it: "
                    f"{', '.join(linked[:3])}"
                )
        if errors:
            broken = {path: what for error in errors for path, what in error.broken.items()}
            raise BrokenImagesError(broken, sum(self.counts.values()), tuple(f for e in errors for f in e.listed))
        remarks += _classes_without(splits, self.classes)
        for (first, second), count in shared_images(splits).items():
            remarks.append(f"{count} images for {second} are, pixel for pixel, among those for {first} in another file")
        return ImageSet(self.title, self.noun, splits, self.classes.find_names, tuple(remarks))

    def outline(self) -> ImageSet:
        """Return grey images, as many as there are files, with their labels and names.

        Their fingerprints, "..., not decoded yet", are those of no images, so that nothing is taken for made of them.
        """
        splits = {}
        for purpose, files in self.fingerprints.items():
            # One byte in memory, whatever the shape.
            shape = (self.counts[purpose], 3, self.framing.crop, self.framing.crop)
            grey, names = np.broadcast_to(np.uint8(128), shape), tuple(self.files(purpose)[1])
            splits[purpose] = Split(grey, self.labels(purpose), f"{files}, not decoded yet", names=names)
        return ImageSet(self.title, self.noun, splits, self.classes.find_names)

    def record(self) -> dict[str, Any]:
        """Return the fingerprints of the files' names and labels, how folders became classes, and the framing."""
        return {
            "fingerprints": self.fingerprints,
            "classes": self.classes.rule,
            "framing": asdict(self.framing),
        }

    def listing(self) -> dict[str, dict[str, Any]]:
        """Return by purpose the folder ("root"), the paths in it ("files"), their "labels" and their "fingerprint"."""
        fingerprints = self.fingerprints
        return {
            purpose: {
                "root": str(self.files(purpose)[0].resolve()),
                "fingerprint": fingerprints[purpose],
                "files": self.files(purpose)[1],
                "labels": self.labels(purpose).tolist(),
            }
            for purpose in self.drawn
        }

    def describe(self, ready: Mapping[str, bool]) -> list[str]:
        """Return the lines of a plan: for each purpose how many images, where, and whether decoded; then the framing.

        :param ready: What :meth:`ready` returned.
        """
        lines = []
        for purpose, (pool, chosen) in self.drawn.items():
            listing = self.pools[pool]
            lines.append(
                f"Images for {purpose}: {len(chosen):,} of {len(listing):,} in {listing.root}, "
                f"{'decoded' if ready[purpose] else 'not decoded yet'}."
            )
        framing = self.framing
        lines.append(
            f"Resized to {framing.resize} ({framing.interpolation}), centre crop {framing.crop}; "
            f"{len(self.classes.labels)} classes, {self.classes.rule}."
        )
        return lines

    def seconds_to_decode(self, purposes: Iterable[str], workers: int | None = None) -> float:
        """Return about how many seconds decoding takes, from a few files for each purpose, spread over all of them.

        Files that cannot be read count with the time that it took to find out; :meth:`load` tells of them.

        :param purposes: Keys of `counts`.
        :param workers: Threads that decode, >= 1; None: as many as cores.
        """
        threads, seconds = workers or os.cpu_count() or 1, 0.0
        for purpose in purposes:
            root, names = self.files(purpose)
            few = [names[i] for i in np.linspace(0, len(names) - 1, min(_TIMED, len(names))).astype(int)]
            with suppress(ValueError):
                decode_image(root / few[0], self.framing)  # the first time imports torchvision
            start = time.perf_counter()
            for name in few:
                with suppress(ValueError):
                    decode_image(root / name, self.framing)
            seconds += (time.perf_counter() - start) / len(few) * len(names) / threads
        return seconds

    def bytes_to_decode(self, purposes: Iterable[str]) -> int:
        """Return how many bytes decoded images take: 3 · crop² an image.

        :param purposes: Keys of `counts`.
        """
        return sum(self.counts[purpose] for purpose in purposes) * 3 * self.framing.crop**2


def find_images(
    data: str,
    *,
    sizes: Mapping[str, int | None],
    framing: Framing,
    num_classes: int,
    categories: Callable[[], Sequence[str] | None] = lambda: None,
    data_dir: str | os.PathLike[str] | None = None,
    classes: str | os.PathLike[str] | None = None,
    seed: int = 0,
    download: bool = True,
) -> FolderImages:
    """Find images, draw which are for what, and label them; nothing is decoded.

    :param data: "imagenet": `data_dir` holds `train` and `val`, as torchvision's `ImageNet` leaves them. "imagenette":
        torchvision's `Imagenette`, ten of ImageNet's classes, in `data_dir` or the cache. Else a folder of classes, or
        one that holds such a folder as `train` and another as `val`.
    :param sizes: Number of images for "craft", "tune", "noise-fit" and "test"; None: as many as there are, at most as
        in the paper.
    :param framing: How an image becomes a square.
    :param num_classes: Number of the model's classes.
    :param categories: Returns the model's names of its classes, if it has any.
    :param data_dir: Folder of "imagenet" or "imagenette".
    :param classes: File of folders and labels; see :func:`match_classes`.
    :param seed: Decides which images are for what.
    :param download: Let torchvision download Imagenette if it is not there.
    :raises ValueError: If the images are not there, too few, or of unknown classes.
    :raises OSError: If Imagenette cannot be downloaded.
    """
    root, name = _root(data, data_dir)
    if root is None:
        root = _downloaded_imagenette(_imagenette_in(data_dir), download)
    pools = {pool: list_folder(folder) for pool, folder in _pools(data, root).items()}
    folders = sorted({folder for listing in pools.values() for folder in listing.folders})
    matched = match_classes(folders, num_classes, categories=categories, mapping=classes)
    wanted = {purpose: sizes[purpose] for purpose in PAPER_SIZES}
    drawn = draw_splits({pool: len(listing) for pool, listing in pools.items()}, wanted, seed)
    return FolderImages(name, pools, {p: drawn[p] for p in PURPOSES if p in drawn}, matched, framing)


def check_images(
    data: str, data_dir: str | os.PathLike[str] | None = None, classes: str | os.PathLike[str] | None = None
) -> None:
    """Raise if :func:`find_images` would for what is seen without listing all images; nothing is downloaded.

    :raises ValueError: If the images or the file of classes are not there, or something else is.
    """
    root, _ = _root(data, data_dir)
    for folder in {} if root is None else _pools(data, root).values():
        check_folder(folder)
    if classes is not None:
        read_mapping(Path(classes))


def _root(data: str, data_dir: str | os.PathLike[str] | None) -> tuple[Path | None, str]:
    """Return the folder of a data set, None if it is Imagenette and not there, and its name."""
    if data == "imagenet":
        if data_dir is None:
            raise ValueError("`data_dir` must be given for data 'imagenet': the folder that holds train and val")
        return Path(data_dir), "ImageNet"
    if data == "imagenette":
        parent = _imagenette_in(data_dir)
        if data_dir is not None and not parent.is_dir():
            raise ValueError(f"there is no folder {parent}: make it, or leave `data_dir` out, to have it downloaded")
        there = [parent / name for name in _IMAGENETTE if (parent / name).is_dir()]
        if not there and (parent / "train").is_dir():
            there = [parent]
        return (there[0] if there else None), "Imagenette"
    if data_dir is not None:
        raise ValueError(f"`data_dir` is for data 'imagenet' and 'imagenette': with data {data!r} leave it out")
    if not Path(data).is_dir():
        near = get_close_matches(data, ("photographs", "imagenet", "imagenette"), 1)
        raise ValueError(
            f"`data` must be 'photographs', 'imagenette', 'imagenet' or a folder of classes, got {data!r}: there is no "
            f"such folder{f'; did you mean {near[0]}?' if near else ''}"
        )
    return Path(data), Path(data).resolve().name


def _imagenette_in(data_dir: str | os.PathLike[str] | None) -> Path:
    return platformdirs.user_cache_path("art_denoise") / "data" if data_dir is None else Path(data_dir)


def _pools(data: str, root: Path) -> dict[str, Path]:
    """Return the folders of classes by what they are called."""
    if not root.is_dir():
        raise ValueError(f"there is no folder {root}")
    if (root / "train").is_dir() and (root / "val").is_dir():
        return {part: root / part for part in ("train", "val")}
    if data in ("imagenet", "imagenette"):
        raise ValueError(
            f"{root} must hold the folders train and val, each with one folder of images for each class, as "
            "torchvision.datasets.ImageNet leaves them: give the folder as `data_dir`"
        )
    return {"all": root}


def _downloaded_imagenette(parent: Path, download: bool) -> Path:
    """Let torchvision download Imagenette, and return its folder."""
    from torchvision import datasets

    place = parent / _IMAGENETTE[0]
    url = "https://s3.amazonaws.com/fast-ai-imageclas/imagenette2.tgz"
    remedy = f"unpack {url} in {parent}, so that there is {place}, or give its folder as `data_dir`"
    # torchvision has it since 0.17.
    imagenette: Any = getattr(datasets, "Imagenette", None)
    if not download or imagenette is None:
        raise ValueError(f"Imagenette is not in {parent}: {remedy}")
    try:
        parent.mkdir(parents=True, exist_ok=True)
        imagenette(str(parent), download=True)
    except (OSError, RuntimeError) as error:
        raise OSError(f"torchvision could not download Imagenette ({error}): {remedy}") from error
    return place


def _classes_without(splits: Mapping[str, Split], classes: Classes) -> Iterator[str]:
    """Yield what is to be said of classes that no test image is of, where there are images enough for all of them."""
    labels = {*classes.labels.values()}
    missing = labels - {*splits["test"].labels.tolist()}
    if missing and len(splits["test"]) >= len(labels):
        folders = sorted(name for name, label in classes.labels.items() if label in missing)
        yield f"no image for test is of {len(missing)} of {len(labels)} classes: {', '.join(folders[:3])}"
