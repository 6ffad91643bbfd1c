"""Plug-in for pytest: ART's tests find their fixtures here, as the source distribution has no conftest.py at its root.

Names and shapes of the fixtures are those that ART's tests ask for; the only framework is PyTorch.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import art.defences.preprocessor as preprocessors
import art.utils
import numpy as np
import pytest
import torch
from art.data_generators import PyTorchDataGenerator

from nightly.art_suite import data

art.utils.load_mnist = data.in_place_of_mnist
art.utils.load_cifar10 = data.in_place_of_cifar10

FRAMEWORK = "pytorch"

Images = tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def pytest_configure(config: pytest.Config) -> None:
    data.write_files(Path(config.rootpath))
    for marker in ("framework_agnostic", "only_with_platform", "skip_framework", "skip_module", "skip_travis"):
        config.addinivalue_line("markers", f"{marker}: a marker of ART's tests")


_ELSEWHERE = re.compile(r"keras|_kr\b|tensor_?flow|_tf\b|tfv2|scikit|sklearn|iris|tabular|gpy|krclassifier", re.I)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is for other frameworks, as its markers or its name say."""
    kept = [item for item in items if is_for_pytorch(item) and not _ELSEWHERE.search(item.name)]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept


def is_for_pytorch(item: pytest.Item) -> bool:
    """Whether a test of ART's is meant for PyTorch, as its markers say."""
    only = item.get_closest_marker("only_with_platform")
    skipped = item.get_closest_marker("skip_framework")
    return (only is None or FRAMEWORK in only.args) and (
        skipped is None or not {FRAMEWORK, "dl_frameworks"} & set(skipped.args)
    )


@pytest.fixture(scope="session")
def framework() -> str:
    return FRAMEWORK


@pytest.fixture
def art_warning() -> Callable[[Exception], None]:
    """ART's tests hand it the exception of a fixture that is not made for this framework."""

    def skip(exception: Exception) -> None:
        pytest.skip(f"ART's fixture is not made for PyTorch: {exception}")

    return skip


@pytest.fixture(scope="session")
def default_batch_size() -> int:
    return 16


@pytest.fixture(scope="session")
def default_dataset_subset_sizes() -> tuple[int, int]:
    return 1000, 100


@pytest.fixture
def mnist_shape() -> tuple[int, int, int]:
    return 1, 28, 28


@pytest.fixture
def cifar10_shape() -> tuple[int, int, int]:
    return 3, 32, 32


def _unchanged(data_set: Images) -> Iterator[Images]:
    """Yield copies, and make sure afterwards that the test did not write to them, as ART's own fixtures do."""
    copies = tuple(tuple(array.copy() for array in part) for part in data_set)
    yield copies  # type: ignore[misc]
    for part, copied in zip(data_set, copies, strict=True):
        for array, copy in zip(part, copied, strict=True):
            np.testing.assert_array_equal(array, copy)


def _channels_first(data_set: data.DataSet) -> Images:
    (x_train, y_train), (x_test, y_test), _, _ = data_set
    return (x_train.transpose(0, 3, 1, 2), y_train), (x_test.transpose(0, 3, 1, 2), y_test)


def _first(data_set: Images, train: int, test: int) -> Images:
    (x_train, y_train), (x_test, y_test) = data_set
    return (x_train[:train], y_train[:train]), (x_test[:test], y_test[:test])


@pytest.fixture
def get_mnist_dataset() -> Iterator[Images]:
    yield from _unchanged(_channels_first(data.in_place_of_mnist()))


@pytest.fixture
def get_cifar10_dataset() -> Iterator[Images]:
    yield from _unchanged(_channels_first(data.in_place_of_cifar10()))


@pytest.fixture
def get_default_mnist_subset(get_mnist_dataset: Images, default_dataset_subset_sizes: tuple[int, int]) -> Images:
    return _first(get_mnist_dataset, *default_dataset_subset_sizes)


@pytest.fixture
def get_default_cifar10_subset(get_cifar10_dataset: Images, default_dataset_subset_sizes: tuple[int, int]) -> Images:
    return _first(get_cifar10_dataset, *default_dataset_subset_sizes)


