"""What is evaluated: the images, the target, and the columns that attack it, found from the options."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
import torch

from art_denoise.attacks import load_perturbation
from art_denoise.models.find import PAPER_NAMES, Model, find_model, slug
from art_denoise.data import PHOTOGRAPHS, load_photographs
from art_denoise.data.decoding import Framing
from art_denoise.data.imagenet import FolderImages, find_images
from art_denoise.data.sets import ImageSet, Split
from art_denoise.data.splits import fingerprint
from art_denoise.models.photographs import photograph_model, trained_weights
from art_denoise.evaluation.options import Machine, Options
from art_denoise.evaluation.rows import Column

#: Endings of files of perturbations.
_PERTURBATION_FILES = (".safetensors", ".npy", ".mat", ".pt", ".pth")


@dataclass(frozen=True)
class Setting:
    """What is evaluated, nothing trained, downloaded or decoded yet.

    :param target: The model whose accuracy is reported.
    :param columns: Where the universal perturbations come from.
    :param files: The images, unless they are the photographs' crops.
    :param fingerprints: 16 hexadecimal digits by purpose that change with the choice of the images.
    :param decoded_dir: Folder of decoded images.
    :param prepare: Trains or downloads weights that are not there.
    :param crops: The photographs' crops, as images.
    """

    target: Model
    columns: tuple[Column, ...]
    files: FolderImages | None
    fingerprints: Mapping[str, str]
    decoded_dir: Path
    prepare: Callable[[bool], None]
    crops: ImageSet | None

    def listing(self) -> dict[str, dict[str, Any]]:
        """Return which files are for what, with their labels, by purpose; none of the photographs' crops."""
        if self.files is None:
            return {}
        return {
            purpose: {
                "root": str(self.files.files(purpose)[0].resolve()),
                "fingerprint": self.fingerprints[purpose],
                "files": self.files.files(purpose)[1],
                "labels": self.files.labels(purpose).tolist(),
            }
            for purpose in self.files.drawn
        }

    @property
    def models(self) -> dict[str, Model]:
        """The target and all models that perturbations are crafted on, by name."""
        crafted = {column.model.name: column.model for column in self.columns if column.model is not None}
        return {self.target.name: self.target, **crafted}

    def images(self, options: Options, machine: Machine) -> ImageSet:
        """Return the images; decode those that are not decoded yet."""
        if self.crops is not None:
            return self.crops
        assert self.files is not None
        return self.files.load(
            self.decoded_dir,
            skip_broken=options.skip_broken,
            workers=machine.workers,
            progress=machine.progress,
        )

    def sketch(self) -> ImageSet:
        """Return images of the right number and shape, without a picture; nothing is decoded."""
        if self.crops is not None:
            return self.crops
        assert self.files is not None
        splits = {}
        for purpose in self.files.drawn:
            labels = self.files.labels(purpose)
            shape = (len(labels), 3, self.target.input_size, self.target.input_size)
            splits[purpose] = Split(np.broadcast_to(np.uint8(128), shape), labels, "not decoded yet")
        return ImageSet(self.files.name, "image", splits, self.files.classes.find_names)


def find_setting(options: Options, machine: Machine, *, device_type: str = "gpu", download: bool = True) -> Setting:
    """Find images and models, and check that they fit each other, before anything takes long.

    :param device_type: "gpu" or "cpu", where networks are trained.
    :param download: Let torchvision download Imagenette if it is not there.
    :raises ValueError: If something is not there, or does not fit.
    """
    decoded_dir = machine.decoded_dir or platformdirs.user_cache_path("art_denoise") / "decoded"
    if options.on_photographs:
        return _on_photographs(options, decoded_dir, device_type)
    find = _finder(options, machine)
    target = find(options.model, options.num_classes)
    framing = Framing(target.resize, target.input_size, target.interpolation, target.margin)
    sizes = {
        "craft": options.craft_images,
        "tune": options.tune_images,
        "noise-fit": options.noise_images,
        "test": options.test_images,
    }
    columns = _columns(options, target, lambda spec: find(spec, None))
    if not any(column.model for column in columns):
        sizes["craft"] = 0
    elif sizes["craft"] == 0:
        raise ValueError("`craft_images` must be >= 1 as perturbations are to be crafted: or give files as `sources`")
    files = find_images(
        options.data,
        sizes=sizes,
        framing=framing,
        num_classes=target.num_classes,
        categories=lambda: target.categories,
        data_dir=options.data_dir,
        classes=options.classes,
        seed=options.seed,
        download=download,
    )

    def prepare(progress: bool) -> None:
        for model in [target, *(column.model for column in columns)]:
            if model is not None and model.fetch is not None:
                model.fetch(progress)

    return Setting(target, columns, files, files.fingerprints, decoded_dir, prepare, None)


