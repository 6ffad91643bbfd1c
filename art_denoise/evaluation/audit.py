"""Signs that attacks were weaker than they look, and a defence is worth less than its figures.

A robust accuracy is the accuracy against the attacks that were tried. What they did to each other shows whether they
can be believed: whoever knows more, takes more steps or may change more must do at least as much harm. So does what
comes back through a defence, if gradients were looked at. Each rule is one of the checks that Carlini et al. (2019),
arXiv:1902.06705, and Athalye et al. (2018), arXiv:1802.00420, ask for. A flag is no proof, and no flags are none
either: they say which attack to look at, and why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise, product
from typing import TYPE_CHECKING, Any

import numpy as np

from art_denoise.evaluation.experiment import NOTHING, Cell, Condition, Defence, Knowledge, Threat
from art_denoise.evaluation.statistics import NOT_ATTACKED, PairedDifference, Share, accuracy, holm, paired_difference
from art_denoise.evaluation.tried import succeeds, tried_as

if TYPE_CHECKING:
    from art_denoise.evaluation.results import Results

#: Level of the tests that decide whether a difference is told.
LEVEL = 0.05

#: Fewer images decide nothing by a difference.
_FEWEST = 30

#: Points of accuracy that noise of an attack's size may cost a network.
_COSTS = 6

#: By how many times a defence may change the size of a gradient, and by which share it may be off from differences.
_SCALE, _OFF = 1e3, 0.1

#: Attacks that take one step of the gradient, and those that take many.
_ONE_STEP, _MANY_STEPS = ("fgsm",), ("best-pgd", "ifgsm", "pgd", "mifgsm", "apgd", "autoattack")


@dataclass(frozen=True)
class Flag:
    """One sign that a figure cannot be believed as it stands.

    :param rule: What was seen, as a sentence that holds for any attack.
    :param doubted: The cell whose figure it casts doubt on: the attack may be weaker than it looks.
    :param because: The cell that shows it.
    :param figure: What was counted, with its number of images.
    :param p_value: Two-sided exact McNemar test that the two rows are right equally often, or None if the rule is not
        about a difference.
    """

    rule: str
    doubted: Cell
    because: Cell
    figure: str
    p_value: float | None = None


@dataclass(frozen=True)
class _Attacked:
    """What an attack left of a defence: for each image whether it was attacked, and is still classified right."""

    cell: Cell
    threat: Threat
    right: np.ndarray
    there: np.ndarray

    @property
    def share(self) -> Share:
        """The share of the attacked images that are left right."""
        return Share(int(np.sum(self.right)), int(np.sum(self.there)))

    @property
    def defence(self) -> Defence:
        return self.cell.condition.defence

    @cached_property
    def white_box(self) -> bool:
        """Whether it had the gradients of all that it attacked."""
        if self.defence:
            return self.threat.knowledge.white_box
        return self.cell.knowledge is Knowledge.OBLIVIOUS or self.threat.knowledge.white_box


#: What is compared: attacks on the same defence, of the same size, with the same seed.
_Group = Sequence[_Attacked]


def flags(results: Results) -> tuple[Flag, ...]:
    """Return what casts doubt on the figures of the target, each sign once, in the order of the rules.

    :param results: The results. Cells that are missing take no part.
    """
    attacked = _attacked(results)
    found = [flag for rule in RULES for flag in rule(results, attacked)]
    return tuple(dict.fromkeys(found))


def _attacked(results: Results) -> list[_Attacked]:
    experiment, truth = results.experiment, results.images.labels
    cells = [cell for row in experiment.conditions for cell in experiment.cells_of(row)]
    return [
        _Attacked(cell, threat, results.labels[cell] == truth, results.labels[cell] != NOT_ATTACKED)
        for cell in dict.fromkeys(cells)
        # Who knows the draws attacks another defence, one that draws the same each time.
        if (threat := cell.condition.threat) is not None and not threat.knows_draws and cell in results.labels
    ]


def _groups(attacked: _Group, *, kinds: bool = True) -> Iterator[list[_Attacked]]:
    """Yield attacks on the same defence, of the same size and seed, and of the same kind if that matters."""
    groups: dict[object, list[_Attacked]] = {}
    for one in attacked:
        kind = one.threat.attack.kind if kinds else None
        key = (one.defence, one.threat.eps, one.threat.norm, one.cell.seed, kind)
        groups.setdefault(key, []).append(one)
    yield from groups.values()


def _less_known_beats(results: Results, attacked: _Group) -> Iterator[Flag]:
    """Images that fall to attackers without gradients only: those with gradients have been stopped by something."""
    for group in _groups(attacked):
        white = [one for one in group if one.white_box]
        if not white:
            continue
        survived = np.all([one.right | ~one.there for one in white], axis=0)
        survived &= np.any([one.there for one in white], axis=0)
        for one in group:
            if one.cell.knowledge not in (Knowledge.BLACK_BOX, Knowledge.TRANSFER):
                continue
            if one.threat.attack.kind == "universal":
                # Each perturbation fools other images, also of attackers who know the same.
                yield from _if_stronger(_LESS_KNOWN, one, _strongest(white))
            else:
                only = int(np.sum(survived & one.there & ~one.right))
                if only:
                    left = int(np.sum(survived & one.there))
                    figure = f"{only} of the {left} images that all attacks with gradients leave right"
                    yield Flag(_LESS_KNOWN, _strongest(white).cell, one.cell, figure)


def _noise_beats(results: Results, attacked: _Group) -> Iterator[Flag]:
    """An attack that does no more harm than noise of its size is none."""
    for group in _groups(attacked, kinds=False):
        noise = [one for one in group if not one.threat.crafted]
        for control, one in product(noise, group):
            if one.threat.crafted:
                yield from _if_stronger(_NOISE, control, one)


def _not_knowing_beats(results: Results, attacked: _Group) -> Iterator[Flag]:
    """Who knows a defence can always act as if he did not."""
    for group in _groups(attacked):
        ignoring = [one for one in group if one.cell.knowledge is Knowledge.OBLIVIOUS and one.defence]
        knowing = [one for one in group if one.threat.knowledge.white_box]
        if ignoring and knowing:
            yield from _if_stronger(_IGNORING, _strongest(ignoring), _strongest(knowing))


def _identity_beats(results: Results, attacked: _Group) -> Iterator[Flag]:
    """The exact gradient that is worse than none has been broken by something."""
    for group in _groups(attacked):
        for bpda, exact in product(group, group):
            has = exact.threat.knowledge in (Knowledge.EXACT, Knowledge.PARTLY_EXACT)
            if bpda.threat.knowledge is Knowledge.BPDA and has and bpda.threat.attack == exact.threat.attack:
                yield from _if_stronger(_IDENTITY, bpda, exact)


def _one_step_beats(results: Results, attacked: _Group) -> Iterator[Flag]:
    """Steps that lead to less than the first one alone follow a gradient that says nothing."""
    for group in _groups(attacked):
        for single, many in product(group, group):
            names = (single.threat.attack.name, many.threat.attack.name)
            same = (single.threat.knowledge, single.cell.source) == (many.threat.knowledge, many.cell.source)
            if same and names[0] in _ONE_STEP and names[1] in _MANY_STEPS:
                yield from _if_stronger(_ONE, single, many)


def _more_steps_help(results: Results, attacked: _Group) -> Iterator[Flag]:
    """An attack that is stronger with twice the steps had not come to its end."""
    for group in _groups(attacked):
        for short, long in product(group, group):
            few, many = (dict(one.threat.attack.params).get("max_iter") for one in (short, long))
            if few is None or many is None or many < 2 * few or short.cell.source != long.cell.source:
                continue
            attack = short.threat.attack.with_params(max_iter=many)
            if replace(short.threat, attack=attack) == long.threat:
                yield from _if_stronger(_STEPS, long, short)


def _not_monotone(results: Results, attacked: _Group) -> Iterator[Flag]:
    """Who may change more can always change less."""
    for curve in _curves(attacked):
        for smaller, larger in pairwise(curve):
            yield from _if_stronger(_MONOTONE, smaller, larger)


def _above_chance(results: Results, attacked: _Group) -> Iterator[Flag]:
    """A bound that lets an image become another has to leave nothing but chance."""
    chance = 1 / max(len(results.images.classes), 2)
    for curve in _curves(attacked):
        largest = curve[-1]
        share = largest.share
        if len(curve) < 2 or not largest.white_box or share.n < _FEWEST:
            continue
        if share.interval[0] > chance:
            size = f"{255 * largest.threat.eps:.4g}/255"
            figure = f"{share.count} of {share.n} images are right at {size}, and chance is {100 * chance:.1f} %"
            yield Flag(_CHANCE, largest.cell, largest.cell, figure)


def _noise_costs(results: Results, attacked: _Group) -> Iterator[Flag]:
    """A network that noise of the attack's size breaks shows little of what an attack does."""
    clean = results.labels.get(Cell(Condition(), results.experiment.target.key))
    if clean is None:
        return
    truth = results.images.labels
    before = accuracy(clean, truth)
    for one in attacked:
        lost = before.value - one.share.value
        if not one.threat.crafted and not one.defence and lost > _COSTS / 100:
            test = paired_difference(clean, results.labels[one.cell], truth)
            yield Flag(
                _FRAGILE,
                one.cell,
                Cell(Condition(), results.experiment.target.key),
                f"{100 * lost:.1f} points less than clean",
                test.p_value,
            )


