"""Plug-in for pytest: the defences of art_denoise under the names of ART's, and in front of classifiers of images."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import art.defences.preprocessor as preprocessors
import pytest
from art.defences.preprocessor.preprocessor import Preprocessor
from art.estimators.classification import PyTorchClassifier

from art_denoise import NLMeansDefence, ROFDefence

#: The defence that stands for each of ART's.
SUBSTITUTES: dict[str, Callable[..., Preprocessor]] = {
    "TotalVarMin": ROFDefence,
    "SpatialSmoothingPyTorch": ROFDefence,
    "FeatureSqueezing": ROFDefence,
    "SpatialSmoothing": NLMeansDefence,
    "JpegCompression": NLMeansDefence,
}

#: The defence in front of classifiers that are made without any.
IN_FRONT: dict[str, Callable[..., Preprocessor]] = {"rof": ROFDefence, "nl-means": NLMeansDefence}

#: Modules of ART's tests that put defences in front themselves, and compare with the network alone.
_WITH_THEIR_OWN = ("test_pytorch.py", "test_deeplearning_common.py")

#: Parameters that ART's preprocessors share with the defences, and what they are where ART's has none or says None.
_SHARED = {"clip_values": (0.0, 1.0), "channels_first": False, "verbose": False, "device_type": "gpu"}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--defence", choices=["none", *IN_FRONT], default="none", help="stands in place of ART's")


def pytest_configure(config: pytest.Config) -> None:
    # Before any test is imported, as ART's tests import names, not modules.
    defence = config.getoption("--defence")
    if defence != "none":
        for name, substitute in SUBSTITUTES.items():
            original = getattr(preprocessors, name)
            maker = in_place_of(original, substitute)
            setattr(preprocessors, name, maker)
            setattr(inspect.getmodule(original), name, maker)


@pytest.fixture(autouse=True, scope="module")
def in_front(request: pytest.FixtureRequest) -> Iterator[None]:
    """Defend the classifiers that a module of tests makes without a defence."""
    defence = request.config.getoption("--defence")
    with pytest.MonkeyPatch.context() as patch:
        if defence != "none" and request.path.name not in _WITH_THEIR_OWN:
            patch.setattr(PyTorchClassifier, "__init__", _defended_by_default(IN_FRONT[defence]))
        yield


def in_place_of(original: type[Preprocessor], substitute: Callable[..., Preprocessor]) -> Callable[..., Preprocessor]:
    """Return what makes `substitute` when it is called as `original`.

    What both have is handed on; what only ART's has, as a size of windows, says nothing to the other.
    """
    signature = inspect.signature(original)
    # ART's FeatureSqueezing takes any layout, and in these tests (N, C, H, W); its TotalVarMin takes (N, H, W, C).
    usual = _SHARED | {"channels_first": original.__name__ == "FeatureSqueezing"}

    @functools.wraps(original, updated=())
    def make(*args: Any, **kwargs: Any) -> Preprocessor:
        given = signature.bind(*args, **kwargs)
        given.apply_defaults()
        options = usual | {name: value for name, value in given.arguments.items() if value is not None}
        return substitute(**{name: options[name] for name in (*_SHARED, "apply_fit", "apply_predict")})

    return make


def _defended_by_default(defence: Callable[..., Preprocessor]) -> Callable[..., None]:
    """Return an initialiser of PyTorch classifiers with a defence in front of those of images that have none."""
    plain = PyTorchClassifier.__init__
    signature = inspect.signature(plain)

    @functools.wraps(plain)
    def defended(self: PyTorchClassifier, *args: Any, **kwargs: Any) -> None:
        given = signature.bind(self, *args, **kwargs)
        given.apply_defaults()
        options = given.arguments
        if options["preprocessing_defences"] is None and len(options["input_shape"]) == 3:
            clip_values = (0.0, 1.0) if options["clip_values"] is None else options["clip_values"]
            options["preprocessing_defences"] = defence(
                clip_values=clip_values, channels_first=options["channels_first"]
            )
        plain(*given.args, **given.kwargs)

    return defended
