"""Every choice of a run, with the defaults, and where it runs. The command line has the same fields as options.

Nothing here needs PyTorch: that is imported when something is computed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from art_denoise._checks import check_choice, check_integer, check_number
from art_denoise.choices import AcceptedDraw, FittedThrough
from art_denoise.data.photographs import SHARES
from art_denoise.models.schedule import Schedule

#: Which rows a table has: all, or those of the paper only.
Rows = Literal["all", "paper"]

#: Headings that fields stand under where they are options of the command line.
WHAT, SIZES, ATTACKS, DEFENCES, MACHINE, RUN = (
    "What is evaluated",
    "How many images",
    "Attacks",
    "Defences",
    "Where it runs",
    "The run",
)


@dataclass(frozen=True)
class Shown:
    """How a field is an option of the command line.

    :param under: Heading that it stands under.
    :param name: What it is called there; None: as the field.
    :param of_255: Whether a number there is of 255, while it is a share of the value range here.
    """

    under: str
    name: str | None = None
    of_255: bool = False


_SCHEDULES = {"inception_v1": Schedule(), "vgg16": Schedule(), "vgg19": Schedule(epochs=6)}

#: What fields that are None stand for: everywhere, ...
_DEFAULTS: dict[str, Any] = {
    "shares": SHARES,
    "schedules": _SCHEDULES,
    "noise_sigmas": (8 / 255, 16 / 255),
    "noise_eps": (1 / 255, 2 / 255, 4 / 255),
    "noise_draws": 12,
    "noise_accept": "flip",
    "noise_knowing": False,
}

#: ... on the photographs, a few crops and passes, for minutes on a CPU, ...
_ON_PHOTOGRAPHS: dict[str, Any] = {"deepfool_images": 80, "craft_passes": 3, "sgd_passes": 3, "sgd_batch_size": 16}

#: ... on everything else, what the paper has, as far as there are images (`craft_images` None: see `draw_splits`), ...
_ON_FOLDERS: dict[str, Any] = {"craft_passes": 10, "sgd_passes": 10, "sgd_batch_size": 64}

#: ... and for a run of every step on few crops, whose figures mean nothing.
_QUICK: dict[str, Any] = {
    "shares": {"train": 2, "tune": 1, "noise-fit": 2, "test": 2},
    # Enough steps for every network to have a gradient at all, whatever the version of PyTorch.
    "schedules": {
        "inception_v1": Schedule(epochs=1, views=12, batch_size=8),
        "vgg16": Schedule(epochs=1, views=2, batch_size=8),
        "vgg19": Schedule(epochs=1, views=2, batch_size=8),
    },
    "craft_images": 6,
    "craft_passes": 1,
    "sgd_passes": 2,
    "sgd_batch_size": 3,
    "noise_sigmas": (16 / 255,),
    "noise_eps": (2 / 255,),
    "noise_draws": 2,
    # Networks this poor are seldom turned right by a draw.
    "noise_accept": "loss",
    "noise_knowing": True,
}

#: Options for folders of images only.
_OF_FOLDERS = ("data_dir", "classes", "input_size", "num_classes", "tune_images", "noise_images", "test_images")


@dataclass(frozen=True)
class Options:
    """Every choice of a run that figures depend on. Sizes are shares of the value range.

    Fields that are None by default have a default that depends on `data` and `quick`; :meth:`filled` puts it in.

    :param seed: Seed of everything that is random: splits, weights, augmentation, crafting, draws and controls.
    :param seeds: How many perturbations of each kind are crafted, with the seeds `seed`, `seed` + 1, ...; tables give
        their mean and spread.
    :param data: Images: "photographs", "imagenette", "imagenet", or a folder that holds one folder of images for each
        class, or two such folders, train and val.
    :param data_dir: Folder that holds the data set "imagenet" or "imagenette".
    :param classes: JSON or CSV file that says which class each folder of images is.
    :param skip_broken: Leave out images that cannot be read, and name them in the report.
    :param shares: How many blocks of each photograph are in each split; photographs only.
    :param schedules: How each network is trained; photographs only.
    :param model: The target, the network that is defended: inception_v1, vgg16, vgg19, torchvision:NAME[:WEIGHTS], or
        path/to/file.py:function, where the function returns a network for images in [0, 1]. On the photographs,
        the first three are small networks trained on them. Append :title=NAME to name it in tables.
    :param targets: Networks that perturbations are scored on: inception_v1, vgg16, vgg19, torchvision:NAME[:WEIGHTS] or
        path/to/file.py:function. Append :title=NAME to name one in tables. None: `model` alone.
    :param sources: Where perturbations come from, a column of the table each: models to craft them on, or files of
        perturbations, as in FILE.npy:order=bgr,layout=HWC,units=255,title=NAME, where NAME is their name in tables.
        None: in Table 1 the target and, if that is one of the paper's networks, the two others.
    :param defences: Defences: rof:weight=5, nlm:h=0.02, a chain such as noise+rof, a preprocessor of ART such as
        art:JpegCompression:quality=75, or path/to/file.py:function, where the function returns preprocessors of ART.
        Add title=NAME to the parameters to name a defence in tables. None: the paper's two denoisers.
    :param attacks: Attacks: deepfool-uap, sgd-uap, pgd:knowledge=bpda,max_iter=20, square, art:NAME, ... None: in
        Table 1 the two universal ones, deepfool-uap and sgd-uap.
    :param input_size: Height and width of the images, in pixels; None: what the target's weights ask for.
    :param num_classes: Number of classes (logits) of the target; None: that of its weights, or what it returns.
    :param preflight: Check the models before anything else, and stop if one does not do what it should.
    :param rows: Which rows the table has: all; or paper, those of the paper only, without the table of transfer
        between networks.
    :param sweep: Also score a range of strengths of the denoisers, as in the paper's appendix.
    :param eps: The most that an attack may change each value of an image (the bound in the norm L∞), unless the attack
        has an eps of its own.
    :param craft_images: Number of images that universal perturbations are crafted on; None: on the photographs all
        training crops.
    :param deepfool_images: How many of the images of `craft_images` DeepFoolUAP uses, which takes many times as long
        for each as SGDUAP; None: all, on the photographs 80.
    :param tune_images: Number of images for choosing strengths, and the σ and ε of v_def, the paper's defensive noise;
        0 leaves v_def out.
    :param noise_images: Number of images that v_def, the defensive noise, is fitted on; 0 leaves v_def out.
    :param test_images: Number of images that every reported figure is computed on.
    :param craft_passes: Most passes of DeepFoolUAP over its images.
    :param craft_batch_size: Number of images for each update of DeepFoolUAP; 1 is the paper's algorithm.
    :param craft_steps: Most steps of DeepFool for each image.
    :param craft_overshoot: Overshoot of DeepFool: how far it steps beyond the decision boundary.
    :param craft_until: Fooling rate at which DeepFoolUAP stops.
    :param sgd_passes: Passes of SGDUAP, the stronger attack, over its images.
    :param sgd_batch_size: Number of images for each step of SGDUAP.
    :param draws: How often each image is scored behind a defence that draws at random; it counts as right only if it is
        classified right every time.
    :param rof_weight: Weight (strength) of the ROF defence.
    :param nlm_h: Strength h of the NL-means defence.
    :param noise_sigmas: Standard deviations of the random draws that v_def, the defensive noise, is made of; the best
        is chosen on the tuning split.
    :param noise_eps: Root mean squares of v_def, the defensive noise; the best is chosen on the tuning split.
    :param noise_draws: Number of random draws for each misclassified image when v_def is fitted.
    :param noise_accept: Which draws v_def is made of: flip, those that turn a wrong prediction into a right one; or
        loss, those that lower the loss.
    :param noise_through: What v_def is fitted through: defences, the denoiser that follows it; or classifier, the
        classifier alone.
    :param noise_knowing: Also fit v_def on images that each attack has perturbed, and report that in rows of its own.
    :param costs: Measure the time and memory that defences take, which differ from run to run.
    :param quick: On the photographs, run every step on a few images, to try the program; the figures mean nothing.
    """

    seed: Annotated[int, Shown(RUN)] = 0
    seeds: Annotated[int, Shown(RUN)] = 1
    data: Annotated[str, Shown(WHAT)] = "photographs"
    data_dir: Annotated[str | None, Shown(WHAT)] = None
    classes: Annotated[str | None, Shown(WHAT)] = None
    skip_broken: Annotated[bool, Shown(SIZES)] = False
    shares: Annotated[Mapping[str, int] | None, Shown(SIZES)] = None
    schedules: Annotated[Mapping[str, Schedule] | None, Shown(WHAT)] = None
    model: Annotated[str, Shown(WHAT)] = "inception_v1"
    targets: Annotated[tuple[str, ...] | None, Shown(WHAT, "model")] = None
    sources: Annotated[tuple[str, ...] | None, Shown(WHAT, "source")] = None
    defences: Annotated[tuple[str, ...] | None, Shown(DEFENCES, "defence")] = None
    attacks: Annotated[tuple[str, ...] | None, Shown(ATTACKS, "attack")] = None
    input_size: Annotated[int | None, Shown(WHAT)] = None
    num_classes: Annotated[int | None, Shown(WHAT)] = None
    preflight: Annotated[bool, Shown(WHAT)] = True
    rows: Annotated[Rows, Shown(WHAT)] = "all"
    sweep: Annotated[bool, Shown(WHAT)] = False
    eps: Annotated[float, Shown(ATTACKS, of_255=True)] = 10 / 255
    craft_images: Annotated[int | None, Shown(SIZES)] = None
    deepfool_images: Annotated[int | None, Shown(SIZES)] = None
    tune_images: Annotated[int | None, Shown(SIZES)] = None
    noise_images: Annotated[int | None, Shown(SIZES)] = None
    test_images: Annotated[int | None, Shown(SIZES)] = None
    craft_passes: Annotated[int | None, Shown(ATTACKS)] = None
    craft_batch_size: Annotated[int, Shown(ATTACKS)] = 1
    craft_steps: Annotated[int, Shown(ATTACKS)] = 10
    craft_overshoot: Annotated[float, Shown(ATTACKS)] = 0.02
    craft_until: Annotated[float, Shown(ATTACKS)] = 0.8
    sgd_passes: Annotated[int | None, Shown(ATTACKS)] = None
    sgd_batch_size: Annotated[int | None, Shown(ATTACKS)] = None
    draws: Annotated[int, Shown(DEFENCES)] = 5
    rof_weight: Annotated[float, Shown(DEFENCES, of_255=True)] = 10 / 255
    nlm_h: Annotated[float, Shown(DEFENCES)] = 0.05
    noise_sigmas: Annotated[tuple[float, ...] | None, Shown(DEFENCES, of_255=True)] = None
    noise_eps: Annotated[tuple[float, ...] | None, Shown(DEFENCES, of_255=True)] = None
    noise_draws: Annotated[int | None, Shown(DEFENCES)] = None
    noise_accept: Annotated[AcceptedDraw | None, Shown(DEFENCES)] = None
    noise_through: Annotated[FittedThrough, Shown(DEFENCES)] = "defences"
    noise_knowing: Annotated[bool | None, Shown(DEFENCES)] = None
    costs: Annotated[bool, Shown(DEFENCES)] = False
    quick: Annotated[bool, Shown(RUN)] = False

    def __post_init__(self) -> None:
        # What is used hours later is checked now.
        check_choice("rows", self.rows, get_args(Rows))
        check_choice("noise_through", self.noise_through, get_args(FittedThrough))
        if self.noise_accept is not None:
            check_choice("noise_accept", self.noise_accept, get_args(AcceptedDraw))
        check_number("eps", self.eps, low=0, high=1, low_open=True)
        check_number("rof_weight", self.rof_weight, low=0, low_open=True)
        check_number("nlm_h", self.nlm_h, low=0, low_open=True)
        check_number("craft_until", self.craft_until, low=0, high=1)
        check_number("craft_overshoot", self.craft_overshoot, low=0)
        check_integer("seed", self.seed, low=0)
        for name in ("craft_images", "tune_images", "noise_images", "test_images"):
            if getattr(self, name) is not None:
                check_integer(name, getattr(self, name), low=0)
        for name in (
            "deepfool_images",
            "craft_passes",
            "craft_batch_size",
            "craft_steps",
            "sgd_passes",
            "sgd_batch_size",
            "noise_draws",
        ):
            if getattr(self, name) is not None:
                check_integer(name, getattr(self, name), low=1)
        for name, least in (("input_size", 1), ("num_classes", 2)):
            if getattr(self, name) is not None:
                check_integer(name, getattr(self, name), low=least)
        check_integer("seeds", self.seeds, low=1)
        check_integer("draws", self.draws, low=1)
        for name in ("noise_sigmas", "noise_eps"):
            if getattr(self, name) is not None:
                self._check_sizes(name)
        for name in ("targets", "sources", "defences", "attacks"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, str) or not all(isinstance(text, str) for text in value)):
                raise TypeError(f"`{name}` must be a list of texts, got {value!r}")
        if self.attacks is not None and not self.attacks:
            raise ValueError("`attacks` must hold at least one attack: leave it out for those of Table 1")
        if self.targets is not None and not 0 < len({*self.targets}) == len(self.targets):
            raise ValueError("`targets` must hold at least one model, and each once")
        self._check_data()

    def _check_sizes(self, name: str) -> None:
        if not getattr(self, name):
            raise ValueError(f"`{name}` must hold at least one number")
        for value in getattr(self, name):
            check_number(name, value, low=0, high=1, low_open=True)

    def _check_data(self) -> None:
        if not self.on_photographs:
            if self.quick:
                raise ValueError(
                    "`quick` is for the photographs: give small numbers of images instead, as with `test_images`"
                )
            return
        given = [name for name in _OF_FOLDERS if getattr(self, name) is not None]
        if given or self.skip_broken:
            raise ValueError(
                f"`{(given or ['skip_broken'])[0]}` is for folders of images: leave it out with the photographs, "
                "or give a folder as `data`"
            )
        if self.craft_images == 0:
            raise ValueError("`craft_images` must be >= 1 with the photographs")

    @property
    def on_photographs(self) -> bool:
        """Whether the images are the photographs' crops."""
        return self.data == "photographs"

    def filled(self) -> Options:
        """Return the options with every default that depends on `data` and `quick` put in."""
        defaults = {**_DEFAULTS, **(_ON_PHOTOGRAPHS if self.on_photographs else _ON_FOLDERS)}
        if self.quick:
            defaults |= _QUICK
        if self.schedules is not None:
            # Networks that are not named keep theirs.
            defaults["schedules"] = {**defaults["schedules"], **self.schedules}
        open_ones = {f.name for f in fields(self) if getattr(self, f.name) is None} | {"schedules"}
        return replace(self, **{name: value for name, value in defaults.items() if name in open_ones})


