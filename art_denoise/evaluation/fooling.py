"""How many images a universal perturbation fools: its share, which way round, and from which model to which."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from art.estimators.classification import PyTorchClassifier
from tqdm.auto import tqdm

from art_denoise._images import Images
from art_denoise.attacks import Perturbation
from art_denoise.attacks._classifier import labels_of, value_range
from art_denoise.attacks.universal import UniversalAttack
from art_denoise.evaluation.report.renderers.markdown import render
from art_denoise.evaluation.report.table import Table
from art_denoise.evaluation.report.transfer import rates_table
from art_denoise.evaluation.statistics import Share, paired_difference
from art_denoise.evaluation.studies.published import PUBLISHED, PUBLISHED_BY

__all__ = [
    "PUBLISHED",
    "Orientation",
    "TransferMatrix",
    "craft_on_each",
    "fooling",
    "orientations",
    "transfer_matrix",
]


def fooling(classifier: PyTorchClassifier, perturbation: Perturbation, x: np.ndarray) -> Share:
    """Return the share of images whose label a perturbation changes: f(x) ≠ f(x + v), with x + v clipped to the range.

    :param classifier: Classifier with `clip_values`; its defences are in place on both sides.
    :param x: Images (N, C, H, W), floats in the classifier's units or bytes; an array or a memory map.

    Example::

        >>> import numpy as np
        >>> import torch
        >>> from art.estimators.classification import PyTorchClassifier
        >>> from art_denoise.attacks import random_signs
        >>> from art_denoise.evaluation.fooling import fooling
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 10))
        >>> loss = torch.nn.CrossEntropyLoss()
        >>> classifier = PyTorchClassifier(network, loss, input_shape=(3, 32, 32), nb_classes=10, clip_values=(0, 1))
        >>> images = np.random.default_rng(0).random((8, 3, 32, 32), dtype=np.float32)
        >>> share = fooling(classifier, random_signs((3, 32, 32), eps=8 / 255), images)
        >>> 0 <= share.value <= 1, share.n
        (True, 8)
    """
    images = _images(classifier, x)
    return _share(_changed(classifier, perturbation, images, labels_of(classifier, images)))


@dataclass(frozen=True)
class Orientation:
    """One way round of a perturbation.

    :param name: What was done to it.
    :param perturbation: The result.
    :param fooled: Share of images whose label that changes.
    :param p_value: Exact McNemar test, on the same images, that it fools as many as the way that fools most. Large:
        this may be the right way as well.
    """

    name: str
    perturbation: Perturbation
    fooled: Share
    p_value: float


def orientations(
    classifier: PyTorchClassifier, perturbation: Perturbation, x: np.ndarray, *, verbose: bool = True
) -> list[Orientation]:
    """Try a perturbation from elsewhere in all eight orientations and both orders of channels: which one fools most?

    A published perturbation that was read with its axes swapped, or for the channels in the other order, still fools,
    but less. On a model that it was not made for the differences may be too small to tell: `p_value` says so.

    :param classifier: Classifier that the perturbation is made for, or a similar one.
    :param perturbation: (C, H, W); turned by a quarter only if H is W, and with the channels reversed only if C is 3.
    :param x: Images, as for :func:`fooling`; some hundreds.
    :param verbose: Show a progress bar.
    :return: The ways, those that fool most first. "as it is" is among them.

    Example::

        >>> import numpy as np
        >>> import torch
        >>> from art.estimators.classification import PyTorchClassifier
        >>> from art_denoise.attacks import random_signs
        >>> from art_denoise.evaluation.fooling import orientations
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 10))
        >>> loss = torch.nn.CrossEntropyLoss()
        >>> classifier = PyTorchClassifier(network, loss, input_shape=(3, 32, 32), nb_classes=10, clip_values=(0, 1))
        >>> images = np.random.default_rng(0).random((8, 3, 32, 32), dtype=np.float32)
        >>> ways = orientations(classifier, random_signs((3, 32, 32), eps=8 / 255), images, verbose=False)
        >>> len(ways), "as it is" in [way.name for way in ways]
        (16, True)
        >>> ways[0].p_value  # of the best way against itself
        1.0
    """
    images = _images(classifier, x)
    labels = labels_of(classifier, images)
    turns: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "as it is": lambda v: v,
        "flipped left to right": lambda v: v[:, :, ::-1],
        "flipped upside down": lambda v: v[:, ::-1],
        "turned by 180°": lambda v: v[:, ::-1, ::-1],
    }
    if perturbation.array.shape[1] == perturbation.array.shape[2]:
        turns |= {
            "transposed": lambda v: v.swapaxes(1, 2),
            "turned by 90° to the left": lambda v: v.swapaxes(1, 2)[:, ::-1],
            "turned by 90° to the right": lambda v: v.swapaxes(1, 2)[:, :, ::-1],
            "transposed, turned by 180°": lambda v: v.swapaxes(1, 2)[:, ::-1, ::-1],
        }
    orders = {"": slice(None), ", channels reversed": slice(None, None, -1)}
    if perturbation.array.shape[0] != 3:
        orders.popitem()
    ways = [(turn + order, turns[turn], channels) for turn in turns for order, channels in orders.items()]
    found = []
    for name, turn, channels in tqdm(ways, "Orientations", disable=not verbose):
        turned = perturbation.with_record(array=np.ascontiguousarray(turn(perturbation.array[channels])))
        found.append((name, turned, _changed(classifier, turned, images, labels)))
    found.sort(key=lambda way: -int(way[2].sum()))
    most, true = found[0][2], np.ones(len(labels), dtype=bool)
    return [
        Orientation(name, turned, _share(changed), paired_difference(most, changed, true).p_value)
        for name, turned, changed in found
    ]


@dataclass(frozen=True)
class TransferMatrix:
    """Which share of images a perturbation crafted on one model fools on another.

    :param shares: By source and target.
    :param published: Published fooling rates in percent, by source and target, to stand beside; may be empty.
    """

    shares: dict[str, dict[str, Share]]
    published: Mapping[str, Mapping[str, float]]

    @property
    def sources(self) -> list[str]:
        """Models that perturbations were crafted on: the rows."""
        return list(self.shares)

    @property
    def targets(self) -> list[str]:
        """Models that they were scored on: the columns."""
        return list(next(iter(self.shares.values())))

    def records(self) -> list[dict[str, object]]:
        """Return the cells as records; rate, interval and published rate in percent."""
        return [
            {
                "source": source,
                "target": target,
                "white_box": source == target,
                "fooled": share.count,
                "n": share.n,
                "fooling_rate": round(100 * share.value, 3),
                "low": round(100 * share.interval[0], 3),
                "high": round(100 * share.interval[1], 3),
                "published": self.published.get(source, {}).get(target),
            }
            for source, row in self.shares.items()
            for target, share in row.items()
        ]

    def table(
        self, title: str = "Fooling rates from network to network", names: Mapping[str, str] | None = None
    ) -> Table:
        """Return the matrix as a table, which any renderer of :mod:`art_denoise.evaluation.report.renderers` writes.

        :param title: Its title.
        :param names: What models are called; their own names where there is none.
        """
        by = PUBLISHED_BY if self.published is PUBLISHED else "published"
        return rates_table(self.shares, title=title, names=names, published=self.published, published_by=by)

    def markdown(self) -> str:
        """Return the matrix as a Markdown table; white-box in bold, what is published in brackets."""
        return render([self.table()])


def craft_on_each(
    classifiers: Mapping[str, PyTorchClassifier],
    attack: Callable[[PyTorchClassifier], UniversalAttack],
    x: np.ndarray,
) -> dict[str, Perturbation]:
    """Craft a perturbation on each of several models from the same images.

    :param classifiers: The models by name.
    :param attack: Makes the attack, e.g. `lambda classifier: SGDUAP(classifier, max_iter=5)`, or `SGDUAP` itself.
    :param x: Images to craft from, as for :meth:`UniversalAttack.craft`.
    :return: The perturbations by name of the model, which is their `source`.

    Example::

        >>> import numpy as np
        >>> import torch
        >>> from art.estimators.classification import PyTorchClassifier
        >>> from art_denoise import SGDUAP
        >>> from art_denoise.evaluation.fooling import craft_on_each
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 10))
        >>> loss = torch.nn.CrossEntropyLoss()
        >>> classifier = PyTorchClassifier(network, loss, input_shape=(3, 32, 32), nb_classes=10, clip_values=(0, 1))
        >>> images = np.random.default_rng(0).random((8, 3, 32, 32), dtype=np.float32)
        >>> models = {"mine": classifier}
        >>> found = craft_on_each(models, lambda model: SGDUAP(model, max_iter=2, verbose=False), images)
        >>> found["mine"].source
        'mine'
    """
    return {name: attack(classifier).craft(x).with_record(source=name) for name, classifier in classifiers.items()}


def transfer_matrix(
    perturbations: Mapping[str, Perturbation],
    classifiers: Mapping[str, PyTorchClassifier],
    x: np.ndarray,
    *,
    published: Mapping[str, Mapping[str, float]] | None = None,
    verbose: bool = True,
) -> TransferMatrix:
    """Score each perturbation on each model.

    :param perturbations: By name of the model that each was crafted on; :func:`craft_on_each` makes them.
    :param classifiers: The models to score on, by name. The same name in both is the same model: a white-box attack.
    :param x: Images to score on, other than those crafted from; as for :func:`fooling`.
    :param published: Published rates to stand beside, in percent by source and target. `PUBLISHED` are those of the
        authors, on ImageNet, for models by the names of this package.
    :param verbose: Show a progress bar.

    Example::

        >>> import numpy as np
        >>> import torch
        >>> from art.estimators.classification import PyTorchClassifier
        >>> from art_denoise import UniversalNoise
        >>> from art_denoise.evaluation.fooling import craft_on_each, transfer_matrix
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 10))
        >>> loss = torch.nn.CrossEntropyLoss()
        >>> classifier = PyTorchClassifier(network, loss, input_shape=(3, 32, 32), nb_classes=10, clip_values=(0, 1))
        >>> images = np.random.default_rng(0).random((8, 3, 32, 32), dtype=np.float32)
        >>> found = craft_on_each({"mine": classifier}, UniversalNoise, images)
        >>> matrix = transfer_matrix(found, {"mine": classifier}, images, verbose=False)
        >>> matrix.sources, matrix.targets
        (['mine'], ['mine'])
    """
    if not perturbations or not classifiers:
        raise ValueError("`perturbations` and `classifiers` must not be empty")
    shares: dict[str, dict[str, Share]] = {source: {} for source in perturbations}
    with tqdm(total=len(perturbations) * len(classifiers), desc="Transfer", disable=not verbose, unit="pair") as bar:
        for target, classifier in classifiers.items():
            images = _images(classifier, x)
            labels = labels_of(classifier, images)
            for source, perturbation in perturbations.items():
                shares[source][target] = _share(_changed(classifier, perturbation, images, labels))
                bar.update()
    return TransferMatrix(shares, published or {})


def _images(classifier: PyTorchClassifier, x: np.ndarray) -> Images:
    return Images(x, classifier.input_shape, value_range(classifier))


def _changed(
    classifier: PyTorchClassifier, perturbation: Perturbation, images: Images, labels: np.ndarray
) -> np.ndarray:
    """Return whether a perturbation changes the label of each image, bool (N,)."""
    if perturbation.array.shape != tuple(classifier.input_shape):
        raise ValueError(
            f"the perturbation is {perturbation.array.shape}, the classifier takes {tuple(classifier.input_shape)}: "
            "load_perturbation(path, size=(height, width)) resizes one"
        )
    low, high = value_range(classifier)
    return labels_of(classifier, images, np.float32(high - low) * perturbation.array) != labels


def _share(changed: np.ndarray) -> Share:
    return Share(int(changed.sum()), len(changed))
