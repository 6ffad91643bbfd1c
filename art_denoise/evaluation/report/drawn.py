"""The table of what is left behind defences that draw at random: with every draw, with most of them, on average."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from art_denoise.evaluation.report.names import cell_names
from art_denoise.evaluation.report.table import Column, Name, Number, Row, Section, Shown, Table
from art_denoise.evaluation.statistics import NOT_ATTACKED

if TYPE_CHECKING:
    from art_denoise.evaluation.results import Results

_NOTE = (
    "Who attacks need not succeed with every draw of the defence: if images can be tried again, one is enough, and the "
    "first column counts. The draws are none that the attacker has seen. In all other tables an image counts as right "
    "if it is with every draw."
)


def over_draws(results: Results) -> tuple[Table, ...]:
    """Return the table of accuracies over draws; none where nothing is drawn."""
    experiment, truth = results.experiment, results.images.labels
    cells = [cell for row in experiment.conditions for cell in experiment.cells_of(row) if cell in results.drawn]
    names = cell_names(experiment, cells)
    rows, counts = [], set()
    for cell in cells:
        there = results.labels[cell] != NOT_ATTACKED
        right = results.drawn[cell][:, there] == truth[there]
        counts.add(len(right))
        shares = (right.all(0).mean(), (right.mean(0) > 0.5).mean(), right.mean(), np.ptp(right.mean(1)))
        rows.append(Row(names[cell], tuple(Number(100 * float(share), 1) for share in shares)))
    if not rows:
        return ()
    table = Table(
        kind="draws",
        title=f"Behind defences that draw at random: {' or '.join(map(str, sorted(counts)))} draws",
        note=_NOTE,
        legend=Shown(""),
        head=Name("accuracy in %"),
        columns=(
            Column(Name("right with every draw")),
            Column(Name("right with most draws")),
            Column(Name("the mean over draws")),
            Column(Name("between the worst draw and the best")),
        ),
        sections=(Section("", tuple(rows)),),
    )
    return (table,)
