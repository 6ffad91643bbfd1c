"""The rows and columns of Table 1: what is added to an image, what removes it again, and the paper's figure."""

from __future__ import annotations

from dataclasses import dataclass

from art_denoise.attacks import Perturbation
from art_denoise.models.find import PAPER_NAMES, Model


@dataclass(frozen=True)
class Row:
    """One row of the table.

    :param key: Name in files.
    :param text: Name in reports, in the paper's symbols.
    :param added: What the attacker adds: "nothing", "signs" (random signs of the same size), or the column's universal
        perturbation: by "deepfool" or from a file, by "sgd", or by "sgd-rof" or "sgd-nlm", SGD through that denoiser.
    :param noise: What the defender adds: "nothing", "fitted" (v_def), "random" (random direction, size of v_def) or
        "knowing" (v_def fitted on images that the attack of the column has perturbed).
    :param denoiser: "none", "rof" or "nlm".
    :param paper: The paper's accuracy in percent for the three columns, if the row is the paper's.
    """

    key: str
    text: str
    added: str = "deepfool"
    noise: str = "nothing"
    denoiser: str = "none"
    paper: tuple[float, float, float] | None = None

    @property
    def of_column(self) -> bool:
        """Whether the row differs between columns; otherwise the column's attack has no part in it."""
        return self.added not in ("nothing", "signs")

    @property
    def crafted(self) -> bool:
        """Whether the perturbation has to be crafted: a file cannot stand for it."""
        return self.of_column and self.added != "deepfool"

    def cell(self, column: str) -> str:
        """Name of the row's cell in a column; the same in all columns if they do not differ."""
        return f"{self.key}-{column}" if self.of_column else self.key

    def paper_in(self, target: str, column: str) -> float | None:
        """The paper's figure, if target and column are of the paper's networks."""
        if self.paper is None or target != "inception_v1" or column not in PAPER_NAMES:
            return None
        return self.paper[list(PAPER_NAMES).index(column)]


@dataclass(frozen=True, eq=False)
class Column:
    """One column of the table: where its universal perturbation comes from.

    :param key: Name in files, and of the model.
    :param text: Name in reports.
    :param model: Model that it is crafted on; None if it is from a file.
    :param given: The perturbation from a file.
    :param white_box: Whether the model is the target itself; else it is a black-box transfer.
    """

    key: str
    text: str
    model: Model | None = None
    given: Perturbation | None = None
    white_box: bool = False


PAPER_ROWS = (
    Row("clean", "v0", added="nothing", paper=(69.4, 69.4, 69.4)),
    Row("uap", "v0 + δ", paper=(12.5, 28.7, 31.7)),
    Row("uap-rof", "D_ROF(v0 + δ)", denoiser="rof", paper=(56.3, 47.2, 49.1)),
    Row("uap-vdef-rof", "D_ROF(v0 + δ + v_def)", noise="fitted", denoiser="rof", paper=(57.1, 51.2, 51.3)),
    Row("uap-nlm", "D_nlm(v0 + δ)", denoiser="nlm", paper=(57.7, 45.0, 46.9)),
    Row("uap-vdef-nlm", "D_nlm(v0 + δ + v_def)", noise="fitted", denoiser="nlm", paper=(58.0, 47.7, 49.4)),
)

#: The same with the stronger attack.
SGD_ROWS = (
    Row("sgd", "v0 + δ_SGD", added="sgd"),
    Row("sgd-rof", "D_ROF(v0 + δ_SGD)", added="sgd", denoiser="rof"),
    Row("sgd-vdef-rof", "D_ROF(v0 + δ_SGD + v_def)", added="sgd", noise="fitted", denoiser="rof"),
    Row("sgd-nlm", "D_nlm(v0 + δ_SGD)", added="sgd", denoiser="nlm"),
    Row("sgd-vdef-nlm", "D_nlm(v0 + δ_SGD + v_def)", added="sgd", noise="fitted", denoiser="nlm"),
)

