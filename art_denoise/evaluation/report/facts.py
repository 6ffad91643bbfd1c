"""How a run is to be read, and what was found on the way: the sentences below its tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from art_denoise._words import capital
from art_denoise.evaluation.audit import LEVEL
from art_denoise.evaluation.experiment import (
    Cell,
    Condition,
    Experiment,
    Knowledge,
    Params,
    Preprocessor,
    Source,
    Threat,
)
from art_denoise.evaluation.records import all_cells
from art_denoise.evaluation.report.names import row_names
from art_denoise.evaluation.report.table import Difference
from art_denoise.evaluation.report.values import difference, found_in
from art_denoise.evaluation.statistics import accuracy, cluster_interval

if TYPE_CHECKING:
    from art_denoise.evaluation.results import Images, Made, Results

#: What attacks are, by name; of others the name is told.
_ATTACKS = {
    "deepfool-uap": "the universal perturbation of Moosavi-Dezfooli et al. (2017), DeepFoolUAP",
    "sgd-uap": "the universal perturbation of Shafahi et al. (2020), SGDUAP",
}

#: What preprocessors are, by name, with the parameters that the sentence tells of; of others the name is told.
_PREPROCESSORS: dict[str, tuple[frozenset[str], str]] = {
    "rof": (
        frozenset({"weight"}),
        "scikit-image's Chambolle iteration and stop rule, weight {weight}/255, each channel by itself",
    ),
    "nlm": (
        frozenset({"h"}),
        "scikit-image's fast filter, h = {h}, patch size 2, patch distance 3, channels together",
    ),
}

_DRAWS = {
    "flip": "draws that turn a wrong prediction into a right one",
    "loss": "draws that lower the cross-entropy",
}

_JUDGED = {"defences": "through the defence that it precedes", "classifier": "through the classifier alone"}


def reading(results: Results) -> list[str]:
    """Return how the experiment is read where there is a choice, one sentence or two each."""
    experiment, images = results.experiment, results.images
    lines = [*_of_images(images)]
    lines.append(
        "Order: the image v0, plus the perturbation δ, clipped to [0, 1]; plus v_def, clipped; defended, clipped; "
        "standardised for the network; classified."
    )
    lines += _of_attacks(results)
    lines += _of_columns(results)
    known = {cell.knowledge for cell in experiment.cells()}
    lines += [f"“{knowledge.value}”: the attacker {knowledge.text}." for knowledge in Knowledge if knowledge in known]
    if any(threat.knows_draws for threat in _threats(experiment)):
        lines.append("“draws known”: also what the defence draws at random, which is the same for every image there.")
    lines += _of_defences(experiment)
    lines += _of_noise(results)
    seeds = ""
    if len(experiment.seeds) > 1:
        seeds = " The spread over seeds is that of perturbations, not of images."
    lines.append(
        "Accuracy: top-1 of the target, with a 95 % Wilson interval. Comparisons: the same images, exact McNemar test."
        + seeds
    )
    lines += _of_intervals(results)
    return lines


def _of_intervals(results: Results) -> Iterator[str]:
    """Say what intervals are of, where images are parts of the same pictures."""
    images, target = results.images, results.experiment.target.key
    clean = results.labels.get(Cell(Condition(), target, seed=results.experiment.seeds[0]))
    if images.groups is None or clean is None or len(np.unique(images.groups)) < 2:
        return
    right = clean == images.labels
    low, high = cluster_interval(right, images.groups)
    one, other = accuracy(clean, images.labels).interval
    count = len(np.unique(images.groups))
    yield (
        f"Intervals and tests are of {images.noun}s, as if each were a picture by itself: they say what other "
        f"{images.noun}s of the same {count} pictures would change. Of other pictures: the clean "
        f"accuracy has an interval of {100 * low:.1f}–{100 * high:.1f} by picture (bootstrap of whole pictures), where "
        f"it is {100 * one:.1f}–{100 * other:.1f} by {images.noun}."
    )


def facts(results: Results) -> list[str]:
    """Return what was found out on the way, one sentence each: checks, remarks, v_def, attacks that do nothing."""
    lines = []
    for title, check in results.checks.items():
        if check.get("accuracy") is None:
            lines.append(f"{title}: random weights; the figures mean nothing.")
            continue
        published = "" if check.get("published") is None else f", published: {check['published']:g} %"
        noun = results.images.noun
        lines.append(f"{title} classifies {check['accuracy']:g} % of {check['n']} clean {noun}s right{published}.")
        if check.get("differing"):
            lines.append(f"{title} gave {check['differing']} images another label the second time: it draws at random.")
    lines += [_sentence(remark) for remark in results.images.facts.get("remarks", ())]
    lines += _missing(results)
    lines += [f"Failed: {_sentence(failure)}" for failure in results.failures]
    count = len(results.flags)
    if count:
        signs = "One sign casts" if count == 1 else f"{count} signs cast"
        lines.append(f"{signs} doubt on these figures: see the table of what casts doubt on them.")
    lines += _weak(results)
    lines += _helped(results)
    lines += [_of_made_noise(results, made) for made in results.made if made.what == "noise"]
    return lines


def _of_images(images: Images) -> Iterator[str]:
    framing, rule = images.facts.get("framing"), images.facts.get("classes")
    classes = f"classes {rule}" if rule else ""
    if framing is not None:
        cut = f"shorter side resized to {framing['resize']} ({framing['interpolation']}), centre crop {framing['crop']}"
        yield f"v0: {'; '.join(filter(None, [cut, classes]))}."
    elif classes:
        yield f"v0: {classes}."


def _of_attacks(results: Results) -> Iterator[str]:
    experiment, images = results.experiment, results.images
    options = results.config.get("options") or {}
    crafted = [source for source in experiment.sources if source.stands_for is None]
    seen = set()
    for threat in _threats(experiment):
        attack = threat.attack
        known = (attack, threat.eps, threat.norm, threat.images)
        if known in seen:
            continue
        seen.add(known)
        text = attack.text or attack.name
        size = f"{255 * threat.eps:.4g}/255"
        if not threat.crafted:
            if attack.name == "random-signs":
                yield f"{capital(text)}: ±{size}, each pixel and channel by itself."
            else:
                yield f"{capital(text)}: a control, {attack.name}, {_norm(threat)} ≤ {size}{_with(attack.params)}."
            continue
        if not crafted:
            # Only files: each column says of its own.
            continue
        what = _ATTACKS.get(attack.name, f"the attack {attack.name}")
        if attack.kind == "universal":
            count = images.counts.get("craft")
            if count is not None and attack.name == "deepfool-uap":
                count = min(count, options.get("deepfool_images") or count)
            how = "one perturbation for all images, crafted on the column's network"
            if count is not None:
                how = f"one perturbation for all images, crafted from {count} {images.noun}s on the column's network"
        else:
            each = "each image" if threat.images is None else f"each of {threat.images} {images.noun}s"
            how = f"{each} by itself, on the column's network"
        yield f"{capital(text)}: {_norm(threat)} ≤ {size}, {what}, {how}{_with(attack.params)}."


def _threats(experiment: Experiment) -> Iterator[Threat]:
    """Yield everybody who attacks, as often as they do."""
    yield from (c.threat for c in experiment.conditions if c.threat is not None)
    for transfer in experiment.transfers:
        yield from (t for t in (transfer.threat, transfer.control) if t is not None)
    yield from (t for sweep in experiment.sweeps for t in sweep.threats if t is not None)


def _of_columns(results: Results) -> Iterator[str]:
    experiment = results.experiment
    own = [s for s in experiment.sources if s.stands_for is None]
    white_box = [_text(s) for s in own if s.key == experiment.target.key]
    others = [_text(s) for s in own if s.key != experiment.target.key]
    kinds = [f"{' and '.join(white_box)} is the target itself (white-box)"] if white_box else []
    if others:
        kinds.append(f"{', '.join(others)}: made without the target (transfer)")
    if kinds:
        yield "; ".join(kinds) + "."
    for source in experiment.sources:
        if source.stands_for is not None:
            yield _of_file(results, source)


def _of_file(results: Results, source: Source) -> str:
    assert source.stands_for is not None
    made = next((m for m in results.made if m.what == "perturbation" and m.source == source.key), None)
    linf = None if made is None else found_in(made, "linf")
    size = "" if linf is None else f", L∞ {255 * linf:.1f}/255"
    bounds = [threat.eps for threat in _threats(results.experiment) if threat.norm == "inf"]
    # Rounding is not more.
    if linf is not None and bounds and linf > 1.01 * max(bounds):
        size += f", more than the {255 * max(bounds):.4g}/255 of the other attacks: its figures are of a larger attack"
    assumed = [] if made is None else found_in(made, "assumed") or []
    said = f"; assumed of the file: {', '.join(map(str, assumed))}" if assumed else ""
    return (
        f"{source.stands_for.text or source.stands_for.name} of {_text(source)}: from a file{size}{said}. What its "
        "maker knew is not known; it counts as transfer."
    )


def _of_defences(experiment: Experiment) -> Iterator[str]:
    seen: dict[Preprocessor, None] = {}
    for condition in experiment.conditions:
        seen.update(dict.fromkeys(condition.defence.preprocessors))
    for preprocessor in seen:
        text, given = preprocessor.text or preprocessor.name, dict(preprocessor.params)
        told, sentence = _PREPROCESSORS.get(preprocessor.name, (frozenset(), ""))
        if sentence and set(given) == told:
            values = {name: f"{255 * v if name == 'weight' else v:.4g}" for name, v in given.items()}
            yield f"{text}: {sentence.format(**values)}."
        else:
            yield f"{text}: {preprocessor.name}{_with(preprocessor.params) or ' with its defaults'}."


def _of_noise(results: Results) -> Iterator[str]:
    experiment, options = results.experiment, results.config.get("options", {})
    kinds = {c.defence.noise.kind for c in experiment.conditions if c.defence.noise is not None}
    if kinds & {"fitted", "knowing"}:
        said = [
            f"with {_DRAWS[options['noise_accept']]}" if options.get("noise_accept") in _DRAWS else "",
            _JUDGED.get(options.get("noise_through"), ""),
            f"{options['noise_draws']} draws per image" if "noise_draws" in options else "",
            "on clean images of a split of their own",
        ]
        knowing = " “Knowing δ”: fitted on images that the column's attack has perturbed." if "knowing" in kinds else ""
        yield (
            f"v_def: the defensive noise, Eq. 1 of the paper {', '.join(filter(None, said))}; "
            f"σ and ε chosen by the loss on a tuning split.{knowing}"
        )
    if "random" in kinds:
        yield "Random direction: Gaussian noise of the same root mean square as v_def."
    published = any(figure.condition.defence.noise is not None for figure in experiment.published)
    if published and not kinds and not any(made.what == "noise" for made in results.made):
        yield "v_def: left out, as there are no images to fit it on."


def _missing(results: Results) -> Iterator[str]:
    cells = all_cells(results)
    count = sum(cell not in results.labels for cell in cells)
    if count:
        yield f"{count} of {len(cells)} cells have no result: the tables say why."


def _weak(results: Results) -> Iterator[str]:
    """Yield what attacks cost no accuracy without a defence, so that nothing can be won back from them."""
    experiment = results.experiment
    bare = [c for c in experiment.conditions if c.threat is not None and c.threat.crafted and not c.defence]
    names = row_names(bare)
    for condition in bare:
        for column, cost in _differences(results, Condition(), condition):
            if cost.points <= 0 or cost.p >= LEVEL:
                yield (
                    f"{names[condition].text.removeprefix('v0 + ')}{column} costs no more accuracy than chance "
                    "might: what a defence wins back from it tells nothing."
                )


def _helped(results: Results) -> Iterator[str]:
    """Yield where an attacked image is classified right more often than a clean one, behind the same defence."""
    experiment = results.experiment
    rows = [c for c in experiment.conditions if c.threat is not None and c.threat.crafted and c.defence]
    rows = [c for c in rows if Condition(None, c.defence) in experiment.conditions]
    names = row_names([*rows, *(Condition(None, c.defence) for c in rows)])
    for condition in rows:
        clean = Condition(None, condition.defence)
        for column, gain in _differences(results, condition, clean):
            if gain.points > 0 and gain.p < LEVEL:
                yield (
                    f"{names[condition].text}{column} is right more often than {names[clean].text}: what the defence "
                    "wins back is partly that noise helps an image that it has smoothed."
                )


def _differences(results: Results, first: Condition, second: Condition) -> Iterator[tuple[str, Difference]]:
    """Yield how much more often a row is right than another, in each column of the one that is attacked."""
    attacked = first if first.threat is not None else second
    for source in results.experiment.columns(attacked):
        found = difference(results, first, second, source)
        if isinstance(found, Difference):
            yield ("" if source is None else f" of {_text(source)}"), found


def _of_made_noise(results: Results, made: Made) -> str:
    knowing = ""
    if made.threat is not None:
        source = next((_text(s) for s in results.experiment.sources if s.key == made.source), made.source)
        knowing = f", knowing {made.threat.attack.text or made.threat.attack.name} of {source}"
    # The noise stands before the preprocessors, if there are any.
    before = f" before {made.defence.text}" if made.defence.preprocessors else ""
    name = f"v_def{before}{knowing}"
    absent = made.record.get("absent")
    if absent is not None:
        return f"{name}: left out, {_sentence(str(absent))}"
    said = []
    if found_in(made, "accepted") is not None and found_in(made, "drawn") is not None:
        said.append(f"{found_in(made, 'accepted')} of {found_in(made, 'drawn')} draws accepted")
    for label, key, form in (("σ", "sigma", ":.4g"), ("RMS", "eps", ":.4g"), ("L∞", "linf", ":.1f")):
        value = found_in(made, key)
        if value is not None:
            said.append(f"{label} {format(255 * value, form[1:])}/255")
    return f"{name}: {', '.join(said) or 'fitted'}."


def _norm(threat: Threat) -> str:
    return "L∞" if threat.norm == "inf" else f"L{threat.norm}"


def _with(params: Params) -> str:
    """Return parameters as the end of a sentence; "" if there are none."""
    return f", with {', '.join(_parameters(params))}" if params else ""


def _parameters(params: Iterable[Any]) -> Iterator[str]:
    for name, value in params:
        if isinstance(value, tuple) and value and all(isinstance(v, tuple) and len(v) == 2 for v in value):
            yield f"{name} ({', '.join(_parameters(value))})"
        else:
            yield f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"


def _text(source: Source) -> str:
    return source.text or source.key


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."
