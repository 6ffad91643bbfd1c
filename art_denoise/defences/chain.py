"""Several preprocessors as one, and which an estimator has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from art.defences.preprocessor import Preprocessor
from art.defences.preprocessor.preprocessor import PreprocessorPyTorch

from art_denoise.defences._parameters import Parameterised
from art_denoise.defences.adapters import Adapter, as_float32, as_pytorch, pull_back

if TYPE_CHECKING:
    from art.utils import CLASSIFIER_TYPE


class Compose(Parameterised, PreprocessorPyTorch):
    """Apply preprocessors one after the other, as one preprocessor with the right gradient on every estimator.

    ART refuses most lists of preprocessors on PyTorch and TensorFlow estimators, and on all others (scikit-learn,
    Keras, black boxes) its backward pass hands the *unprocessed* input to every preprocessor (its issue #485), so that
    the gradient of two or more is wrong. `preprocessing_defences=Compose([SpatialSmoothing(), ROFDefence()])` is one
    preprocessor to ART; each stage is differentiated where it was applied.

    :param preprocessors: Preprocessors in order, for PyTorch or NumPy, at least one. NumPy's are differentiated by
        their own `estimate_gradient`: for most of ART's the identity.
    :raises TypeError: If one of them is no preprocessor.
    :raises ValueError: If there is none, or they do not agree on `apply_fit` and `apply_predict`: ART applies one
        preprocessor either whole or not at all.

    Example::

        >>> import numpy as np
        >>> from art.defences.preprocessor import SpatialSmoothing
        >>> from art.estimators.classification import BlackBoxClassifier
        >>> from art_denoise import Compose, ROFDefence
        >>> classifier = BlackBoxClassifier(
        ...     lambda x: np.eye(2)[(x.mean(axis=(1, 2, 3)) > 0.5).astype(int)],  # or what asks a remote service
        ...     input_shape=(3, 32, 32),
        ...     nb_classes=2,
        ...     clip_values=(0, 1),
        ...     preprocessing_defences=Compose([SpatialSmoothing(channels_first=True), ROFDefence()]),
        ... )
        >>> classifier.predict(np.full((4, 3, 32, 32), 0.8, dtype=np.float32)).argmax(axis=1).tolist()
        [1, 1, 1, 1]
    """

    params: ClassVar[list[str]] = ["preprocessors"]

    def __init__(self, preprocessors: Sequence[Preprocessor]) -> None:
        self.preprocessors = preprocessors
        self._check_now_and_when_set()
        super().__init__(device_type="cpu")

    @property
    def apply_fit(self) -> bool:
        """Whether ART applies the stages while a model is trained: as they say."""
        return self.preprocessors[0].apply_fit

    @property
    def apply_predict(self) -> bool:
        """Whether ART applies the stages at prediction: as they say."""
        return self.preprocessors[0].apply_predict

    @property
    def is_fitted(self) -> bool:
        """Whether every stage is fitted."""
        return all(preprocessor.is_fitted for preprocessor in self.preprocessors)

    def fit(self, x: np.ndarray, y: np.ndarray | None = None, **kwargs: Any) -> None:
        """Fit each stage, with the same further arguments, to what the stages before it make of `x` and `y`."""
        for preprocessor in self.preprocessors:
            preprocessor.fit(x, y, **kwargs)
            x, y = preprocessor(x, y)

    def forward(self, x: torch.Tensor, y: Any | None = None) -> tuple[torch.Tensor, Any | None]:
        """Apply the stages to a tensor; autograd differentiates through all of them."""
        for preprocessor in self.preprocessors:
            x, y = as_pytorch(preprocessor).forward(x, y)
        return x, y

    def __call__(self, x: np.ndarray, y: Any | None = None) -> tuple[np.ndarray, Any | None]:
        """Apply the stages to an array; the result is float32."""
        x = as_float32(x)
        for preprocessor in self.preprocessors:
            x, y = preprocessor(x, y)
        return as_float32(x), y

    def estimate_gradient(self, x: np.ndarray, grad: np.ndarray) -> np.ndarray:
        """Propagate a gradient back through the stages, each at the input it had.

        :param x: Input of the first stage.
        :param grad: Gradient with respect to the output of the last, or with one more axis, for the classes, after the
            first.
        :return: Gradient with respect to `x`, of the shape of `grad`.
        """
        inputs = [as_float32(x)]
        for preprocessor in self.preprocessors[:-1]:
            inputs.append(as_float32(preprocessor(inputs[-1])[0]))
        for preprocessor, stage_input in zip(reversed(self.preprocessors), reversed(inputs), strict=True):
            grad = pull_back(preprocessor, stage_input, grad)
        return grad

    def _check_params(self) -> None:
        if not isinstance(self.preprocessors, (list, tuple)) or not self.preprocessors:
            raise ValueError(f"`preprocessors` must be a list of at least one, got {self.preprocessors!r}")
        for preprocessor in self.preprocessors:
            if not isinstance(preprocessor, Preprocessor):
                raise TypeError(f"`preprocessors` must be ART preprocessors, got {preprocessor!r}")
        for flag in ("apply_fit", "apply_predict"):
            if len({getattr(preprocessor, flag) for preprocessor in self.preprocessors}) > 1:
                values = ", ".join(f"{type(p).__name__} {getattr(p, flag)}" for p in self.preprocessors)
                raise ValueError(
                    f"`preprocessors` must agree on `{flag}`, got {values}: set it alike, or keep the one that differs "
                    "out of the composition, as an element of the list of its own"
                )


def defences_of(classifier: CLASSIFIER_TYPE) -> list[Preprocessor]:
    """Return the preprocessing defences of a classifier as a list."""
    defences = classifier.preprocessing_defences
    if defences is None:
        return []
    return list(defences) if isinstance(defences, (list, tuple)) else [defences]


def defences_after(defence: Preprocessor, chain: Sequence[Preprocessor]) -> list[Preprocessor] | None:
    """Return what follows a defence in a chain, in which it may be adapted or composed; None if it is not there."""
    for i, stage in enumerate(chain):
        following = list(chain[i + 1 :])
        if stage is defence:
            return following
        if isinstance(stage, Adapter) and defences_after(defence, [stage.preprocessor]) is not None:
            return following
        if isinstance(stage, Compose):
            inside = defences_after(defence, stage.preprocessors)
            if inside is not None:
                return ([Compose(inside)] if inside else []) + following
    return None


@contextmanager
def with_defences(classifier: CLASSIFIER_TYPE, defences: Sequence[Preprocessor]) -> Iterator[None]:
    """Give a classifier these preprocessing defences, and put its own back afterwards."""
    before = classifier.preprocessing_defences
    try:
        classifier.set_params(preprocessing_defences=list(defences))
        yield
    finally:
        classifier.set_params(preprocessing_defences=before)
