"""Where tasks are done: networks that are built once, images that have not changed, and what was kept on the way."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from conftest import tiny_classifier

from art_denoise import Perturbation
from art_denoise.data.sets import ImageSet, Split
from art_denoise.data.splits import fingerprint
from art_denoise.evaluation.added import artefact_of
from art_denoise.evaluation.artefact import Artefact
from art_denoise.evaluation.graph import Environment, Network
from art_denoise.evaluation.images import Images
from art_denoise.evaluation.workplace import Stores, Workplace
from art_denoise.models import Model

HERE = Environment("cpu", "2.0", 1)


@dataclass(frozen=True)
class Work:
    """All that stores and workplaces know of a task."""

    key: str = "0123456789abcdef"
    folder: str = "weights"
    of_run: bool = True
    title: str = "Do something"


@dataclass
class Built:
    """A model that counts how often it is built."""

    name: str
    count: int = 0
    networks: list = field(default_factory=list)

    def make(self) -> torch.nn.Module:
        self.count += 1
        return tiny_classifier().model

    @property
    def model(self) -> Model:
        return Model(
            self.name, self.name, self.name, self.name, self.make, self.make, lambda: "", input_size=8, outputs=4
        )


def network(name: str, weights=None) -> Network:
    return Network(name, name, "art_denoise.models.find", HERE, weights)


def image_set(count: int = 6) -> ImageSet:
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (count, 3, 8, 8), dtype=np.uint8), rng.integers(0, 4, count)
    return ImageSet("pictures", "picture", {"test": Split(images, labels, fingerprint(images, labels))}, dict)


@pytest.fixture
def models():
    return {name: Built(name) for name in ("target", "one", "two")}


@pytest.fixture
def workplace(tmp_path, models):
    stores = Stores(tmp_path / "run", tmp_path / "cache")
    given = {"theirs": Perturbation(np.full((3, 8, 8), 0.1, dtype=np.float32))}
    built = {name: model.model for name, model in models.items()}
    return Workplace(image_set(), built, given, "target", stores, device_type="cpu")


def test_what_is_for_all_runs_is_kept_for_all_runs(tmp_path):
    stores = Stores(tmp_path / "run", tmp_path / "cache")
    of_run, for_all = Work(), Work(of_run=False)
    stores.of(of_run).write(of_run, Artefact({"of": "run"}))
    assert of_run in stores
    assert for_all not in stores
    assert (tmp_path / "run" / "weights" / f"{of_run.key}.safetensors").is_file()
    stores.of(for_all).write(for_all, Artefact({"of": "all"}))
    assert for_all in Stores(tmp_path / "another run", tmp_path / "cache")
    assert of_run not in Stores(tmp_path / "another run", tmp_path / "cache")


def test_the_target_is_kept_and_of_others_the_last(workplace, models):
    for name in ("target", "one", "one", "target", "two", "target", "two"):
        workplace.classifier(network(name))
    assert {name: model.count for name, model in models.items()} == {"target": 1, "one": 1, "two": 1}
    workplace.classifier(network("one"))
    assert models["one"].count == 2
    assert workplace.classifier(network("target")) is workplace.classifier(network("target"))


def test_the_same_network_in_half_precision(workplace, models):
    whole, half = (workplace.classifier(network("one"), half=half) for half in (False, True))
    assert models["one"].count == 1
    x = np.random.default_rng(0).uniform(0, 1, (4, 3, 8, 8)).astype(np.float32)
    assert not np.array_equal(whole.predict(x), half.predict(x))
    np.testing.assert_allclose(whole.predict(x), half.predict(x), atol=0.1)
    assert workplace.classifier(network("one"), half=True) is half


def test_a_network_that_is_trained_has_the_weights_that_were_kept(workplace):
    training = Work(of_run=False)
    trained = tiny_classifier(seed=5).model
    state = {name: value.numpy() for name, value in trained.state_dict().items()}
    workplace.stores.of(training).write(training, Artefact({}, state))
    x = np.random.default_rng(0).uniform(0, 1, (4, 3, 8, 8)).astype(np.float32)
    found = workplace.classifier(network("one", training)).predict(x)
    np.testing.assert_allclose(found, tiny_classifier(seed=5).predict(x), rtol=1e-5)


def test_images_that_have_changed_are_told_of(workplace):
    there = image_set().test
    known = Images("test", there.fingerprint, 6, (3, 8, 8))
    assert workplace.split(known).images.tobytes() == there.images.tobytes()
    assert workplace.image_shape == (3, 8, 8)
    with pytest.raises(ValueError, match="the images for test have changed while the run was going on: start it again"):
        workplace.split(Images("test", "others", 6, (3, 8, 8)))


def test_what_a_task_made_is_found_or_told_of(workplace):
    task = Work()
    with pytest.raises(LookupError, match="the result of “Do something” is gone: start the run again"):
        workplace.artefact(task)
    made = Perturbation(np.full((3, 8, 8), 0.25, dtype=np.float32), seed=2)
    workplace.stores.of(task).write(task, artefact_of(made))
    assert workplace.perturbation(task).seed == 2
    np.testing.assert_array_equal(workplace.perturbation(task).array, made.array)
    assert workplace.given("theirs").array[0, 0, 0] == np.float32(0.1)


def test_how_many_images_at_once(tmp_path, workplace, models):
    assert workplace.batch_size(network("one")) == 6  # all there are
    given = Workplace(image_set(), {}, {}, "target", workplace.stores, device_type="cpu", batch_size=3)
    assert given.batch_size(network("one")) == 3


def test_what_was_kept_on_the_way(workplace):
    task = Work()
    assert workplace.so_far(task) is None
    workplace.keep_so_far(task, Artefact({"seconds": 1.0}, {"labels": np.arange(3)}))
    assert workplace.so_far(task).arrays["labels"].tolist() == [0, 1, 2]
    assert workplace.so_far(Work(key="fedcba9876543210")) is None
    # When it is done, it is no longer needed.
    workplace.stores.of(task).write(task, Artefact({}))
    assert workplace.so_far(task) is None


@pytest.mark.parametrize("cut", [0, 5, 60, -1])
def test_what_was_kept_and_cannot_be_read_is_set_aside(workplace, cut):
    task = Work()
    workplace.keep_so_far(task, Artefact({"seconds": 1.0}, {"labels": np.arange(100)}))
    file = workplace.checkpoint(task)
    content = file.read_bytes()
    file.write_bytes(content[:cut])
    with pytest.warns(RuntimeWarning, match=r"checkpoint is damaged .* computed anew"):
        assert workplace.checkpoint(task) == file
    assert not file.exists()
    assert workplace.so_far(task) is None
    # A whole file with one bit that is another is known by its digest.
    changed = bytearray(content)
    changed[-1] ^= 4
    file.write_bytes(changed)
    with pytest.warns(RuntimeWarning, match="its content is not what was written"):
        assert workplace.so_far(task) is None
    assert not file.exists()
