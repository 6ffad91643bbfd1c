"""ImageNet, Imagenette, and any folder of classes: found, split, labelled, decoded once."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs

from art_denoise.data.decoding import BrokenImagesError, Framing, decode_files, decoded_files
from art_denoise.data.folders import Classes, Listing, draw_splits, list_folder, match_classes
from art_denoise.data.sets import PURPOSES, ImageSet, Split, shared_images

#: Imagenette's folders, those of the largest images first.
_IMAGENETTE = ("imagenette2", "imagenette2-320", "imagenette2-160")


@dataclass(frozen=True)
class FolderImages:
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
            digest.update("\0".join(self.files(purpose)[1]).encode())
            found[purpose] = digest.hexdigest()[:16]
        return found

    def decoded(self, folder: Path) -> dict[str, bool]:
        """Return which purposes' images are decoded already."""
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
            splits[purpose] = Split(decoded.images, labels, digest.hexdigest()[:16], decoded.digests)
            if decoded.broken:
                named = ", ".join(list(decoded.broken)[:3])
                remarks.append(f"{len(decoded.broken)} of {len(files)} images for {purpose} could not be read: {named}")
        if errors:
            broken = {path: what for error in errors for path, what in error.broken.items()}
            count = sum(len(self.files(purpose)[1]) for purpose in self.drawn)
            raise BrokenImagesError(broken, count, tuple(f for e in errors for f in e.listed))
        for (first, second), count in shared_images(splits).items():
            remarks.append(f"{count} images for {second} are, pixel for pixel, among those for {first} in another file")
        title = f"images of {self.name}, {len(self.classes.labels)} classes"
        return ImageSet(title, "image", splits, self.classes.find_names, tuple(remarks))


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
    :param sizes: Number of images by purpose (`PURPOSES`); None: as many as there are, at most as in the paper.
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
    root, name = _root(data, data_dir, download)
    if not root.is_dir():
        raise ValueError(f"there is no folder {root}")
    if (root / "train").is_dir() and (root / "val").is_dir():
        pools = {part: list_folder(root / part) for part in ("train", "val")}
    elif data in ("imagenet", "imagenette"):
        raise ValueError(
            f"{root} must hold the folders train and val, each with one folder of images for each class, as "
            "torchvision.datasets.ImageNet leaves them: give the folder as `data_dir`"
        )
    else:
        pools = {"all": list_folder(root)}
    folders = sorted({folder for listing in pools.values() for folder in listing.folders})
    matched = match_classes(folders, num_classes, categories=categories, mapping=classes)
    wanted = {purpose: sizes[purpose] for purpose in PURPOSES}
    drawn = draw_splits({pool: len(listing) for pool, listing in pools.items()}, wanted, seed)
    return FolderImages(name, pools, {p: drawn[p] for p in PURPOSES if p in drawn}, matched, framing)


def _root(data: str, data_dir: str | os.PathLike[str] | None, download: bool) -> tuple[Path, str]:
    """Return the folder of a data set and its name."""
    if data == "imagenet":
        if data_dir is None:
            raise ValueError("`data_dir` must be given for data 'imagenet': the folder that holds train and val")
        return Path(data_dir), "ImageNet"
    if data == "imagenette":
        parent = platformdirs.user_cache_path("art_denoise") / "data" if data_dir is None else Path(data_dir)
        there = [parent / name for name in _IMAGENETTE if (parent / name).is_dir()]
        if not there and (parent / "train").is_dir():
            there = [parent]
        return (there[0] if there else _downloaded_imagenette(parent, download)), "Imagenette"
    if data_dir is not None:
        raise ValueError(f"`data_dir` is for data 'imagenet' and 'imagenette': with data {data!r} leave it out")
    if not Path(data).is_dir():
        raise ValueError(
            f"`data` must be 'photographs', 'imagenette', 'imagenet' or a folder of classes, got {data!r}: there is no "
            "such folder"
        )
    return Path(data), Path(data).resolve().name


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
