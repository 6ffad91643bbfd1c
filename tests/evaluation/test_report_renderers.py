"""Any table in any format: it says what it says, whatever its names are made of."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from results_by_hand import UAP, experiment, results

from art_denoise._words import one_line, printable
from art_denoise.evaluation import experiment as asked
from art_denoise.evaluation.report import render, renderers
from art_denoise.evaluation.report._text import latex_text, mathematics, width
from art_denoise.evaluation.report.document import Bar, Chart, Document, Picture
from art_denoise.evaluation.report.renderers import csv as csv_renderer
from art_denoise.evaluation.report.renderers import html, latex, markdown, text
from art_denoise.evaluation.report.renderers import json as json_renderer
from art_denoise.evaluation.report.table import (
    Accuracy,
    Column,
    Difference,
    Missing,
    Name,
    Number,
    Rate,
    Row,
    Same,
    Section,
    Shown,
    Table,
    Text,
)
from art_denoise.evaluation.statistics import PairedDifference, PairedDifferences, Share, Shares

NASTY = (
    r"\input{evil}",
    "a$b^c~d",
    "D_jpeg",
    "x|y",
    "a\nb",
    "<script>alert(1)</script>",
    "=1+1",
    "@SUM(A1)",
    "-2",
    "+x",
    "\t=1",
    "[link](http://x)",
    "*a* _b_ `c` ~~d~~ # e",
    "&amp; & 100 % {z} \\\\ --- ''",
    "Müller, \"quoted\"; 'single'",
    "网络 δ ≤ ∞",
    "\x1b[31mred\x07",
    "__init__",
    "\x9b31m\u202egnp",
    "a;=1+1",
    "\udcff",
    "10. www.a.b #",
    "---",
    "",
)

#: What no file for people has in it: a terminal would act upon it, or it is no text.
ACTED_UPON = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

SHARE = Share(133, 200)


def table(names=NASTY, **changes) -> Table:
    values = [
        (Text(Name(name)), Accuracy(SHARE, 69.4), Same(), Missing(f"because of {name}"))
        if i % 2
        else (Text(Name(name)), Rate(SHARE, None, "oblivious", True), Rate(SHARE), Missing("not computed yet"))
        for i, name in enumerate(names)
    ]
    rows = tuple(Row(Name(name), found, (("attack", name),)) for name, found in zip(names, values, strict=True))
    given = {
        "kind": "transfer",
        "title": f"Of {names[0]}",
        "note": f"A note of {names[1]}.",
        "legend": Shown("rate in %", "95 % interval", f"of {names[3]}"),
        "head": Name(names[2]),
        "columns": (Column(Name("the attacker"), of_row=True), *(Column(Name(name)) for name in names[:3])),
        "sections": (Section(names[3], rows[:8]), Section("", rows[8:])),
        "mark": "white-box",
    }
    return Table(**{**given, **changes})


def plain_table() -> Table:
    """Return a table of every kind of value."""
    values = (
        Text(Name("exact")),
        Accuracy(SHARE, 69.4),
        Accuracy(Shares((Share(10, 40), Share(20, 40)), 2)),
        Difference(PairedDifference(3, 50, 200)),
        Difference(PairedDifferences((PairedDifference(3, 5, 200), PairedDifference(4, 4, 200)), 3)),
        Rate(SHARE, 12.5, "transfer", False),
        Number(2.75, 2),
        Same(),
        Missing("no reason"),
    )
    columns = tuple(Column(Name(f"c{i}"), of_row=i == 0) for i in range(len(values)))
    row = Row(Name("D_ROF(v0)", r"D_{\mathrm{ROF}}(v_0)"), values)
    return Table("accuracy", "Everything", "", Shown(""), Name(""), columns, (Section("", (row,)),))


def test_all_formats_are_found():
    assert renderers.names() == ["csv", "html", "json", "latex", "markdown", "text"]
    with pytest.raises(ValueError, match="must be one of csv, html, json, latex, markdown, text, got 'pdf'"):
        renderers.renderer("pdf")


def test_a_format_more_is_a_file(tmp_path, monkeypatch):
    (tmp_path / "names_only.py").write_text(
        "FILE = '{stem}.names'\ndef render(tables, document=None):\n    return ' '.join(t.kind for t in tables)\n"
    )
    monkeypatch.setattr(renderers, "__path__", [*renderers.__path__, str(tmp_path)])
    assert "names_only" in renderers.names()
    assert (
        render(results(), "names_only") == "headline worst accuracy comparisons transfer sweep perturbations checklist"
    )


@pytest.mark.parametrize("name", ["csv", "html", "json", "latex", "markdown", "text"])
def test_nothing_is_a_report_too(name):
    renderers.renderer(name).render([])
    renderers.renderer(name).render([table(), plain_table()], Document(title="T"))


# Text


def test_text():
    lines = text.render([plain_table()]).splitlines()
    assert lines[0] == "Everything"
    row = next(line for line in lines if line.startswith("D_ROF"))
    for part in (
        "exact",
        "66.5 [59.7–72.7] (69.4)",
        "37.5 [25.0 to 50.0]",
        "−23.5 [p < 0.001]",
        "−0.5 [−1.0 to 0.0, 2 of 3 seeds, p 1.000]",
        "66.5 [59.7–72.7] (12.5)",
        "2.75",
        "″",
        "–",
    ):
        assert part in row
    assert lines[-1] == "–: no reason."


def test_text_is_in_columns_whatever_is_in_it():
    rendered = text.render([table()])
    assert "\x1b" not in rendered
    assert "\t" not in rendered
    lines = rendered.splitlines()
    starts = {width(line[: line.index("66.5")]) for line in lines if line.count("66.5") == 1}
    assert len(starts) == 1
    assert all(width(line) < 200 for line in lines)
    assert "a b" in rendered
    assert "*: white-box." in rendered
    assert rendered.count("66.5*") == 12
    # As many reasons as there are, by number.
    assert "–²: because of a$b^c~d." in rendered


def test_long_names_are_folded():
    long = "D_then_another_defence_with_a_name(" * 6
    rendered = text.render([table((*NASTY[:4], long))])
    assert max(map(len, rendered.splitlines())) < 210
    assert long[:48] in rendered


def test_values_stand_with_their_points_below_each_other():
    rows = tuple(Row(Name(str(n)), (Accuracy(Share(n, 1000)),)) for n in (5, 500, 1000))
    found = Table("accuracy", "T", "", Shown(""), Name(""), (Column(Name("c")),), (Section("", rows),))
    lines = text.render([found]).splitlines()[-3:]
    assert len({line.index("[") for line in lines}) == 1
    assert [line.split()[1] for line in lines] == ["0.5", "50.0", "100.0"]


# Markdown


def test_markdown_has_a_place_for_each_value():
    rendered = markdown.render([table()])
    rows = [line for line in rendered.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {6}
    assert len(rows) == 2 + 1 + len(NASTY)
    assert r"| x\|y |" in rendered
    assert "| a b |" in rendered
    assert r"\<script>" in rendered
    assert r"\[link\](http\://x)" in rendered
    assert r"| 10\. www\.a.b \# |" in rendered
    assert r"| \--- |" in rendered
    assert r"a\$b^c\~d" in rendered
    assert r"\__init_\_" in rendered
    assert "| D_jpeg |" in rendered
    assert "**66.5** 59.7–72.7" in rendered
    assert r"\&amp; & 100 %" in rendered


def test_markdown_has_a_star_behind_what_is_marked():
    assert "| **66.5** 59.7–72.7 (69.4) |" in markdown.render([plain_table()])
    found = markdown.render([table()])
    assert "| **66.5** 59.7–72.7 (69.4) |" in found
    assert r"| **66.5**\* 59.7–72.7 |" in found
    assert r"\*: white-box." in found


# LaTeX


def test_latex_escapes_what_has_no_latex_form():
    rendered = latex.render([table(), plain_table()])
    assert rendered.isascii()
    assert r"\input{" not in rendered
    assert r"\textbackslash{}input\{evil\}" in rendered
    assert r"a\$b\textasciicircum{}c\textasciitilde{}d" in rendered
    assert r"D\_jpeg" in rendered
    assert r"x\textbar{}y" in rendered
    assert "a b &" in rendered
    assert "[U+7F51]" in rendered
    assert r"M\"{u}ller" in rendered
    assert r"$D_{\mathrm{ROF}}(v_0)$" in rendered
    assert r"\textbf{66.5}" in rendered
    plain = re.sub(r"\\[{}]", "", rendered)
    assert plain.count("{") == plain.count("}")
    for line in rendered.splitlines():
        if line.endswith(r"\\") and "multicolumn" not in line:
            assert len(re.findall(r"(?<!\\)&", line)) in (4, 9)


def test_latex_numbers_tables_itself():
    assert r"\caption{Top-1 accuracy of Inception V1 on 200 test crops of 7 photographs}" in render(results(), "latex")


def test_latex_text_keeps_characters_apart():
    assert latex_text("a--b---c") == "a-{}-b-{}-{}-c"
    assert latex_text("top-1") == "top-1"
    assert latex_text("0–1") == "0--1"
    assert latex_text("``x''") == "`{}`x'{}'"
    assert latex_text("") == ""
    assert latex_text("λΛε") == r"$\lambda$$\Lambda$$\varepsilon$"
    assert latex_text("\udc80") == r"\textbackslash{}x80"


@pytest.mark.parametrize(
    ("said", "is_it"),
    [
        (r"D_{\mathrm{ROF}}(v_0 + \delta)", True),
        (r"\mathrm{random\ direction}", True),
        (r"\input{/etc/passwd}", False),
        (r"\deltax", False),
        ("x$ y", False),
        ("a} {b", False),
        ("^^5cinput", False),
        ("x % y", False),
        ("a & b", False),
        ("δ", False),
    ],
)
def test_only_mathematics_is_written_as_it_is(said, is_it):
    assert mathematics(said) == (said if is_it else "")


def test_what_a_strangers_run_says_is_latex_is_escaped_if_it_does_anything():
    evil = replace(UAP, attack=replace(UAP.attack, latex=r"\input{/etc/passwd}"))
    section = asked.Section("S", (asked.Condition(), asked.Condition(evil)))
    rendered = render(results(experiment(sections=(section,), comparisons=(), transfers=(), sweeps=())), "latex")
    assert "input" not in rendered
    assert r"$v_0 + \mbox{$\delta$}$" in rendered


@pytest.mark.parametrize("name", ["csv", "html", "latex", "markdown", "text", "json"])
def test_nothing_in_a_file_for_people_is_acted_upon(name):
    document = Document(
        title=NASTY[-6],
        asked=((NASTY[-6], NASTY[-6]),),
        headline=NASTY,
        charts=tuple(Chart(Name(name), name, (Bar(name, Accuracy(SHARE)), Bar(name, Missing(name)))) for name in NASTY),
        facts=NASTY,
        reading=NASTY,
        pictures=(Picture("f.png", NASTY[-6]),),
        cells=[{"row": NASTY[-6]}],
        config={"a": NASTY},
    )
    rendered = renderers.renderer(name).render([table(), table(NASTY[::-1])], document)
    assert not ACTED_UPON.search(rendered)
    rendered.encode()


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
def test_latex_compiles(tmp_path):
    everything = "".join(chr(i) for i in range(32, 0x250)) + "".join(chr(i) for i in range(0x370, 0x400))
    names = (*NASTY, everything, "".join(chr(i) for i in range(0x2000, 0x2300)), "[x]", "*", "[")
    (tmp_path / "table.tex").write_text(latex.render([table(names), plain_table()]) + render(results(), "latex"))
    (tmp_path / "all.tex").write_text(
        "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\\input{table.tex}\\end{document}"
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "evil" not in [line.strip("() ") for line in done.stdout.splitlines()]


# HTML


class _Reader(HTMLParser):
    """Collects the texts of cells, of what can be copied and of scripts, and what else there is."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.cells: list[str] = []
        self.copied: list[str] = []
        self.scripts: list[str] = []
        self.links: list[str] = []
        self.images: list[dict[str, str]] = []
        self._open: list[list[str]] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        found = {"td": self.cells, "th": self.cells, "template": self.copied, "script": self.scripts}.get(tag)
        self.links += [value for name, value in attrs if name in ("href", "src")]
        if tag == "img":
            self.images.append(dict(attrs))
        if found is not None:
            found.append("")
            self._open.append(found)

    def handle_endtag(self, tag):
        if tag in ("td", "th", "template", "script"):
            self._open.pop()

    def handle_data(self, data):
        if self._open:
            self._open[-1][-1] += data


