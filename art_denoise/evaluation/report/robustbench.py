"""What a run found of each defence in the form of RobustBench's records of models (its `model_info` files)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from art_denoise.evaluation.components import write_defence
from art_denoise.evaluation.experiment import Cell, Condition, Defence, Knowledge
from art_denoise.evaluation.report.table import Accuracy
from art_denoise.evaluation.report.values import accuracy_in_all

if TYPE_CHECKING:
    from art_denoise.evaluation.results import Results

#: Name of the file, in a report.
FILE = "robustbench.json"

_NOTE = "A preprocessing defence, evaluated by art_denoise against attackers who know it"


def robustbench(results: Results) -> str:
    """Return one record for each defence that somebody who knows it attacks, and each size of these attacks, as JSON.

    RobustBench itself takes no defence that solves a problem in its forward pass, or that draws at random. A record has
    the fields of its models: `clean_acc`; `autoattack_acc`, if AutoAttack was run with the defence's gradient;
    `external`, the worst of all attackers image by image; `unreliable`, whether anything casts doubt on a figure of
    this defence, and then `footnote`, what. Accuracies are in percent, as texts. What a run cannot know is empty.
    """
    records = [
        _record(results, defence, norm, eps)
        for norm, eps in sorted({(c.condition.threat.norm, c.condition.threat.eps) for c in _knowing(results)})  # type: ignore[union-attr]
        for defence in dict.fromkeys(c.condition.defence for c in _knowing(results))
        if any(_of(c, defence, norm, eps) for c in _knowing(results))
    ]
    return json.dumps(records, indent=2, ensure_ascii=False) + "\n" if records else ""


def _knowing(results: Results) -> list[Cell]:
    """Return the cells of attackers with gradients who know a defence."""
    return [
        cell
        for cell in results.labels
        if cell.target == results.experiment.target.key
        and cell.condition.defence.preprocessors
        and cell.condition.threat is not None
        and cell.condition.threat.knowledge.white_box
    ]


def _of(cell: Cell, defence: Defence, norm: str, eps: float) -> bool:
    threat = cell.condition.threat
    return cell.condition.defence == defence and threat is not None and (threat.norm, threat.eps) == (norm, eps)


def _record(results: Results, defence: Defence, norm: str, eps: float) -> dict[str, Any]:
    experiment = results.experiment
    clean = Cell(Condition(None, defence), experiment.target.key, seed=experiment.seeds[0])
    # Who may change more can always change less.
    attacked = [
        cell
        for cell in results.labels
        if cell.condition.defence == defence
        and cell.target == clean.target
        and (threat := cell.condition.threat) is not None
        and threat.crafted
        and threat.norm == norm
        and threat.eps <= eps
    ]
    auto = [
        cell
        for cell in attacked
        if (threat := cell.condition.threat) is not None
        and threat.attack.name == "autoattack"
        and threat.eps == eps
        and threat.knowledge is Knowledge.EXACT
    ]
    alone = [clean] if clean in results.labels else []
    doubts = list(dict.fromkeys(flag.rule for flag in results.flags if flag.doubted.condition.defence == defence))
    draws = {len(results.drawn[cell]) for cell in attacked if cell in results.drawn}
    return {
        "link": "",
        "name": f"{experiment.target.title or experiment.target.text or experiment.target.key}, {defence.text}",
        "authors": "",
        "additional_data": False,
        "number_forward_passes": max(draws, default=1),
        "dataset": results.images.title,
        "venue": "",
        "architecture": experiment.target.title or experiment.target.text or experiment.target.key,
        "eps": f"{255 * eps:.4g}/255" if norm == "inf" else f"{eps:.4g}",
        "norm": f"L{norm}",
        "defence": write_defence(defence),
        "n": len(results.images),
        "clean_acc": _percent(results, alone),
        "reported": "",
        "autoattack_acc": _percent(results, [*alone, *auto]) if auto else "",
        "external": _percent(results, [*alone, *attacked]),
        "unreliable": bool(doubts),
        "footnote": "; ".join([_NOTE, *doubts]) + ".",
    }


def _percent(results: Results, cells: list[Cell]) -> str:
    value = accuracy_in_all(results, cells)
    return f"{100 * value.share.value:.2f}" if isinstance(value, Accuracy) else ""