def _transfer_is_noise(results: Results, attacked: _Group) -> Iterator[Flag]:
    """Where nothing that is transferred does more than noise, the columns of other networks show nothing."""
    for group in _groups(attacked, kinds=False):
        alone = [one for one in group if not one.defence]
        noise = [one for one in alone if not one.threat.crafted]
        transferred = [one for one in alone if one.cell.knowledge is Knowledge.TRANSFER]
        for control in noise:
            tests = [_difference(control, one) for one in transferred]
            corrected = holm([test.p_value for test in tests])
            if any(test.value > 0 and p < LEVEL for test, p in zip(tests, corrected, strict=True)):
                continue
            # The fewer images, the less can be seen.
            if tests and tests[0].n >= _FEWEST:
                best = _strongest(transferred)
                left = f"{int(best.right.sum())} and {int(control.right.sum())} of {tests[0].n} images are left right"
                yield Flag(_NO_TRANSFER, best.cell, control.cell, left, corrected[transferred.index(best)])


def _not_where_it_has_to(results: Results, attacked: _Group) -> Iterator[Flag]:
    """Attacks that do not find what is there for certain say nothing of what may be there."""
    for defence in dict.fromkeys(one.defence for one in attacked if one.defence):
        known = [one for one in attacked if one.defence == defence and one.threat.knowledge.white_box]
        tried = [(one, record) for one in known if (record := tried_as(results, one.cell.condition)) is not None]
        found = [succeeds(record) for _, record in tried]
        # One that does is enough: the worst of all counts.
        if True in found or False not in found:
            continue
        best = max((record for _, record in tried), key=lambda record: record["found"] / max(1, record["images"]))
        figure = f"the best finds {best['found']} of {best['images']}"
        yield Flag(_PLANTED, _strongest(known).cell, _strongest(known).cell, figure)


