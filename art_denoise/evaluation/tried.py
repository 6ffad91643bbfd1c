"""Which attacks are tried where they have to succeed, and what is to be made of it; needs neither PyTorch nor ART."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from art_denoise.evaluation.experiment import Condition, Defence, Experiment, Knowledge, Threat

if TYPE_CHECKING:
    from art_denoise.evaluation.results import Results

#: Images that attacks with gradients are tried on, and those that only ask, which are slow.
IMAGES, IMAGES_OF_ASKING = 8, 3

#: Share of the planted points that an attack has to find, and share that may be found by chance for that to mean much.
PASSES, BY_CHANCE = 0.75, 0.25


def tried_rows(experiment: Experiment) -> dict[Condition, int]:
    """Return the rows whose attack is to be tried through the defence that it knows, each attack once, and on how many.

    Of an attack that is there in several sizes the first row, by the size nearest to that of most.
    """
    there: dict[tuple[Threat, Defence], list[Condition]] = {}
    sizes: Counter[float] = Counter()
    for row in experiment.conditions:
        if row.defence.preprocessors and row.defence.noise is None and (key := _tried(row)) is not None:
            there.setdefault(key, []).append(row)
            sizes[row.threat.eps if row.threat is not None else 0.0] += 1

    def common(row: Condition) -> int:
        return sizes[row.threat.eps if row.threat is not None else 0.0]

    return {
        max(rows, key=common): IMAGES_OF_ASKING if threat.knowledge is Knowledge.BLACK_BOX else IMAGES
        for (threat, _), rows in there.items()
    }


def tried_as(results: Results, row: Condition) -> dict[str, Any] | None:
    """Return what the attack of a row did where it has to succeed, in whatever size it was tried, if it was."""
    key = _tried(row)
    return next((record for tried, record in results.tried.items() if _tried(tried) == key), None) if key else None


def succeeds(record: Mapping[str, Any]) -> bool | None:
    """Return whether an attack succeeds where it has to; None if that could not be seen."""
    if not record["images"] or record["chance"] > BY_CHANCE:
        return None
    return bool(record["found"] >= PASSES * record["images"])


def _tried(row: Condition) -> tuple[Threat, Defence] | None:
    """Return what attack is tried through what; None if it is none on single images, or does not know the defence."""
    threat = row.threat
    if threat is None or threat.attack.kind != "per-image" or not threat.knowledge.knows_defence:
        return None
    # A step is of its size.
    attack = replace(threat.attack, params=tuple(p for p in threat.attack.params if p[0] != "eps_step"))
    return replace(threat, attack=attack, eps=0.0, images=None, knows_draws=False), row.defence
