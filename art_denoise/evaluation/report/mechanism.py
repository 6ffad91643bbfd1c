"""The table of what defences do to images, to noise, and to gradients that come back through them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from art_denoise.evaluation.components import write_defence
from art_denoise.evaluation.experiment import Condition
from art_denoise.evaluation.report.names import row_names
from art_denoise.evaluation.report.table import Column, Name, Row, Section, Shown, Table, Text
from art_denoise.evaluation.report.values import number

if TYPE_CHECKING:
    from art_denoise.evaluation.results import Results

_NOTE = (
    "The medians over a few test images. Noise: how much of random signs of 10/255 gets through, |D(x + s) - D(x)| / "
    "|s|. The gradient: that of the margin of the label's logit, its size as a share of that without a defence, and by "
    "how much it is off from finite differences, as attackers who know the defence have it."
)

_DRAWS = {"none": "yes", "seeded": "with the same seed", "own": "no"}


def mechanisms(results: Results) -> tuple[Table, ...]:
    """Return the table of what each defence does to a few images: see :mod:`art_denoise.evaluation.gradients`."""
    names = row_names(Condition(None, defence) for defence in results.audits)
    rows = tuple(
        Row(
            names[Condition(None, defence)],
            (
                Text(Name(_DRAWS[record["draws"]])),
                number(record["psnr"], 1, 1, "the images are as they were"),
                number(record["ssim"], 1, 3, "the images are as they were, or small"),
                number(record["noise_left"], 100, 0, "another shape comes out"),
                number(record["scale"], 1, 2, "no gradient gets through"),
                number(record["off"], 100, 1, "there is nothing to compare"),
            ),
            (("defence", write_defence(defence)),),
        )
        for defence, record in results.audits.items()
    )
    table = Table(
        kind="mechanism",
        title="What each defence does to images, to noise and to gradients",
        note=_NOTE,
        legend=Shown(""),
        head=Name(""),
        columns=(
            Column(Name("predicts the same again"), of_row=True),
            Column(Name("PSNR of clean images, dB")),
            Column(Name("SSIM of clean images")),
            Column(Name("noise that is left, %")),
            Column(Name("gradient, times as large")),
            Column(Name("off from differences, %")),
        ),
        sections=(Section("", rows),),
    )
    return (table,) if rows else ()
