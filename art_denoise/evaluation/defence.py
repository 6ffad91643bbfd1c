"""What a defence buys on a model that is in memory, against somebody who knows it: one call."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from art.defences.preprocessor import Preprocessor as ArtPreprocessor
from art.estimators.classification import ClassifierMixin, PyTorchClassifier
from tqdm.auto import tqdm

from art_denoise._checks import check_flag, check_integer, check_number
from art_denoise.attacks._classifier import value_range
from art_denoise.defences.adapters import as_pytorch
from art_denoise.defences.chain import defences_of
from art_denoise.evaluation.added import spread
from art_denoise.evaluation.any_classifier import as_pytorch_classifier, has_gradients
from art_denoise.evaluation.attack_table import only_asks
from art_denoise.evaluation.bench import Bench
from art_denoise.evaluation.building import try_chain
from art_denoise.evaluation.checking import check_attack, checked_chain
from art_denoise.evaluation.components import make_threat, parse_attack, write_attack
from art_denoise.evaluation.cost import measure_cost
from art_denoise.evaluation.differentiable import known_of
from art_denoise.evaluation.experiment import (
    NOTHING,
    Cell,
    Defence,
    Knowledge,
    Network,
    Preprocessor,
    Source,
    Threat,
    params,
)
from art_denoise.evaluation.gradients import IMAGES, audit_gradients
from art_denoise.evaluation.notation import read_component
from art_denoise.evaluation.results import Images, Results
from art_denoise.evaluation.statistics import over_draws
from art_denoise.evaluation.studies.honest import LADDER, Rung, ladder
from art_denoise.evaluation.tried import tried_rows

if TYPE_CHECKING:
    from art.utils import CLASSIFIER_TYPE

Chain = Sequence[ArtPreprocessor]

#: What the classifier is called among networks that attacks are crafted on.
_TARGET = "classifier"


def evaluate_defence(
    classifier: CLASSIFIER_TYPE,
    defences: ArtPreprocessor | Chain | Mapping[str, ArtPreprocessor | Chain] | None,
    x: np.ndarray,
    y: np.ndarray,
    *,
    eps: float,
    norm: float | Literal["inf"] = np.inf,
    attacks: Sequence[str] | None = None,
    transfer_from: Mapping[str, CLASSIFIER_TYPE] | None = None,
    craft: np.ndarray | None = None,
    draws: int = 5,
    costs: bool = False,
    seed: int = 0,
    verbose: bool = True,
) -> Results:
    """Say what a defence buys on a classifier against attackers who know more and more of it, and what to doubt.

    First stands the worst that all attackers do, image by image: an image counts as robust if it is classified right
    unattacked and whatever attacks it. Then what casts doubt on that, and then attacker by attacker: random noise;
    attackers who do not know the defence; who take its gradient as the identity (BPDA); who have its own gradient, with
    one step, few and many, and with one perturbation for all images; who only ask; and the same at other sizes. If a
    defence draws at random, gradients are the mean of several draws (EOT), and an image is right if it is with each of
    `draws` draws.

    :param classifier: Any of ART's classifiers of images with `clip_values`, one pair of numbers, that returns logits.
        It is left as it was. Of one that is not for PyTorch the gradient is that of its `class_gradient`; one without
        gradients, as `BlackBoxClassifier`, is attacked by those who only ask, and from `transfer_from`, which is said.
    :param defences: ART preprocessors in order, for PyTorch or NumPy, in the place of those that the classifier has; or
        several such lists by name, which are compared; None: those that it has.
    :param x: Test images, floats (N, C, H, W) in units of `clip_values`; (N, H, W, C) if the classifier has them so.
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
    :param costs: Measure what defences take in time and memory, too; it differs from call to call.
    :param seed: Seed of all that is drawn.
    :param verbose: Show a progress bar.
    :return: The results: `summary()` is the short form, `records()` one row for each attack on each defence, and
        :func:`art_denoise.evaluation.report.write_report` writes a page, figures and tables.
    :raises TypeError: If `classifier` is none of ART's, or `defences` holds something else than preprocessors.
    :raises ValueError: If images, labels or `eps` do not fit the classifier, ART would refuse a defence, or an attack
        does not exist or does not take a parameter. What an attack raises later is told of in the results: an image
        that it fails on counts as wrong.

    Cost: for each image and defence some 200 forward and backward passes, fewer where attacks succeed early.

    Example::

        >>> import numpy as np
        >>> import torch
        >>> from art.estimators.classification import PyTorchClassifier
        >>> from art_denoise import ROFDefence, evaluate_defence
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 10))
        >>> loss = torch.nn.CrossEntropyLoss()
        >>> classifier = PyTorchClassifier(network, loss, input_shape=(3, 32, 32), nb_classes=10, clip_values=(0, 1))
        >>> images = np.random.default_rng(0).random((8, 3, 32, 32), dtype=np.float32)
        >>> labels = classifier.predict(images).argmax(axis=1)
        >>> results = evaluate_defence(
        ...     classifier,
        ...     [ROFDefence()],
        ...     images,
        ...     labels,
        ...     eps=8 / 255,
        ...     attacks=["random-signs", "best-pgd:max_iter=5,knowledge=exact"],  # leave them out for the whole ladder
        ...     verbose=False,
        ... )
        >>> print(results.summary().splitlines()[0])
        What the defence buys: the classifier
        >>> [row["attack"] for row in results.records() if row["defence"] == "none"]
        [None, 'random-signs', 'best-pgd:max_iter=5']
    """
    if transfer_from is not None and not isinstance(transfer_from, Mapping):
        raise TypeError(
            f"`transfer_from` must be classifiers by name, such as {{'other': classifier}}, got "
            f"{type(transfer_from).__name__}"
        )
    if attacks is not None and (isinstance(attacks, str) or not all(isinstance(text, str) for text in attacks)):
        raise TypeError(f"`attacks` must be a list of texts, such as ['best-pgd:knowledge=exact'], got {attacks!r}")
    for name, other in (transfer_from or {}).items():
        if not has_gradients(other):
            raise ValueError(f"`transfer_from`[{name!r}] must have gradients, and {type(other).__name__} has none")
    # Before those that the classifier has are put aside.
    chains = _chains(classifier, defences) if isinstance(classifier, ClassifierMixin) else {}
    with ExitStack() as stack:
        given = {_TARGET: classifier, **(transfer_from or {})}
        networks = {name: stack.enter_context(as_pytorch_classifier(one)) for name, one in given.items()}
        return _evaluated(
            networks,
            chains,
            x,
            y,
            eps=eps,
            norm=norm,
            attacks=attacks,
            craft=craft,
            draws=draws,
            costs=costs,
            seed=seed,
            verbose=verbose,
            differentiable=has_gradients(classifier),
        )


def _evaluated(
    networks: Mapping[str, PyTorchClassifier],
    chains: Mapping[Defence, Chain],
    x: np.ndarray,
    y: np.ndarray,
    *,
    eps: float,
    norm: float | Literal["inf"],
    attacks: Sequence[str] | None,
    craft: np.ndarray | None,
    draws: int,
    costs: bool,
    seed: int,
    verbose: bool,
    differentiable: bool,
) -> Results:
    """Evaluate defences of classifiers for PyTorch, the target first; see :func:`evaluate_defence`."""
    classifier = networks[_TARGET]
    low, high = value_range(classifier)
    images, labels = _images("x", x, classifier), _labels(y, len(x), classifier.nb_classes)
    share = check_number("eps", eps, low=0, high=high - low, low_open=True) / (high - low)
    for name, value in (("draws", draws), ("seed", seed)):
        check_integer(name, value, low=int(name == "draws"))
    for name, flag in (("verbose", verbose), ("costs", costs)):
        check_flag(name, flag)
    for chain in chains.values():
        stages = [as_pytorch(stage) for stage in chain]
        checked_chain(classifier, stages)
        if len(classifier.input_shape) == 3:
            kinds = [type(stage).__name__ for stage in chain]
            device = "cpu" if classifier.device.type == "cpu" else "gpu"
            try_chain(stages, kinds, device, (low, high), classifier.input_shape)
    target = Network(_TARGET, "the classifier", "the classifier")
    named = (target, *(Network(name, name, name) for name in networks if name != _TARGET))
    rungs = LADDER if attacks is None else (Rung("The attacks", tuple(attacks)),)
    threats = [
        (rung, list(_possible(_threats(rung, share, norm, craft is not None), differentiable, len(networks) > 1)))
        for rung in rungs
    ]
    if attacks is not None and craft is None:
        universal = [text for text in attacks if parse_attack(text).attack.kind == "universal"]
        if universal:
            raise ValueError(
                f"`attacks` has {universal[0]!r}, which crafts one perturbation for all images: give images to craft "
                "it on as `craft`, none of those of `x`"
            )
    for threat in dict.fromkeys(threat for _, of_rung in threats for threat in of_rung):
        check_attack(threat, write_attack(threat))
    few = spread(len(images), IMAGES)
    in_units = (low + (high - low) * images[few]).astype(np.float32)
    audits = {
        defence: audit_gradients(classifier, chain, in_units, labels[few], seed=seed)
        for defence, chain in {NOTHING: (), **chains}.items()
    }
    asked = ladder(
        target,
        [Source(network.key, network.text) for network in named],
        named,
        defences=list(chains),
        rungs=threats,
        knows=[known_of(chain, classifier.input_shape) for chain in chains.values()],
        drawing=[defence for defence in chains if audits[defence]["draws"] == "seeded"],
        seeds=(seed,),
    )
    bench = Bench(
        target.key,
        networks,
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
            {"remarks": [*_remarks(audits, draws, differentiable), *bench.remarks]},
        ),
        labels=found,
        drawn=drawn,
        tried=tried,
        passes=passes,
        costs={d: measure_cost(classifier, chain, in_units) for d, chain in chains.items()} if costs else {},
        missing=missing,
        failures=tuple(f"{cell.text}: {why}" for cell, why in missing.items()),
        audits=audits,
    )


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
                    knows_draws=threat.knows_draws,
                    **dict(threat.attack.params),
                )
        if crafts or threat.attack.kind != "universal":
            yield threat


def _possible(threats: Iterable[Threat], differentiable: bool, others: bool) -> Iterator[Threat]:
    """Yield the attackers who can do what they are to do: who needs gradients has those of another network, or none."""
    for threat in threats:
        if not threat.crafted or only_asks(threat.attack) or differentiable:
            yield threat
        elif others and not threat.knowledge.white_box:
            yield replace(threat, knowledge=Knowledge.TRANSFER)


def _remarks(audits: Mapping[Defence, dict[str, Any]], draws: int, differentiable: bool) -> Iterator[str]:
    if not differentiable:
        yield (
            "The classifier has no gradients: only who asks for scores or labels attacks it, or who has another "
            "network. An attacker who has its weights may do more harm."
        )
    for defence, audit in audits.items():
        if audit["draws"] != "none":
            yield (
                f"{defence.text} draws at random: an image counts as right if it is with each of {draws} draws, and "
                "attacks on single images go by the mean over several (EOT)."
            )
