"""A few images for a figure: as they are, attacked, and as each defence makes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from art_denoise.evaluation.artefact import Artefact
from art_denoise.evaluation.graph import Task, Work
from art_denoise.evaluation.scoring import unit_batch
from art_denoise.evaluation.tasks.chain import chain

if TYPE_CHECKING:
    from art_denoise.evaluation.graph import Place
    from art_denoise.evaluation.tasks.score import Score


@dataclass(frozen=True)
class ShowExamples(Task):
    """Make the pictures of images that an attack turned from right to wrong, one of a class; if too few, of any.

    :param clean: Images as they are.
    :param attacked: The same, attacked.
    :param defended: The same behind defences.
    :param titles: What was done to the images, for all of these in order.
    :param count: Number of images.
    """

    folder: ClassVar[str] = "examples"

    clean: Score
    attacked: Score
    defended: tuple[Score, ...]
    titles: tuple[str, ...]
    count: int = 6

    @property
    def title(self) -> str:
        return "Make the pictures of examples"

    @property
    def work(self) -> Work:
        return Work("Make pictures")

    def run(self, on: Place) -> Artefact:
        split = on.split(self.clean.images)
        scores = (self.clean, self.attacked, *self.defended)
        predicted = [on.artefact(score).arrays["labels"] for score in scores]
        chosen, worked = first_of_each_class(split.labels, predicted[0], predicted[1], self.count)
        if not len(chosen):
            return Artefact.absent("no image was attacked")
        clean = unit_batch(split, chosen)
        attacked = attacked_images(on, self.attacked, clean, chosen)
        difference = attacked - clean
        magnified = 0.5 + difference / (2 * max(float(np.abs(difference).max()), 1e-9))
        panels = [(self.titles[0], clean, predicted[0]), (self.titles[1], attacked, predicted[1])]
        for score, title, labels in zip(self.defended, self.titles[2:], predicted[2:], strict=True):
            images = attacked
            for preprocessor in chain(on, score.preprocessors, score.noise):
                images = preprocessor(images)[0]
            panels.append((title, images, labels))
        arrays = {"labels": split.labels[chosen]}
        for i, (_, images, labels) in enumerate(panels):
            arrays |= {f"images {i}": as_bytes(images), f"labels {i}": labels[chosen]}
        arrays["magnified"] = as_bytes(magnified)
        return Artefact({"titles": [title for title, _, _ in panels], "worked": bool(worked.all())}, arrays)


def first_of_each_class(
    truth: np.ndarray, clean: np.ndarray, attacked: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Choose images by a rule that nobody's taste has a part in.

    Those that the attack turned from right to wrong come first, then others that were attacked, both in their order;
    the first of each class is taken.

    :param truth: True labels, (N,).
    :param clean: Labels predicted for the images as they are, (N,).
    :param attacked: Labels predicted for them attacked, (N,); below 0 where they were not.
    :param count: Number of images, at most.
    :return: The numbers of the images, and whether the attack turned each of them.
    """
    worked = (clean == truth) & (attacked != truth) & (attacked >= 0)
    order = np.argsort(~worked, kind="stable")
    order = order[attacked[order] >= 0]
    _, first = np.unique(truth[order], return_index=True)
    chosen = order[np.sort(first)][:count]
    return chosen, worked[chosen]


def attacked_images(on: Place, attacked: Score, clean: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Return some images as an attack leaves them, float32 (M, 3, H, W).

    :param on: Where what is added is found.
    :param attacked: Images that something is added to.
    :param clean: The images as they are, float32 (M, 3, H, W).
    :param chosen: Their numbers, (M,).
    :raises ValueError: If nothing is added to them.
    """
    added = attacked.added_to(on)
    if added is None:
        raise ValueError("`attacked` must be images that an attack adds something to")
    # One by one, as attacked images are read by their place among all.
    return np.concatenate([added.add_to(clean[i : i + 1], slice(n, n + 1)) for i, n in enumerate(chosen)])


def as_bytes(images: np.ndarray) -> np.ndarray:
    """Return images in [0, 1] as they are kept, uint8."""
    return np.round(255 * np.clip(images, 0, 1)).astype(np.uint8)
