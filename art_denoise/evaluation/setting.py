"""What is evaluated: the images, the networks, and the columns that attack them, found from the options."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import platformdirs
import torch

from art_denoise.attacks.perturbation import Perturbation
from art_denoise.attacks.perturbation_files import load_perturbation
from art_denoise.choices import DeviceType
from art_denoise.data.decoding import Framing
from art_denoise.data.imagenet import find_images
from art_denoise.data.photographs import CROP_SIZE, PHOTOGRAPHS, Photographs
from art_denoise.data.sets import ImageSource
from art_denoise.evaluation.experiment import Attack, Network, Source
from art_denoise.evaluation.options import Machine, Options, check_device
from art_denoise.evaluation.written import read_source
from art_denoise.models.find import Model, find_model
from art_denoise.models.names import PAPER_NAMES, TITLES, check_name, slug, split_title
from art_denoise.models.networks import RECIPES
from art_denoise.models.photographs import photograph_network


@dataclass(frozen=True)
class Column:
    """A column of a table, and what is behind it.

    :param source: The column.
    :param model: Model that perturbations are crafted on; None if it is a file.
    :param given: The perturbation from the file.
    """

    source: Source
    model: Model | None = None
    given: Perturbation | None = None


@dataclass(frozen=True)
class Setting:
    """What is evaluated, nothing trained, downloaded or decoded yet.

    :param source: Where the images come from.
    :param target: The model whose accuracy is reported.
    :param columns: Where perturbations come from.
    :param decoded_dir: Folder of decoded images.
    :param trained: Names of the models that are trained on the images.
    :param others: Further models that perturbations are scored on.
    """

    source: ImageSource
    target: Model
    columns: tuple[Column, ...]
    decoded_dir: Path
    trained: frozenset[str] = frozenset()
    others: tuple[Model, ...] = ()

    @property
    def targets(self) -> tuple[Model, ...]:
        """The models that perturbations are scored on."""
        return (self.target, *self.others)

    @property
    def models(self) -> dict[str, Model]:
        """The targets and all models that perturbations are crafted on, by name."""
        crafted = {column.model.name: column.model for column in self.columns if column.model is not None}
        return {**{model.name: model for model in self.targets}, **crafted}

    @property
    def given(self) -> dict[str, Perturbation]:
        """The perturbations from files, by name of their column."""
        return {column.source.key: column.given for column in self.columns if column.given is not None}

    @property
    def networks(self) -> tuple[Network, ...]:
        """The same as values of an experiment, the target first; those that are called the same, by their names."""
        texts, titles = (Counter(getattr(m, form) for m in self.models.values()) for form in ("text", "title"))
        return tuple(
            Network(m.name, m.text if texts[m.text] == 1 else m.name, m.title if titles[m.title] == 1 else m.name)
            for m in self.models.values()
        )

    def fetch(self, progress: bool) -> None:
        """Download published weights that are not there."""
        for model in self.models.values():
            if model.fetch is not None:
                model.fetch(progress)


def find_setting(options: Options, machine: Machine, stands_for: Attack, *, download: bool = True) -> Setting:
    """Find images and models, and check that they fit each other, before anything takes long.

    :param options: The choices, filled.
    :param stands_for: The attack whose place perturbations from files take.
    :param download: Let torchvision download Imagenette if it is not there.
    :raises ValueError: If something is not there, or does not fit.
    """
    decoded_dir = machine.decoded_dir or platformdirs.user_cache_path("art_denoise") / "decoded"
    if options.on_photographs:
        return _on_photographs(options, decoded_dir, stands_for)
    find = _finder(options, machine)
    target = find(options.model, options.num_classes)
    framing = Framing(target.resize, target.input_size, target.interpolation, target.margin)
    sizes = {
        "craft": options.craft_images,
        "tune": options.tune_images,
        "noise-fit": options.noise_images,
        "test": options.test_images,
    }
    others = tuple(find(spec, None) for spec in _others(options))
    columns = _columns(options, (target, *others), lambda spec: find(spec, None), stands_for)
    if not any(column.model for column in columns):
        sizes["craft"] = 0
    elif sizes["craft"] == 0:
        raise ValueError("`craft_images` must be >= 1 as perturbations are to be crafted: or give files as `sources`")
    source = find_images(
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
    return Setting(source, target, columns, decoded_dir, others=others)


def _others(options: Options) -> tuple[str, ...]:
    """Return the models that perturbations are scored on besides the target."""
    return tuple(spec for spec in options.targets or () if spec != options.model)


def _on_photographs(options: Options, decoded_dir: Path, stands_for: Attack) -> Setting:
    """Return the setting of the photographs: networks trained on them, or a user's own for their classes."""
    if options.shares is None:
        raise ValueError("`shares` must be given: fill the options")
    source = Photographs(shares=options.shares, craft_images=options.craft_images, seed=options.seed)
    found: dict[str, Model] = {}

    def find(spec: str) -> Model:
        check_name(spec, trained=True)
        if spec not in found:
            name, title = split_title(spec)
            found[spec] = (
                _photograph_model(name, title)
                if name in PAPER_NAMES
                else find_model(spec, input_size=CROP_SIZE, num_classes=len(PHOTOGRAPHS))
            )
        return found[spec]

    target, others = find(options.model), tuple(map(find, _others(options)))
    columns = _columns(options, (target, *others), find, stands_for)
    trained = frozenset(model.name for model in found.values()) & PAPER_NAMES.keys()
    return Setting(source, target, columns, decoded_dir, trained, others)