def _on_photographs(options: Options, decoded_dir: Path, device_type: str) -> Setting:
    """Return the setting of the photographs: networks trained on them, or a user's own for their classes."""
    splits = load_photographs(shares=options.shares, seed=options.seed)
    train = splits["train"]
    if options.craft_images is not None and options.craft_images > len(train):
        raise ValueError(f"`craft_images` must be <= {len(train)}, the training crops, got {options.craft_images}")
    needed: dict[str, Model] = {}

    def find(spec: str) -> Model:
        if spec in PAPER_NAMES:
            if spec not in needed:
                needed[spec] = photograph_model(
                    spec, train, options.schedules[spec], seed=options.seed, device_type=device_type
                )
            return needed[spec]
        if not spec.partition(":")[0].endswith(".py"):
            raise ValueError(
                f"`model` on the photographs must be {', '.join(PAPER_NAMES)}, which are trained on them, or "
                f"path/to/file.py:function, got {spec!r}"
            )
        return find_model(spec, input_size=train.images.shape[-1], num_classes=len(PHOTOGRAPHS))

    target = find(options.model)
    columns = _columns(options, target, find)
    chosen = np.random.default_rng(options.seed).permutation(len(train))[: options.craft_images]
    purposes = {
        name: Split(crops.images, crops.labels, crops.fingerprint) for name, crops in splits.items() if name != "train"
    }
    craft = Split(train.images[chosen], train.labels[chosen], fingerprint(train.images[chosen], train.labels[chosen]))
    crops = ImageSet(
        f"crops of {len(PHOTOGRAPHS)} photographs",
        "crop",
        {"craft": craft, **purposes},
        lambda: {i: name.replace("_", " ") for i, name in enumerate(PHOTOGRAPHS)},
    )

    def prepare(progress: bool) -> None:
        for name in needed:
            title = f"Train {PAPER_NAMES[name]}" if progress else None
            trained_weights(
                name, train, options.schedules[name], seed=options.seed, device_type=device_type, progress=title
            )

    prints = {name: crops.fingerprint for name, crops in splits.items()}
    return Setting(target, columns, None, prints, decoded_dir, prepare, crops)


def _finder(options: Options, machine: Machine) -> Callable[[str, int | None], Model]:
    """Return what finds models by name, each once: a user's function is run once."""
    found: dict[str, Model] = {}

    def find(spec: str, num_classes: int | None) -> Model:
        if spec not in found:
            # All see the images that the target takes.
            size = options.input_size if not found else next(iter(found.values())).input_size
            found[spec] = find_model(
                spec, input_size=size, num_classes=num_classes, weights_dir=machine.weights_dir, seed=options.seed
            )
        return found[spec]

    return find


def _columns(options: Options, target: Model, find: Callable[[str], Model]) -> tuple[Column, ...]:
    """Return the columns: the target first if it is among the sources."""
    sources = options.sources
    if sources is None:
        base, _, rest = options.model.partition(":")
        others = [name for name in PAPER_NAMES if name != base] if base in PAPER_NAMES else []
        sources = (options.model, *(f"{name}:{rest}" if rest == "none" else name for name in others))
    columns: list[Column] = []
    for source in sources:
        path = _perturbation_path(source)
        if path is not None:
            columns.append(_given_column(source, path, target))
        else:
            model = target if source == options.model else find(source)
            columns.append(Column(model.name, model.text, model, white_box=model is target))
    keys = [column.key for column in columns]
    twice = [key for key in keys if keys.count(key) > 1]
    if twice:
        raise ValueError(f"`sources` must be of different names, {twice[0]!r} is there twice")
    texts = [column.text for column in columns]
    columns = [replace(c, text=c.key) if texts.count(c.text) > 1 else c for c in columns]
    if not columns:
        raise ValueError("`sources` must hold at least one model or file of a perturbation")
    return tuple(columns)


def _perturbation_path(source: str) -> str | None:
    """Return the path of a source that is a file of a perturbation, else None."""
    whole, path = source, source.rpartition(":")[0]
    for candidate in (whole, path):
        if candidate.lower().endswith(_PERTURBATION_FILES) and source.partition(":")[0] not in PAPER_NAMES:
            return candidate
    return None


def _given_column(source: str, path: str, target: Model) -> Column:
    """Return the column of a perturbation from a file; what the file does not say may stand after a colon."""
    told: dict[str, Any] = {}
    for part in filter(None, source[len(path) :].lstrip(":").split(",")):
        name, equals, value = part.partition("=")
        if name not in ("order", "layout", "units", "size", "name") or not equals:
            raise ValueError(
                f"source {source!r}: after the file may stand order=, layout=, units=, size= and name=, as for "
                f"load_perturbation, separated by commas, got {part!r}"
            )
        try:
            told[name] = float(value) if name == "units" else int(value) if name == "size" else value
        except ValueError:
            raise ValueError(f"source {source!r}: `{name}` must be a number, got {value!r}") from None
    with warnings.catch_warnings():
        # What was assumed is told in the report.
        warnings.simplefilter("ignore", UserWarning)
        try:
            perturbation = load_perturbation(path, **told)
        except (OSError, ValueError) as error:
            raise ValueError(f"source {source!r}: {str(error).removeprefix('`path` = ')}") from error
    size = target.input_size
    if perturbation.array.shape != (3, size, size):
        raise ValueError(
            f"source {source!r} is a perturbation {perturbation.array.shape}, the images are (3, {size}, {size}): "
            f"add size={size} after a colon to resize it"
        )
    name = Path(path).stem
    return Column(slug(name), name, given=perturbation)


def choose_device(device: str) -> str:
    """Make a device the one that everything runs on, and return ART's word for it, "gpu" or "cpu".

    :param device: "auto", "cpu", "cuda" or "cuda:i".
    :raises ValueError: If there is no such device here.
    """
    if device == "cpu" or (device == "auto" and not torch.cuda.is_available()):
        return "cpu"
    kind, _, index = device.partition(":")
    if kind not in ("auto", "cuda") or (index and not index.isdigit()):
        raise ValueError(f"`device` must be auto, cpu, cuda or cuda:0, cuda:1, ..., got {device!r}")
    if not torch.cuda.is_available():
        raise ValueError(
            f"`device` = {device!r}, but PyTorch {torch.__version__} finds no CUDA device here: use cpu, or install a "
            "PyTorch that is built for this machine's driver"
        )
    if index:
        if int(index) >= torch.cuda.device_count():
            raise ValueError(f"`device` = {device!r}, but there are only {torch.cuda.device_count()} CUDA devices")
        torch.cuda.set_device(int(index))
    return "gpu"
