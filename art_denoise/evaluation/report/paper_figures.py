"""Figures 1 to 4 of Lee, Park & Lee (2018), and what defences take away, from the results of any run that has them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from art_denoise._words import one_line
from art_denoise.evaluation.components import write_defence
from art_denoise.evaluation.experiment import Cell, Condition, Defence
from art_denoise.evaluation.report import paper_drawings as drawings
from art_denoise.evaluation.report._text import listed
from art_denoise.evaluation.report.document import Picture
from art_denoise.evaluation.report.figure_files import Figure, class_name, digest_of, slug
from art_denoise.evaluation.report.names import bare, row_names, source_names
from art_denoise.evaluation.report.spectrum import about_grey, amplitudes, magnification, share_left

if TYPE_CHECKING:
    from art_denoise.evaluation.results import Results
    from art_denoise.evaluation.shown import Shown

#: Columns of the figure of strengths beside each other, and defences of the tables in the other figures.
_COLUMNS, _DEFENCES = 7, 3

#: What stands above the images that nothing is done to, and beside those that are attacked.
_AS_IT_IS, _UNDEFENDED = "as it is", "no defence"

#: Share of changes that is within the scale, and of amplitudes that is below it, of 100.
_WITHIN, _BELOW = 99.5, 0.5

#: What signs above pictures say.
_SIGNS = (
    "Above each image stands what the network predicts for it{confidence}: ✓ and a whole blue frame where that is "
    "right, ✗ and a dashed orange frame where it is wrong."
)


def paper_figures(results: Results) -> list[Figure]:
    """Return the figures of images behind defences that the run kept images for."""
    if not results.shown:
        return []
    first = results.shown[0]
    found = [_denoised(results, first), *(_strengths(results, shown) for shown in results.shown)]
    return [*found, *_changes(results, first), *_spectra(results)]


def left_out(results: Results) -> tuple[str, ...]:
    """Return which of the figures, or parts of them, there are not, and why, in sentences."""
    experiment = results.experiment
    attacks = [c for c in experiment.conditions if c.threat is not None and c.threat.crafted]
    if not attacks:
        return ()
    attacked = next((c for c in attacks if not c.defence), None)
    if attacked is None:
        return (
            "There are no pictures of strengths: no row of this run is an attack on the network without a defence.",
        )
    names = source_names(experiment)
    there = {shown.cell.source for shown in results.shown}
    gone = [s for s in experiment.columns(attacked) if (None if s is None else s.key) not in there]
    said = []
    if gone:
        which = (
            "" if not there else f" against what was crafted on {' and '.join(names[s.key].text for s in gone if s)}"
        )
        said.append(
            f"There are no pictures of strengths{which}: the run kept no images for them. `evaluate_defence` keeps "
            "none. A run of an earlier version computes what is missing when its command is given again, and what "
            "failed is told of above."
        )
    if results.shown:
        kinds = {p.name for d in results.shown[0].defences for p in d.preprocessors if len(d.preprocessors) == 1}
        lacking = [text for name, text in (("rof", "ROF"), ("nlm", "NL-means")) if name not in kinds]
        if lacking:
            one = len(lacking) == 1
            said.append(
                f"The pictures of strengths lack {' and '.join(lacking)}, which {'is' if one else 'are'} no "
                f"{'defence' if one else 'defences'} of this run."
            )
        if not results.shown[0].exact:
            said.append("There are no pictures of what defences change: no defence of this run meets the attack shown.")
        asked = {c.defence for c in attacks if c.threat == attacked.threat and c.defence and c.defence.noise is None}
        if len(asked) > len(results.shown[0].exact):
            said.append(
                f"The pictures of strengths show the first {len(results.shown[0].exact)} of {len(asked)} defences."
            )
    return tuple(said)


# After the paper's Figure 1


def _denoised(results: Results, shown: Shown) -> Figure:
    """Return the figure of images as they are, what is added, attacked and denoised."""
    said = _Words(results, shown)
    times = magnification(shown.added)
    worked = np.flatnonzero(shown.worked)
    chosen = [int(i) for i in (worked if len(worked) else range(1))]
    defences = shown.exact[:_DEFENCES]
    headings = [_AS_IT_IS, f"what {said.attack} adds,\n× {times}", f"with {said.attack}"]
    headings += [f"behind {said.defences[i]}" for i in defences]
    places = [(0, 0), None, (0, 1), *((1 + i, 1) for i in defences)]
    rows, pictures = [], []
    for i in chosen:
        cells = [
            {"heading": heading if i == chosen[0] else "", "said": None if place is None else said.of(*place, i)}
            for heading, place in zip(headings, places, strict=True)
        ]
        rows.append({"name": f"true label:\n{said.truth(i)}", "cells": cells})
        added = about_grey(shown.added[i], times)
        pictures.append([added if place is None else shown.images[place][i] for place in places])
    behind = listed([f"behind {said.defences[i]}" for i in defences])
    text = f"Test {said.noun}s as they are, what {said.whole} adds, attacked" + (f", and {behind}" if behind else "")
    alt = [f"{said.truth(i)}: {said.read(places, headings, i)}" for i in chosen]
    caption = (
        f"{text}, as in Figure 1 of Lee, Park & Lee (2018). What the attack adds is magnified {times} times about "
        f"mid-grey, which is where nothing is added. {said.signs} {said.rule(len(chosen))}"
    )
    picture = Picture("figures/denoised.png", f"{text}. Predicted: {'; '.join(alt)}.", caption=caption)
    data = {"rows": rows, "pictures": [digest_of(p) for row in pictures for p in row]}
    return Figure(picture, data, partial(drawings.draw_rows, rows, pictures), drawings.DPI)


# After the paper's Figures 2 to 4


def _strengths(results: Results, shown: Shown) -> Figure:
    """Return the figure of one image, as it is and attacked, behind defences from weak to strong."""
    said = _Words(results, shown)
    names = [_UNDEFENDED, *said.starred]
    rows: list[dict[str, Any]] = []
    pictures = []
    for first in range(0, len(names), _COLUMNS):
        columns = range(first, min(first + _COLUMNS, len(names)))
        for state, name in enumerate((_AS_IT_IS, f"with {said.attack}")):
            cells = [{"heading": "" if state else names[j], "said": said.of(j, state, 0)} for j in columns]
            rows.append({"name": name, "cells": cells})
            pictures.append([shown.images[j, state, 0] for j in columns])
    several = len(shown.defences) > len(shown.exact)
    behind = "defences of several strengths" if several else listed(said.defences)
    text = f"A test {said.noun} as it is and with {said.whole}, without a defence"
    text += f" and behind {behind}" if behind else ""
    places = ["without a defence", *(f"behind {name}" for name in said.defences)]
    alt = [
        f"{name}: {said.read([(j, state) for j in range(len(names))], places, 0)}"
        for state, name in enumerate((_AS_IT_IS, f"with {said.attack}"))
    ]
    like = ", as in Figures 2 to 4 of Lee, Park & Lee (2018)" if several else ""
    called = listed([one_line(shown.defences[i].text) for i in shown.exact])
    starred = f"*: as in the tables, which call {'them' if shown.exact[1:] else 'it'} {called}. " if called else ""
    caption = (
        f"{text}{like}. Above: as it is, below: attacked; the true label is {said.truth(0)}. {said.units}{starred}"
        f"{said.signs} {said.rule(1)}"
    )
    number = [one.cell for one in results.shown].index(shown.cell)
    name = slug(said.source) or str(number)
    if any(slug(_Words(results, one).source) == name for one in results.shown[:number]):
        name = f"{name}-{number}"
    picture = Picture(f"figures/strengths-{name}.png", f"{text}. Predicted: {'; '.join(alt)}.", caption=caption)
    data = {"rows": rows, "pictures": digest_of(shown.images[:, :, 0])}
    return Figure(picture, data, partial(drawings.draw_rows, rows, pictures), drawings.DPI)


# What is taken away, and what is left


def _changes(results: Results, shown: Shown) -> Iterator[Figure]:
    """Yield the figure of what defences change of an image, D(v) - v."""
    said, chosen = _Words(results, shown), shown.exact[:_DEFENCES]
    if not chosen:
        return
    values = 255 * shown.changes[: len(chosen), :, 0].mean(2).swapaxes(0, 1)
    most = max(1.0, float(np.ceil(np.percentile(np.abs(values), _WITHIN))))
    beyond = 100 * float((np.abs(values) > most).mean())
    ends = f"; the {beyond:.2g} % beyond have the colours of its ends" if beyond else ", and nothing is beyond it"
    pictures = [shown.images[0, state, 0] for state in (0, 1)]
    data = {
        "rows": [_AS_IT_IS, f"with {said.attack}"],
        "headings": ["the image, v", *(f"D(v) − v,\n{said.defences[i]}" for i in chosen)],
        "most": most,
        "values": [digest_of(values), *map(digest_of, pictures)],
    }
    text = (
        f"What {listed([said.defences[i] for i in chosen])} change of a test {said.noun}, D(v) − v, as it is and with "
        f"{said.whole}"
    )
    sizes = [
        f"{said.defences[i]} by {255 * _rms(shown.changes[k, 0, 0]):.1f} of 255 as it is and by "
        f"{255 * _rms(shown.changes[k, 1, 0]):.1f} attacked"
        for k, i in enumerate(chosen)
    ]
    caption = (
        f"{text}. White: nothing changes; purple: a pixel becomes brighter, orange: darker, the mean of its channels. "
        f"The scale ends at {most:g} of 255, so that changes are magnified some {127.5 / most:.2g} times{ends}. "
        f"Root mean squares: {'; '.join(sizes)}. "
        f"{said.rule(1, defended=False)}"
    )
    picture = Picture("figures/changes.png", f"{text}. Root mean squares: {'; '.join(sizes)}.", caption=caption)
    yield Figure(picture, data, partial(drawings.draw_changes, data, pictures, values), drawings.DPI)


def _spectra(results: Results) -> Iterator[Figure]:
    """Yield the figure of the amplitude spectra of what attacks add, and of what defences leave of it."""
    rows, headings, logarithms, alt = [], [], [], []
    for shown in results.shown:
        said, chosen = _Words(results, shown), shown.exact[:_DEFENCES]
        if not chosen:
            return
        left = shown.left()[: len(chosen)]
        shares = [f"{100 * share_left(one, shown.added):.0f} %" for one in left]
        rows.append(", ".join(filter(None, (said.attack, said.source))))
        headings.append(["what is added"])
        headings[-1] += [f"left by {said.defences[i]}:\n{share}" for i, share in zip(chosen, shares, strict=True)]
        spectra = [amplitudes(one) for one in (shown.added, *left)]
        logarithms.append(np.log10(np.maximum(255 * np.stack(spectra), 1e-9)))
        parts = [f"{share} by {said.defences[i]}" for i, share in zip(chosen, shares, strict=True)]
        alt.append(f"of {said.whole} there is left {listed(parts)}")
    values = np.stack(logarithms)
    # To tenths of a power of ten.
    least, most = (float(step(10 * end) / 10) for step, end in zip((np.floor, np.ceil), _ends(values), strict=True))
    data = {"rows": rows, "headings": headings, "most": most, "least": least, "values": digest_of(values)}
    count = max(len(shown.labels) for shown in results.shown)
    noun = results.images.noun
    text = "Amplitude spectra of what attacks add to images, and of what defences leave of it, D(v + δ) − D(v)"
    caption = (
        f"{text}. In the middle of each is frequency zero, at the edges the highest, half a cycle per pixel; a bright "
        "place is a frequency that much is there of. The scale is logarithmic and the same for all: one unit is ten "
        "times the amplitude. In percent: how large what is left is against what was added, in the Euclidean norm. "
        f"Amplitudes are root mean squares over the channels and over the {noun}s that the run kept, up to {count}. "
        "How much is left does not say whether it still fools the network."
    )
    picture = Picture("figures/spectra.png", f"{text}: {'; '.join(alt)}, in the Euclidean norm.", caption=caption)
    yield Figure(picture, data, partial(drawings.draw_spectra, data, values), drawings.DPI)


def _ends(values: np.ndarray) -> tuple[float, float]:
    return float(np.percentile(values, _BELOW)), float(values.max())


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.square(values).mean()))


# Words


class _Words:
    """What is said of the images of one attack.

    :param results: The results.
    :param shown: The images.
    """

    def __init__(self, results: Results, shown: Shown) -> None:
        self._results, self._shown = results, shown
        experiment, cell = results.experiment, shown.cell
        self.noun = results.images.noun
        self.attack = one_line(bare(row_names([cell.condition])[cell.condition]).text)
        self.source = one_line(source_names(experiment)[cell.source].text) if cell.source is not None else ""
        self.whole = f"{self.attack} crafted on {self.source}" if self.source else self.attack
        self.defences = _titles(shown.defences)
        self.starred = [f"{name} *" if i in shown.exact else name for i, name in enumerate(self.defences)]
        sure = "" if shown.confidence is None else ", and the probability that it gives to that"
        self.signs = _SIGNS.format(confidence=sure)
        if shown.confidence is None:
            self.signs += " The network returns labels only, so that there is no probability."
        if results.drawn:
            self.signs += " Of what defences draw at random, one draw is shown."
        there = {p.name for defence in shown.defences for p in defence.preprocessors}
        units = {"rof": "ROF's weights are of 255. ", "nlm": "The h of NL-means is of 1. "}
        self.units = "".join(text for name, text in units.items() if name in there)

    def truth(self, number: int) -> str:
        """Return what an image really is."""
        return class_name(self._results.images.classes, int(self._shown.labels[number]))

    def of(self, defence: int, state: int, number: int) -> dict[str, Any]:
        """Return what is predicted for an image: its label, the confidence in percent, and whether it is right.

        :param defence: 0 for none, or the number of the defence from 1.
        :param state: 0 as it is, 1 attacked.
        :param number: Which image.
        """
        shown = self._shown
        label = int(shown.predicted[defence, state, number])
        sure = None if shown.confidence is None else round(100 * float(shown.confidence[defence, state, number]), 1)
        right = label == int(shown.labels[number])
        return {"label": class_name(self._results.images.classes, label), "confidence": sure, "right": right}

    def read(self, places: Sequence[tuple[int, int] | None], names: Sequence[str], number: int) -> str:
        """Return what is predicted in several places, in words.

        :param places: Defence and state of each; None where nothing is predicted.
        :param names: What the places are called.
        :param number: Which image.
        """
        there = [(place, name) for place, name in zip(places, names, strict=True) if place is not None]
        return ", ".join(f"{self.of(*place, number)['label']} {name}" for place, name in there)

    def rule(self, count: int, *, defended: bool = True) -> str:
        """Return how the images were chosen, in sentences.

        :param count: Number of images shown.
        :param defended: Whether also what became of all such images behind the defences in the tables.
        """
        noun, results = self.noun, self._results
        if not self._shown.worked.any():
            return f"No test {noun} is right as it is and wrong with {self.whole}; this is the first that was attacked."
        kept = f"classified right as {'it is' if count == 1 else 'they are'} and wrong with {self.whole}"
        if count == 1:
            said = f"The {noun} is the first of the test {noun}s that is {kept}, whatever becomes of it behind defences"
        else:
            said = (
                f"The {noun}s are the first of each class, in the order of the test {noun}s, that are {kept}, whatever "
                "becomes of them behind defences"
            )
        found = self._such()
        if found is None:
            return f"{said}."
        such, attacked = found
        again = [
            f"{row.defence.text} {int((results.labels[cell][such] == results.images.labels[such]).sum())}"
            for row, cell in self._rows()[:_DEFENCES]
        ]
        tail = f" Of these, as many are right again: behind {listed(again)}." if again and defended else ""
        of = f"{attacked}" if attacked == len(such) else f"the {attacked} attacked"
        kind = f"{int(such.sum())} of {of} {noun}s are such, which are no fair sample of all"
        return f"{said}; {kind}.{tail}"

    def _such(self) -> tuple[np.ndarray, int] | None:
        """Return which test images the attack made wrong ones of right ones, and how many it was tried on.

        None if that is not known.
        """
        results, cell = self._results, self._shown.cell
        clean = results.labels.get(Cell(Condition(), cell.target, None, results.experiment.seeds[0]))
        attacked = results.labels.get(cell)
        if clean is None or attacked is None:
            return None
        truth, tried = results.images.labels, attacked >= 0
        return (clean == truth) & (attacked != truth) & tried, int(tried.sum())

    def _rows(self) -> list[tuple[Condition, Cell]]:
        """Return the rows of the tables that meet the same attack behind a defence without v_def."""
        results, cell = self._results, self._shown.cell
        rows = [c for c in results.experiment.conditions if c.threat == cell.condition.threat and c.defence]
        there = [(row, Cell(row, cell.target, cell.source, cell.seed)) for row in rows if row.defence.noise is None]
        return [(row, one) for row, one in there if one in results.labels]


def _titles(defences: Sequence[Defence]) -> list[str]:
    """Return what defences are called: the paper's two with their strengths; where two would be the same, in full."""
    short = [_title(defence) for defence in defences]
    return [
        name if short.count(name) == 1 else one_line(write_defence(defence))
        for name, defence in zip(short, defences, strict=True)
    ]


def _title(defence: Defence) -> str:
    if len(defence.preprocessors) == 1:
        preprocessor = defence.preprocessors[0]
        given = dict(preprocessor.params)
        if preprocessor.name == "rof" and "weight" in given:
            return f"ROF {255 * given['weight']:.4g}"
        if preprocessor.name == "nlm" and "h" in given:
            return f"NL-means {given['h']:.4g}"
    return one_line(defence.text)