def _photograph_model(name: str, title: str | None) -> Model:
    """Return one of the paper's networks as a model of the photographs; its weights are trained by a task.

    :param title: What it is called in tables; None: as in the paper.
    """
    build: Callable[[], torch.nn.Module] = partial(photograph_network, name)
    return Model(
        name,
        name=name,
        text=title or PAPER_NAMES[name],
        title=title or TITLES[name],
        make=build,
        sketch=build,
        digest=lambda: "",
        recipe=RECIPES[name],
        input_size=CROP_SIZE,
        resize=CROP_SIZE,
        find_categories=lambda: PHOTOGRAPHS,
        outputs=len(PHOTOGRAPHS),
    )


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


def _columns(
    options: Options, targets: tuple[Model, ...], find: Callable[[str], Model], stands_for: Attack
) -> tuple[Column, ...]:
    """Return the columns: the target first if it is among the sources."""
    target = targets[0]
    sources = options.sources
    if sources is None:
        base, _, rest = split_title(options.model)[0].partition(":")
        others = [name for name in PAPER_NAMES if name != base] if base in PAPER_NAMES else []
        sources = (options.model, *(f"{name}:{rest}" if rest == "none" else name for name in others))
    columns: list[Column] = []
    for source in sources:
        file = read_source(source)
        if file is not None:
            columns.append(_given_column(source, *file, target, stands_for))
        else:
            model = target if source == options.model else find(source)
            columns.append(Column(Source(model.name, model.text), model))
    keys = [column.source.key for column in columns]
    twice = [key for key in keys if keys.count(key) > 1]
    if twice:
        raise ValueError(f"`sources` must be of different names, {twice[0]!r} is there twice")
    models = dict.fromkeys([*targets, *(c.model for c in columns if c.model is not None)])
    called = Counter(model.name for model in models)
    alike = [name for name, count in called.items() if count > 1]
    if alike:
        raise ValueError(
            f"`sources` must be of other names than the target, and another model is called {alike[0]!r}, too: "
            "write the same model the same way everywhere, its title included, or rename the other's file or function"
        )
    if not columns:
        raise ValueError("`sources` must hold at least one model or file of a perturbation")
    texts = [column.source.text for column in columns]
    return tuple(
        replace(c, source=replace(c.source, text=c.source.key)) if texts.count(c.source.text) > 1 else c
        for c in columns
    )


def _given_column(source: str, path: str, told: Mapping[str, Any], target: Model, stands_for: Attack) -> Column:
    """Return the column of a perturbation from a file.

    :param told: What is said of the file that it does not say itself.
    """
    told = dict(told)
    name = told.pop("title", Path(path).stem)
    with warnings.catch_warnings():
        # What was assumed is told in the report; that it is much larger than attacks are is told at once.
        warnings.filterwarnings("ignore", ".*does not say what it holds", UserWarning)
        try:
            perturbation = load_perturbation(path, **told)
        except (OSError, ValueError) as error:
            raise ValueError(f"source {source!r}: {str(error).removeprefix('`path` = ')}") from error
    size = target.input_size
    if perturbation.array.shape[0] != 3:
        raise ValueError(
            f"source {source!r} is a perturbation {perturbation.array.shape}, channels first, and images have three "
            "channels: say how its axes are with layout=CHW or layout=HWC after a colon"
        )
    if perturbation.array.shape != (3, size, size):
        raise ValueError(
            f"source {source!r} is a perturbation {perturbation.array.shape}, the images are (3, {size}, {size}): "
            f"add size={size} after a colon to resize it"
        )
    # A title without a Latin letter or digit has no slug.
    return Column(Source(slug(name) or slug(Path(path).stem) or "file", name, stands_for), given=perturbation)


def choose_device(device: str) -> DeviceType:
    """Make a device the one that everything runs on, and return ART's word for it, "gpu" or "cpu".

    :param device: "auto", "cpu", "cuda" or "cuda:i".
    :raises ValueError: If there is no such device here.
    """
    if device == "cpu" or (device == "auto" and not torch.cuda.is_available()):
        return "cpu"
    check_device(device)
    index = device.partition(":")[2]
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
