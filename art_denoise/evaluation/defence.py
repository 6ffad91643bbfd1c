"""What a defence buys on a model that is in memory, against somebody who knows it: one call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from art.defences.preprocessor import Preprocessor as ArtPreprocessor
from art.estimators.classification import PyTorchClassifier
from tqdm.auto import tqdm

from art_denoise._checks import check_flag, check_integer, check_number
from art_denoise._random import drawn_from
from art_denoise.attacks._classifier import value_range
from art_denoise.attacks.universal_noise import random_signs
from art_denoise.defences.adapters import as_pytorch
from art_denoise.defences.chain import defences_of, with_defences
from art_denoise.evaluation.added import spread
from art_denoise.evaluation.art_attacks import attack_one_by_one
from art_denoise.evaluation.building import build_universal
from art_denoise.evaluation.checking import check_attack, checked_chain
from art_denoise.evaluation.components import make_threat, parse_attack, write_attack
from art_denoise.evaluation.differentiable import known_of
from art_denoise.evaluation.experiment import (
    NOTHING,
    Cell,
    Condition,
    Defence,
    Network,
    Preprocessor,
    Source,
    Threat,
    params,
)
from art_denoise.evaluation.foreign import for_pytorch
from art_denoise.evaluation.gradients import IMAGES, audit_gradients
from art_denoise.evaluation.notation import read_component
from art_denoise.evaluation.passes import passes_of
from art_denoise.evaluation.planted import try_attack
from art_denoise.evaluation.results import Images, Results
from art_denoise.evaluation.statistics import ATTACK_FAILED, NOT_ATTACKED, over_draws
from art_denoise.evaluation.studies.honest import LADDER, Rung, ladder
from art_denoise.evaluation.tried import tried_rows

Chain = Sequence[ArtPreprocessor]

#: What the classifier is called among networks that attacks are crafted on.
_TARGET = "classifier"

#: Images that are classified at once.
_AT_ONCE = 128


def evaluate_defence(
    classifier: PyTorchClassifier,
    defences: ArtPreprocessor | Chain | Mapping[str, ArtPreprocessor | Chain] | None,
    x: np.ndarray,
    y: np.ndarray,
    *,
    eps: float,
    norm: float | Literal["inf"] = np.inf,
    attacks: Sequence[str] | None = None,
    transfer_from: Mapping[str, PyTorchClassifier] | None = None,
    craft: np.ndarray | None = None,
    draws: int = 5,
    seed: int = 0,
    verbose: bool = True,
) -> Results:
    """Say what a defence buys on a classifier against attackers who know more and more of it, and what to doubt.

    ::

        results = evaluate_defence(classifier, [ROFDefence()], x, y, eps=8 / 255)
        print(results.summary())

    First stands the worst that all attackers do, image by image: an image counts as robust if it is classified right
    unattacked and whatever attacks it. Then what casts doubt on that, and then attacker by attacker: random noise;
    attackers who do not know the defence; who take its gradient as the identity (BPDA); who have its own gradient, with
    one step, few and many, and with one perturbation for all images; who only ask; and the same at other sizes. If a
    defence draws at random, gradients are the mean of several draws (EOT), and an image is right if it is with each of
    `draws` draws.

    :param classifier: Classifier with `clip_values`, one pair of numbers, that returns logits. It is left as it was.
    :param defences: ART preprocessors in order, for PyTorch or NumPy, in the place of those that the classifier has; or
        several such lists by name, which are compared; None: those that it has.
    :param x: Test images, floats (N, C, H, W) in units of `clip_values`.
    :param y: Their labels, int (N,) or one-hot (N, K).
    :param eps: Bound on what is added to an image, in units of `clip_values`, above 0, at most their range.
    :param norm: Norm of that bound, `np.inf` or "inf", or 2.
    :param attacks: Attacks in the place of the ladder's, as the command line writes them: "best-pgd:knowledge=exact".
        Those that do not say an `eps`, which is of 255 of the range there, have `eps`.
    :param transfer_from: Other classifiers by name, of images in the same units and the same labels, whose
        perturbations are tried, too.
    :param craft: Images that perturbations for all images are crafted on, like `x`, and none of them; None: there are
        no such perturbations.
    :param draws: How often an image is classified behind a defence that draws at random, ≥ 1.
    :param seed: Seed of all that is drawn.
    :param verbose: Show a progress bar.
    :return: The results: `summary()` is the short form, `records()` one row for each attack on each defence, and
        :func:`art_denoise.evaluation.report.write_report` writes a page, figures and tables.
    :raises TypeError: If `classifier` is none for PyTorch, or `defences` holds something else than preprocessors.
    :raises ValueError: If images, labels or `eps` do not fit the classifier, ART would refuse a defence, or an attack
        does not exist or does not take a parameter. What an attack raises later is told of in the results: an image
        that it fails on counts as wrong.

    Cost: for each image and defence some 200 forward and backward passes, fewer where attacks succeed early.
    """
    if not isinstance(classifier, PyTorchClassifier):
        raise TypeError(f"`classifier` must be one of ART's PyTorchClassifier, got {type(classifier).__name__}")
    low, high = value_range(classifier)
    images, labels = _images("x", x, classifier), _labels(y, len(x), classifier.nb_classes)
    share = check_number("eps", eps, low=0, high=high - low, low_open=True) / (high - low)
    for name, value in (("draws", draws), ("seed", seed)):
        check_integer(name, value, low=int(name == "draws"))
    check_flag("verbose", verbose)
    chains = _chains(classifier, defences)
    for chain in chains.values():
        checked_chain(classifier, [as_pytorch(stage) for stage in chain])
    others = dict(transfer_from or {})
    target = Network(_TARGET, "the classifier", "the classifier")
    networks = (target, *(Network(name, name, name) for name in others))
    rungs = LADDER if attacks is None else (Rung("The attacks", tuple(attacks)),)
    threats = [(rung, list(_threats(rung, share, norm, craft is not None))) for rung in rungs]
    for threat in dict.fromkeys(threat for _, of_rung in threats for threat in of_rung):
        check_attack(threat, write_attack(threat))
    asked = ladder(
        target,
        [Source(network.key, network.text) for network in networks],
        networks,
        defences=list(chains),
        rungs=threats,
        knows=[known_of(chain, classifier.input_shape) for chain in chains.values()],
        seeds=(seed,),
    )
    few = spread(len(images), IMAGES)
    in_units = (low + (high - low) * images[few]).astype(np.float32)
    audits = {
        defence: audit_gradients(classifier, chain, in_units, labels[few], seed=seed)
        for defence, chain in {NOTHING: (), **chains}.items()
    }
    bench = _Bench(
        {_TARGET: classifier, **others},
        {NOTHING: (), **chains},
        images,
        labels,
        None if craft is None else _images("craft", craft, classifier),
        {defence: draws if audit["draws"] != "none" else 1 for defence, audit in audits.items()},
        seed,
    )
    found: dict[Cell, np.ndarray] = {}
    drawn: dict[Cell, np.ndarray] = {}
    passes: dict[Cell, dict[str, int]] = {}
    missing: dict[Cell, str] = {}
    for cell in tqdm(asked.cells(), desc="Evaluate", unit="row", disable=not verbose):
        try:
            by_draw = bench.labels_of(cell)
            found[cell] = over_draws(by_draw, labels)
            if len(by_draw) > 1:
                drawn[cell] = by_draw
            if (counted := bench.passes.get(bench.key(cell))) is not None:
                passes[cell] = counted
        except Exception as error:
            missing[cell] = f"{type(error).__name__}: {error}"
    tried = {row: record for row, few in tried_rows(asked).items() if (record := bench.tried(row, few)) is not None}
    return Results(
        experiment=asked,
        images=Images(
            "images",
            "image",
            tuple(map(str, range(len(images)))),
            labels,
            {label: str(label) for label in range(classifier.nb_classes)},
            {"test": len(images), **({} if craft is None else {"craft": len(craft)})},
            {"remarks": [*_remarks(audits, draws), *bench.remarks]},
        ),
        labels=found,
        drawn=drawn,
        tried=tried,
        passes=passes,
        missing=missing,
        failures=tuple(f"{cell.text}: {why}" for cell, why in missing.items()),
        audits=audits,
    )


@dataclass
class _Bench:
    """Where attacks are made and labels are predicted.

    :param networks: The classifiers by name.
    :param chains: The preprocessors of each defence.
    :param images: Images, float32 (N, C, H, W) in [0, 1].
    :param truth: Their labels, int64 (N,).
    :param craft: Images that perturbations for all images are crafted on, likewise.
    :param draws: How often an image is classified behind each defence.
    :param seed: Seed of all that is drawn.
    :param remarks: What attacks failed on.
    :param passes: What attacks took, by what attacked images depend on.
    """

    networks: Mapping[str, PyTorchClassifier]
    chains: Mapping[Defence, Chain]
    images: np.ndarray
    truth: np.ndarray
    craft: np.ndarray | None
    draws: Mapping[Defence, int]
    seed: int
    remarks: list[str] = field(default_factory=list)
    passes: dict[tuple[Threat | None, str | None, Defence | None], dict[str, int]] = field(default_factory=dict)
    _attacked: dict[tuple[Any, ...], tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)

    def labels_of(self, cell: Cell) -> np.ndarray:
        """Return the labels that are predicted in a cell, int64 (D, N), by draw of the defence."""
        threat, defence = cell.condition.threat, cell.condition.defence
        if threat is None:
            images, marks = self.images, np.zeros(len(self.images), dtype=np.int64)
        else:
            key = self.key(cell)
            if key not in self._attacked:
                # What somebody knows of a defence is of use for that one only.
                kept = {k: v for k, v in self._attacked.items() if k[2] is None}
                self._attacked = {**kept, key: self._attack(cell, threat)}
            images, marks = self._attacked[key]
        network, chain = self.networks[cell.target], self.chains[defence]
        labels = [self._predicted(network, chain, images, draw) for draw in range(self.draws[defence])]
        return np.where(marks < 0, marks, labels)

    @staticmethod
    def key(cell: Cell) -> tuple[Threat | None, str | None, Defence | None]:
        """Return what the attacked images of a cell depend on."""
        threat = cell.condition.threat
        aware = threat is not None and threat.knowledge.knows_defence
        return threat, cell.source, cell.condition.defence if aware else None

    def tried(self, row: Condition, few: int) -> dict[str, Any] | None:
        """Return what the attack of a row does where it has to succeed; None if it could not be tried."""
        threat, classifier = row.threat, self.networks[_TARGET]
        assert threat is not None
        x = self.images[spread(len(self.images), few)]
        try:
            return try_attack(
                classifier, threat.attack, self._known(row), x, eps=threat.eps, norm=threat.norm, seed=self.seed
            )
        except Exception as error:
            self.remarks.append(f"{row.text}: the attack could not be tried where it has to succeed ({error})")
            return None

    def _predicted(self, classifier: PyTorchClassifier, chain: Chain, images: np.ndarray, draw: int) -> np.ndarray:
        low, high = value_range(classifier)
        found = []
        with with_defences(classifier, [as_pytorch(stage) for stage in chain]):
            for first in range(0, len(images), _AT_ONCE):
                batch = (low + (high - low) * images[first : first + _AT_ONCE]).astype(np.float32)
                with drawn_from(self.seed, draw, first):
                    found.append(classifier.predict(batch, batch_size=_AT_ONCE).argmax(axis=1))
        return np.concatenate(found).astype(np.int64)

    def _attack(self, cell: Cell, threat: Threat) -> tuple[np.ndarray, np.ndarray]:
        """Return attacked images, and 0 for each, or what says that it was not attacked, or that this failed."""
        marks = np.zeros(len(self.images), dtype=np.int64)
        if not threat.crafted:
            shape = self.images.shape[1:]
            return random_signs(shape, threat.size_of_signs(shape), self.seed).add_to(self.images), marks
        classifier = self.networks[str(cell.source)]
        with with_defences(classifier, self._known(cell.condition)), passes_of(classifier) as passes:
            if threat.attack.kind == "universal":
                low, high = value_range(classifier)
                if self.craft is None:
                    raise ValueError("there are no images to craft a perturbation for all images on: give `craft`")
                crafting = build_universal(threat.attack, threat.eps, threat.norm, self.seed, classifier=classifier)
                made = crafting.craft((low + (high - low) * self.craft).astype(np.float32))
                return made.add_to(self.images), marks
            attacked, chosen = self.images.copy(), spread(len(self.images), threat.images)
            attacked[chosen], failed = attack_one_by_one(
                classifier,
                threat.attack,
                eps=threat.eps,
                norm=threat.norm,
                x=self.images[chosen],
                y=self.truth[chosen],
                seed=self.seed,
            )
        self.passes[self.key(cell)] = {"images": len(chosen), **passes}
        marks[~np.isin(np.arange(len(marks)), chosen)] = NOT_ATTACKED
        for i, why in failed.items():
            number = int(chosen[i])
            marks[number] = ATTACK_FAILED
            self.remarks.append(f"{cell.text}: the attack failed on image {number}, which counts as wrong ({why})")
        return attacked, marks

    def _known(self, row: Condition) -> list[ArtPreprocessor]:
        """Return the defence as the attacker has it."""
        threat = row.threat
        if threat is None or not threat.knowledge.knows_defence:
            return []
        shape = self.images.shape[1:]
        return [for_pytorch(stage, threat.knowledge.gradient, shape) for stage in self.chains[row.defence]]


def _images(name: str, x: np.ndarray, classifier: PyTorchClassifier) -> np.ndarray:
    """Return images in [0, 1], float32, or raise."""
    low, high = value_range(classifier)
    if not isinstance(x, np.ndarray) or not np.issubdtype(x.dtype, np.floating):
        kind = x.dtype if isinstance(x, np.ndarray) else type(x).__name__
        raise TypeError(f"`{name}` must be an array of floats in units of `clip_values`, got {kind}")
    expected = ", ".join(map(str, classifier.input_shape))
    if x.shape[1:] != tuple(classifier.input_shape) or not len(x):
        raise ValueError(f"`{name}` must be images (N, {expected}), N >= 1, got {x.shape}")
    if not (x.min() >= low and x.max() <= high):
        raise ValueError(
            f"`{name}` must be within `clip_values` = ({low:g}, {high:g}), got {x.min():g} to {x.max():g}: give images "
            "in the classifier's units"
        )
    return np.clip((x.astype(np.float64) - low) / (high - low), 0, 1).astype(np.float32)


def _labels(y: np.ndarray, count: int, classes: int) -> np.ndarray:
    """Return labels, int64 (N,), or raise."""
    given = np.asarray(y)
    if given.shape == (count, classes) and np.all(np.isin(given, (0, 1))) and np.all(given.sum(axis=1) == 1):
        given = given.argmax(axis=1)
    if given.shape != (count,) or given.dtype.kind not in "iu":
        raise ValueError(
            f"`y` must be labels, int ({count},), or one-hot ({count}, {classes}), got {given.dtype} {given.shape}"
        )
    if given.min() < 0 or given.max() >= classes:
        raise ValueError(f"`y` must be from 0 to {classes - 1}, got {given.min()} to {given.max()}")
    return given.astype(np.int64)


def _chains(classifier: PyTorchClassifier, defences: Any) -> dict[Defence, Chain]:
    """Return the preprocessors of each defence that is asked for, or raise."""
    if defences is None:
        defences = defences_of(classifier)
    if not isinstance(defences, Mapping):
        stages = _stages(defences)
        parts = tuple(Preprocessor(type(stage).__name__, _plain(stage), _symbol(stage)) for stage in stages)
        return {Defence(parts): stages}
    if not defences:
        raise ValueError("`defences` must hold at least one defence")
    return {
        Defence((Preprocessor(str(name), text=f"D_{name}"),)): _stages(chain, f"defences[{name!r}]")
        for name, chain in defences.items()
    }


def _stages(given: Any, name: str = "defences") -> Chain:
    stages = list(given) if isinstance(given, (list, tuple)) else [given]
    for stage in stages:
        if not isinstance(stage, ArtPreprocessor):
            raise TypeError(f"`{name}` must be ART preprocessors, got {stage!r}")
    if not stages:
        raise ValueError(f"`{name}` must hold at least one preprocessor: there is no defence to evaluate")
    return stages


def _symbol(stage: ArtPreprocessor) -> str:
    return f"D_{type(stage).__name__.removesuffix('Defence')}"


def _plain(stage: ArtPreprocessor) -> Any:
    """Return what parameters of a preprocessor are numbers or texts."""
    given = {name: getattr(stage, name, None) for name in getattr(stage, "params", ())}
    plain = {name: value for name, value in given.items() if isinstance(value, (bool, int, float, str))}
    return params({name: value for name, value in plain.items() if name not in ("verbose", "chunk_size")})


def _threats(rung: Rung, eps: float, norm: float | str, crafts: bool) -> Iterator[Threat]:
    """Yield the attackers on a rung; without images to craft on, nobody has one perturbation for all images."""
    for text, bound in rung.sized(eps):
        name, written = read_component(text)
        if {"eps", "norm"} & set(written):
            threat = parse_attack(text)
        else:
            threat = replace(parse_attack(text), eps=bound)
            if str(norm) not in ("inf", str(np.inf)):
                # Whether there is such an attack is seen by what writes it.
                threat = make_threat(
                    name,
                    knowledge=threat.knowledge,
                    eps=bound,
                    norm=norm,
                    images=threat.images,
                    **dict(threat.attack.params),
                )
        if crafts or threat.attack.kind != "universal":
            yield threat


def _remarks(audits: Mapping[Defence, dict[str, Any]], draws: int) -> Iterator[str]:
    for defence, audit in audits.items():
        if audit["draws"] != "none":
            yield (
                f"{defence.text} draws at random: an image counts as right if it is with each of {draws} draws, and "
                "attacks on single images go by the mean over several (EOT)."
            )
