"""The figures of the paper: what is in them, how images are said to be chosen, and what stands in their place."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from results_by_hand import ATTACKED, CLEAN, JPEG, ROF, UAP, N, experiment, labels_with, results, saved, shown_images

from art_denoise.evaluation.experiment import Cell, Condition, Section
from art_denoise.evaluation.report import document, write_report
from art_denoise.evaluation.report.figure_files import stamp
from art_denoise.evaluation.report.paper_figures import left_out, paper_figures
from art_denoise.evaluation.report.spectrum import about_grey, amplitudes, edges, magnification, share_left

NAMES = ["denoised", "strengths-incv1", "strengths-vgg16", "changes", "spectra"]


def whole(**changes):
    return results(shown=(shown_images(**changes), shown_images("vgg16", **changes)))


def by_name(found) -> dict:
    return {
        figure.picture.file.removeprefix("figures/").removesuffix(".png"): figure for figure in paper_figures(found)
    }


# The mathematics.


@pytest.mark.parametrize(("largest", "times"), [(10 / 255, 12), (0.25, 2), (0.4, 1), (0.9, 1), (0.0, 1)])
def test_how_much_is_magnified(largest, times):
    difference = np.array([0.0, -largest, largest / 2])
    assert magnification(difference) == times
    shown = about_grey(difference, times)
    assert shown[0] == 0.5
    if largest <= 0.5:
        np.testing.assert_allclose(shown, 0.5 + times * difference)
        assert 0 <= shown.min() <= shown.max() <= 1
    # One more, and it would leave the range.
    assert largest == 0 or (times + 1) * largest > 0.5


@pytest.mark.parametrize("shape", [(16, 20), (15, 21)])
def test_the_spectrum_of_a_known_wave(shape):
    height, width = shape
    down, along = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    wave = 0.3 * np.cos(2 * np.pi * (2 * down / height - 5 * along / width)) + 0.1
    found = amplitudes(np.stack([wave, wave, wave])[None])
    expected = np.zeros(shape)
    expected[height // 2, width // 2] = 0.1
    expected[height // 2 + 2, width // 2 - 5] = expected[height // 2 - 2, width // 2 + 5] = 0.15
    np.testing.assert_allclose(found, expected, atol=1e-12)
    # The place of a pixel on the axes is its frequency.
    first, last = edges(width)
    assert first + (width // 2 - 5 + 0.5) * (last - first) / width == pytest.approx(-5 / width)


def test_the_spectrum_is_numpys_and_keeps_the_energy():
    differences = np.random.default_rng(0).normal(size=(2, 3, 9, 12))
    found = amplitudes(differences)
    power = np.mean(np.abs(np.fft.fftshift(np.fft.fft2(differences), axes=(2, 3))) ** 2, axis=(0, 1)) / (9 * 12) ** 2
    np.testing.assert_allclose(found**2, power)
    assert np.sum(found**2) == pytest.approx(np.mean(differences**2))


def test_what_is_left():
    added = np.ones((2, 3, 4, 4))
    assert share_left(added / 4, added) == 0.25
    assert np.isnan(share_left(added, 0 * added))
    shown = shown_images()
    clean, attacked = shown.changes[:, 0], shown.changes[:, 1]
    v = np.random.default_rng(1).uniform(size=shown.added.shape)
    # D(v + δ) - D(v), written out.
    np.testing.assert_allclose(shown.left(), (v + shown.added + attacked) - (v + clean), atol=1e-6)


# What is in the figures.


def test_there_is_a_figure_for_each_column():
    assert list(by_name(whole())) == NAMES
    assert list(by_name(results())) == []
    # Two columns of one name.
    asked = experiment(sources=tuple(replace(source, text="same") for source in experiment().sources))
    found = by_name(replace(whole(), experiment=asked))
    assert [name for name in found if name.startswith("strengths")] == [
        "strengths-same-inception-v1", "strengths-same-vgg16",
    ]  # fmt: skip


def test_the_figure_of_denoised_images_holds_what_was_predicted():
    shown = shown_images()
    figure = by_name(whole())["denoised"]
    assert [row["name"] for row in figure.data["rows"]] == ["true label:\nclass 0", "true label:\nclass 1"]
    headings = [cell["heading"] for cell in figure.data["rows"][0]["cells"]]
    assert headings == ["as it is", "what δ adds,\n× 12", "with δ", "behind ROF 10", "behind D_jpeg"]
    for number, row in enumerate(figure.data["rows"]):
        places = [(0, 0), None, (0, 1), (2, 1), (4, 1)]
        for cell, place in zip(row["cells"], places, strict=True):
            if place is None:
                assert cell["said"] is None
                continue
            label = int(shown.predicted[place][number])
            assert cell["said"]["right"] == (label == shown.labels[number])
            assert cell["said"]["label"] == f"class {label}"
            assert cell["said"]["confidence"] == pytest.approx(100 * shown.confidence[place][number], abs=0.05)
    (rows, pictures) = figure.draw.args
    assert rows == figure.data["rows"]
    np.testing.assert_array_equal(pictures[1][2], shown.images[0, 1, 1])
    np.testing.assert_array_equal(pictures[1][3], shown.images[2, 1, 1])
    np.testing.assert_allclose(pictures[0][1], 0.5 + 12 * shown.added[0], atol=1e-6)
    assert "magnified 12 times" in figure.picture.caption


def test_dollar_signs_of_classes_and_attacks_are_no_mathematics_and_stand_once():
    found = whole()
    images = replace(found.images, classes=dict.fromkeys(range(7), "$5 or $6"))
    drawing = by_name(replace(found, images=images))["denoised"].draw()
    first = next(ax for ax in drawing.axes if ax.images)
    # How matplotlib is told that they are letters.
    assert first.get_title().split("\n")[1].endswith(r" \$5 or \$6")
    assert first.get_ylabel().endswith("\n" + r"\$5 or \$6")


def test_the_figure_of_strengths_has_the_image_above_and_the_attacked_one_below():
    shown = shown_images("vgg16")
    figure = by_name(whole())["strengths-vgg16"]
    above, below = figure.data["rows"]
    assert (above["name"], below["name"]) == ("as it is", "with δ")
    headings = [cell["heading"] for cell in above["cells"]]
    assert headings == ["no defence", "ROF 5", "ROF 10 *", "ROF 20", "D_jpeg *"]
    for state, row in enumerate((above, below)):
        for place, cell in enumerate(row["cells"]):
            assert cell["said"]["label"] == f"class {shown.predicted[place, state, 0]}"
            np.testing.assert_array_equal(figure.draw.args[1][state][place], shown.images[place, state, 0])
    drawing = figure.draw()
    axes = [ax for ax in drawing.axes if ax.images]
    said = axes[6].get_title().split("\n")
    label, right = shown.predicted[1, 1, 0], shown.predicted[1, 1, 0] == shown.labels[0]
    assert said == [f"{'✓' if right else '✗'} class {label}", f"{100 * shown.confidence[1, 1, 0]:.0f} %"]


def test_many_strengths_stand_below_each_other():
    shown = shown_images()
    many = tuple(ROF.preprocessors[0].with_params(weight=w / 255) for w in range(1, 10))
    defences = tuple(replace(ROF, preprocessors=(one,)) for one in many)
    parts = np.arange(10) % 5
    shown = replace(
        shown, defences=defences, exact=(0, 1), images=shown.images[parts], predicted=shown.predicted[parts],
        confidence=shown.confidence[parts],
    )  # fmt: skip
    figure = by_name(results(shown=(shown,)))["strengths-incv1"]
    assert [len(row["cells"]) for row in figure.data["rows"]] == [7, 7, 3, 3]
    assert [row["cells"][0]["heading"] for row in figure.data["rows"]] == ["no defence", "", "ROF 7", ""]
    assert sum(bool(ax.images) for ax in figure.draw().axes) == 20


def test_letters_can_be_read_and_colours_be_told():
    for figure in paper_figures(whole()):
        drawing = figure.draw()
        FigureCanvasAgg(drawing).draw()
        # A column or a page wide.
        assert drawing.get_size_inches()[0] <= 7
        texts = [text for text in drawing.findobj(lambda one: hasattr(one, "get_fontsize")) if text.get_text()]
        assert texts
        assert min(text.get_fontsize() for text in texts) >= 7
        window = drawing.get_window_extent()
        ticks = [tick for ax in drawing.axes for axis in (ax.xaxis, ax.yaxis) for tick in axis.get_ticklabels()]
        # Ticks beyond the scale are there, and not drawn.
        for text in (text for text in texts if text not in ticks):
            box = text.get_window_extent()
            if text.get_visible() and box.width:
                assert box.x0 >= window.x0 - 1, text.get_text()
                assert box.x1 <= window.x1 + 1, text.get_text()
                assert box.y0 >= window.y0 - 1, text.get_text()
                assert box.y1 <= window.y1 + 1, text.get_text()


def test_changes_are_shown_with_zero_in_the_middle():
    figure = by_name(whole())["changes"]
    shown = shown_images()
    values = figure.draw.args[2]
    np.testing.assert_allclose(values[1, 0], 255 * shown.changes[0, 1, 0].mean(0), rtol=1e-5)
    np.testing.assert_allclose(values[0, 1], 255 * shown.changes[1, 0, 0].mean(0), rtol=1e-5)
    most = figure.data["most"]
    assert np.mean(np.abs(values) <= most) >= 0.99
    assert f"ends at {most:g} of 255" in figure.picture.caption
    beyond = 100 * np.mean(np.abs(values) > most)
    assert f"magnified some {127.5 / most:.2g} times; the {beyond:.2g} % beyond have" in figure.picture.caption
    drawn = [ax.images[0] for ax in figure.draw().axes if ax.images and ax.images[0].get_array().ndim == 2]
    assert len(drawn) == 4
    for image in drawn:
        assert image.get_clim() == (-most, most)
        assert image.get_cmap().name == "PuOr"


def test_spectra_are_of_what_is_added_and_of_what_is_left():
    figure = by_name(whole())["spectra"]
    values = figure.draw.args[1]
    assert values.shape == (2, 3, 12, 10)
    for row, source in enumerate(("inception_v1", "vgg16")):
        shown = shown_images(source)
        np.testing.assert_allclose(10 ** values[row, 0], 255 * amplitudes(shown.added))
        for place in (0, 1):
            np.testing.assert_allclose(10 ** values[row, 1 + place], 255 * amplitudes(shown.left()[place]))
        share = round(100 * share_left(shown.left()[0], shown.added))
        assert figure.data["headings"][row][1] == f"left by ROF 10:\n{share} %"
    drawing = figure.draw()
    assert [ax.get_ylabel() for ax in drawing.axes if "log" in ax.get_ylabel()] == ["log₁₀ of the amplitude, of 255"]
    for ax in drawing.axes[:6]:
        assert ax.images[0].get_cmap().name == "cividis"
        assert ax.images[0].get_clim() == (figure.data["least"], figure.data["most"])
    # No arrow says that something is beyond the end.
    (bar,) = {ax.images[0].colorbar for ax in drawing.axes[:6] if ax.images[0].colorbar}
    assert bar.extend == "min"
    assert figure.data["least"] < values.min() + 0.5
    assert figure.data["most"] >= values.max()


def test_what_is_within_the_scale_is_not_said_to_be_beyond():
    shown = replace(shown_images(), changes=np.full_like(shown_images().changes, 7.9 / 255))
    caption = by_name(results(shown=(shown,)))["changes"].picture.caption
    assert (
        "The scale ends at 8 of 255, so that changes are magnified some 16 times, and nothing is beyond it." in caption
    )


def test_what_was_made_on_no_network_is_said_to_be_of_the_attack_alone():
    shown = replace(shown_images(), cell=Cell(ATTACKED, "inception_v1"))
    assert by_name(results(shown=(shown,)))["spectra"].data["rows"] == ["δ"]


# What is said.


def test_captions_say_by_which_rule_images_were_chosen():
    found = whole()
    # 20 right as they are, the first ones; attacked, 30 from the eleventh on, of which ten are these.
    clean, attacked = Cell(CLEAN, "inception_v1"), Cell(ATTACKED, "inception_v1", "inception_v1")
    behind = Cell(Condition(UAP, JPEG), "inception_v1", "inception_v1")
    labels = {**found.labels, clean: labels_with(20), attacked: labels_with(30, 10), behind: labels_with(4)}
    found = replace(found, labels=labels)
    caption = by_name(found)["strengths-incv1"].picture.caption
    rule = "The crop is the first of the test crops that is classified right as it is and wrong with δ crafted on IncV1"
    assert f"{rule}, whatever becomes of it behind defences; 10 of {N} crops are such" in caption
    assert caption.endswith("Of these, as many are right again: behind D_jpeg 4.")
    assert "right again" not in by_name(found)["changes"].picture.caption
    # Forty were attacked, of which ten were right as they are.
    some = np.where((np.arange(N) >= 10) & (np.arange(N) < 50), labels_with(0), -1)
    few = by_name(replace(found, labels={**labels, attacked: some}))["strengths-incv1"].picture.caption
    assert "; 10 of the 40 attacked crops are such" in few
    assert "The crops are the first of each class" in by_name(found)["denoised"].picture.caption
    caption = by_name(whole(worked=False))["denoised"]
    assert len(caption.data["rows"]) == 1
    assert "No test crop is right as it is and wrong with δ crafted on IncV1; this is the first" in (
        caption.picture.caption
    )


def test_captions_say_where_there_is_no_confidence():
    figure = by_name(whole(sure=False))["strengths-incv1"]
    assert "The network returns labels only, so that there is no probability." in figure.picture.caption
    assert all(cell["said"]["confidence"] is None for row in figure.data["rows"] for cell in row["cells"])
    assert "%" not in "".join(ax.get_title() for ax in figure.draw().axes)


def test_captions_say_what_numbers_are_of_and_that_one_draw_is_shown():
    found = whole()
    caption = by_name(found)["strengths-incv1"].picture.caption
    # As one that has a title of its own is known in them by that only.
    assert "ROF's weights are of 255. *: as in the tables, which call them D_ROF and D_jpeg. " in caption
    assert "behind defences of several strengths, as in Figures 2 to 4" in caption
    assert "NL-means" not in caption
    assert "one draw is shown" not in caption
    cell = next(iter(found.labels))
    drawn = replace(found, drawn={cell: np.stack([found.labels[cell]] * 2)})
    assert "one draw is shown" in by_name(drawn)["strengths-incv1"].picture.caption


def test_captions_tell_of_strengths_only_where_there_are_several():
    shown = shown_images()
    parts = [0, 1 + 1, 1 + 3]
    few = {name: getattr(shown, name)[parts] for name in ("images", "predicted", "confidence")}
    shown = replace(shown, defences=(shown.defences[1], shown.defences[3]), exact=(0, 1), **few)
    picture = by_name(results(shown=(shown,)))["strengths-incv1"].picture
    assert picture.text.startswith(
        "A test crop as it is and with δ crafted on IncV1, without a defence and behind ROF 10 and D_jpeg. Predicted"
    )
    assert "Figures 2 to 4" not in picture.caption
    alone = replace(shown, defences=(), exact=(), changes=shown.changes[:0], **{name: few[name][:1] for name in few})
    picture = by_name(results(shown=(alone,)))["strengths-incv1"].picture
    assert picture.text.startswith("A test crop as it is and with δ crafted on IncV1, without a defence. Predicted")
    assert "*" not in picture.caption


def test_all_is_said_in_sentences_also_for_who_cannot_see():
    for name, figure in by_name(whole()).items():
        assert figure.picture.caption.endswith(".")
        assert figure.picture.text.endswith(".")
        if name in ("denoised", "strengths-incv1"):
            label = shown_images().predicted[2, 1, 0]
            assert f"class {label} behind ROF 10" in figure.picture.text
        if name == "strengths-incv1":
            assert f"as it is: class {shown_images().predicted[0, 0, 0]} without a defence" in figure.picture.text


def test_what_is_left_out_is_said_with_the_reason():
    assert [line.partition(":")[0] for line in left_out(results())] == ["There are no pictures of strengths"]
    (gone,) = left_out(results())
    assert "computes what is missing when its command is given again" in gone
    some = left_out(results(shown=(shown_images(),)))
    assert some[0].startswith("There are no pictures of strengths against what was crafted on VGG16:")
    (lacking,) = left_out(whole())
    assert lacking == "The pictures of strengths lack NL-means, which is no defence of this run."
    nobody = experiment(sections=(Section("", (CLEAN, Condition(None, JPEG))),))
    assert left_out(replace(results(), experiment=nobody)) == ()
    only = experiment(sections=(Section("", (CLEAN, Condition(UAP, JPEG))),))
    assert left_out(replace(results(), experiment=only)) == (
        "There are no pictures of strengths: no row of this run is an attack on the network without a defence.",
    )
    bare = replace(shown_images(), exact=(), changes=shown_images().changes[:0])
    assert [n for n in by_name(results(shown=(bare,)))] == NAMES[:2]
    assert any("no pictures of what defences change" in line for line in left_out(results(shown=(bare,))))
    assert document(results()).without == left_out(results())


# Files, and the page.


def test_the_report_has_them_as_png_and_pdf_and_in_its_page(tmp_path):
    found = whole()
    saved(found, tmp_path)
    program = (
        "import sys; from art_denoise.evaluation.results import Results\n"
        "from art_denoise.evaluation.report import write_report\n"
        "write_report(Results.load(sys.argv[1]), sys.argv[1]); sys.exit('torch' in sys.modules)"
    )
    # By a program that has no PyTorch in it.
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True)
    page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    for figure in paper_figures(found):
        for file in figure.files(tmp_path / "report"):
            assert stamp(file) == figure.key, file
        start = page.index(f'alt="{figure.picture.text[:40]}')
        assert page.rindex('<section id="pictures">', 0, start) == page.rindex("<section id=", 0, start)
    assert f"<li>{left_out(found)[0]}</li>" in page
    before = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.p*")}
    write_report(found, tmp_path)
    assert {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.p*")} == before


@pytest.mark.parametrize("name", ["$x^$", "a" * 200, "_{", "", "a\nb"])
def test_names_of_every_kind(name):
    found = whole()
    asked = experiment(sources=tuple(replace(source, text=name) for source in experiment().sources))
    images = replace(found.images, classes=dict.fromkeys(range(7), name))
    for figure in paper_figures(replace(found, experiment=asked, images=images)):
        FigureCanvasAgg(figure.draw()).draw()