def test_html_says_every_name_as_it_is():
    charts = tuple(Chart(Name(name), name, (Bar(name, Accuracy(SHARE)), Bar(name, Missing(name)))) for name in NASTY)
    around = Document(title=NASTY[5], facts=NASTY, reading=NASTY, headline=NASTY, charts=charts)
    reader = _Reader(html.render([table()], around))
    # No name has become a script, and the page's own is as it was written.
    (script,) = reader.scripts
    assert script.strip() == (Path(html.__file__).parents[1] / "templates" / "script.js").read_text("utf-8").strip()
    cells = [cell.strip() for cell in reader.cells]
    for name in NASTY:
        assert cells.count(printable(name).strip()) >= 2 or not name, name
    assert "66.5 [59.7–72.7] (69.4)" in cells


def test_html_asks_nothing_of_any_other_place():
    pictures = (Picture("figures/a.png", "A map", "accuracy", b"\x89PNG..."), Picture("figures/b.png", "Others"))
    page = html.render([table(), plain_table()], Document("T", pictures=pictures))
    assert "default-src 'none'" in page
    links = _Reader(page).links
    assert "data:image/png;base64,iVBORy4uLg==" in links
    # A figure that is not at hand is beside the page.
    assert {link for link in links if not link.startswith(("#", "data:"))} == {"figures/b.png"}
    assert not re.search(r"url\(|@import|https?:", html.render([plain_table()]))


