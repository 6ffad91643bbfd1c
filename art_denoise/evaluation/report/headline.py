"""What a report says first: what was asked, one sentence on what the defences buy, and one on each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from art_denoise.evaluation.audit import LEVEL
from art_denoise.evaluation.components import write_defence
from art_denoise.evaluation.experiment import NOTHING, Cell, Condition, Defence, Knowledge
from art_denoise.evaluation.report.document import Bar, Chart
from art_denoise.evaluation.report.names import cells_of, row_names
from art_denoise.evaluation.report.table import (
    Accuracy,
    Column,
    Missing,
    Name,
    Row,
    Section,
    Shown,
    Table,
    Value,
)
from art_denoise.evaluation.report.values import accuracy_in_all, left_in_all, note_of, quick_note, size_of, with_mark
from art_denoise.evaluation.report.worst import attacks_on, note_of_known_draws
from art_denoise.evaluation.statistics import paired_difference

if TYPE_CHECKING:
    from art_denoise.evaluation.results import Results


def _universal(cell: Cell) -> bool:
    return cell.condition.threat is not None and cell.condition.threat.attack.kind == "universal"


def _knows(cell: Cell) -> bool:
    """Return whether the attacker differentiates all that there is: without a defence that is the network alone."""
    knowledge = cell.knowledge
    return knowledge is not None and (
        knowledge.white_box or (knowledge is Knowledge.OBLIVIOUS and not cell.condition.defence)
    )


#: Who attacks, from those who know least: what a chart calls them, and a table, and which cells are theirs.
_ATTACKERS: tuple[tuple[str, str, Callable[[Cell], bool]], ...] = (
    ("made on another network", "who has another network", lambda cell: cell.knowledge is Knowledge.TRANSFER),
    (
        "made on this network, not knowing the defence",
        "who does not know it",
        lambda cell: cell.knowledge is Knowledge.OBLIVIOUS,
    ),
    (
        "asking the defended network for answers",
        "who asks it",
        lambda cell: cell.knowledge is Knowledge.BLACK_BOX,
    ),
    (
        "knowing the defence, one perturbation for all images",
        "who knows it: one for all",
        lambda cell: _knows(cell) and _universal(cell),
    ),
    (
        "knowing the defence, each image by itself",
        "who knows it: each image",
        lambda cell: _knows(cell) and not _universal(cell),
    ),
)
_NOBODY, _NOISE = ("nobody attacks", "nobody"), ("random noise of the size of the attacks", "random noise")
_ALL = ("all of them, the worst for each image", "all of them")


def headline(results: Results) -> tuple[Table, ...]:
    """Return the short table: what is left of each defence, by who attacks."""
    rows, there, names = [], _columns(results), _defences(results)
    _, draws_known = attacks_on(results.experiment)
    for defence, name in names.items():
        values = [_brief(accuracy_in_all(results, c)) for c in _cells_by_attacker(results, defence).values()]
        shown = tuple(value for value, heading in zip(values, _headings(), strict=True) if heading in there)
        rows.append(Row(name, shown, (("defence", write_defence(defence)),)))
    if not rows:
        return ()
    table = Table(
        kind="headline",
        title="What each defence leaves, by who attacks",
        note=note_of(
            quick_note(results),
            "Of images: those that are classified right whatever is tried by who knows as much.",
            _size_note(results),
            *(note_of_known_draws(results, names[d], cells) for d, cells in draws_known.items() if d in names),
        ),
        legend=Shown("accuracy in %"),
        head=Name("attacked by"),
        columns=tuple(Column(Name(short)) for _, short in there),
        sections=(Section("", tuple(rows)),),
    )
    return (with_mark(table),)


def charts(results: Results) -> tuple[Chart, ...]:
    """Return what each defence costs and buys, that of none first."""
    there, found = _columns(results), []
    for defence, name in _defences(results).items():
        by_attacker = _cells_by_attacker(results, defence)
        bars = (Bar(h[0], accuracy_in_all(results, cells)) for h, cells in by_attacker.items() if h in there)
        found.append(Chart(name, _sentence(results, defence, name), tuple(bars)))
    return tuple(found)


def main_sentences(results: Results) -> tuple[str, ...]:
    """Return what there is to be known first, one sentence or two."""
    quick = quick_note(results)
    defences = [defence for defence in _defences(results) if defence]
    # Who was attacked in fewer ways is none to compare with.
    ways = {d: _ways(results, d) for d in defences if _is_known(results, d)}
    most = {d for d, some in ways.items() if not any(some < others for others in ways.values())}
    known = {d: value for d in defences if d in most and (value := _worst(results, d)) is not None}
    said = [quick] if quick else []
    if not defences:
        return tuple(said)
    if not known:
        return (*said, "Nobody who knows the defences has attacked: what they are worth is not known.")
    best = max(known, key=lambda defence: known[defence].share.value)
    name, noun = _defences(results)[best].text, results.images.noun
    leaves = f"leaves {_percent(known[best])} of the {noun}s right"
    subject = name if len(known) == 1 else f"{name}, the best of {len(known)} defences,"
    nothing = _worst(results, NOTHING)
    sentence = f"Whatever is tried by attackers who know it, {subject} {leaves}"
    if nothing is not None:
        sentence += f", where {_percent(nothing)} are left without a defence"
        if _is_chance(results, best):
            sentence += ", which may be chance"
    cost = _cost(results, best)
    if cost is not None:
        sentence += f"; on {noun}s that nobody attacks it {cost}"
    said.append(f"{sentence}.")
    if known[best].doubted:
        said.append("That figure is in doubt: an attack may be weaker than it looks.")
    return tuple(said)


def _headings() -> list[tuple[str, str]]:
    return [_NOBODY, _NOISE, *((long, short) for long, short, _ in _ATTACKERS), _ALL]


def _defences(results: Results) -> dict[Defence, Name]:
    """Return the defences that are attacked, none first, and what they are called."""
    crafted, _ = attacks_on(results.experiment)
    order = sorted(crafted, key=bool)
    rows = {Condition(None, defence): defence for defence in order}
    found = {}
    for row, name in row_names(rows).items():
        after_noise = row.defence.noise is not None and row.defence.preprocessors
        text = row.defence.text + (" after v_def" if after_noise else "")
        # What tells it from another of the same text stands behind that.
        found[rows[row]] = Name(text + name.text.removeprefix(row.text))
    return found


def _cells_by_attacker(results: Results, defence: Defence) -> dict[tuple[str, str], list[Cell]]:
    """Return the cells of a defence by who attacks, of attacks of the size that is most usual, or smaller."""
    experiment = results.experiment
    crafted, _ = attacks_on(experiment)
    norm, eps = _usual_size(results)

    def fits(cell: Cell) -> bool:
        size = size_of(cell)
        return size[0] == norm and size[1] <= eps

    attacks = [cell for cell in crafted.get(defence, ()) if fits(cell)]
    clean = Condition(None, defence)
    alone = list(cells_of(experiment, clean, None)) if clean in experiment.conditions else []
    controls = [
        cell
        for c in experiment.conditions
        if c.defence == defence and c.threat is not None and not c.threat.crafted
        for cell in experiment.cells_of(c)
        if fits(cell)
    ]
    found = {_NOBODY: alone, _NOISE: controls}
    found |= {(long, short): list(filter(belongs, attacks)) for long, short, belongs in _ATTACKERS}
    # Who attacks can always leave it.
    return {**found, _ALL: [*alone, *attacks]}


def _usual_size(results: Results) -> tuple[str, float]:
    crafted, _ = attacks_on(results.experiment)
    sizes = [size_of(cell) for cells in crafted.values() for cell in cells]
    return max(dict.fromkeys(sizes), key=sizes.count)


def _columns(results: Results) -> list[tuple[str, str]]:
    """Return the attackers that there are results of for any defence."""
    found = [_cells_by_attacker(results, defence) for defence in _defences(results)]
    return [h for h in _headings() if any(isinstance(accuracy_in_all(results, cells[h]), Accuracy) for cells in found)]


def _brief(value: Value) -> Value:
    return replace(value, brief=True) if isinstance(value, Accuracy) else value


def _size_note(results: Results) -> str:
    crafted, _ = attacks_on(results.experiment)
    sizes = {size_of(cell) for cells in crafted.values() for cell in cells}
    norm, eps = _usual_size(results)
    if len(sizes) == 1:
        return ""
    return f"Of attacks of {_size(norm, eps)}; others below."


def _worst(results: Results, defence: Defence) -> Accuracy | None:
    if defence not in _defences(results):
        return None
    value = accuracy_in_all(results, _cells_by_attacker(results, defence)[_ALL])
    return value if isinstance(value, Accuracy) else None


def _ways(results: Results, defence: Defence) -> set[tuple[str, str]]:
    """Return who has attacked a defence."""
    return {heading for heading, cells in _cells_by_attacker(results, defence).items() if cells}


def _is_known(results: Results, defence: Defence) -> bool:
    """Return whether somebody who knows a defence has attacked it."""
    return any(
        cell.knowledge is not None and cell.knowledge.knows_defence
        for cell in _cells_by_attacker(results, defence)[_ALL]
    )


def _is_chance(results: Results, defence: Defence) -> bool:
    """Return whether what a defence leaves may be no more than what is left without one."""
    right = []
    for one in (defence, NOTHING):
        left, there = left_in_all(results, _cells_by_attacker(results, one)[_ALL])
        right.append(np.where(there & left, 1, 0))
    return paired_difference(right[0], right[1], np.ones(len(right[0]), int)).p_value >= LEVEL


def _cost(results: Results, defence: Defence) -> str | None:
    """Return what a defence costs where nobody attacks, as a phrase."""
    values = [accuracy_in_all(results, _cells_by_attacker(results, one)[_NOBODY]) for one in (defence, NOTHING)]
    if not all(isinstance(value, Accuracy) for value in values):
        return None
    with_it, without = (value.share.value for value in values if isinstance(value, Accuracy))
    points = round(100 * (without - with_it), 1)
    if points == 0:
        return "costs nothing"
    much = f"{abs(points):.1f} {'point' if abs(points) == 1 else 'points'}"
    return f"costs {much} of accuracy" if points > 0 else f"adds {much} of accuracy"


def _sentence(results: Results, defence: Defence, name: Name) -> str:
    """Return what a defence costs and buys."""
    if not defence:
        return ""
    return f"{name.text} {', '.join(_clauses(results, defence))}."


def _clauses(results: Results, defence: Defence) -> Iterator[str]:
    cells, noun = _cells_by_attacker(results, defence), results.images.noun
    cost = _cost(results, defence)
    if cost is not None:
        yield f"{cost} on {noun}s that nobody attacks"
    by_short = {short: accuracy_in_all(results, of) for (_, short), of in cells.items()}
    unaware = by_short["who does not know it"]
    if isinstance(unaware, Accuracy):
        yield f"leaves {_percent(unaware)} right against attackers who do not know it"
    worst = by_short[_ALL[1]]
    if isinstance(worst, Missing) or not isinstance(worst, Accuracy):
        return
    if _is_known(results, defence):
        yield f"and {_percent(worst)} whatever is tried by those who do"
    else:
        yield "and was attacked by nobody who does"


def _percent(value: Accuracy) -> str:
    return f"{100 * value.share.value:.1f} %"


def asked(results: Results) -> tuple[tuple[str, str], ...]:
    """Return what the experiment asks, by what is said of it."""
    experiment, images = results.experiment, results.images
    split = "test" if experiment.scored_on == "test" else "tuning"
    found = [
        ("Network", experiment.target.title or experiment.target.text or experiment.target.key),
        ("Images", f"{len(images)} {split} {images.title}"),
    ]
    defences = [name.text for defence, name in _defences(results).items() if defence]
    if defences:
        found.append(("Defences", ", ".join(defences)))
    threats = dict.fromkeys(c.threat for c in experiment.conditions if c.threat is not None and c.threat.crafted)
    if threats:
        texts = (f"{t.attack.text} ({t.attack.name})" if t.attack.text else t.attack.name for t in threats)
        found.append(("Attacks", ", ".join(dict.fromkeys(texts))))
        sizes = dict.fromkeys((t.norm, t.eps) for t in threats)
        found.append(("Size", ", ".join(_size(norm, eps) for norm, eps in sizes)))
        known = {cell.knowledge for cell in experiment.cells() if cell.knowledge is not None}
        found.append(("Attackers", "; ".join(f"{k.value}: {k.text}" for k in Knowledge if k in known)))
    if experiment.sources:
        found.append(("Crafted on", ", ".join(source.text or source.key for source in experiment.sources)))
    if len(experiment.seeds) > 1:
        found.append(("Seeds", ", ".join(map(str, experiment.seeds))))
    return tuple(found)


def _size(norm: str, eps: float) -> str:
    return f"at most {255 * eps:.4g}/255 in the norm L{'∞' if norm == 'inf' else norm}"
