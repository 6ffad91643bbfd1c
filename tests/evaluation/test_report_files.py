"""The report of a run as files: nothing there is believed that is not as it was written, and nothing is done twice."""

from __future__ import annotations

import base64
import csv
import os
import struct
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from results_by_hand import OTHER, SIGNS, SOURCES, UAP, N, experiment, labels_with, results

from art_denoise.evaluation.components import parse_attack, parse_defence
from art_denoise.evaluation.experiment import Condition, Defence, Section, Transfer
from art_denoise.evaluation.report import figure_files, figures, render, write_report
from art_denoise.evaluation.report.figure_files import stamp
from art_denoise.evaluation.report.figures import save_transfer
from art_denoise.evaluation.report.paper_drawings import RIGHT, WRONG
from art_denoise.evaluation.report.table import Accuracy
from art_denoise.evaluation.report.transfer import transfers

TEXTS = {
    "robustbench.json",
    *("table1.txt", "table1.md", "table1.tex", "table1.json", "table1.csv", "index.html"),
    *("headline.csv", "worst.csv", "comparisons.csv", "transfer.csv", "sweep.csv", "perturbations.csv"),
    *("checklist.csv", "cells.csv", "per_image.csv"),
}

FIGURES = {f"{name}.{end}" for name in ("examples", "sweep", "transfer-deepfool-uap") for end in ("png", "pdf")}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return folder, write_report(results(), folder)


@pytest.fixture
def folder(written, tmp_path):
    """Return a copy of a run folder with its report."""
    for file in written[0].rglob("*"):
        if file.is_file():
            place = tmp_path / file.relative_to(written[0])
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(file.read_bytes())
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder / "report")): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def times(folder: Path) -> dict[str, int]:
    return {str(f): f.stat().st_mtime_ns for f in folder.rglob("*") if f.is_file()}


@pytest.fixture
def no_drawing(monkeypatch):
    """Fail if anything is drawn."""

    def drawn(*args, **kwargs):
        pytest.fail("drawn again")

    for name in ("_draw_examples", "_heat_map", "_curves", "_scatter"):
        monkeypatch.setattr(figures, name, drawn)


def test_files(written):
    folder, text = written
    assert set(contents(folder)) == TEXTS | {f"figures/{name}" for name in FIGURES}
    assert (folder / "report" / "table1.txt").read_text(encoding="utf-8") == text
    # Only the page needs the figures.
    assert text == render(results(), "text")
    with (folder / "report" / "per_image.csv").open(newline="") as file:
        assert len(list(csv.reader(file))) == 1 + N * len(results().labels)
    page = (folder / "report" / "index.html").read_text(encoding="utf-8")
    # The page holds its figures; rates are coloured in their table.
    for name in ("examples.png", "sweep.png"):
        content = (folder / "report" / "figures" / name).read_bytes()
        assert f'src="data:image/png;base64,{base64.b64encode(content).decode()}"' in page


def test_asked_again_nothing_is_written_or_drawn(folder, written, no_drawing):
    before = times(folder)
    assert write_report(results(), folder) == written[1]
    assert times(folder) == before


def _cut(file):
    file.write_bytes(file.read_bytes()[:-20])


