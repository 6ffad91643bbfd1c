"""What a run found of each defence in the form of RobustBench's records of models (its `model_info` files)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from art_denoise.evaluation.components import write_defence
from art_denoise.evaluation.experiment import Cell, Condition, Defence, Knowledge
from art_denoise.evaluation.report.table import Accuracy
from art_denoise.evaluation.report.values import accuracy_in_all, size_of

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
    target = results.experiment.target.key
    behind = [cell for cell in results.labels if cell.target == target and cell.condition.defence.preprocessors]
    attacked = [
        cell for cell in behind if (threat := cell.condition.threat) and threat.crafted and not threat.knows_draws
    ]
    # Of what nobody who knows it attacks, nothing is known.
    knowing = [cell for cell in attacked if cell.knowledge is not None and cell.knowledge.white_box]
    of = dict.fromkeys((size_of(cell), cell.condition.defence) for cell in knowing)
    records = [_record(results, defence, size, attacked) for size, defence in sorted(of, key=lambda one: one[0])]
    return json.dumps(records, indent=2) + "\n" if records else ""


def _record(results: Results, defence: Defence, size: tuple[str, float], of_all: Sequence[Cell]) -> dict[str, Any]:
    experiment, (norm, eps) = results.experiment, size
    clean = Cell(Condition(None, defence), experiment.target.key, seed=experiment.seeds[0])
    # Who may change more can always change less.
    attacked = [
        cell
        for cell in of_all
        if cell.condition.defence == defence and size_of(cell)[0] == norm and size_of(cell)[1] <= eps
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
    network = experiment.target.title or experiment.target.text or experiment.target.key
    return {
        "link": "",
        "name": f"{network}, {defence.text}",
        "authors": "",
        "additional_data": False,
        "number_forward_passes": max(draws, default=1),
        "dataset": results.images.title,
        "venue": "",
        "architecture": network,
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
