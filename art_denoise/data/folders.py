"""Folders of classes: which files there are, which class each folder is, and which file is for what."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np

from art_denoise._words import some
from art_denoise.data.class_lists import read_mapping
from art_denoise.data.splits import disjoint_split

#: Endings of image files, as torchvision's folders have them, and `.gif`, whose first image is taken.
_ENDINGS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp", ".gif")

#: The sizes of the paper's splits, and 2 000 to tune on: no split is larger unless it is asked for.
PAPER_SIZES = {"craft": 10_000, "tune": 2_000, "noise-fit": 10_000, "test": 10_000}

#: Parts of a folder that each purpose gets where no size is given.
_PARTS = {"craft": 3, "tune": 1, "noise-fit": 2, "test": 4}


@cache
def imagenet_wnids() -> tuple[str, ...]:
    """Return the WordNet ids of the thousand classes of ILSVRC-2012; a class is its position among them."""
    return tuple(resources.files(__package__).joinpath("imagenet_wnids.txt").read_text(encoding="ascii").split())


def imagenet_categories() -> tuple[str, ...]:
    """Return torchvision's names of the thousand classes of ILSVRC-2012."""
    from torchvision import models

    return tuple(models.ResNet18_Weights.DEFAULT.meta["categories"])


#: What parts of a data set are called.
_SPLITS = frozenset({"train", "training", "val", "valid", "validation", "dev", "test", "testing"})


@dataclass(frozen=True)
class Listing:
    """The image files of a folder of classes.

    :param root: The folder.
    :param files: Paths within it, sorted, `/` between folders.
    :param folders: Names of the folders of classes, sorted.
    :param positions: For each file the position of its class among `folders`, int64 (N,).
    """

    root: Path
    files: tuple[str, ...]
    folders: tuple[str, ...]
    positions: np.ndarray

    def __len__(self) -> int:
        return len(self.files)


def list_folder(root: str | os.PathLike[str]) -> Listing:
    """List the images of a folder that holds one folder for each class, at any depth within that.

    Files and folders whose names begin with a dot are left out, and folders without an image.

    :raises ValueError: If there is no such folder, or no folder of images in it.
    """
    root = Path(root)
    if not root.is_dir():
        raise ValueError(f"there is no folder {root}")
    files: list[str] = []
    folders: list[str] = []
    positions: list[int] = []
    for name in _class_folders(root):
        found = sorted(_images_below(root / name, name))
        if found:
            positions += [len(folders)] * len(found)
            folders.append(name)
            files += found
    if not files:
        loose = [path.name for path in root.iterdir() if path.is_file() and path.name.lower().endswith(_ENDINGS)]
        found_instead = f"{len(loose)} images that are in no such folder" if loose else "no images at all"
        remedy = ""
        if any(name.startswith("ILSVRC2012_val_") for name in loose):
            remedy = (
                ": move each of ImageNet's validation images into a folder named by the WordNet id of its class, which "
                "LOC_val_solution.csv of Kaggle says, or ILSVRC2012_validation_ground_truth.txt of the development kit"
            )
        elif loose:
            remedy = ": move each into the folder of its class"
        raise ValueError(
            f"{root} must hold one folder of images ({', '.join(_ENDINGS)}) for each class; it holds {found_instead}"
            f"{remedy}"
        )
    return Listing(root, tuple(files), tuple(folders), np.array(positions, dtype=np.int64))


def check_folder(root: Path) -> None:
    """Raise if :func:`list_folder` would: a single image is looked for, where there may be a million.

    :raises ValueError: If there is no such folder, or no folder of images in it.
    """
    if not root.is_dir() or not any(any(_images_below(root / name, name)) for name in _class_folders(root)):
        list_folder(root)


def _class_folders(root: Path) -> list[str]:
    with os.scandir(root) as entries:
        return sorted(entry.name for entry in entries if _is_folder(entry) and not entry.name.startswith("."))


def _images_below(folder: Path, name: str) -> Iterator[str]:
    """Yield the images in a folder and all folders in it, as paths that begin with `name`.

    Links to folders are followed, but not to those that the link is in, which would be listed for ever.
    """
    above = frozenset({_place(folder.parent)})
    todo = [(folder, name, above)] if _place(folder) not in above else []
    while todo:
        folder, name, above = todo.pop()
        above |= {_place(folder)}
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if _is_folder(entry):
                    if _place(Path(entry.path)) not in above:
                        todo.append((folder / entry.name, f"{name}/{entry.name}", above))
                elif entry.name.lower().endswith(_ENDINGS):
                    yield f"{name}/{entry.name}"


