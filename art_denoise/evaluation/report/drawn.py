"""The table of what is left behind defences that draw at random: with every draw, with most of them, on average."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from art_denoise.evaluation.experiment import Cell
from art_denoise.evaluation.report.names import attacked, longer, row_names
from art_denoise.evaluation.report.table import Column, Name, Number, Row, Section, Shown, Table
from art_denoise.evaluation.statistics import NOT_ATTACKED, Share

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
    sources = {source.key: source for source in experiment.sources}
    cells = [cell for row in experiment.conditions for cell in experiment.cells_of(row) if cell in results.drawn]
    names = row_names(cell.condition for cell in cells)

    def name_of(cell: Cell) -> Name:
        source = sources.get(cell.source or "")
        seed = f", seed {cell.seed}" if len(experiment.seeds) > 1 and cell.condition.threat is not None else ""
        return longer(attacked(experiment, cell.condition, names[cell.condition], source), seed)

    rows, counts = [], set()
    for cell in cells:
        labels = results.drawn[cell][:, results.labels[cell] != NOT_ATTACKED]
        right = labels == truth[results.labels[cell] != NOT_ATTACKED]
        draws, n = right.shape
        counts.add(draws)
        every, most = Share(int(right.all(0).sum()), n), Share(int((right.mean(0) > 0.5).sum()), n)
        shares = (every, most)
        rows.append(
            Row(
                name_of(cell),
                (
                    *(Number(100 * share.value, 1) for share in shares),
                    Number(100 * float(right.mean()), 1),
                    Number(100 * float(np.ptp(right.mean(1))), 1),
                ),
            )
        )
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
