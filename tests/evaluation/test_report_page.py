"""The page of a report in Chromium, where there is one: as wide as a telephone, sorted, printed, and alone."""

from __future__ import annotations

import functools
import http.server
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from html import unescape
from itertools import product
from pathlib import Path

import pytest

from art_denoise.evaluation.report import all_tables, figures, write_report
from art_denoise.evaluation.report.renderers import html
from tests.results_by_hand import results, shown_images

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

#: Shows the page in a frame of some width, does something to it, and writes down what is to be seen.
FRAME = """<!doctype html>
<iframe src="index.html" style="width:WIDTHpx;height:800px;border:0"></iframe><pre id="seen"></pre>
<script>
onload = () => {
  const page = frames[0];
  const find = (selector) => [...page.document.querySelectorAll(selector)];
  const all = find("body *"), say = (one) => one.outerHTML.slice(0, 80);
  const heads = find("#accuracy thead th");
  const column = () => find("#accuracy tbody").map((body) => [...body.querySelectorAll("tr:not(.section)")]
    .map((row) => row.cells[2].dataset.value).filter((value) => value !== undefined).map(Number));
  const press = () => { heads[2].querySelector("button").click(); return column(); };
  const scrolls = (one) => one.closest(".wide, pre, .track") !== null;
  const isSmall = (one) => parseFloat(page.getComputedStyle(one).fontSize) < 10.5;
  const requests = page.performance.getEntriesByType("resource").map((entry) => entry.name);
  document.getElementById("seen").textContent = JSON.stringify({
    width: page.document.documentElement.scrollWidth,
    beyond: all.filter((one) => !scrolls(one) && one.getBoundingClientRect().right > WIDTH + 1).map(say),
    small: all.filter((one) => one.children.length === 0 && one.textContent.trim() && isSmall(one)).map(say),
    tables: find("table").length,
    pictures: [...page.document.images].map((image) => [image.alt, image.naturalWidth]),
    requests: requests.filter((name) => !name.startsWith("data:")),
    lost: find('a[href^="#"]').map((link) => link.hash).filter((hash) => !page.document.getElementById(hash.slice(1))),
    before: column(), once: press(), twice: press(), sorted: heads[2].getAttribute("aria-sort"),
  });
};
</script>"""


#: With pictures of several strengths.
FOUND = results(shown=(shown_images(), shown_images("vgg16")))


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    write_report(FOUND, folder)
    return folder / "report"


@pytest.fixture(scope="module")
def server(report) -> Iterator[tuple[str, list[str]]]:
    """Serve the report; yield its address, and what is asked for."""
    asked: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, form, *args):
            asked.append(self.path)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=report)) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{serving.server_port}", asked
        serving.shutdown()


def browse(*arguments: str) -> str:
    if CHROMIUM is None:
        pytest.skip("needs Chromium")
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=20000", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_is_whole_and_as_wide_as_its_window(report, server, width):
    address, asked = server
    (report / "frame.html").write_text(FRAME.replace("WIDTH", str(width)))
    asked.clear()
    shown = browse("--dump-dom", "--window-size=1400,1000", f"{address}/frame.html")
    seen = json.loads(unescape(re.search(r'<pre id="seen">(.*?)</pre>', shown, re.DOTALL)[1]))
    assert seen["width"] <= width
    assert seen["beyond"] == []
    assert seen["tables"] == sum(map(len, all_tables(FOUND).values()))
    drawn = [figure.picture for figure in figures.figures(FOUND) if figure.picture.kind != "transfer"]
    assert sorted(alt for alt, _ in seen["pictures"]) == sorted(picture.text for picture in drawn)
    assert len(drawn) == 7
    assert all(size > 0 for _, size in seen["pictures"])
    assert seen["requests"] == []
    assert {path for path in asked if "favicon" not in path} == {"/frame.html", "/index.html"}
    assert seen["lost"] == []
    assert seen["small"] == []
    assert seen["once"] == [sorted(values) for values in seen["before"]]
    assert seen["twice"] == [sorted(values, reverse=True) for values in seen["before"]]
    assert seen["sorted"] == "descending"


def test_the_page_is_printed(report, server, tmp_path):
    address, _ = server
    browse(f"--print-to-pdf={tmp_path / 'page.pdf'}", f"{address}/index.html")
    printed = (tmp_path / "page.pdf").read_bytes()
    assert printed.startswith(b"%PDF")
    assert len(re.findall(rb"/Type\s*/Page\b", printed)) > 2


def _parts(colour: str) -> list[float]:
    """Return red, green and blue, 0 to 1."""
    digits = colour.lstrip("#")
    digits = "".join(2 * d for d in digits) if len(digits) == 3 else digits
    return [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]


def contrast(one: list[float], other: list[float]) -> float:
    """Return the contrast of WCAG 2."""

    def luminance(parts: list[float]) -> float:
        red, green, blue = (c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_colours_can_be_told_from_what_they_are_on():
    """WCAG 2, level AA: 4.5 for text, 3 for what is drawn, in the light, in the dark and on paper."""
    blocks = re.findall(r":root \{(.*?)\}", html._template("style.css"), re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        palette = {name: _parts(colour) for name, colour in re.findall(r"--(\w+): (#\w+)", block)}
        for text, back in product(("fore", "soft", "link", "alarm"), ("back", "pale")):
            assert contrast(palette[text], palette[back]) >= 4.5, (text, back, block)
        for drawn in ("accent", "strong", "fore"):
            assert contrast(palette[drawn], palette["pale"]) >= 3, (drawn, block)
        # The highest rate is coloured by somewhat less than half of it.
        mixed = [0.45 * a + 0.55 * b for a, b in zip(palette["accent"], palette["back"], strict=True)]
        assert contrast(palette["fore"], mixed) >= 4.5