def test_html_tables_can_be_copied():
    copied = _Reader(html.render([table()])).copied
    assert copied == [printable(renderers.renderer(form).render([table()])) for form in ("latex", "csv")]


def test_html_says_why_values_are_missing():
    rendered = html.render([table()])
    assert 'title="not computed yet">–<sup>1</sup>' in rendered
    assert "<sup>2</sup>: because of a$b^c~d." in rendered
    assert 'class="rate marked"' in rendered


def test_html_colours_rates_by_their_share():
    assert '<td class="rate" style="--share: 66.5%" data-value="0.665">' in html.render([table()])


def test_html_draws_shares_and_differences_where_they_are():
    chart = Chart(Name("D"), "A sentence.", (Bar("clean", Accuracy(Share(1, 4))), Bar("all", Missing("no reason"))))
    page = html.render([plain_table()], Document("T", headline=("First.",), charts=(chart,)))
    low, high = Share(1, 4).interval
    assert "width: 25.00%" in page
    assert f"left: {100 * low:.2f}%; width: {100 * (high - low):.2f}%" in page
    # From -47/200 with its interval, and from 0, to the other difference.
    plot = html._forest_of(plain_table())
    (line, other), least, most = plot.sections[0][1], plot.ticks[0], plot.ticks[-1]
    assert (line.points, other.points) == (-23.5, -0.5)
    assert line.sure
    assert not other.sure
    assert least <= line.low < line.points < line.high <= most
    assert plot.at(least) == 0
    assert plot.at(most) == 100
    assert f"left: {plot.at(-23.5):.2f}%" in page