def _place(folder: Path) -> tuple[int, int]:
    """Return what is the same for a folder and for links to it."""
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def links_out(root: Path, files: Sequence[str]) -> list[str]:
    """Return which of the files in a folder are not in it, as links lead out of it."""
    inside = os.path.join(os.path.realpath(root), "")
    # Each folder once, for there may be a million files.
    folders = {name: os.path.realpath(root / name) for name in {os.path.dirname(file) for file in files}}

    def place(file: str) -> str:
        if os.path.islink(root / file):
            return os.path.realpath(root / file)
        return os.path.join(folders[os.path.dirname(file)], "")

    return [file for file in files if not place(file).startswith(inside)]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        # A link to itself, for one.
        return False


@dataclass(frozen=True)
class Classes:
    """Which class each folder is.

    :param labels: Label by name of the folder.
    :param rule: How that was decided, for reports.
    :param find_names: Returns the names of the classes by label: the model's, ImageNet's, or those of the folders.
    """

    labels: dict[str, int]
    rule: str
    find_names: Callable[[], dict[int, str]]


def match_classes(
    folders: Sequence[str],
    num_classes: int,
    *,
    categories: Callable[[], Sequence[str] | None] = lambda: None,
    mapping: str | os.PathLike[str] | None = None,
) -> Classes:
    """Find the label of each folder of classes.

    In this order: by a file, if one is given; by WordNet id, for the thousand classes of ImageNet; by the names that
    the model has for its classes; by number, if the folders are 0 to K - 1 or 1 to K of the model's K classes, alone or
    behind the same text; by position in alphabetical order, as torchvision's `ImageFolder` numbers them, if there are
    as many folders as the model has classes, and that is the order of any numbers in their names. Folders may be
    missing in the first three, and by number if there is a 0.

    :param folders: Names of the folders.
    :param num_classes: Number of the model's classes.
    :param categories: Returns the model's names of its classes, if it has any.
    :param mapping: JSON, `{"folder": label, ...}`, or CSV, one `folder,label` a line.
    :raises ValueError: If a folder has no label, two folders have the same, a label is beyond the model's classes, or
        all folders are named as splits are.
    """
    wnids = {wnid: i for i, wnid in enumerate(imagenet_wnids())}
    if mapping is None and all(name.casefold() in _SPLITS for name in folders):
        raise ValueError(
            f"{_some(list(folders))}: this is what parts of a data set are called, not classes. Give the folder of one "
            "of them, or call two of them train and val; if they are classes, say so with `classes`, a CSV or JSON "
            "file of folders and labels"
        )
    unknown: list[str]
    if mapping is not None:
        given = read_mapping(Path(mapping))
        unknown = [name for name in folders if name not in given]
        if unknown:
            raise ValueError(f"{mapping} has no line for {_some(unknown)}: add one for each folder of classes")
        labels, rule = {name: given[name] for name in folders}, f"by {Path(mapping).name}"
    elif any(_is_wnid(name) for name in folders):
        unknown = [name for name in folders if name not in wnids]
        if unknown:
            raise ValueError(
                f"{_some(unknown)} is no WordNet id of the thousand classes of ILSVRC-2012: take the folder out, or "
                "say which class each folder is with `classes`, a CSV or JSON file of folders and labels"
            )
        if num_classes != len(wnids):
            raise ValueError(
                f"the folders are named by WordNet ids of ImageNet's {len(wnids)} classes, the model returns "
                f"{num_classes} logits: use a model of ImageNet, or say which class each folder is with `classes`"
            )
        labels, rule = {name: wnids[name] for name in folders}, "by WordNet id"
    elif (found := _by_name(folders, categories() or ())) is not None:
        labels, rule = found, "by the model's names of its classes"
    elif strangers := _strangers(folders, categories() or ()):
        raise ValueError(
            f"{_some(strangers)} is none of the model's names of its classes, as other folders are: rename it, or say "
            "which class each folder is with `classes`, a CSV or JSON file of folders and labels"
        )
    elif (found := _by_number(folders, num_classes)) is not None:
        labels, rule = found, "by the numbers that the folders are named by"
    elif sorted(folders) != sorted(folders, key=_with_numbers):
        raise ValueError(
            f"{_some(sorted(folders, key=_with_numbers))} are numbered, and in alphabetical order they would be "
            f"{_some(sorted(folders))}: say which class each folder is with `classes`, a CSV or JSON file of folders "
            "and labels"
        )
    elif len(folders) == num_classes:
        labels = {name: i for i, name in enumerate(sorted(folders))}
        rule = "by alphabetical order of the folders, as there are as many as the model has classes"
    else:
        raise ValueError(
            f"{len(folders)} folders ({_some(list(folders))}) cannot be matched with the model's {num_classes} "
            "classes: say which class each folder is with `classes`, a CSV or JSON file of folders and labels"
        )
    beyond = {name: label for name, label in labels.items() if not 0 <= label < num_classes}
    if beyond:
        name, label = next(iter(beyond.items()))
        raise ValueError(f"{name} has the label {label}: the model's labels are 0 to {num_classes - 1}")
    if len(set(labels.values())) != len(labels):
        twice = next(name for name in labels if list(labels.values()).count(labels[name]) > 1)
        raise ValueError(f"two folders have the label {labels[twice]}, one of them {twice}: each class is one folder")

    def find_names() -> dict[int, str]:
        known = categories()
        if known is None and rule == "by WordNet id":
            known = imagenet_categories()
        return {label: name for name, label in labels.items()} if known is None else dict(enumerate(known))

    return Classes(labels, rule, find_names)


