"""Models by name: the paper's networks, torchvision's, and a function in a user's own file."""

from __future__ import annotations

import hashlib
import inspect
import math
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any

import torch
from art.estimators.classification import PyTorchClassifier

from art_denoise._checks import check_integer
from art_denoise._user_code import digest_of, run_user_code, user_code
from art_denoise.choices import CropMargin, DeviceType, Interpolation
from art_denoise.models.names import (
    PAPER_NAMES,
    TITLES,
    TORCHVISION,
    check_name,
    is_function_of_file,
    no_such_network,
    slug,
    split_title,
)
from art_denoise.models.networks import RECIPES, Recipe, build_network, published_network, wrap
from art_denoise.models.trial import number_of_logits
from art_denoise.models.weights import fetch_published, load_weights, published_file

#: Shorter side that images are resized to for a crop of 224, where weights do not say.
_RESIZE_PER_CROP = 256 / 224


@dataclass(frozen=True, eq=False)
class Model:
    """A model that can be attacked, not yet loaded.

    :param spec: As it was asked for.
    :param name: For files and as a key.
    :param text: For tables.
    :param title: For headings.
    :param make: Builds the network, (N, 3, H, W) in, logits out, in evaluation mode.
    :param sketch: Builds a network as fast and as large, whatever its weights; nothing is downloaded or trained for it.
    :param digest: 16 hexadecimal digits, or a text, that changes with the weights.
    :param recipe: How the network's input is standardised; None: it takes images in [0, 1].
    :param input_size: Height and width of its images.
    :param resize: Length of the shorter side that images are resized to before they are cropped.
    :param interpolation: How they are resized.
    :param margin: Where the crop begins, see :class:`art_denoise.data.decoding.Framing`.
    :param published: Top-1 accuracy on ImageNet's validation set that is published with the weights, in percent.
    :param find_categories: Returns the names of the classes by label, or None.
    :param outputs: Number of logits, if it is known without building the network.
    :param trained: Whether the weights are anything but random.
    :param weights: torchvision's name of published weights; None for other models.
    :param weights_file: Their file, be it there or not.
    :param fetch: Returns that file, downloaded if need be, with or without a progress bar.
    """

    spec: str
    name: str
    text: str
    title: str
    make: Callable[[], torch.nn.Module]
    sketch: Callable[[], torch.nn.Module]
    digest: Callable[[], str]
    recipe: Recipe | None = None
    input_size: int = 224
    resize: int = 256
    interpolation: Interpolation = "bilinear"
    margin: CropMargin = "even"
    published: float | None = None
    find_categories: Callable[[], tuple[str, ...] | None] = lambda: None
    outputs: int | None = None
    trained: bool = True
    weights: str | None = None
    weights_file: Path | None = None
    fetch: Callable[[bool], Path] | None = None

    @cached_property
    def categories(self) -> tuple[str, ...] | None:
        """Names of the classes by label, if they are known."""
        return self.find_categories()

    @cached_property
    def num_classes(self) -> int:
        """Number of logits; builds the network if that is the only way to know.

        :raises ValueError: If it fails for images of `input_size`, or does not return logits (N, K), K >= 2.
        """
        if self.outputs is not None:
            return self.outputs
        return number_of_logits(self.make(), self.input_size, repr(self.spec))

    def classifier(
        self, device_type: DeviceType = "gpu", *, network: torch.nn.Module | None = None, sketch: bool = False
    ) -> PyTorchClassifier:
        """Build the network and return it as a classifier of images in [0, 1].

        :param device_type: "gpu" (falls back to the CPU) or "cpu".
        :param network: The network, if it is built already.
        :param sketch: Whatever its weights.
        """
        return wrap(
            network or (self.sketch() if sketch else self.make()),
            self.recipe,
            num_classes=self.num_classes,
            input_size=self.input_size,
            device_type=device_type,
        )