def test_html_has_figures_where_they_belong_and_the_choices():
    pictures = (Picture("figures/a.png", "A map", "accuracy"), Picture("figures/b.png", "Examples"))
    config = {"options": {"data": "<b>"}}
    page = html.render([table(), plain_table()], Document("T", pictures=pictures, config=config))
    chapter = page.index('<section id="accuracy">')
    assert chapter < page.index("figures/a.png") < page.index('<section id="transfer">') < page.index("figures/b.png")
    assert "&#34;data&#34;: &#34;&lt;b&gt;&#34;" in page
    assert {image["alt"] for image in _Reader(page).images} == {"A map", "Examples"}


# CSV


def test_csv_gives_back_what_was_written():
    read = list(csv.DictReader(io.StringIO(csv_renderer.render([table()]))))
    rows = {line["row"] for line in read}
    for name in NASTY:
        shown = printable(name).replace("\n", " ")
        defused = f"'{shown}" if shown.lstrip()[:1] in ("=", "+", "-", "@") and name not in ("-2", "") else shown
        assert defused.replace(";=", ";'=") in rows
    fields = {field.lstrip() for line in read for field in line.values()} - {"-2"}
    assert not any(field[:1] in ("=", "+", "@", "-") and field for field in fields)
    assert {line["fooling_rate"] for line in read} == {"66.5", ""}
    marked = [line for line in read if line["row"] == NASTY[0]]
    assert [line["column"] for line in marked] == list(NASTY[:3])
    assert [line["white_box"] for line in marked] == ["1", "0", ""]
    assert marked[2]["missing"] == "not computed yet"


