"""Which defences an estimator has, for the length of a block."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from art.defences.preprocessor import Preprocessor
    from art.utils import CLASSIFIER_TYPE


def defences_of(classifier: CLASSIFIER_TYPE) -> list[Preprocessor]:
    """Return the preprocessing defences of a classifier as a list."""
    defences = classifier.preprocessing_defences
    if defences is None:
        return []
    return list(defences) if isinstance(defences, (list, tuple)) else [defences]


@contextmanager
def with_defences(classifier: CLASSIFIER_TYPE, defences: Sequence[Preprocessor]) -> Iterator[None]:
    """Give a classifier these preprocessing defences, and put its own back afterwards."""
    before = classifier.preprocessing_defences
    try:
        classifier.set_params(preprocessing_defences=list(defences))
        yield
    finally:
        classifier.set_params(preprocessing_defences=before)