def find_model(
    spec: str,
    *,
    input_size: int | None = None,
    num_classes: int | None = None,
    weights_dir: str | os.PathLike[str] | None = None,
    seed: int = 0,
) -> Model:
    """Find a model by its name; weights are loaded, and downloaded, when the network is built.

    :param spec: "inception_v1", "vgg16" or "vgg19", the paper's, with torchvision's weights. "torchvision:NAME", any
        of torchvision's classification networks, with its default weights. After either, ":WEIGHTS": the name of other
        weights of torchvision's, a file of weights, or "none", random weights to try a program with.
        "path/to/file.py:function": a function without arguments that returns a `torch.nn.Module` for images
        (N, 3, H, W) in [0, 1], RGB, returning logits (N, K); code in the file is run. After any of them,
        ":title=NAME": what it is called in tables.
    :param input_size: Height and width of the images; None: of the weights, or 224.
    :param num_classes: Number of logits; None: of the weights, or what the function's network returns.
    :param weights_dir: Folder of torchvision's files of weights; None: where torchvision keeps them.
    :param seed: Seed of random weights.
    :raises ValueError: If there is no such model, or it does not fit `input_size` and `num_classes`.
    """
    if input_size is not None:
        check_integer("input_size", input_size, low=1)
    if num_classes is not None:
        check_integer("num_classes", num_classes, low=2)
    check_name(spec)
    spec, title = split_title(spec)
    name, _, rest = spec.partition(":")
    if is_function_of_file(spec):
        model = _of_file(spec, input_size)
    else:
        architecture, _, weights = rest.partition(":") if name == TORCHVISION else (name, "", rest)
        model = _of_torchvision(spec, architecture, weights, input_size, num_classes, weights_dir, seed)
    if num_classes is not None and model.num_classes != num_classes:
        raise ValueError(f"model {spec!r} returns {model.num_classes} logits, not `num_classes` = {num_classes}")
    return model if title is None else replace(model, text=title, title=title)


@dataclass(frozen=True)
class _Weights:
    """What torchvision says of weights that it publishes."""

    name: str
    file: str
    recipe: Recipe
    crop: int
    resize: int
    interpolation: Interpolation
    accuracy: float
    outputs: int = 1000


#: Those of the paper's networks, so that torchvision need not be imported to ask for a table that is finished.
_PAPER_WEIGHTS = {
    name: _Weights(str(RECIPES[name].weights), file, RECIPES[name], 224, 256, "bilinear", accuracy)
    for name, file, accuracy in (
        ("inception_v1", "googlenet-1378be20.pth", 69.778),
        ("vgg16", "vgg16-397923af.pth", 71.592),
        ("vgg19", "vgg19-dcbb9e9d.pth", 72.376),
    )
}


def _of_torchvision(
    spec: str,
    architecture: str,
    choice: str,
    input_size: int | None,
    num_classes: int | None,
    folder: str | os.PathLike[str] | None,
    seed: int,
) -> Model:
    """Return one of the paper's or torchvision's networks, with the weights chosen."""
    file = Path(choice) if choice and choice != "none" and Path(choice).is_file() else None
    facts = _facts(spec, architecture, "" if choice == "none" or file is not None else choice)
    published = file is None and choice != "none"
    outputs = facts.outputs if published or num_classes is None else num_classes
    size = input_size or facts.crop
    ours = architecture in RECIPES
    if ours:
        build: Callable[[], torch.nn.Module] = partial(build_network, architecture, num_classes=outputs)
    else:
        build = partial(_torchvision_network, architecture, outputs)

    def make() -> torch.nn.Module:
        if published and ours and facts.name == RECIPES[architecture].weights:
            return published_network(architecture, folder)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = build()
            if choice == "none":
                _settle(network, size)
        if choice != "none":
            load_weights(network, file or fetch_published(facts.name, folder))
        return network.eval()

    def digest() -> str:
        if choice == "none":
            return f"random, seed {seed}, torch {torch.__version__}"
        place = file or published_file(facts.file, folder)
        status = place.stat() if place.is_file() else None
        # Half a gigabyte that is not read again each time: its times tell of a change; programs cannot set the last.
        return f"{spec} {place.name} {status and (status.st_size, status.st_mtime_ns, status.st_ctime_ns)}"

    return Model(
        spec,
        name=slug(spec),
        text=PAPER_NAMES.get(spec, spec.removeprefix("torchvision:")),
        title=TITLES.get(spec, spec.removeprefix("torchvision:")),
        make=make,
        sketch=build,
        digest=digest,
        recipe=facts.recipe,
        input_size=size,
        resize=facts.resize if size == facts.crop else max(size, round(size * facts.resize / facts.crop)),
        interpolation=facts.interpolation,
        published=facts.accuracy if published and size == facts.crop and math.isfinite(facts.accuracy) else None,
        find_categories=partial(_categories, facts.name) if outputs == facts.outputs else lambda: None,
        outputs=outputs,
        trained=choice != "none",
        weights=facts.name if published else None,
        weights_file=published_file(facts.file, folder) if published else None,
        fetch=partial(_fetch, facts.name, folder) if published else None,
    )