def _gradients(results: Results, attacked: _Group) -> Iterator[Flag]:
    """What comes back through a defence: see :mod:`art_denoise.evaluation.gradients`."""
    bare = results.audits.get(NOTHING, {}).get("off") or 0.0
    for defence, record in results.audits.items():
        of_it = [one for one in attacked if one.defence == defence]
        strongest = [one for one in of_it if one.white_box] or of_it
        clean = Cell(Condition(None, defence), results.experiment.target.key, seed=results.experiment.seeds[0])
        doubted = _strongest(strongest).cell if strongest else clean
        for rule, figure in _of_record(record, max(_OFF, 2 * bare) if defence else _OFF):
            yield Flag(rule, doubted, doubted, figure)


def _of_record(record: Mapping[str, Any], most: float) -> Iterator[tuple[str, str]]:
    """Yield the rules that what was found of gradients breaks, with what was counted.

    :param most: By which share a gradient may be off from finite differences: a network has corners of its own.
    """
    n = record["images"]
    if record["draws"] == "own":
        yield _DRAWS, "at each call, as it draws from a generator of its own"
    elif record["draws"] == "seeded":
        yield _DRAWS, "with each seed of the generators of Python, NumPy and PyTorch"
    if record["probabilities"]:
        yield _PROBABILITIES, f"of {n} images, what is returned is at least 0, and 1 altogether"
    if record["solvers"]:
        yield _SOLVES, f"it calls {' and '.join(record['solvers'])}"
    if record["cut"]:
        yield (
            _CUT,
            f"{' and '.join(record['cut'])} cuts it"
            if len(record["cut"]) == 1
            else (f"{' and '.join(record['cut'])} cut it"),
        )
    if record["zero"]:
        yield _ZERO, f"of {record['zero']} of {n} images"
    if record["not_finite"]:
        yield _NOT_FINITE, f"of {record['not_finite']} of {n} images"
    scale, off = record["scale"], record["off"]
    if scale is not None and not record["not_finite"] and not 1 / _SCALE < scale < _SCALE:
        yield _OTHER_SIZE, f"it is {scale:.2g} times as large as without the defence"
    if off is not None and off > most and not record["not_finite"]:
        yield _NO_SLOPE, f"finite differences are off by {off:.0%} of it, in the median"