#: Fields that name files and folders, alone or with what follows them, as in net.py:load.
_PLACES = ("data", "data_dir", "classes", "model", "targets", "sources", "defences", "attacks")


def placed(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options, JSON-like, with files and folders by where they are, however that was written.

    So `d`, `./d`, `d/`, its absolute path and a link to it are the same choice.
    """
    return {name: _placed(value) if name in _PLACES else value for name, value in options.items()}


def _placed(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_placed(part) for part in value]
    # Some words stand for images, though there may be folders of these names.
    if not isinstance(value, str) or value in ("photographs", "imagenet", "imagenette"):
        return value
    if os.path.exists(value):
        return os.path.realpath(value)
    parts = re.split(r"([:+,=])", value)
    return "".join(os.path.realpath(part) if part and os.path.isfile(part) else part for part in parts)


@dataclass(frozen=True)
class Fitting:
    """How v_def is fitted.

    :param sigmas: Standard deviations of the draws to choose from.
    :param eps: Root mean squares to choose from.
    :param draws: Draws for each image.
    :param accept: Which draws count.
    :param through: Whether draws are judged through the preprocessors.
    :param seed: Seed of the draws.
    """

    sigmas: tuple[float, ...]
    eps: tuple[float, ...]
    draws: int
    accept: AcceptedDraw
    through: FittedThrough
    seed: int

    @classmethod
    def of(cls, options: Options) -> Fitting:
        """Return what options say of it; what they leave open is by default."""
        o = options.filled()
        if o.noise_sigmas is None or o.noise_eps is None or o.noise_draws is None or o.noise_accept is None:
            raise ValueError("`noise_sigmas`, `noise_eps`, `noise_draws` and `noise_accept` have no default here")
        return cls(o.noise_sigmas, o.noise_eps, o.noise_draws, o.noise_accept, o.noise_through, o.seed)


@dataclass(frozen=True)
class Machine:
    """Where a run is made, and with what: nothing that a figure is meant to depend on.

    :param device: Where to compute: auto, cpu, cuda, or cuda:1 and so on.
    :param mixed_precision: Score in half precision if a check on 256 images gives the same labels.
    :param batch_size: Number of images that are scored at once; None: chosen by their size, on a GPU by trial.
    :param jobs: Number of processes that share the work; each keeps its own networks in memory. None: on the
        photographs without a GPU as many as cores, else 1.
    :param threads: Number of threads of each process on a CPU, which results depend on in their last digits; None: on
        the photographs 1, so that machines agree, else as many as cores.
    :param workers: Number of threads that decode images; None: as many as cores.
    :param weights_dir: Folder with torchvision's files of weights; None: where torchvision keeps them.
    :param decoded_dir: Folder for decoded images; None: in the user's cache.
    :param progress: Show progress bars.
    """

    device: Annotated[str, Shown(MACHINE)] = "auto"
    mixed_precision: Annotated[bool, Shown(MACHINE)] = False
    batch_size: Annotated[int | None, Shown(MACHINE)] = None
    jobs: Annotated[int | None, Shown(MACHINE)] = None
    threads: Annotated[int | None, Shown(MACHINE)] = None
    workers: Annotated[int | None, Shown(MACHINE)] = None
    weights_dir: Annotated[Path | None, Shown(MACHINE)] = None
    decoded_dir: Annotated[Path | None, Shown(MACHINE)] = None
    progress: Annotated[bool, Shown(RUN)] = True

    def __post_init__(self) -> None:
        check_device(self.device)
        for name in ("batch_size", "jobs", "threads", "workers"):
            if getattr(self, name) is not None:
                check_integer(name, getattr(self, name), low=1)


def check_device(device: str) -> None:
    """Raise unless a device is written as one; whether it is there, only PyTorch knows."""
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", device):
        raise ValueError(f"`device` must be auto, cpu, cuda or cuda:0, cuda:1, ..., got {device!r}")