def _by_number(folders: Sequence[str], num_classes: int) -> dict[str, int] | None:
    """Return labels by the numbers at the end of names that are alike before them; None if they do not say them."""
    found = [re.fullmatch(r"(\D*)(\d+)", name) for name in folders]
    matched = [match for match in found if match is not None]
    if len(matched) < len(folders) or len({match[1] for match in matched}) > 1:
        return None
    numbers = [int(match[2]) for match in matched]
    there = set(numbers)
    if len(there) < len(numbers):
        return None
    # Without a 0, and not all of them, it cannot be seen where they begin.
    if 0 in there and max(there) < num_classes:
        first = 0
    elif there == set(range(1, num_classes + 1)):
        first = 1
    else:
        return None
    return {name: number - first for name, number in zip(folders, numbers, strict=True)}


def _with_numbers(name: str) -> list[tuple[int, str]]:
    """Return by what names are sorted if numbers in them count as numbers."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


def _is_wnid(name: str) -> bool:
    return re.fullmatch(r"n\d{8}", name) is not None


def _positions(folders: Sequence[str], categories: Sequence[str]) -> dict[str, list[int]]:
    """Return the positions of the classes that each folder is named as."""

    def plain(name: str) -> str:
        return re.sub(r"[\W_]+", " ", name).strip().casefold()

    positions: dict[str, list[int]] = {}
    for i, name in enumerate(categories):
        positions.setdefault(plain(name), []).append(i)
    return {name: positions.get(plain(name), []) for name in folders}


def _strangers(folders: Sequence[str], categories: Sequence[str]) -> list[str]:
    """Return the folders that are named as no class is, if others are."""
    found = _positions(folders, categories)
    return [name for name, p in found.items() if not p] if any(found.values()) else []


def _by_name(folders: Sequence[str], categories: Sequence[str]) -> dict[str, int] | None:
    """Return the labels of folders that are named as classes are, or None if one is not, or is named as two are."""
    found = _positions(folders, categories)
    return {name: p[0] for name, p in found.items()} if all(len(p) == 1 for p in found.values()) else None


def _some(names: Sequence[str]) -> str:
    return some(map(repr, names))


def draw_splits(
    pools: Mapping[str, int], sizes: Mapping[str, int | None], seed: int
) -> dict[str, tuple[str, np.ndarray]]:
    """Draw which files are for what.

    :param pools: Number of files by name of the pool: "train", from which images to craft on are drawn, and "val" for
        the rest; or "all" for everything.
    :param sizes: Number of images by purpose, those of `PAPER_SIZES`; None: a share of what the others leave, at most
        as many as in the paper. 0: no such split.
    :return: By purpose, without those of size 0, the pool and positions in it, int64, ascending. No file is in two.
    :raises ValueError: If more images are asked for than there are, or none to test on.
    """
    drawn: dict[str, tuple[str, np.ndarray]] = {}
    for number, (pool, count) in enumerate(pools.items()):
        purposes = [p for p in sizes if pool == "all" or (p == "craft") == (pool == "train")]
        given = {p: size for p in purposes if (size := sizes[p]) is not None}
        left, open_ones = count - sum(given.values()), [p for p in purposes if sizes[p] is None]
        if left < 0 or (left < len(open_ones)):
            wanted = ", ".join(f"{size} for {p}" for p, size in given.items())
            raise ValueError(f"{count} images are too few ({pool}): {wanted} are asked for, use smaller numbers")
        parts = sum(_PARTS[p] for p in open_ones)
        shares = given | {p: min(PAPER_SIZES[p], max(1, left * _PARTS[p] // parts)) for p in open_ones}
        rng = np.random.default_rng([seed, number])
        for purpose, chosen in disjoint_split(count, shares, rng).items():
            if len(chosen):
                drawn[purpose] = pool, chosen
    if "test" not in drawn:
        raise ValueError("`test_images` must be >= 1, got 0")
    return drawn
