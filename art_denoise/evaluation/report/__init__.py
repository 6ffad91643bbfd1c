"""How results are told: tables in any format, figures, and every image in every cell.

From what was found (:class:`Results`) to tables (`tables.py`), from any table to any format (`renderers/`). Nothing
here needs PyTorch, and nothing is computed: a report can be made, and a table or a format be added, long after a run.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from art_denoise._files import replacing
from art_denoise.evaluation._csv import csv_records
from art_denoise.evaluation.records import as_bytes, per_image, write_pieces
from art_denoise.evaluation.report import facts, figure_files, figures, headline, paper_figures, renderers, robustbench
from art_denoise.evaluation.report.document import Document, Picture
from art_denoise.evaluation.report.doubts import doubt_lines
from art_denoise.evaluation.report.table import Table
from art_denoise.evaluation.report.tables import TABLES, all_tables

if TYPE_CHECKING:
    from art_denoise.evaluation.results import Results

__all__ = ["all_tables", "brief", "check_report", "document", "render", "write_report"]

#: Every result, one line each, and every image in each.
_CELLS, _PER_IMAGE = "cells.csv", "per_image.csv"

#: Kinds of the tables that are printed when a run is done.
_SHORT = ("strengths", "headline")

#: What is left of a file that was being written when its process was killed; see `_files.replacing`.
_LEFT_OVER = re.compile(r"(.+)\.(\d+)-[0-9a-f]{8}\.part")

#: Names of files of a report, which its title must not take.
_TAKEN = {*TABLES, "index", "cells", "per-image"}


def render(results: Results, name: str = "text") -> str:
    """Return all tables of results in one format.

    :param name: "text", "markdown", "latex", "html", "csv", "json", or any other file of `renderers/`.
    :raises ValueError: If there is no such format.
    """
    return renderers.renderer(name).render(_all(all_tables(results)), document(results))


def brief(results: Results) -> str:
    """Return what there is to be known first, as text for a terminal; all tables if none of them is short.

    Sentences on what the defences buy, the short table of who attacks them, and what was found on the way.
    """
    short = [table for kind in _SHORT for table in TABLES[kind](results)]
    if not short:
        return render(results)
    around = document(results)
    lines = Document(headline=around.headline, charts=around.charts, facts=(*doubt_lines(results), *around.facts))
    return f"{around.title}\n\n{renderers.renderer('text').render(short, lines)}"


def document(results: Results, pictures: tuple[Picture, ...] = ()) -> Document:
    """Return what a report of results says besides its tables.

    :param pictures: Its figures.
    """
    experiment = results.experiment
    return Document(
        title=f"{experiment.title}: {experiment.target.title or experiment.target.text or experiment.target.key}",
        asked=headline.asked(results),
        headline=headline.main_sentences(results),
        charts=headline.charts(results),
        facts=tuple(facts.facts(results)),
        reading=tuple(facts.reading(results)),
        pictures=pictures,
        without=paper_figures.left_out(results),
        cells=results.records(),
        config=results.config,
    )


def write_report(results: Results, folder: str | os.PathLike[str]) -> str:
    """Write the report of a run and return the table as it is printed.

    The same results give the same files. What is there already and as it should be is left alone; what is missing, or
    anything else, is written anew. Figures are drawn only if they are not there, or of something else.

    :param folder: Run folder. Its `report/` gets the tables as text, Markdown, LaTeX and JSON, `NAME.txt` and so on,
        and as a page, `index.html`; as CSV a file each: `NAME.csv` is of the accuracies, the others are called by their
        kind, as `transfer.csv`; `cells.csv` and `per_image.csv`, every cell and every image in it;
        `robustbench.json`, a record of each defence in RobustBench's form; and `figures/`, each as PNG and PDF. NAME
        is the title of the experiment, "table1" for "Table 1".
    :return: The tables as text.
    :raises OSError: If something cannot be written.

    Example::

        >>> from pathlib import Path
        >>> import numpy as np
        >>> import torch
        >>> from art.estimators.classification import PyTorchClassifier
        >>> from art_denoise import ROFDefence, evaluate_defence
        >>> from art_denoise.evaluation.report import write_report
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 10))
        >>> loss = torch.nn.CrossEntropyLoss()
        >>> classifier = PyTorchClassifier(network, loss, input_shape=(3, 32, 32), nb_classes=10, clip_values=(0, 1))
        >>> images = np.random.default_rng(0).random((8, 3, 32, 32), dtype=np.float32)
        >>> labels = classifier.predict(images).argmax(axis=1)
        >>> attacks = ["best-pgd:max_iter=5,knowledge=exact"]
        >>> results = evaluate_defence(
        ...     classifier, [ROFDefence()], images, labels, eps=8 / 255, attacks=attacks, verbose=False
        ... )
        >>> text = write_report(results, "run")
        >>> sorted(path.name for path in Path("run/report").glob("*.html"))
        ['index.html']
    """
    report = Path(folder) / "report"
    drawn = figures.figures(results)
    for figure in drawn:
        figure_files.keep(figure, report)
    texts = dict(_texts(results, drawn, report))
    for name, content in texts.items():
        _put(report / name, content)
    if not _is_made_of(report / _PER_IMAGE, per_image(results)):
        write_pieces(report / _PER_IMAGE, per_image(results))
    _remove_others(report / "figures", drawn)
    _remove_left_overs(report)
    return texts[renderers.renderer("text").FILE.format(stem=_name(results.experiment.title))] or ""


def check_report(results: Results, folder: str | os.PathLike[str]) -> dict[str, str]:
    """Compare the report in a run folder with its results; nothing is written.

    :return: What is wrong with each file that a report of these results has, "" if nothing is.
    """
    report = Path(folder) / "report"
    drawn = figures.figures(results)
    found = {}
    for name, content in _texts(results, drawn, report):
        if content is not None:
            found[name] = _difference(report / name, iter([as_bytes(content)]))
    found[_PER_IMAGE] = _difference(report / _PER_IMAGE, per_image(results))
    for file in (file for figure in drawn for file in figure.files(report)):
        key = figure_files.stamp(file)
        # One that another matplotlib drew has another key; its digest says that it is as it was drawn.
        found[file.relative_to(report).as_posix()] = _difference(file, iter([])) if key is None else ""
    return found


def _difference(file: Path, pieces: Iterator[bytes]) -> str:
    if not file.is_file():
        return "it is gone"
    return "" if _is_made_of(file, pieces) else "it is not what this version of the package writes of the results"


def _texts(results: Results, drawn: list[figure_files.Figure], report: Path) -> Iterator[tuple[str, str | None]]:
    """Yield the names of the texts of a report with what they hold; None: such results have none."""
    tables = all_tables(results)
    around = document(results, tuple(_with_content(figure.picture, report) for figure in drawn))
    stem = _name(results.experiment.title)
    for form in renderers.names():
        renderer = renderers.renderer(form)
        if "{kind}" in renderer.FILE:
            for kind in TABLES:
                name = renderer.FILE.format(kind=stem if kind == "accuracy" else kind, stem=stem)
                yield name, renderer.render(tables[kind], around) if kind in tables else None
        else:
            yield renderer.FILE.format(stem=stem), renderer.render(_all(tables), around)
    yield robustbench.FILE, robustbench.robustbench(results) or None
    yield _CELLS, csv_records(around.cells) or None


def _with_content(picture: Picture, report: Path) -> Picture:
    """Return a figure of a report with what is in its file, for the page that holds it."""
    with suppress(OSError):
        return replace(picture, content=(report / picture.file).read_bytes())
    return picture


def _all(tables: dict[str, tuple[Table, ...]]) -> list[Table]:
    return [table for found in tables.values() for table in found]


def _name(title: str) -> str:
    """Return what a report's files are called."""
    if title == "Table 1":
        return "table1"
    name = figure_files.slug(title) or "report"
    return f"{name}-table" if name in _TAKEN else name