def test_csv_negative_numbers_stay_numbers():
    read = list(csv.DictReader(io.StringIO(csv_renderer.render([plain_table()]))))
    points = [float(line["points"]) for line in read if line["points"]]
    assert points == [-23.5, -0.5]
    # The last but one is the same everywhere, and no line of its own.
    assert {line["column"] for line in read} == {"any"}
    assert len(read) == 7


def test_csv_of_single_values_is_a_line_a_row():
    columns = (Column(Name("the attacker"), of_row=True), Column(Name("passes")), Column(Name("L∞, of 255")))
    rows = (
        Row(Name("δ"), (Text(Name("exact")), Number(2.75), Number(10.0))),
        Row(Name("δ_2"), (Text(Name("exact")), Missing("why"), Number(-1.5))),
    )
    found = Table("perturbations", "T", "", Shown(""), Name(""), columns, (Section("", rows),))
    read = list(csv.DictReader(io.StringIO(csv_renderer.render([found]))))
    assert read == [
        {
            "table": "T",
            "section": "",
            "row": "δ",
            "attacker": "exact",
            "passes": "2.75",
            "L∞, of 255": "10.0",
            "missing": "",
        },
        {
            "table": "T",
            "section": "",
            "row": "δ_2",
            "attacker": "exact",
            "passes": "",
            "L∞, of 255": "-1.5",
            "missing": "why",
        },
    ]


# JSON


def test_json():
    document = Document(
        title="T",
        asked=(("Network", "N"),),
        headline=("first",),
        facts=("a fact",),
        reading=("a sentence",),
        pictures=(Picture("f.png", "F"),),
        cells=[{"row": "v0"}],
        config={"a": 1},
    )
    found = json.loads(json_renderer.render([plain_table(), table()], document))
    assert found["schema"] == 1
    assert found["kind"] == "art_denoise report"
    assert found["cells"] == [{"row": "v0"}]
    assert found["config"] == {"a": 1}
    assert found["asked"] == {"Network": "N"}
    assert found["headline"] == ["first"]
    (section,) = found["tables"][0]["sections"]
    values = section["rows"][0]["values"]
    assert [v["is"] for v in values] == [
        *("text", "accuracy", "accuracy", "difference", "difference", "rate", "number", "same", "missing")
    ]
    assert values[1] == {
        **{"is": "accuracy", "count": 133, "n": 200, "accuracy": 66.5, "low": 59.702, "high": 72.676},
        "published": 69.4,
    }
    assert values[2]["seeds"] == 2
    assert values[3]["points"] == -23.5
    assert section["rows"][0]["latex"] == r"D_{\mathrm{ROF}}(v_0)"
    names = [row["name"] for s in found["tables"][1]["sections"] for row in s["rows"]]
    assert names == list(NASTY)


def test_json_has_no_numbers_that_others_cannot_read():
    found = json_renderer.render([], Document(config={"eps": [float("inf"), 1.5], "a": {"b": float("nan")}}))
    assert json.loads(found, parse_constant=pytest.fail)["config"] == {"eps": ["inf", 1.5], "a": {"b": "nan"}}


def test_the_json_of_a_report_has_every_cell():
    found = results()
    document = json.loads(render(found, "json"))
    assert document["cells"] == json.loads(json.dumps(found.records()))
    assert [t["kind"] for t in document["tables"]] == [
        *("headline", "worst", "accuracy", "comparisons", "transfer", "sweep", "perturbations", "checklist")
    ]


def test_one_line():
    assert one_line(" a\n\tb\x00c\u2028d\u200be ") == "a b c d e"
    assert printable(" a\n\tb\x1b[31m\u202e \udcff\ud800") == " a\n b [31m  \\xff\\ud800"
    assert width("网a") == 3
    assert width("e\u0301") == 1
