"""A few images, as they are and attacked, behind defences of several strengths: what is predicted, and how surely."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch

from art_denoise._random import drawn_from
from art_denoise.attacks._classifier import are_probabilities
from art_denoise.defences.chain import with_defences
from art_denoise.evaluation.artefact import Artefact
from art_denoise.evaluation.graph import Task, Work
from art_denoise.evaluation.scoring import unit_batch
from art_denoise.evaluation.tasks.chain import chain
from art_denoise.evaluation.tasks.examples import as_bytes, attacked_images, first_of_each_class

if TYPE_CHECKING:
    from art_denoise.evaluation.experiment import Preprocessor
    from art_denoise.evaluation.graph import Place
    from art_denoise.evaluation.tasks.score import Score


@dataclass(frozen=True)
class ShowStrengths(Task):
    """Make the pictures of a few images, as they are and attacked, without a defence and behind several.

    They are the first of each class that the attack turned from right to wrong; if there are too few, others follow.

    :param clean: Images as they are.
    :param attacked: The same, attacked.
    :param defences: The defences.
    :param exact: Numbers of those defences of which what they change is kept, not only how it looks.
    :param behind: Labels behind defences in the tables: what fails there would fail here, and is told of once.
    :param count: Number of images.
    :param text: The attack, for messages.
    """

    folder: ClassVar[str] = "examples"

    clean: Score
    attacked: Score
    defences: tuple[tuple[Preprocessor, ...], ...]
    exact: tuple[int, ...] = ()
    behind: tuple[Score, ...] = ()
    count: int = 3
    text: str = field(default="", compare=False)

    @property
    def title(self) -> str:
        return f"Make the pictures of strengths against {self.text}"

    @property
    def work(self) -> Work:
        return Work("Make pictures", self.clean.network.name, 2 * (1 + len(self.defences)) * self.count)

    def run(self, on: Place) -> Artefact:
        split = on.split(self.clean.images)
        predicted = [on.artefact(score).arrays["labels"] for score in (self.clean, self.attacked)]
        chosen, worked = first_of_each_class(split.labels, predicted[0], predicted[1], self.count)
        if not len(chosen):
            return Artefact.absent(f"no image was attacked by {self.text}")
        before = unit_batch(split, chosen)
        pair = [before, attacked_images(on, self.attacked, before, chosen)]
        classifier = on.classifier(self.clean.network)
        pictures, scores, changes = [], [], []
        for number, preprocessors in enumerate([(), *self.defences]):
            defence = chain(on, preprocessors)
            for images in pair:
                # The same draws for what is seen as for what is predicted.
                with drawn_from(self.clean.seed):
                    defended = images
                    for stage in defence:
                        defended = stage(defended)[0]
                with with_defences(classifier, defence), drawn_from(self.clean.seed):
                    scores.append(classifier.predict(images, batch_size=len(images)))
                pictures.append(as_bytes(defended))
                if number - 1 in self.exact:
                    changes.append(np.float16(defended - images))
        confidence = confidences(np.concatenate(scores))
        shape = len(self.defences) + 1, 2, len(chosen)
        arrays = {
            "numbers": chosen.astype(np.int64),
            "labels": split.labels[chosen],
            "worked": worked.astype(np.uint8),
            "images": np.stack(pictures).reshape(*shape, *before.shape[1:]),
            "predicted": np.concatenate(scores).argmax(1).astype(np.int64).reshape(shape),
            "added": np.float16(pair[1] - pair[0]),
            "changes": np.array(changes, dtype=np.float16).reshape(len(self.exact), 2, *before.shape),
        }
        if confidence is not None:
            arrays["confidence"] = confidence.reshape(shape)
        return Artefact({}, arrays)


def confidences(scores: np.ndarray) -> np.ndarray | None:
    """Return the probability that a network gives to what it predicts, float32 (N,); None if it says labels only.

    :param scores: What it returned, (N, K): probabilities, or logits, of which the softmax is taken.
    """
    if np.isin(scores, (0, 1)).all():
        return None
    found = torch.from_numpy(np.asarray(scores, dtype=np.float64))
    if not are_probabilities(found):
        found = found.softmax(1)
    array: np.ndarray = found.amax(1).numpy().astype(np.float32)
    return array