def _put(file: Path, text: str | None) -> None:
    """See to it that a file holds a text; None: that it is not there."""
    if text is None:
        # Of other results that were told here before. On a read-only medium even what is not there cannot be deleted.
        if file.exists():
            file.unlink()
        return
    content = as_bytes(text)
    with suppress(OSError):
        if file.read_bytes() == content:
            return
    with replacing(file) as beside:
        beside.write_bytes(content)


def _is_made_of(file: Path, pieces: Iterator[bytes]) -> bool:
    """Return whether a file holds what comes in pieces, without having all of it in memory."""
    try:
        with file.open("rb") as opened:
            return all(opened.read(len(piece)) == piece for piece in pieces) and not opened.read(1)
    except OSError:
        return False


def _remove_left_overs(report: Path) -> None:
    """Remove what processes that were killed while they wrote a file of the report have left beside it."""
    for part in (*report.glob("*.part"), *report.glob("figures/*.part")):
        beside = _LEFT_OVER.fullmatch(part.name)
        if beside and part.with_name(beside[1]).exists() and not _is_at_work(int(beside[2])):
            # On a read-only medium it stays.
            with suppress(OSError):
                part.unlink()


def _is_at_work(process: int) -> bool:
    """Return whether there is a process of a number; elsewhere than on POSIX, where none can be asked for, there is."""
    if os.name != "posix":
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True


def _remove_others(folder: Path, drawn: list[figure_files.Figure]) -> None:
    """Remove figures that this package drew of other results; nothing else is touched."""
    there = {file.name for figure in drawn for file in figure.files(folder)}
    for file in (*folder.glob("*.png"), *folder.glob("*.pdf")):
        if file.name not in there and figure_files.stamp(file) is not None:
            file.unlink()
