"""Draw the picture of the README, attacked.png beside this file, from the examples that a run of Table 1 keeps.

`make table1`, and then `.venv/bin/python docs/pictures/attacked.py runs/table1`. The run keeps crops on which the
attack worked; of these the picture has three. On another machine other weights are trained, and other crops are fooled.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from art_denoise._files import replacing
from art_denoise.evaluation.results import Results

PICTURE = Path(__file__).with_name("attacked.png")

#: Which of the examples are shown: two that the denoisers win back, and one that they do not.
ROWS = (0, 1, 4)

_TITLES = ("a crop", "attacked", "attacked, then ROF", "attacked, then NL-means")
_GREEN, _RED = "#1a7f37", "#cf222e"


def draw(run: Path, picture: Path = PICTURE) -> None:
    """Draw some examples of a run, each with what the network takes it for.

    :param run: Folder of the run.
    :param picture: File to write, PNG.
    :raises ValueError: If the run has other examples than these columns are for.
    """
    results = Results.load(run)
    examples = results.examples
    if examples is None or len(examples.panels) != len(_TITLES) or len(examples.labels) <= max(ROWS):
        raise ValueError(
            f"`run` = {str(run)!r} has not the examples that the picture shows: use a run of `make table1`"
        )
    figure = Figure(figsize=(6.4, 5.5), dpi=100, layout="constrained")
    axes = figure.subplots(len(ROWS), len(_TITLES))
    for of_row, row in zip(axes, ROWS, strict=True):
        for axis, panel in zip(of_row, examples.panels, strict=True):
            label = int(panel.labels[row])
            right = label == examples.labels[row]
            axis.imshow(np.moveaxis(panel.images[row], 0, -1), interpolation="nearest")
            axis.set(xticks=[], yticks=[])
            name = results.images.classes[label] + ("" if right else ": wrong")
            axis.set_xlabel(name, color=_GREEN if right else _RED, fontsize=8.5)
    for axis, title in zip(axes[0], _TITLES, strict=True):
        axis.set_title(title, fontsize=8.5)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    drawn = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy()).quantize(256)
    with replacing(picture) as beside:
        # Few colours, packed tightly, and without the version of Matplotlib: a small file, the same of the same run.
        drawn.save(beside, format="png", optimize=True)


if __name__ == "__main__":
    draw(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/table1"))
