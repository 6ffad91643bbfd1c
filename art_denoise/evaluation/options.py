"""Every choice of a run of Table 1, with the defaults."""

from __future__ import annotations

from dataclasses import dataclass, field

from art_denoise.data.photographs import SHARES
from art_denoise.evaluation.rows import COLUMNS, EXTRA_ROWS, KNOWING_ROWS, PAPER_ROWS, SGD_ROWS, THROUGH_ROWS, Row
from art_denoise.evaluation.training import Schedule
from art_denoise.filters._checks import check_choice


@dataclass(frozen=True)
class Options:
    """Every choice of a run. Sizes are in units of the value range.

    :param seed: Seed of splits, weights, augmentation, crafting, draws and controls.
    :param shares: Blocks of a photograph in each split.
    :param schedules: How each network is trained.
    :param eps: L∞ bound of the universal perturbations and of the random signs.
    :param craft_images: Training crops that each universal perturbation is crafted on.
    :param craft_passes: Most passes over them of DeepFoolUAP.
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
    shares: dict[str, int] = field(default_factory=lambda: dict(SHARES))
    schedules: dict[str, Schedule] = field(
        default_factory=lambda: {"inception_v1": Schedule(), "vgg16": Schedule(), "vgg19": Schedule(epochs=6)}
    )
    eps: float = 10 / 255
    craft_images: int = 80
    craft_passes: int = 3
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
        check_choice("noise_accept", self.noise_accept, ("flip", "loss"))
        check_choice("noise_through", self.noise_through, ("defences", "classifier"))

    @property
    def sections(self) -> dict[str, tuple[Row, ...]]:
        """The rows of the table, under their headings."""
        return {
            "As in the paper": PAPER_ROWS,
            "With the stronger attack": SGD_ROWS,
            "The attacker knows the denoiser": THROUGH_ROWS,
            "Besides": EXTRA_ROWS,
            **({"The defender knows the attack": KNOWING_ROWS} if self.noise_knowing else {}),
        }

    @property
    def rows(self) -> tuple[Row, ...]:
        """The rows of the table."""
        return tuple(row for rows in self.sections.values() for row in rows)

    @classmethod
    def quick(cls, seed: int = 0) -> Options:
        """Return choices for a run of well under a minute, whose figures mean nothing: every step, each tiny."""
        return cls(
            seed=seed,
            shares={"train": 2, "tune": 1, "noise-fit": 2, "test": 2},
            # Enough steps for every network to have a gradient at all, whatever the version of PyTorch.
            schedules={
                column: Schedule(epochs=1, views=12 if column == "inception_v1" else 2, batch_size=8)
                for column in COLUMNS
            },
            craft_images=6,
            craft_passes=1,
            sgd_passes=2,
            sgd_batch_size=3,
            noise_sigmas=(16 / 255,),
            noise_eps=(2 / 255,),
            noise_draws=2,
            # Networks this poor are seldom turned right by a draw.
            noise_accept="loss",
            noise_knowing=True,
        )
