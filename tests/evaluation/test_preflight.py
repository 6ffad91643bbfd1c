"""A model that is not what it should be is found out before hours of work."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from folders import NETWORK, machine_of, options_of, write_project

from art_denoise.data.sets import Split
from art_denoise.evaluation.options import Options
from art_denoise.evaluation.preflight import _MEAN, _STD, check_model
from art_denoise.evaluation.prepared import Prepared
from art_denoise.models import Model, Recipe

#: Ten classes, each a colour of its own, with noise.
CLASSES = 10


@pytest.fixture(scope="module")
def split() -> Split:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, CLASSES, 150)
    colours = rng.uniform(0.1, 0.9, (CLASSES, 3, 1, 1))
    images = np.clip(colours[labels] + rng.normal(0, 0.03, (150, 3, 6, 6)), 0, 1)
    return Split(np.round(255 * images).astype(np.uint8), labels, "fingerprint")


class Nearest(torch.nn.Module):
    """Tells colours by their distance, having changed its images first, as networks do that standardise them."""

    def __init__(self, split: Split, change, end=lambda z: z) -> None:
        super().__init__()
        means = [split.images[split.labels == k].mean((0, 2, 3)) / 255 for k in range(CLASSES)]
        self.register_buffer("colours", torch.tensor(np.stack(means), dtype=torch.float32))
        self.change, self.end = change, end

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        colour = self.change(x).mean((2, 3))
        return self.end(-50 * torch.cdist(colour, self.colours))


def model_of(network: torch.nn.Module, **kwargs) -> Model:
    return Model(
        "mine.py:net", "mine", "mine", "mine", lambda: network, lambda: network, lambda: "", input_size=6,
        outputs=CLASSES, **kwargs,
    )  # fmt: skip


def check(split: Split, change=lambda x: x, end=lambda z: z, published=None, **kwargs):
    model = model_of(Nearest(split, change, end), **kwargs)
    return check_model(model, model.classifier("cpu"), split, batch_size=32, published=published)


def test_a_good_model(split):
    found = check(split)
    assert found["n"] == 150
    assert found["accuracy"] == pytest.approx(100 * found["correct"] / 150, abs=0.01)
    assert found["accuracy"] > 90
    assert found["differing"] == 0


MEAN, STD = torch.from_numpy(_MEAN), torch.from_numpy(_STD)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x * STD + MEAN, "standardised by ImageNet's mean and standard deviation"),
        (lambda x: (x + 1) / 2, "in -1 to 1"),
        (lambda x: x / 255, "in 0 to 255"),
        (lambda x: x.flip(1), "in the order blue, green, red"),
        (lambda x: (x - MEAN) / STD, "which it seems to make twice"),
    ],
)
def test_a_model_for_another_kind_of_input_is_found_out(split, change, message):
    with pytest.raises(ValueError, match=f"{message}.*let it take RGB in 0 to 1"):
        check(split, change)


def test_of_a_model_with_a_recipe_no_other_input_is_tried(split):
    """torchvision says what its networks take; a bad accuracy is then for another reason."""
    found = check(split, lambda x: x.flip(1), recipe=Recipe((0.0,) * 3, (1.0,) * 3))
    assert found["accuracy"] < 60


@pytest.mark.parametrize(
    ("end", "message"),
    [
        (lambda z: z.softmax(1), "returns probabilities.*take the softmax off"),
        (lambda z: z * float("nan"), "logits that are not finite"),
    ],
)
def test_what_is_no_logit(split, end, message):
    with pytest.raises(ValueError, match=message):
        check(split, end=end)


def test_the_published_accuracy(split):
    assert check(split, published=97.0)["published"] == 97.0
    with pytest.raises(ValueError, match=r"of 150 clean images right, while 60\.0 % is published"):
        check(split, published=60.0)


def test_labels_of_other_classes(split):
    shuffled = Split(split.images, np.random.default_rng(1).permutation(split.labels), "")
    with pytest.raises(ValueError, match=r"no more than by chance.*`classes`"):
        check(shuffled)


def test_of_one_class_alone_nothing_is_concluded(split):
    """The images of one class may be those that a right network is bad at, and another kind of input good at."""
    model = model_of(Nearest(split, lambda x: x.flip(1)))
    for label in range(CLASSES):
        where = split.labels == label
        one = Split(split.images[where], split.labels[where], "")
        found = check_model(model, model.classifier("cpu"), one, batch_size=32, published=99.0)
        assert found["n"] == int(where.sum())


def test_a_network_that_always_says_the_same_is_found_out(split):
    with pytest.raises(ValueError, match=r"calls all of 150 clean images of 10 classes class 2: .*weights loaded"):
        check(split, end=lambda z: 0 * z + 5 * torch.eye(CLASSES)[2])


def test_an_input_that_makes_a_network_always_say_the_same_is_not_believed():
    """Of two classes one is most of the images: who always says that one, is right more often than who looks."""
    labels = np.array([0] * 120 + [1] * 30)
    images = np.full((150, 3, 6, 6), 60, dtype=np.uint8)
    images[labels == 1] = 190
    # A fifth of the common class looks like the other.
    images[:40] = 190
    split = Split(images, labels, "")

    class Bright(torch.nn.Module):
        def forward(self, x):
            brightness = x.mean((1, 2, 3))
            # As bright as no image in 0 to 1 is, it always says the first.
            second = (brightness > 0.5) & (brightness < 1)
            return torch.stack([-second.float(), 3 * second.float() - 1], dim=1)

    model = replace(model_of(Bright()), outputs=2)
    found = check_model(model, model.classifier("cpu"), split, batch_size=32)
    assert found["correct"] == 110


def test_random_weights_have_no_accuracy(split):
    found = check(Split(split.images, (split.labels + 1) % CLASSES, ""), trained=False)
    assert found["accuracy"] is None


def test_a_model_that_draws_at_random(split):
    recipe = Recipe((0.0,) * 3, (1.0,) * 3)
    found = check(split, lambda x: x + 0.3 * torch.randn(len(x), 3, 1, 1), recipe=recipe)
    assert found["differing"] > 0


def checks_of(folder, options: Options) -> dict:
    prepared = Prepared.of(folder / "run", options, machine_of(folder))
    return prepared.checks(prepared.assembly(prepared.setting.source.outline()))


def test_which_networks_are_looked_at_on_which_images(tmp_path):
    write_project(tmp_path)
    own = f"{tmp_path / 'mine.py'}:net"
    asked = options_of(tmp_path, preflight=True, sources=(own, f"{tmp_path / 'mine.py'}:other"))
    checks = checks_of(tmp_path, asked)
    assert {title: check.network.name for title, check in checks.items()} == {
        "mine-net": "mine-net", "mine-other": "mine-other",
    }  # fmt: skip
    # Of few images as many as there are, and nothing is published of them.
    assert {(check.images.purpose, check.images.count) for check in checks.values()} == {("test", 24)}
    assert all(check.otherwise and check.published is None for check in checks.values())
    assert checks_of(tmp_path, replace(asked, preflight=False)) == {}


def test_networks_that_are_trained_here_are_not_looked_at(tmp_path):
    (tmp_path / "mine.py").write_text(NETWORK.replace("Linear(8, 4)", "Linear(8, 19)").replace("near + ", ""))
    assert checks_of(tmp_path, Options()) == {}
    (check,) = checks_of(tmp_path, Options(model=f"{tmp_path / 'mine.py'}:net", sources=("vgg16",))).values()
    # Enough images for it among those that the defence is tuned on.
    assert (check.network.name, check.images.purpose, check.images.count) == ("mine-net", "tune", 152)
