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
        worked = (predicted[0] == split.labels) & (predicted[1] != split.labels) & (predicted[1] >= 0)
        order = np.argsort(~worked, kind="stable")
        _, first = np.unique(split.labels[order], return_index=True)
        chosen = order[np.sort(first)][: self.count]

        clean = unit_batch(split, chosen)
        added = self.attacked.added_to(on)
        if added is None:
            raise ValueError("`attacked` must be images that an attack adds something to")
        # One by one, as attacked images are read by their place among all.
        attacked = np.concatenate([added.add_to(clean[i : i + 1], slice(n, n + 1)) for i, n in enumerate(chosen)])
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
            arrays |= {f"images {i}": _bytes(images), f"labels {i}": labels[chosen]}
        arrays["magnified"] = _bytes(magnified)
        return Artefact({"titles": [title for title, _, _ in panels], "worked": bool(worked[chosen].all())}, arrays)


def _bytes(images: np.ndarray) -> np.ndarray:
    return np.round(255 * np.clip(images, 0, 1)).astype(np.uint8)