@pytest.fixture
def image_iterator(get_default_mnist_subset: Images, default_batch_size: int) -> Callable[[], Any]:
    (x, y), _ = get_default_mnist_subset
    images = torch.utils.data.TensorDataset(torch.from_numpy(x), torch.from_numpy(y))
    return lambda: torch.utils.data.DataLoader(images, batch_size=default_batch_size, shuffle=True)


@pytest.fixture
def image_data_generator(image_iterator: Callable[[], Any], default_batch_size: int) -> Callable[..., Any]:
    iterator = image_iterator()
    return lambda **_: PyTorchDataGenerator(iterator, size=len(iterator.dataset), batch_size=default_batch_size)


@pytest.fixture
def image_dl_estimator() -> Callable[..., Any]:
    """Maker of the image classifier of ART's tests, and of nothing, the session of TensorFlow."""
    from tests.utils import get_image_classifier_pt, get_image_classifier_pt_functional

    def make(functional: bool = False, wildcard: bool = False, **options: Any) -> tuple[Any, None]:
        if wildcard:
            pytest.skip("ART's tests have no PyTorch classifier of any input shape")
        return (get_image_classifier_pt_functional if functional else get_image_classifier_pt)(**options), None

    return make


@pytest.fixture
def image_dl_estimator_defended(image_dl_estimator: Callable[..., Any]) -> Callable[..., Any]:
    kinds = {
        "FeatureSqueezing": lambda: preprocessors.FeatureSqueezing(bit_depth=2, clip_values=(0, 1)),
        "JpegCompression": lambda: preprocessors.JpegCompression(
            clip_values=(0, 1), channels_first=True, apply_predict=True
        ),
        "SpatialSmoothing": lambda: preprocessors.SpatialSmoothing(channels_first=True),
    }

    def make(one_classifier: bool = False, defenses: Any = ("FeatureSqueezing",), **options: Any) -> tuple[Any, None]:
        classifier, _ = image_dl_estimator(**options)
        classifier.set_params(preprocessing_defences=[kinds[name]() for name in defenses])
        return classifier, None

    return make


@pytest.fixture
def image_dl_estimator_for_attack(
    image_dl_estimator: Callable[..., Any], image_dl_estimator_defended: Callable[..., Any]
) -> Callable[..., Any]:
    def make(attack: Any, defended: bool = False, **options: Any) -> Any:
        classifier, _ = (image_dl_estimator_defended if defended else image_dl_estimator)(**options)
        if not all(kind in type(classifier).__mro__ for kind in attack._estimator_requirements):
            pytest.skip(f"{attack.__name__} does not take the PyTorch classifier of ART's tests")
        return classifier

    return make


@pytest.fixture
def estimator_for_attack() -> Callable[..., Any]:
    from tests.utils import get_attack_classifier_pt

    return get_attack_classifier_pt


@pytest.fixture
def create_test_dir() -> Iterator[str]:
    folder = tempfile.mkdtemp()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def store_expected_values() -> Callable[..., None]:
    return lambda *_, **__: pytest.fail("a test of ART's wrote expected values")


@pytest.fixture
def expected_values(request: pytest.FixtureRequest) -> Callable[[], Any]:
    """Reader of the values that ART keeps in the file beside the test: those of PyTorch, or of all frameworks."""
    values = json.loads(request.path.with_suffix(".json").read_text(encoding="utf-8"))
    name = request.node.name
    for key in (f"{name}_{FRAMEWORK}", name):
        if key in values:
            return lambda: values[key]
    return lambda: pytest.skip("ART's tests have no expected values of PyTorch")


def _no_losses() -> list[str]:
    return pytest.skip("ART's tests have one loss for PyTorch")


@pytest.fixture
def supported_losses_types() -> Callable[[], list[str]]:
    return _no_losses


@pytest.fixture
def supported_losses_logit() -> Callable[[], list[str]]:
    return _no_losses


@pytest.fixture
def supported_losses_proba() -> Callable[[], list[str]]:
    return _no_losses