#: Rows of an attacker who knows the denoiser, and crafts through it.
THROUGH_ROWS = (
    Row("through-rof", "D_ROF(v0 + δ_SGD knowing D_ROF)", added="sgd-rof", denoiser="rof"),
    Row("through-nlm", "D_nlm(v0 + δ_SGD knowing D_nlm)", added="sgd-nlm", denoiser="nlm"),
)

EXTRA_ROWS = (
    Row("clean-rof", "D_ROF(v0)", added="nothing", denoiser="rof"),
    Row("clean-nlm", "D_nlm(v0)", added="nothing", denoiser="nlm"),
    Row("signs", "v0 + random signs", added="signs"),
    Row("signs-rof", "D_ROF(v0 + random signs)", added="signs", denoiser="rof"),
    Row("signs-nlm", "D_nlm(v0 + random signs)", added="signs", denoiser="nlm"),
    Row("uap-random-rof", "D_ROF(v0 + δ + random direction)", noise="random", denoiser="rof"),
    Row("uap-random-nlm", "D_nlm(v0 + δ + random direction)", noise="random", denoiser="nlm"),
)

#: Rows of a defender who has seen the attack.
KNOWING_ROWS = (
    Row("uap-knowing-rof", "D_ROF(v0 + δ + v_def knowing δ)", noise="knowing", denoiser="rof"),
    Row("uap-knowing-nlm", "D_nlm(v0 + δ + v_def knowing δ)", noise="knowing", denoiser="nlm"),
)

#: Pairs of rows compared on the same images: what the first adds to the second.
COMPARISONS = (
    ("uap", "clean", "the attack"),
    ("clean-rof", "clean", "ROF on clean images"),
    ("clean-nlm", "clean", "NL-means on clean images"),
    ("uap-rof", "uap", "ROF against the attack"),
    ("uap-nlm", "uap", "NL-means against the attack"),
    ("sgd", "uap", "SGDUAP rather than DeepFoolUAP"),
    ("sgd-rof", "sgd", "ROF against SGDUAP"),
    ("sgd-nlm", "sgd", "NL-means against SGDUAP"),
    ("through-rof", "sgd-rof", "the attacker knows ROF"),
    ("through-nlm", "sgd-nlm", "the attacker knows NL-means"),
    ("uap-vdef-rof", "uap-rof", "v_def, before ROF"),
    ("uap-vdef-nlm", "uap-nlm", "v_def, before NL-means"),
    ("uap-vdef-rof", "uap-random-rof", "direction of v_def, before ROF"),
    ("uap-vdef-nlm", "uap-random-nlm", "direction of v_def, before NL-means"),
)

#: Ways of crafting that are scored without a defence on every network, from every network.
TRANSFERRED = ("deepfool", "sgd")

#: Strengths of the denoisers in the paper's appendix (ROF weight 5, 10, 20 of 255; h 0.02, 0.05, 0.1), and between.
#: 0 is no denoiser.
SWEEP: dict[str, tuple[float, ...]] = {
    "rof": tuple(weight / 255 for weight in (0, 2.5, 5, 7.5, 10, 15, 20, 30)),
    "nlm": (0, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.15),
}


@dataclass(frozen=True)
class SweepPoint:
    """One point of the sweep over the strength of a denoiser.

    :param denoiser: "rof" or "nlm".
    :param strength: Weight or h; 0 is no denoiser.
    :param added: What the attacker adds: "clean" is nothing, "signs" random signs, else the column's key.
    :param text: The same in reports.
    """

    denoiser: str
    strength: float
    added: str
    text: str

    @property
    def cell(self) -> str:
        """Name of the cell; without a denoiser it is the same for both."""
        if not self.strength:
            return f"sweep-none-{self.added}"
        shown = f"{255 * self.strength:.4g}" if self.denoiser == "rof" else f"{self.strength:.4g}"
        return f"sweep-{self.denoiser}-{shown}-{self.added}"
