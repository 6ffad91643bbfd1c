"""How the figures of the paper are drawn: 7 inches wide, letters of 7.5 points, in colours that all eyes can tell.

Whether a label is right is said by a sign and by a frame, not by its colour alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from art_denoise.evaluation.report.figure_files import plain
from art_denoise.evaluation.report.spectrum import edges

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

#: Width of a figure in inches, points of its letters, and pixels of its PNG on an inch.
_WIDTH, _LETTERS, DPI = 7.0, 7.5, 170

#: Inches beside pictures, for the names of rows, and those above one for each line of text.
_BESIDE, _LINE = 0.3, 0.125

#: What stands before a label that is wrong, and before one that is right.
MARKS = ("✗", "✓")

#: Colours of right and of wrong, of Okabe & Ito (2008), and how thick and how whole the frame is.
RIGHT: Mapping[str, Any] = {"color": "#0072B2", "linewidth": 1.5, "linestyle": "-"}
WRONG: Mapping[str, Any] = {"color": "#D55E00", "linewidth": 1.5, "linestyle": (0, (3, 1.5))}

#: Colours of differences, of which zero is white, and of amplitudes.
_DIVERGING, _SEQUENTIAL = "PuOr", "cividis"


def draw_rows(rows: Sequence[Mapping[str, Any]], pictures: Sequence[Sequence[np.ndarray]]) -> Drawing:
    """Draw pictures in rows, above each what it is called and what is predicted for it.

    :param rows: Each with its `name`, and with `cells`, one for each picture: its `heading`, "" for none, and `said`,
        what is predicted, or None, with `label`, `confidence` in percent, or None, and whether it is `right`.
    :param pictures: For each row its pictures, (3, H, W), in [0, 1] or uint8.
    """
    columns = max(map(len, pictures))
    size = (_WIDTH - _BESIDE) / columns
    texts = [[_above(cell, _most_letters(size)) for cell in row["cells"]] for row in rows]
    high = size * _height(pictures[0][0].shape)
    height = sum(high + _LINE * (0.4 + max(text.count("\n") + 1 for text in of_row)) for of_row in texts)
    drawing, axes = _grid(len(rows), columns, height)
    for i, j in product(range(len(rows)), range(columns)):
        ax = axes[i, j]
        if j >= len(pictures[i]):
            ax.axis("off")
            continue
        said = rows[i]["cells"][j]["said"]
        _show(ax, pictures[i][j], {} if said is None else RIGHT if said["right"] else WRONG)
        ax.set_title(texts[i][j], fontsize=_LETTERS, pad=3)
        if j == 0:
            ax.set_ylabel(_lines(rows[i]["name"], _most_letters(size)), fontsize=_LETTERS)
    return drawing


def draw_changes(data: Mapping[str, Any], pictures: Sequence[np.ndarray], changes: np.ndarray) -> Drawing:
    """Draw images, each with what defences change of it, in colours of one scale.

    :param data: `rows`, names of the images, `headings`, names of the columns, and `most`, where the scale ends.
    :param pictures: The images, (3, H, W).
    :param changes: What is changed, one number for each pixel, (rows, defences, H, W).
    """
    count, columns = changes.shape[0], 1 + changes.shape[1]
    size = (_WIDTH - _BESIDE - 0.7) / max(columns, 3)
    drawing, axes = _grid(
        count, columns, count * size * _height(changes.shape) + 2 * _LINE, _BESIDE + 0.7 + columns * size
    )
    for i, j in product(range(count), range(columns)):
        ax = axes[i, j]
        if j == 0:
            _show(ax, pictures[i], {})
            ax.set_ylabel(_lines(data["rows"][i], _most_letters(size)), fontsize=_LETTERS)
        else:
            limits = {"vmin": -data["most"], "vmax": data["most"]}
            drawn = ax.imshow(changes[i, j - 1], cmap=_DIVERGING, interpolation="nearest", **limits)
            _bare(ax)
        if i == 0:
            ax.set_title(_lines(data["headings"][j], _most_letters(size)), fontsize=_LETTERS, pad=3)
    _bar(drawing, drawn, axes, "change, mean of the channels, of 255", extend="both")
    return drawing


def draw_spectra(data: Mapping[str, Any], spectra: np.ndarray) -> Drawing:
    """Draw amplitude spectra beside each other, in colours of one logarithmic scale.

    :param data: `rows`, names of the rows, `headings`, for each spectrum what stands above it, and `least` and `most`,
        where the scale begins and ends, as logarithms to the base 10.
    :param spectra: Logarithms of amplitudes, (rows, columns, H, W), frequency zero at [H // 2, W // 2].
    """
    count, columns = spectra.shape[:2]
    size = (_WIDTH - _BESIDE - 1.0) / max(columns, 3)
    height = count * (size * _height(spectra.shape) + 2 * _LINE) + 3 * _LINE
    drawing, axes = _grid(count, columns, height, _BESIDE + 1.0 + columns * size)
    (left, right), (top, bottom) = (edges(length) for length in reversed(spectra.shape[2:]))
    for i, j in product(range(count), range(columns)):
        ax = axes[i, j]
        drawn = ax.imshow(
            spectra[i, j],
            cmap=_SEQUENTIAL,
            interpolation="nearest",
            extent=(left, right, bottom, top),
            vmin=data["least"],
            vmax=data["most"],
            aspect=_height(spectra.shape),
        )
        ax.set_title(_lines(data["headings"][i][j], _most_letters(size)), fontsize=_LETTERS, pad=3)
        ax.set_xticks([-0.5, 0, 0.5], ["−½", "0", "½"])
        ax.set_yticks([-0.5, 0, 0.5], ["−½", "0", "½"])
        ax.tick_params(labelsize=_LETTERS, length=2, labelbottom=i == count - 1, labelleft=j == 0)
        if j == 0:
            ax.set_ylabel(_lines(data["rows"][i], _most_letters(size)), fontsize=_LETTERS)
    drawing.supxlabel("frequencies along rows and along columns, cycles per pixel", fontsize=_LETTERS)
    # The largest is within the scale.
    _bar(drawing, drawn, axes, "log₁₀ of the amplitude, of 255", extend="min")
    return drawing


def _grid(rows: int, columns: int, height: float, width: float = _WIDTH) -> tuple[Drawing, Any]:
    from matplotlib.figure import Figure as Drawing

    drawing = Drawing(figsize=(width, height), layout="compressed")
    return drawing, drawing.subplots(rows, columns, squeeze=False)


def _height(shape: Sequence[int]) -> float:
    """Return the height of pictures, (..., H, W), as a multiple of their width."""
    return shape[-2] / shape[-1]


def _show(ax: Axes, picture: np.ndarray, frame: Mapping[str, Any]) -> None:
    """Show a picture, in a frame if there is one."""
    ax.imshow(picture.transpose(1, 2, 0), interpolation="nearest")
    _bare(ax)
    for side in ax.spines.values() if frame else ():
        side.set(**frame)


def _bare(ax: Axes) -> None:
    ax.set_xticks([])
    ax.set_yticks([])


def _bar(drawing: Drawing, drawn: Any, axes: Any, text: str, extend: Any) -> None:
    bar = drawing.colorbar(drawn, ax=axes, extend=extend, fraction=0.05, pad=0.02)
    bar.set_label(text, fontsize=_LETTERS)
    bar.ax.tick_params(labelsize=_LETTERS)


def _most_letters(inches: float) -> int:
    """Return how many letters there is room for; most are some six tenths as wide as they are high."""
    return int(72 * inches / (0.6 * _LETTERS))


def _above(cell: Mapping[str, Any], most: int) -> str:
    lines = [cell["heading"]] if cell["heading"] else []
    said = cell["said"]
    if said is not None:
        lines.append(f"{MARKS[said['right']]} {said['label']}")
        lines += [] if said["confidence"] is None else [f"{said['confidence']:.0f} %"]
    return _lines("\n".join(lines), most)


def _lines(text: str, most: int) -> str:
    return "\n".join(plain(line, most) for line in text.split("\n"))