def _facts(spec: str, architecture: str, choice: str) -> _Weights:
    """Return what torchvision says of the weights of a network: those of a name, or by default its own choice."""
    if architecture in _PAPER_WEIGHTS and choice in ("", "IMAGENET1K_V1"):
        return _PAPER_WEIGHTS[architecture]
    from torchvision import models

    if architecture in RECIPES:
        enumeration: Any = type(models.get_weight(RECIPES[architecture].weights))
    else:
        known = models.list_models(module=models)
        if architecture not in known:
            raise no_such_network(architecture, known)
        enumeration = models.get_model_weights(architecture)
    if choice and choice not in enumeration.__members__:
        raise ValueError(
            f"model {spec!r}: there is no file {choice}, and the weights by name are "
            f"{', '.join([*enumeration.__members__, 'none'])}"
        )
    weights = enumeration[choice] if choice else enumeration.DEFAULT
    preset = weights.transforms()
    return _Weights(
        str(weights),
        weights.url.rsplit("/", 1)[-1],
        Recipe(tuple(preset.mean), tuple(preset.std)),
        preset.crop_size[0],
        preset.resize_size[0],
        preset.interpolation.value,
        weights.meta["_metrics"]["ImageNet-1K"]["acc@1"],
        len(weights.meta["categories"]),
    )


def _categories(weights: str) -> tuple[str, ...]:
    """Return torchvision's names of the classes of a network with certain weights."""
    from torchvision import models

    return tuple(models.get_weight(weights).meta["categories"])


def _settle(network: torch.nn.Module, size: int) -> None:
    """Give batch norm the statistics of noise: with those it begins with, random weights make all images one class."""
    layers = [m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    if layers:
        momenta = [layer.momentum for layer in layers]
        for layer in layers:
            layer.momentum = None
        with torch.no_grad():
            network.train()(torch.randn(4, 3, size, size))
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
        network.eval()


def _fetch(weights: str, folder: str | os.PathLike[str] | None, progress: bool) -> Path:
    return fetch_published(weights, folder, progress=progress)


def _torchvision_network(architecture: str, outputs: int) -> torch.nn.Module:
    """Build a network as its published weights need it: without auxiliary heads, whose weights serve training only."""
    from torchvision import models

    options: dict[str, Any] = {}
    if architecture in ("googlenet", "inception_v3"):
        options = {"aux_logits": False, "transform_input": True, "init_weights": False}
    network: torch.nn.Module = models.get_model(architecture, weights=None, num_classes=outputs, **options)
    return network.eval()


def _of_file(spec: str, input_size: int | None) -> Model:
    """Return the model that a function in a user's file builds."""
    path, _, function = spec.rpartition(":")
    file = Path(path)
    kept: list[torch.nn.Module] = []

    def make() -> torch.nn.Module:
        if not kept:
            kept.append(_network_of_file(spec, file, function))
        return kept[0]

    @cache  # the configuration and every key ask for it
    def digest() -> str:
        found = hashlib.sha256(digest_of(user_code(file), file).encode())
        for name, tensor in make().state_dict().items():
            values = tensor.detach().cpu().contiguous()
            found.update(f"{name}{values.dtype}{tuple(values.shape)}".encode())
            # Bytes of any type, bfloat16 too, which NumPy does not have.
            found.update(values.flatten().view(torch.uint8).numpy().tobytes() if values.numel() else b"")
        return found.hexdigest()[:16]

    size = input_size or 224
    categories = getattr(make(), "categories", None)
    return Model(
        spec,
        name=slug(f"{file.stem}-{function}"),
        text=file.stem,
        title=file.stem,
        make=make,
        sketch=make,
        digest=digest,
        input_size=size,
        resize=max(size, round(size * _RESIZE_PER_CROP)),
        margin="down",
        find_categories=lambda: None if categories is None else tuple(map(str, categories)),
    )


def _network_of_file(spec: str, file: Path, function: str) -> torch.nn.Module:
    """Run a user's file and return what the function returns."""
    try:
        module = run_user_code(file, file.read_bytes(), "model")
        make = getattr(module, function, None)
        if not callable(make):
            names = [n for n, value in vars(module).items() if inspect.isfunction(value) and not n.startswith("_")]
            raise ValueError(f"there is no function {function!r}, but {', '.join(names) or 'none at all'}")
        network = make()
    except (Exception, SystemExit) as error:
        raise ValueError(f"model {spec!r} cannot be built ({type(error).__name__}: {error})") from error
    if not isinstance(network, torch.nn.Module):
        raise ValueError(f"model {spec!r} must return a torch.nn.Module, got {type(network).__name__}")
    # The function may return the same one again.
    if _copied not in network._forward_pre_hooks.values() and not isinstance(network, torch.jit.ScriptModule):
        network.register_forward_pre_hook(_copied)
    return network.eval()


def _copied(network: torch.nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Give a network images of its own: one that standardises them in place would change those of who attacks it."""
    return tuple(one.clone() if isinstance(one, torch.Tensor) else one for one in inputs)