_DRAWS = "What is predicted is another thing each time, and one gradient is that of one draw"
_PROBABILITIES = "The model returns probabilities, not logits: their gradients vanish where it is sure"
_SOLVES = "The defence solves a problem for each image, and its gradient may not be that of the solution"
_CUT = "No gradient gets through the defence"
_ZERO = "The gradient through the defence is zero, though the prediction changes"
_NOT_FINITE = "The gradient through the defence is not finite"
_OTHER_SIZE = "The gradient through the defence vanishes or explodes"
_NO_SLOPE = "The gradient through the defence is not the slope of what is predicted"
_LESS_KNOWN = "An attack without the gradients of the defended network succeeds where all those with them fail"
_NOISE = "Random noise of the same size does more harm than the attack"
_IGNORING = "Attackers who ignore the defence do more harm than those who know it"
_IDENTITY = "The identity in the place of the defence's gradient does more harm than its exact gradient"
_ONE = "One step does more harm than many"
_STEPS = "More steps still do more harm: the attack had not come to its end"
_MONOTONE = "A smaller bound does more harm than a larger one"
_CHANCE = "Accuracy does not fall to chance at the largest bound"
_NO_TRANSFER = "Nothing that is crafted on another network does more harm than random noise of its size"
_PLANTED = "No attack with gradients finds the adversarial points that are planted behind the defence"
_FRAGILE = f"Random noise of the attack's size costs the network more than {_COSTS} points"

#: The rules, in the order in which flags are told.
RULES: tuple[Callable[[Results, _Group], Iterator[Flag]], ...] = (
    _less_known_beats,
    _noise_beats,
    _not_knowing_beats,
    _identity_beats,
    _one_step_beats,
    _more_steps_help,
    _not_monotone,
    _above_chance,
    _noise_costs,
    _transfer_is_noise,
    _not_where_it_has_to,
    _gradients,
)


def _if_stronger(rule: str, weaker: _Attacked, stronger: _Attacked) -> Iterator[Flag]:
    """Yield a flag if what has to be the weaker attack does more harm than the stronger, by more than chance."""
    test, both = _difference(stronger, weaker), weaker.there & stronger.there
    if test.n >= _FEWEST and test.value > 0 and test.p_value < LEVEL:
        weak, strong = (int(np.sum(one.right & both)) for one in (weaker, stronger))
        left = f"{weak} rather than {strong} of {test.n} images are left right"
        yield Flag(rule, stronger.cell, weaker.cell, left, test.p_value)


def _difference(first: _Attacked, second: _Attacked) -> PairedDifference:
    """Return how many more images the first leaves right than the second, of those that both have attacked."""
    both = first.there & second.there
    one, other = first.right & both, second.right & both
    return PairedDifference(int(np.sum(one & ~other)), int(np.sum(~one & other)), int(np.sum(both)))


def _strongest(group: _Group) -> _Attacked:
    return min(group, key=lambda one: one.share.value)


def _curves(attacked: _Group) -> Iterator[list[_Attacked]]:
    """Yield the same attack by the same attacker on the same defence, by its size; several sizes only."""
    curves: dict[object, dict[float, _Attacked]] = {}
    for one in attacked:
        attack = replace(one.threat.attack, params=tuple(p for p in one.threat.attack.params if p[0] != "eps_step"))
        key = (replace(one.threat, attack=attack, eps=0.0), one.defence, one.cell.source, one.cell.seed)
        curves.setdefault(key, {})[one.threat.eps] = one
    for by_size in curves.values():
        if len(by_size) > 1:
            yield [by_size[eps] for eps in sorted(by_size)]
