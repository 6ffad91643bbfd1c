"""The commands that denoise pictures, and compare strengths on one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from art_denoise.cli.commands import say, show
from art_denoise.cli.errors import explained
from art_denoise.cli.statuses import FAILED

if TYPE_CHECKING:
    import numpy as np

    from art_denoise.evaluation.experiment import Defence

#: Strengths that are compared: how a defence is written, what is said of it.
_COMPARED = (
    ("rof:weight={}", "ROF {}/255", (2.5, 5, 10, 20, 30)),
    ("nlm:h={}", "NL-means h = {}", (0.02, 0.035, 0.05, 0.1, 0.15)),
)


def denoise(source: Path, destination: Path, defence: str) -> int:
    """Denoise a picture, or all pictures in a folder and its subfolders.

    Size, transparency, colour depth, colour profile and metadata are kept. OUT is overwritten; pictures of a folder
    keep their names. If pictures of a folder cannot be read, they are named, all others are denoised, and the command
    ends with status 1.
    """
    from art_denoise.evaluation.early import check_writable, checked_defence

    chain = checked_defence(defence)
    pairs = _pairs(source, destination)
    check_writable(pairs[0][1].parent)
    from tqdm.auto import tqdm

    from art_denoise.data.pictures import check_format, read_picture, write_picture

    failed = 0
    with tqdm(pairs, "Denoise", unit="picture", disable=None if len(pairs) > 1 else True) as bar:
        for read, written in bar:
            try:
                picture = read_picture(read)
                check_format(written, picture)
                values = filtered(picture.values, chain)
                write_picture(replace(picture, values=values), written)
            except (ValueError, OSError) as error:
                if source.is_file():
                    raise
                failed += 1
                bar.clear()
                say(f"Error: {explained(error)}")
    if source.is_dir():
        show(f"{len(pairs) - failed} of {len(pairs)} pictures denoised, in {destination}")
    return FAILED if failed else 0


def _pairs(source: Path, destination: Path) -> list[tuple[Path, Path]]:
    """Return the files to read, each with the file to write.

    :raises ValueError: If there is nothing to read, or it would be written over.
    """
    from art_denoise.data.pictures import check_format, pictures_below

    if not source.exists():
        raise ValueError(f"there is no file or folder {source}")
    if destination.exists() and destination.resolve() == source.resolve():
        raise ValueError(f"{destination} is what is read: give another file or folder to write to")
    if not source.is_dir():
        if destination.is_dir():
            return [(source, destination / source.name)]
        check_format(destination)
        return [(source, destination)]
    if destination.exists() and not destination.is_dir():
        raise ValueError(f"{destination} is a file, and {source} a folder: give a folder to write to")
    inside = source.resolve() in destination.resolve().parents
    found = [
        (file, destination / file.relative_to(source))
        for file in pictures_below(source)
        # What was written before is not read.
        if not (inside and destination.resolve() in file.resolve().parents)
    ]
    if not found:
        raise ValueError(f"there is no picture in {source}, nor below it")
    return found


def filtered(values: np.ndarray, defence: Defence) -> np.ndarray:
    """Return a picture (C, H, W) in [0, 1] behind a defence."""
    from art_denoise.evaluation.building import build_chain

    images: Any = values[None]
    for preprocessor in build_chain(defence.preprocessors, device_type="gpu", input_shape=values.shape):
        images, _ = preprocessor(images)
    return images[0]


def compare(picture: Path, out: Path | None, side: int) -> int:
    """Show several strengths of both denoisers side by side, in one new picture: PICTURE-denoised.png, or --out.

    It shows a square from the middle of PICTURE at full size, because the right strength depends on the size in pixels.
    Above each denoised square stands the root mean square of the change.
    """
    from art_denoise.data.pictures import check_format, read_picture
    from art_denoise.evaluation.components import parse_defence
    from art_denoise.evaluation.early import check_writable

    if side < 16:
        raise ValueError(f"--side must be 16 pixels or more, got {side}")
    written = picture.with_name(f"{picture.stem}-denoised.png") if out is None else out
    check_format(written)
    if written.exists() and written.resolve() == picture.resolve():
        raise ValueError(f"{written} is the picture itself: give another file as --out")
    values = read_picture(picture).values
    check_writable(written.parent)
    rows = []
    for form, text, strengths in _COMPARED:
        row = [("as it is", _middle(values, side))]
        for strength in strengths:
            # The whole picture is filtered, so that the square has no borders of its own.
            row.append((text.format(strength), _middle(filtered(values, parse_defence(form.format(strength))), side)))
        rows.append(row)
    _draw(rows, written)
    show(f"Strengths beside each other: {written}")
    return 0


def _middle(values: np.ndarray, side: int) -> np.ndarray:
    top, left = (max(0, (size - side) // 2) for size in values.shape[1:])
    return values[:, top : top + side, left : left + side]


def _draw(rows: list[list[tuple[str, np.ndarray]]], file: Path) -> None:
    from matplotlib.figure import Figure

    from art_denoise._files import replacing
    from art_denoise.data.pictures import check_format

    height, width = rows[0][0][1].shape[1:]
    columns = len(rows[0])
    figure = Figure(figsize=(2.2 * columns, 2.2 * len(rows) * height / width + 0.7 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for line, row in zip(axes, rows, strict=True):
        original = row[0][1]
        for ax, (text, values) in zip(line, row, strict=True):
            shown = values.transpose(1, 2, 0).clip(0, 1)
            ax.imshow(shown[..., 0] if shown.shape[2] == 1 else shown, cmap="gray", vmin=0, vmax=1)
            change = float(((values - original) ** 2).mean() ** 0.5)
            ax.set_title(text if values is original else f"{text}\nchange {255 * change:.1f}/255", fontsize=9)
            ax.set_axis_off()
    with replacing(file) as beside:
        # A pixel of the picture is about one of the figure, or a few.
        figure.savefig(beside, format=check_format(file).lower(), dpi=max(100, width / 2))
