"""Every choice of a run of Table 1, with the defaults, and where it runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from art_denoise.data.photographs import SHARES
from art_denoise.evaluation.rows import EXTRA_ROWS, KNOWING_ROWS, PAPER_ROWS, SGD_ROWS, THROUGH_ROWS, Row
from art_denoise.models.training import Schedule
from art_denoise._checks import check_choice, check_integer, check_number


@dataclass(frozen=True)
class Options:
    """Every choice of a run. Sizes are in units of the value range. :meth:`for_data` has the defaults of other data.

    :param seed: Seed of splits, weights, augmentation, crafting, draws and controls.
    :param data: "photographs", "imagenette", "imagenet" or a folder of classes; see :func:`find_images`.
    :param data_dir: Folder of "imagenet" or "imagenette".
    :param classes: File that says which class each folder is, JSON or CSV.
    :param skip_broken: Leave out images that cannot be read, and say which.
    :param shares: Blocks of a photograph in each split; photographs only.
    :param schedules: How each network is trained; photographs only.
    :param model: The target; see :func:`find_model`. On the photographs, a network that is trained on them.
    :param sources: The columns: models that perturbations are crafted on, and files of perturbations. None: the target
        and, if that is one of the paper's networks, the two others.
    :param input_size: Height and width of the images; None: of the target's weights.
    :param num_classes: Number of logits of the target; None: of its weights, or as it is.
    :param preflight: Check the models before anything else, and stop if one does not do what it should.
    :param rows: "all", or "paper": the rows of the paper only, and no table of transfer.
    :param sweep: Also score over strengths of the denoisers, as in the paper's appendix.
    :param eps: L∞ bound of the universal perturbations and of the random signs.
    :param craft_images: Images that each universal perturbation is crafted on. None: see :func:`draw_splits`.
    :param tune_images: Images that σ and ε of v_def are chosen on; None likewise, and 0 leaves v_def out.
    :param noise_images: Images that v_def is fitted on; likewise.
    :param test_images: Images that are scored; None likewise.
    :param craft_passes: Most passes over them of DeepFoolUAP.
    :param craft_batch_size: Images that make one update of DeepFoolUAP; 1 is the paper's algorithm.
    :param craft_steps: Most DeepFool steps for an image.
    :param craft_overshoot: DeepFool's overshoot.
    :param craft_until: Fooling rate at which DeepFoolUAP ends.
    :param sgd_passes: Passes over them of SGDUAP.
    :param sgd_batch_size: Images that make one step of SGDUAP.
    :param rof_weight: Weight of the ROF defence.
    :param nlm_h: Filter strength of the NL-means defence.
    :param noise_sigmas: Standard deviations of the draws to choose from on the tuning split.
    :param noise_eps: Root mean squares of v_def to choose from on the tuning split.
    :param noise_draws: Draws per misclassified image.
    :param noise_accept: "flip" or "loss"; see :meth:`DefensiveNoiseDefence.fit`.
    :param noise_through: "defences" or "classifier", likewise.
    :param noise_knowing: Fit v_def on images that each attack has perturbed too, in rows of their own.
    """

    seed: int = 0
    data: str = "photographs"
    data_dir: str | None = None
    classes: str | None = None
    skip_broken: bool = False
    shares: dict[str, int] = field(default_factory=lambda: dict(SHARES))
    schedules: dict[str, Schedule] = field(
        default_factory=lambda: {"inception_v1": Schedule(), "vgg16": Schedule(), "vgg19": Schedule(epochs=6)}
    )
    model: str = "inception_v1"
    sources: tuple[str, ...] | None = None
    input_size: int | None = None
    num_classes: int | None = None
    preflight: bool = True
    rows: str = "all"
    sweep: bool = False
    eps: float = 10 / 255
    craft_images: int | None = 80
    tune_images: int | None = None
    noise_images: int | None = None
    test_images: int | None = None
    craft_passes: int = 3
    craft_batch_size: int = 1
    craft_steps: int = 10
    craft_overshoot: float = 0.02
    craft_until: float = 0.8
    sgd_passes: int = 10
    sgd_batch_size: int = 16
    rof_weight: float = 10 / 255
    nlm_h: float = 0.05
    noise_sigmas: tuple[float, ...] = (8 / 255, 16 / 255)
    noise_eps: tuple[float, ...] = (1 / 255, 2 / 255, 4 / 255)
    noise_draws: int = 12
    noise_accept: str = "flip"
    noise_through: str = "defences"
    noise_knowing: bool = False

    def __post_init__(self) -> None:
        # What is used hours later is checked now.
        check_choice("rows", self.rows, ("all", "paper"))
        check_choice("noise_accept", self.noise_accept, ("flip", "loss"))
        check_choice("noise_through", self.noise_through, ("defences", "classifier"))
        check_number("eps", self.eps, low=0, high=1, low_open=True)
        check_number("rof_weight", self.rof_weight, low=0, low_open=True)
        check_number("nlm_h", self.nlm_h, low=0, low_open=True)
        for name in ("craft_images", "tune_images", "noise_images", "test_images"):
            if getattr(self, name) is not None:
                check_integer(name, getattr(self, name), low=0)
        for name in ("craft_passes", "craft_batch_size", "sgd_passes", "sgd_batch_size", "noise_draws"):
            check_integer(name, getattr(self, name), low=1)
        if self.on_photographs:
            fixed = ["data_dir", "classes", "input_size", "num_classes", "tune_images", "noise_images", "test_images"]
            given = [name for name in fixed if getattr(self, name) is not None]
            if given or self.skip_broken:
                raise ValueError(
                    f"`{(given or ['skip_broken'])[0]}` is for folders of images: leave it out with the photographs, "
                    "or give a folder as `data`"
                )
            if not self.craft_images:
                raise ValueError("`craft_images` must be >= 1 with the photographs")

    @property
    def on_photographs(self) -> bool:
        """Whether the images are the photographs' crops."""
        return self.data == "photographs"

    @property
    def strengths(self) -> dict[str, float]:
        """The strength of each denoiser, by its name."""
        return {"rof": self.rof_weight, "nlm": self.nlm_h}

    @property
    def sections(self) -> dict[str, tuple[Row, ...]]:
        """The rows of the table, under their headings."""
        if self.rows == "paper":
            return {"As in the paper": PAPER_ROWS}
        return {
            "As in the paper": PAPER_ROWS,
            "With the stronger attack": SGD_ROWS,
            "The attacker knows the denoiser": THROUGH_ROWS,
            "Besides": EXTRA_ROWS,
            **({"The defender knows the attack": KNOWING_ROWS} if self.noise_knowing else {}),
        }

    @classmethod
    def for_data(cls, data: str = "photographs", **given: Any) -> Options:
        """Return the defaults for data, with what is given in their place.

        On the photographs a few crops and passes, for minutes on a CPU; on everything else what the paper has, as far
        as there are images: 10 000 for each purpose, ten passes of DeepFoolUAP at most.
        """
        if data == "photographs":
            return cls(**given)
        paper = {"craft_images": None, "craft_passes": 10, "sgd_batch_size": 64}
        return cls(**{"data": data, **paper, **given})

    @classmethod
    def quick(cls, **given: Any) -> Options:
        """Return choices for a run on the photographs of well under a minute, whose figures mean nothing."""
        tiny: dict[str, Any] = {
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
        return cls(**{**tiny, **given})


@dataclass(frozen=True)
class Machine:
    """Where a run is made, and with what: nothing that a figure is meant to depend on.

    :param device: "auto", "cpu", "cuda" or "cuda:1", ...
    :param mixed_precision: Score in half precision where a check shows the same labels.
    :param batch_size: Images that are scored at once; None: found by trial.
    :param workers: Threads that decode images; None: as many as cores.
    :param weights_dir: Folder of torchvision's files of weights; None: where torchvision keeps them.
    :param decoded_dir: Folder for decoded images; None: in the user's cache.
    :param progress: Show progress bars.
    """

    device: str = "auto"
    mixed_precision: bool = False
    batch_size: int | None = None
    workers: int | None = None
    weights_dir: Path | None = None
    decoded_dir: Path | None = None
    progress: bool = True
