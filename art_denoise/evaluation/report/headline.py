"""What a report says first: what was asked, one sentence on what the defences buy, and one on each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from art_denoise.evaluation.audit import LEVEL
from art_denoise.evaluation.components import write_defence
from art_denoise.evaluation.experiment import NOTHING, Cell, Condition, Defence, Knowledge
from art_denoise.evaluation.report._text import listed
from art_denoise.evaluation.report.document import Bar, Chart
from art_denoise.evaluation.report.names import cells_of, row_names
from art_denoise.evaluation.report.table import (
    Accuracy,
    Column,
    Name,
    Row,
    Section,
    Shown,
    Table,
    Value,
)
from art_denoise.evaluation.report.values import (
    accuracy_in_all,
    left_in_all,
    note_of,
    quick_note,
    size_of,
    size_text,
    with_mark,
)
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
#: The same of others: what a chart calls them, and a table.
_Heading = tuple[str, str]
_TRANSFER: _Heading = _ATTACKERS[0][:2]
_UNAWARE: _Heading = _ATTACKERS[1][:2]
_NOBODY, _NOISE = ("nobody attacks", "nobody"), ("random noise of the size of the attacks", "random noise")
_ALL = ("all of them, the worst for each image", "all of them")


@dataclass(frozen=True, eq=False)
class _Side:
    """A defence and all who attack it.

    :param name: What it is called.
    :param cells: The cells by who attacks, of attacks of the size that is most usual, or smaller.
    :param values: What is left by who attacks.
    """

    name: Name
    cells: Mapping[_Heading, Sequence[Cell]]
    values: Mapping[_Heading, Value]

    @property
    def worst(self) -> Accuracy | None:
        """What all of them leave, if that is known."""
        value = self.values[_ALL]
        return value if isinstance(value, Accuracy) else None

    @property
    def ways(self) -> set[_Heading]:
        """Who has attacked it."""
        return {heading for heading, cells in self.cells.items() if cells}

    @property
    def is_known(self) -> bool:
        """Whether somebody who knows it has attacked it."""
        return any(cell.knowledge is not None and cell.knowledge.knows_defence for cell in self.cells[_ALL])


def headline(results: Results) -> tuple[Table, ...]:
    """Return the short table: what is left of each defence, by who attacks."""
    sides = _sides(results)
    if not sides:
        return ()
    there = _headings(sides)
    crafted, draws_known = attacks_on(results.experiment)
    sizes = {size_of(cell) for cells in crafted.values() for cell in cells}
    rows = (
        Row(side.name, tuple(_brief(side.values[h]) for h in there), (("defence", write_defence(defence)),))
        for defence, side in sides.items()
    )
    table = Table(
        kind="headline",
        title="What each defence leaves, by who attacks",
        note=note_of(
            quick_note(results),
            "An image counts as right only if it is classified right under every attack of its column.",
            f"Of attacks of {size_text(_usual_size(crafted))}; others below." if len(sizes) > 1 else "",
            *(note_of_known_draws(results, sides[d].name, cells) for d, cells in draws_known.items() if d in sides),
        ),
        legend=Shown("accuracy in %"),
        head=Name("attacked by"),
        columns=tuple(Column(Name(short)) for _, short in there),
        sections=(Section("", tuple(rows)),),
    )
    return (with_mark(table),)


def charts(results: Results) -> tuple[Chart, ...]:
    """Return what each defence costs and buys, that of none first."""
    sides = _sides(results)
    there = _headings(sides)
    return tuple(
        Chart(side.name, _sentence(results, defence, sides), tuple(Bar(h[0], side.values[h]) for h in there))
        for defence, side in sides.items()
    )


def main_sentences(results: Results) -> tuple[str, ...]:
    """Return what there is to be known first, one sentence or two."""
    quick = quick_note(results)
    said = [quick] if quick else []
    sides = _sides(results)
    defended = {defence: side for defence, side in sides.items() if defence}
    if not defended:
        return tuple(said)
    # Who was attacked in fewer ways is none to compare with.
    known = [side for side in defended.values() if side.is_known]
    known = [side for side in known if not any(side.ways < other.ways for other in known)]
    left = {defence: side.worst for defence, side in defended.items() if side in known and side.worst is not None}
    if not left:
        return (*said, "No attacker who knows the defences was tried: what they are worth is not known.")
    best = max(left, key=lambda defence: left[defence].share.value)
    name, noun = sides[best].name.text, results.images.noun
    leaves = f"leaves {_percent(left[best])} of the {noun}s right"
    most = "" if len(left) == len(defended) else " that were attacked in the most ways"
    subject = name if len(left) == 1 else f"{name}, the best of {'the ' * bool(most)}{len(left)} defences{most},"
    sentence = f"Whatever is tried by attackers who know it, {subject} {leaves}"
    nothing = sides.get(NOTHING)
    if nothing is not None and nothing.worst is not None:
        sentence += f", where {_percent(nothing.worst)} are left without a defence"
        if _is_chance(results, sides[best], nothing):
            sentence += ", which may be chance"
    cost = _cost(sides[best], nothing)
    if cost is not None:
        sentence += f"; on {noun}s that nobody attacks it {cost}"
    said.append(f"{sentence}.")
    if left[best].doubted:
        said.append("That figure is in doubt: an attack may be weaker than it looks.")
    return tuple(said)


def _sides(results: Results) -> dict[Defence, _Side]:
    """Return the defences that are attacked, none first, and who attacks them."""
    experiment = results.experiment
    crafted, _ = attacks_on(experiment)
    if not crafted:
        return {}
    norm, eps = _usual_size(crafted)

    def fits(cell: Cell) -> bool:
        size = size_of(cell)
        return size[0] == norm and size[1] <= eps

    found = {}
    for defence, name in _names(crafted).items():
        attacks = [cell for cell in crafted[defence] if fits(cell)]
        clean = Condition(None, defence)
        alone = list(cells_of(experiment, clean, None)) if clean in experiment.conditions else []
        controls = [
            cell
            for c in experiment.conditions
            if c.defence == defence and c.threat is not None and not c.threat.crafted
            for cell in experiment.cells_of(c)
            if fits(cell)
        ]
        cells: dict[_Heading, list[Cell]] = {_NOBODY: alone, _NOISE: controls}
        cells |= {(long, short): list(filter(belongs, attacks)) for long, short, belongs in _ATTACKERS}
        # Who attacks can always leave it.
        cells[_ALL] = [*alone, *attacks]
        found[defence] = _Side(name, cells, {h: accuracy_in_all(results, some) for h, some in cells.items()})
    return found


def _names(defences: Iterable[Defence]) -> dict[Defence, Name]:
    """Return what defences are called, none first."""
    rows = {Condition(None, defence): defence for defence in sorted(defences, key=bool)}
    found = {}
    for row, name in row_names(rows).items():
        after_noise = row.defence.noise is not None and row.defence.preprocessors
        text = row.defence.text + (" after v_def" if after_noise else "")
        # What tells it from another of the same text stands behind that.
        found[rows[row]] = Name(text + name.text.removeprefix(row.text))
    return found


def _usual_size(crafted: Mapping[Defence, Sequence[Cell]]) -> tuple[str, float]:
    sizes = [size_of(cell) for cells in crafted.values() for cell in cells]
    return max(dict.fromkeys(sizes), key=sizes.count)


def _headings(sides: Mapping[Defence, _Side]) -> list[_Heading]:
    """Return the attackers that there are results of for any defence."""
    every = [_NOBODY, _NOISE, *((long, short) for long, short, _ in _ATTACKERS), _ALL]
    return [h for h in every if any(isinstance(side.values[h], Accuracy) for side in sides.values())]


def _brief(value: Value) -> Value:
    return replace(value, brief=True) if isinstance(value, Accuracy) else value


def _is_chance(results: Results, defended: _Side, nothing: _Side) -> bool:
    """Return whether what a defence leaves may be no more than what is left without one."""
    right = []
    for side in (defended, nothing):
        left, there = left_in_all(results, side.cells[_ALL])
        right.append(np.where(there & left, 1, 0))
    return paired_difference(right[0], right[1], np.ones(len(right[0]), int)).p_value >= LEVEL


def _cost(defended: _Side, nothing: _Side | None) -> str | None:
    """Return what a defence costs where nobody attacks, as a phrase."""
    with_it, without = defended.values[_NOBODY], None if nothing is None else nothing.values[_NOBODY]
    if not isinstance(with_it, Accuracy) or not isinstance(without, Accuracy):
        return None
    points = round(100 * (without.share.value - with_it.share.value), 1)
    if points == 0:
        return "costs nothing"
    much = f"{abs(points):.1f} {'point' if abs(points) == 1 else 'points'}"
    return f"costs {much} of accuracy" if points > 0 else f"adds {much} of accuracy"


def _sentence(results: Results, defence: Defence, sides: Mapping[Defence, _Side]) -> str:
    """Return what a defence costs and buys."""
    if not defence:
        return ""
    side, said = sides[defence], []
    cost = _cost(side, sides.get(NOTHING))
    if cost is not None:
        said.append(f"{cost} on {results.images.noun}s that nobody attacks")
    left = [
        f"{_percent(value)} against attackers who {who}"
        for heading, who in ((_TRANSFER, "have another network"), (_UNAWARE, "do not know it"))
        if isinstance(value := side.values[heading], Accuracy)
    ]
    worst = side.worst if side.is_known else None
    if worst is not None:
        left.append(f"{_percent(worst)} whatever is tried by those who know it")
    if left:
        said.append(f"leaves right {listed(left)}")
    if not said:
        return f"No attacker who knows {side.name.text} was tried."
    sentence = f"{side.name.text} {', and '.join(said)}."
    return sentence if worst is not None else f"{sentence} No attacker who knows it was tried."


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
    defences = [name.text for defence, name in _names(attacks_on(experiment)[0]).items() if defence]
    if defences:
        found.append(("Defences", ", ".join(defences)))
    threats = dict.fromkeys(c.threat for c in experiment.conditions if c.threat is not None and c.threat.crafted)
    if threats:
        texts = (f"{t.attack.text} ({t.attack.name})" if t.attack.text else t.attack.name for t in threats)
        found.append(("Attacks", ", ".join(dict.fromkeys(texts))))
        sizes = dict.fromkeys((t.norm, t.eps) for t in threats)
        found.append(("Size", ", ".join(map(size_text, sizes))))
        known = {cell.knowledge for cell in experiment.cells() if cell.knowledge is not None}
        found.append(("Attackers", "; ".join(f"{k.value}: {k.text}" for k in Knowledge if k in known)))
    if experiment.sources:
        found.append(("Crafted on", ", ".join(source.text or source.key for source in experiment.sources)))
    if len(experiment.seeds) > 1:
        found.append(("Seeds", ", ".join(map(str, experiment.seeds))))
    return tuple(found)