def _edit(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(bytes(content))


def _append(file):
    file.write_bytes(file.read_bytes() + b"\0")


DAMAGES = [Path.unlink, _cut, _edit, _append, lambda file: file.write_bytes(b"")]


@pytest.mark.parametrize("damage", DAMAGES)
def test_texts_that_are_gone_or_changed_come_back(folder, written, damage, no_drawing):
    for name in TEXTS:
        damage(folder / "report" / name)
    write_report(results(), folder)
    assert contents(folder) == contents(written[0])


@pytest.mark.parametrize("damage", DAMAGES)
def test_figures_that_are_gone_or_changed_are_told(folder, damage):
    for name in FIGURES:
        file = folder / "report" / "figures" / name
        assert len(stamp(file)) == 16
        damage(file)
        assert stamp(file) is None


@pytest.mark.parametrize(("name", "damage"), [*zip(sorted(FIGURES), 2 * (_edit, Path.unlink, _cut), strict=True)])
def test_figures_that_are_gone_or_changed_come_back(folder, written, name, damage):
    damage(folder / "report" / "figures" / name)
    others = {file: time for file, time in times(folder).items() if not file.endswith(name)}
    write_report(results(), folder)
    assert contents(folder) == contents(written[0])
    assert {file: time for file, time in times(folder).items() if not file.endswith(name)} == others


def test_a_figure_that_was_painted_over_comes_back(folder, written):
    """With its text kept, as an editor may do."""
    file = folder / "report" / "figures" / "sweep.png"
    content = file.read_bytes()
    chunks = [(name, data) for name, data, _ in figure_files._chunks(content)]
    pixels = zlib.compress(zlib.decompress(b"".join(data for name, data in chunks if name == b"IDAT")), 1)
    chunks = [c for c in chunks if c[0] not in (b"IDAT", b"IEND")] + [(b"IDAT", pixels), (b"IEND", b"")]
    file.write_bytes(
        content[:8]
        + b"".join(
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
            for name, data in chunks
        )
    )
    assert stamp(file) is None
    write_report(results(), folder)
    assert file.read_bytes() == content


def test_a_figure_of_something_else_is_drawn_anew(folder, written):
    place = folder / "report" / "figures"
    (place / "examples.png").write_bytes((place / "sweep.png").read_bytes())
    write_report(results(), folder)
    assert contents(folder) == contents(written[0])


def test_figures_are_drawn_anew_only_if_what_they_show_has_changed(folder, written, monkeypatch):
    drawn = []
    for name in ("_draw_examples", "_heat_map", "_curves", "_scatter"):
        draw = getattr(figures, name)
        monkeypatch.setattr(figures, name, lambda *args, name=name, draw=draw: drawn.append(name) or draw(*args))
    write_report(results(config={"options": {"seed": 1}}), folder)
    assert drawn == []
    found = results()
    write_report(replace(found, images=replace(found.images, classes={0: "cat"})), folder)
    # Each as PNG and as PDF.
    assert drawn == ["_draw_examples"] * 2
    # Of the table alone: no figure shows it.
    labels = dict(found.labels)
    cell = next(c for c in labels if "v_def" in c.condition.text)
    labels[cell] = (labels[cell] + 1) % 7
    write_report(replace(found, labels=labels), folder)
    assert drawn == ["_draw_examples"] * 4
    cell = next(c for c in labels if c.condition.text == "v0 + δ" and c.target == OTHER.key)
    labels[cell] = (labels[cell] + 1) % 7
    write_report(replace(found, labels=labels), folder)
    assert drawn == [*["_draw_examples"] * 4, *["_heat_map"] * 2]
    monkeypatch.setattr(figure_files, "_source", lambda: "other code")
    write_report(replace(found, labels=labels), folder)
    assert sorted(drawn[6:]) == ["_curves", "_curves", "_draw_examples", "_draw_examples", "_heat_map", "_heat_map"]


def test_a_figure_is_a_png_that_others_can_read(written):
    from PIL import Image

    for name in (name for name in FIGURES if name.endswith(".png")):
        with Image.open(written[0] / "report" / "figures" / name) as image:
            image.load()
            assert image.text["art_denoise"].startswith(stamp(written[0] / "report" / "figures" / name))
            assert len(np.unique(np.asarray(image))) > 10


def test_a_figure_is_a_pdf_that_is_the_same_when_it_is_drawn_again(written, folder):
    for name in (name for name in FIGURES if name.endswith(".pdf")):
        content = (written[0] / "report" / "figures" / name).read_bytes()
        assert content.startswith(b"%PDF-")
        # Behind the end of the file a comment says what it is of.
        end, comment = content.splitlines()[-2:]
        assert end == b"%%EOF"
        assert comment.decode().split()[:2] == ["%art_denoise", stamp(written[0] / "report" / "figures" / name)]
        assert b"/CreationDate" not in content


def test_what_is_of_other_results_is_removed(folder):
    asked = experiment(transfers=(), sweeps=())
    mine = folder / "report" / "figures" / "mine.png"
    mine.write_bytes(b"\x89PNG\r\n\x1a\nmine")
    write_report(results(asked, examples=None), folder)
    there = set(contents(folder))
    assert there == (TEXTS - {"transfer.csv", "sweep.csv"}) | {"figures/mine.png"}


@pytest.mark.skipif(os.name != "posix", reason="whether a process is at work can be asked on POSIX only")
def test_what_a_killed_process_has_left_is_removed(folder):
    """Of the report's own files; neither what another process is writing now, nor anything of somebody else's."""
    report = folder / "report"
    stays = [f"cells.csv.{os.getpid()}-0123abcd.part", "cells.csv.part", "film.1999999999-0123abcd.part"]
    for name in (*stays, "cells.csv.1999999999-0123abcd.part", "figures/sweep.png.1999999999-0123abcd.part"):
        (report / name).write_text("half of it")
    write_report(results(), folder)
    assert sorted(str(part.relative_to(report)) for part in report.rglob("*.part")) == sorted(stays)


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("Table 1", "table1"),
        ("What my defence buys", "what-my-defence-buys"),
        ("../../Élève: a/b\\c", "eleve-a-b-c"),
        ("δ", "report"),
        ("Transfer", "transfer-table"),
        ("index", "index-table"),
        ("per_image", "per-image-table"),
        ("x" * 300, "x" * 60),
    ],
)
def test_files_are_called_by_the_experiment(tmp_path, title, name):
    asked = experiment(title=title, transfers=(), sweeps=(), comparisons=(), networks=())
    write_report(results(asked, examples=None), tmp_path)
    assert {f"{name}.{suffix}" for suffix in ("txt", "md", "tex", "csv", "json")} <= set(contents(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["report"]


def test_two_transfers_of_one_attack_have_a_figure_each(tmp_path):
    asked = experiment(transfers=(Transfer(UAP, SIGNS, "a"), Transfer(replace(UAP, eps=4 / 255), None, "b")), sweeps=())
    write_report(results(asked, examples=None), tmp_path)
    names = {file.name for file in (tmp_path / "report" / "figures").iterdir()}
    assert names == {f"transfer-deepfool-uap{number}.{end}" for number in ("", "-2") for end in ("png", "pdf")}


def test_the_caption_of_examples_says_whether_the_attacks_worked():
    for worked, title in ((True, "Attacks that worked"), (False, "Attacks, whether they worked or not")):
        found = results()
        found = replace(found, examples=replace(found.examples, worked=worked))
        drawing = figures.figures(found)[0].draw()
        assert drawing._suptitle.get_text().startswith(title)
        axes = drawing.axes
        assert [ax.get_title() for ax in axes[:4]] == ["v0", "what is added, magnified", "v0 + δ", "D_jpeg(v0 + δ)"]
        # Predicted 0, 1 for what is 0, 1; none; 1, 2; 2, 3.
        said = [(ax.get_xlabel(), ax.xaxis.label.get_color()) for ax in axes[:4]]
        assert said[0] == ("✓ class 0", RIGHT["color"])
        assert said[1][0] == ""
        assert said[2] == ("✗ class 1", WRONG["color"])
        assert axes[7].get_xlabel() == "✗ class 3"


def test_curves_are_those_of_the_table():
    drawing = next(f for f in figures.figures(results()) if f.picture.kind == "sweep").draw()
    (ax,) = drawing.axes
    (table,) = [t for t in results_tables("sweep")]
    *lines, marked = ax.get_lines()
    # D_jpeg is in the table of accuracies with the quality 50.
    assert list(marked.get_xdata()) == [50, 50]
    assert len({line.get_marker() for line in lines}) == len(lines)
    for line, place in zip(lines, range(len(table.columns)), strict=True):
        values = [row.values[place] for row in table.rows]
        assert all(isinstance(value, Accuracy) for value in values)
        assert line.get_label() == table.columns[place].name.text
        np.testing.assert_allclose(line.get_ydata(), [100 * value.share.value for value in values])
        np.testing.assert_allclose(line.get_xdata(), [0, 50])


def results_tables(kind):
    from art_denoise.evaluation.report import all_tables

    return all_tables(results())[kind]


def test_a_heat_map_by_itself(tmp_path):
    (table,) = transfers(results())
    save_transfer(table, tmp_path / "new" / "map.png")
    assert (tmp_path / "new" / "map.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", ["$x^$", "a" * 200, "网络", "_{", ""])
def test_figures_of_names_of_every_kind(name, tmp_path):
    asked = experiment(
        networks=tuple(replace(network, text=name, title=name) for network in experiment().networks),
        target=replace(experiment().target, title=name, text=name),
        sweeps=tuple(replace(sweep, axis=name) for sweep in experiment().sweeps),
    )
    found = results(asked)
    found = replace(found, images=replace(found.images, classes=dict.fromkeys(range(7), name)))
    with pytest.warns(UserWarning, match="Glyph") if name == "网络" else _nothing():
        write_report(found, tmp_path)
    assert {file.name for file in (tmp_path / "report" / "figures").iterdir()} == FIGURES


def _nothing():
    from contextlib import nullcontext

    return nullcontext()


def test_what_defences_cost_and_leave_is_drawn_if_there_are_several(tmp_path):
    defences = [Defence(), *(parse_defence(text) for text in ("rof", "nlm", "art:JpegCompression"))]
    threats = [None, parse_attack("pgd"), parse_attack("pgd:knowledge=exact")]

    def drawn(count: int) -> list[figure_files.Figure]:
        rows = tuple(Condition(threat, defence) for threat in threats for defence in defences[:count])
        asked = experiment(
            sections=(Section("", rows),), sources=SOURCES[:1], comparisons=(), transfers=(), sweeps=(), networks=()
        )
        found = figures.figures(results(asked, {c: labels_with(90) for c in asked.cells()}, examples=None))
        return [figure for figure in found if figure.picture.file == "figures/worth.png"]

    assert not drawn(2)
    (figure,) = drawn(4)
    assert figure.picture.kind == "worst"
    assert [point["name"] for point in figure.data["points"]] == [
        "v0",
        "D_ROF(v0)",
        "D_nlm(v0)",
        "D_JpegCompression(v0)",
    ]
    figure_files.keep(figure, tmp_path)
    for file in figure.files(tmp_path):
        assert stamp(file) == figure.key
