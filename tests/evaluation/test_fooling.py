"""Fooling rates, the ways round of a perturbation, and the transfer matrix."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from art.estimators.classification import PyTorchClassifier
from conftest import tiny_classifier

from art_denoise import SGDUAP, Perturbation, ROFDefence
from art_denoise.evaluation.fooling import craft_on_each, fooling, orientations, transfer_matrix
from art_denoise.evaluation.report import renderers
from art_denoise.evaluation.report.figures import save_transfer
from art_denoise.evaluation.studies.published import PUBLISHED

SHAPE = (3, 8, 8)


@pytest.fixture
def x() -> np.ndarray:
    return np.random.default_rng(1).uniform(0, 1, (24, *SHAPE)).astype(np.float32)


def test_fooling_is_a_changed_label_of_a_clipped_image(x):
    defended = tiny_classifier(
        SHAPE, clip_values=(0, 255), preprocessing_defences=[ROFDefence(0.05, clip_values=(0, 255))]
    )
    v = Perturbation(np.random.default_rng(2).choice([-0.2, 0.2], SHAPE).astype(np.float32))
    images = 255 * x
    labels = defended.predict(images).argmax(1)
    changed = defended.predict(np.clip(images + 255 * v.array, 0, 255)).argmax(1) != labels
    share = fooling(defended, v, images)
    assert (share.count, share.n) == (changed.sum(), 24)
    assert 0 < share.count < 24
    with pytest.raises(ValueError, match=r"the perturbation is \(3, 4, 4\), the classifier takes \(3, 8, 8\).*size="):
        fooling(defended, Perturbation(np.ones((3, 4, 4), dtype=np.float32)), images)


class Template(torch.nn.Module):
    """Two classes: whether an image is more like a template than not."""

    def __init__(self, template: np.ndarray) -> None:
        super().__init__()
        self.template = torch.nn.Parameter(torch.from_numpy(template))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        score = ((x - 0.5) * self.template).flatten(1).sum(1)
        return torch.stack([score, -score], dim=1)


@pytest.mark.parametrize("turned", range(16))
def test_the_right_way_round_is_found(turned):
    """A classifier that looks for one pattern, and that pattern turned in each of the sixteen ways."""
    template = np.random.default_rng(3).normal(size=SHAPE).astype(np.float32)
    x = np.random.default_rng(4).uniform(0, 1, (100, *SHAPE)).astype(np.float32)
    classifier = PyTorchClassifier(
        Template(template), torch.nn.CrossEntropyLoss(), SHAPE, 2, clip_values=(0, 1), device_type="cpu"
    )
    array = 0.04 * np.sign(template)
    if turned % 2:
        array = array[::-1]
    if turned // 2 % 2:
        array = array.swapaxes(1, 2)
    array = np.rot90(array, turned // 4, axes=(1, 2))
    ways = orientations(classifier, Perturbation(array.copy()), x, verbose=False)
    assert len({way.name for way in ways}) == 16
    assert [way.fooled.count for way in ways] == sorted((way.fooled.count for way in ways), reverse=True)
    np.testing.assert_array_equal(ways[0].perturbation.array, 0.04 * np.sign(template))
    assert ways[0].fooled.count > ways[1].fooled.count
    assert ways[0].p_value == 1
    assert ways[-1].p_value < 0.05
    if turned == 0:
        assert ways[0].name == "as it is"


def test_only_the_ways_that_fit(x):
    wide = tiny_classifier((1, 8, 6))
    v = Perturbation(np.ones((1, 8, 6), dtype=np.float32) * 0.1)
    images = np.random.default_rng(4).uniform(0, 1, (5, 1, 8, 6)).astype(np.float32)
    names = {way.name for way in orientations(wide, v, images, verbose=False)}
    assert names == {"as it is", "flipped left to right", "flipped upside down", "turned by 180°"}


@pytest.fixture
def matrix(x):
    classifiers = {name: tiny_classifier(SHAPE, seed=seed) for seed, name in enumerate(("inception_v1", "mine"))}
    perturbations = craft_on_each(
        classifiers, lambda classifier: SGDUAP(classifier, max_iter=2, eps=0.1, verbose=False), x[:12]
    )
    assert [p.source for p in perturbations.values()] == ["inception_v1", "mine"]
    targets = {**classifiers, "vgg16": tiny_classifier(SHAPE, seed=7)}
    return perturbations, targets, transfer_matrix(perturbations, targets, x[12:], published=PUBLISHED, verbose=False)


def test_transfer_matrix(x, matrix):
    perturbations, targets, found = matrix
    assert found.sources == ["inception_v1", "mine"]
    assert found.targets == ["inception_v1", "mine", "vgg16"]
    for source, perturbation in perturbations.items():
        for target, classifier in targets.items():
            assert found.shares[source][target] == fooling(classifier, perturbation, x[12:])
    records = {(r["source"], r["target"]): r for r in found.records()}
    assert [key for key, record in records.items() if record["white_box"]] == [("inception_v1",) * 2, ("mine",) * 2]
    assert records["inception_v1", "vgg16"]["published"] == 39.2
    assert records["mine", "vgg16"]["published"] is None


def test_the_matrix_is_a_table(matrix):
    found = matrix[2]
    table = found.table("My models", {"mine": "Mine"})
    assert [row.name.text for row in table.rows] == ["inception_v1", "Mine"]
    assert [column.name.text for column in table.columns] == ["inception_v1", "Mine", "vgg16"]
    assert [[v.share for v in row.values] for row in table.rows] == [
        [found.shares[s][t] for t in found.targets] for s in found.sources
    ]
    assert [v.marked for v in table.values] == [True, False, False, False, True, False]
    assert [v.published for v in table.values] == [78.9, None, 39.2, None, None, None]
    assert table.legend.published == "Moosavi-Dezfooli et al. (2017) on ImageNet"
    for name in renderers.names():
        assert "Mine" in renderers.renderer(name).render([table])


def test_the_matrix_as_markdown(matrix):
    text = matrix[2].markdown()
    records = {(r["source"], r["target"]): r for r in matrix[2].records()}
    # White-box, with a star.
    assert f"| **{records['mine', 'mine']['fooling_rate']:.1f}**\\* " in text
    assert "(39.2) |" in text
    assert sum(line.startswith("|") for line in text.splitlines()) == 4


def test_heat_map(matrix, tmp_path):
    save_transfer(matrix[2].table(names={"mine": "Mine"}), tmp_path / "new" / "map.png")
    assert (tmp_path / "new" / "map.png").read_bytes().startswith(b"\x89PNG")


def test_nothing_to_score_is_refused(x):
    with pytest.raises(ValueError, match="must not be empty"):
        transfer_matrix({}, {"a": tiny_classifier(SHAPE)}, x)


def test_the_published_figures():
    """Moosavi-Dezfooli et al. (2017), Table 2: white-box rates, and one of transfer."""
    assert {name: PUBLISHED[name][name] for name in PUBLISHED} == {
        "vgg_f": 93.7,
        "caffenet": 93.3,
        "inception_v1": 78.9,
        "vgg16": 78.3,
        "vgg19": 77.8,
        "resnet152": 84.0,
    }
    assert PUBLISHED["vgg19"]["inception_v1"] == 53.6
