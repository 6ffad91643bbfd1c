"""What rows, columns and attackers are called in tables, and where the cells of a row are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

from art_denoise.evaluation.components import write_defence
from art_denoise.evaluation.experiment import (
    Attack,
    Cell,
    Component,
    Condition,
    Experiment,
    Knowledge,
    Source,
    Threat,
)
from art_denoise.evaluation.notation import write_params
from art_denoise.evaluation.report._text import latex_text, mathematics
from art_denoise.evaluation.report.table import Column, Name

#: What stands above what the attacker knows.
ATTACKER = Column(Name("the attacker"), of_row=True)

#: What stands there where nobody attacks, and where no network has a part in the attack.
NOBODY, NO_NETWORK = "nobody", "no network"


def row_names(conditions: Iterable[Condition]) -> dict[Condition, Name]:
    """Return what rows are called: in the paper's symbols, and with what differs where two would be the same."""
    there = list(dict.fromkeys(conditions))
    names: dict[Condition, Name] = {}
    keyed = sorted(there, key=lambda c: (c.text, _knowledge_text(c)))
    for _, group in groupby(keyed, key=lambda c: (c.text, _knowledge_text(c))):
        same = list(group)
        parameters = sorted({name for c in same if c.threat is not None for name, _ in c.threat.attack.params})
        said = [_particulars(c, parameters) for c in same]
        for number, (condition, particulars) in enumerate(zip(same, said, strict=True), 1):
            differing = [text for i, text in enumerate(particulars) if len({other[i] for other in said}) > 1]
            if len(same) > 1 and said.count(particulars) > 1:
                differing.append(f"no. {number}")
            tail = "".join(f", {text}" for text in differing if text)
            names[condition] = longer(Name(condition.text, _latex(condition)), tail)
    return {condition: names[condition] for condition in there}


def knowledge_of(experiment: Experiment, condition: Condition) -> str:
    """Return what the attacker of a row knows, as it stands in tables, over all of its columns."""
    found = [attacker_in(cells_of(experiment, condition, source)[0]) for source in experiment.columns(condition)]
    return " / ".join(dict.fromkeys(found)) or _knowledge_text(condition)


def attacker_in(cell: Cell) -> str:
    """Return what the attacker of a cell knows, as it stands in tables."""
    if cell.condition.threat is None:
        return NOBODY
    return NO_NETWORK if cell.knowledge is None else _known(cell.knowledge, cell.condition.threat)


def _knowledge_text(condition: Condition) -> str:
    return "" if condition.threat is None else _known(condition.threat.knowledge, condition.threat)


def _known(knowledge: Knowledge, threat: Threat) -> str:
    return f"{knowledge.value}, draws known" if threat.knows_draws else knowledge.value


def _particulars(condition: Condition, parameters: Sequence[str]) -> tuple[str, ...]:
    """Return what can tell rows of the same name from each other, in the same order; "" for what is by default."""
    threat, defence = condition.threat, condition.defence
    of_threat: tuple[str, ...] = ("",) * (4 + len(parameters))
    if threat is not None:
        norm = "∞" if threat.norm == "inf" else threat.norm
        few = "all images" if threat.images is None else f"{threat.images} images"
        of_threat = (f"ε {255 * threat.eps:.4g}/255", f"L{norm}", threat.attack.name, few)
        of_threat += tuple(_parameter(threat.attack, name) for name in parameters)
    return (*of_threat, write_defence(defence))


def _parameter(attack: Attack, name: str) -> str:
    """Return a parameter of an attack with its value; "" if it is by default."""
    only = replace(attack, params=tuple(p for p in attack.params if p[0] == name))
    return ", ".join(text.replace("=", " ", 1) for text in write_params(only))


def _latex(condition: Condition) -> str:
    """Return a row in LaTeX's mathematics; what has no LaTeX form is there as text."""
    threat, defence = condition.threat, condition.defence
    if threat is not None:
        threat = replace(threat, attack=_with_latex(threat.attack))
    return Condition(threat, replace(defence, preprocessors=tuple(map(_with_latex, defence.preprocessors)))).latex


def _with_latex(component: Any) -> Any:
    text = component.text or component.name
    return replace(component, latex=mathematics(component.latex) or rf"\mbox{{{latex_text(text)}}}")


def bare(name: Name) -> Name:
    """Return what is added to images, without what it is added to."""
    return Name(name.text.removeprefix("v0 + "), name.latex.removeprefix("v_0 + "))


def component_name(component: Component) -> Name:
    """Return what an attack or a preprocessor is called."""
    return Name(component.text or component.name, mathematics(component.latex))


def distinct(keys_and_texts: Sequence[tuple[str, str]]) -> list[Name]:
    """Return names of columns; those that would be the same, with their keys."""
    twice = Counter(text or key for key, text in keys_and_texts)
    return [
        Name(text or key) if twice[text or key] == 1 else Name(f"{text or key} ({key})") for key, text in keys_and_texts
    ]


def source_names(experiment: Experiment) -> dict[str, Name]:
    """Return what columns are called, by their keys."""
    names = distinct([(source.key, source.text) for source in experiment.sources])
    return dict(zip((source.key for source in experiment.sources), names, strict=True))


def source_columns(experiment: Experiment) -> tuple[Column, ...]:
    """Return the columns of a table over what perturbations were crafted on; one for all if there are none."""
    return tuple(map(Column, source_names(experiment).values())) or (Column(Name("all")),)


def attacked(experiment: Experiment, condition: Condition, name: Name, source: Source | None) -> Name:
    """Return what attacked images are called above a column: the attack, what it was crafted on, what it knows."""
    tail = "" if source is None else f", {source_names(experiment)[source.key].text}"
    if condition.threat is not None:
        tail += f" ({attacker_in(cells_of(experiment, condition, source)[0])})"
    return longer(name, tail)


def cell_names(experiment: Experiment, cells: Iterable[Cell]) -> dict[Cell, Name]:
    """Return what cells are called: the row, what it was crafted on, what the attacker knows, and the seed."""
    there = list(cells)
    rows = row_names(cell.condition for cell in there)
    sources = {source.key: source for source in experiment.sources}
    several = len(experiment.seeds) > 1
    return {
        cell: longer(
            attacked(experiment, cell.condition, rows[cell.condition], sources.get(cell.source or "")),
            f", seed {cell.seed}" if several and cell.condition.threat is not None else "",
        )
        for cell in there
    }


def longer(name: Name, tail: str) -> Name:
    """Return a name with a text after it."""
    return Name(name.text + tail, f"{name.latex}\\mbox{{{latex_text(tail)}}}") if tail else name


def cells_of(
    experiment: Experiment, condition: Condition, source: Source | None, target: str | None = None
) -> tuple[Cell, ...]:
    """Return the cells of a row in a column, one for each seed; none where it has none there."""
    there = experiment.columns(condition)
    if there != (None,) and source not in there:
        return ()
    key = None if source is None or there == (None,) else source.key
    seeds = experiment.seeds if condition.threat is not None else experiment.seeds[:1]
    return tuple(Cell(condition, target or experiment.target.key, key, seed) for seed in seeds)
