"""Attacks tried where they have to succeed: through honest defences they do, and what breaks gradients stops them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from art.estimators.classification import PyTorchClassifier
from conftest import tiny_classifier
from fake_defences import Detaches, Draws, Plateau, Reverses, Rounds

from art_denoise import NLMeansDefence, ROFDefence
from art_denoise.defences.chain import with_defences
from art_denoise.evaluation.components import parse_attack, parse_defence
from art_denoise.evaluation.experiment import (
    Condition,
    Experiment,
    Network,
    Section,
    Source,
)
from art_denoise.evaluation.foreign import for_pytorch
from art_denoise.evaluation.passes import passes_of
from art_denoise.evaluation.planted import _layer, _points, try_attack
from art_denoise.evaluation.tried import IMAGES, IMAGES_OF_ASKING, succeeds, tried_rows

SHAPE = (3, 8, 8)

PGD = "best-pgd:max_iter=20,num_random_init=0,knowledge=exact"


@pytest.fixture(scope="module")
def classifier() -> PyTorchClassifier:
    torch.manual_seed(1)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.Softplus(), torch.nn.Flatten(), torch.nn.Linear(512, 6)
    ).eval()
    return PyTorchClassifier(network, torch.nn.CrossEntropyLoss(), SHAPE, 6, clip_values=(-1.0, 1.0), device_type="cpu")


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    return np.random.default_rng(0).uniform(0.3, 0.7, (8, *SHAPE)).astype(np.float32)


def tried(classifier, defence, x, text=PGD, norm="inf", eps=0.1) -> dict:
    threat = parse_attack(text)
    chain = [] if defence is None else [for_pytorch(defence, threat.knowledge.gradient, SHAPE)]
    return try_attack(classifier, threat.attack, chain, x, eps=eps, norm=norm)


@pytest.mark.parametrize(
    "make",
    [lambda: None, lambda: ROFDefence(clip_values=(-1, 1)), lambda: NLMeansDefence(h=0.05, clip_values=(-1, 1)), Draws],
)
@pytest.mark.parametrize("text", [PGD, "square:max_iter=200"])
def test_attacks_find_what_is_planted_behind_an_honest_defence(classifier, x, make, text):
    few = x if text == PGD else x[:3]
    record = tried(classifier, make(), few, text)
    assert record["images"] >= len(few) - 1
    assert record["chance"] < 0.25
    if make is not Draws or text == PGD:
        assert record["found"] == record["images"]
        assert succeeds(record)


@pytest.mark.parametrize("make", [Rounds, Detaches, Plateau, Reverses])
def test_what_breaks_gradients_stops_who_needs_them_and_nobody_else(classifier, x, make):
    exact, identity = tried(classifier, make(), x), tried(classifier, make(), x, PGD.replace("exact", "bpda"))
    assert succeeds(exact) is False
    assert exact["found"] == 0
    assert succeeds(identity)
    # What the attack raised is told of.
    assert ("error" in exact) == (make is Detaches)


def test_in_norm_2(classifier, x):
    record = tried(classifier, ROFDefence(clip_values=(-1, 1)), x, norm="2", eps=1.0)
    assert succeeds(record)


def test_an_attack_that_does_nothing_fails_and_defences_stay(classifier, x):
    own = ROFDefence(clip_values=(-1, 1))
    with with_defences(classifier, [own]):
        record = tried(classifier, None, x, "best-pgd:max_iter=1,eps_step=1,num_random_init=0")
        assert classifier.preprocessing_defences == [own]
    assert succeeds(record) is False


def test_a_network_that_calls_all_the_same_can_be_asked_nothing(x):
    flat = tiny_classifier(SHAPE)
    with torch.no_grad():
        for parameter in flat.model.parameters():
            parameter.zero_()
    record = try_attack(flat, parse_attack(PGD).attack, [], x, eps=0.1)
    assert (record["images"], succeeds(record)) == (0, None)


def test_the_layer_tells_one_point_from_the_others():
    rng = np.random.default_rng(0)
    inside, edge = rng.normal(size=(40, 12)), 4 * rng.normal(size=12)
    # The farther of two.
    weight, threshold = _layer(inside, np.stack([edge / 4, edge]))
    assert (inside @ weight < threshold).all()
    assert edge @ weight > threshold
    # As far apart as said, so that no gradient vanishes.
    assert edge @ weight - (inside @ weight).max() == pytest.approx(8)
    assert _layer(inside, inside.mean(axis=0)[None]) is None


@pytest.mark.parametrize("norm", ["inf", "2"])
def test_points_are_at_the_edge_or_inside(norm):
    image = np.full(SHAPE, 0.5, np.float32)
    rng = np.random.default_rng(0)
    order = np.inf if norm == "inf" else 2

    def sizes(points):
        return np.linalg.norm((points - image).reshape(len(points), -1), ord=order, axis=1)

    assert sizes(_points(image, 0.1, norm, rng, 9)) == pytest.approx(np.full(9, 0.1), rel=1e-4)
    assert sizes(_points(image, 0.1, norm, rng, 9, within=True)).max() <= 0.1 + 1e-6
    assert _points(np.zeros(SHAPE, np.float32), 0.1, norm, rng, 3).min() >= 0


def test_each_attack_is_tried_once_through_each_defence_that_it_knows():
    rof = parse_defence("rof")
    threats = [
        parse_attack(text)
        for text in (
            "random-signs",
            "sgd-uap:knowledge=exact",
            "pgd",
            "pgd:knowledge=exact",
            "pgd:knowledge=exact,eps=4",
            "fgsm:eps=4,knowledge=exact",
            "square:images=5",
        )
    ]
    rows = [Condition(threat, defence) for threat in threats for defence in (parse_defence("none"), rof)]
    net = Network("net")
    asked = Experiment(
        "", net, (Source("net"),), (Section("", (*rows, Condition(threats[3], rof.with_noise("fitted")))),)
    )
    found = tried_rows(asked)
    assert {(row.threat.attack.name, row.defence) for row in found} == {("pgd", rof), ("fgsm", rof), ("square", rof)}
    assert len(found) == 3
    assert sorted(found.values()) == [IMAGES_OF_ASKING, IMAGES, IMAGES]


@pytest.mark.parametrize(
    ("record", "verdict"),
    [
        ({"images": 8, "found": 6, "chance": 0.1}, True),
        ({"images": 8, "found": 5, "chance": 0.1}, False),
        ({"images": 8, "found": 8, "chance": 0.5}, None),
        ({"images": 0, "found": 0, "chance": 0.0}, None),
    ],
)
def test_what_is_made_of_it(record, verdict):
    assert succeeds(record) is verdict


def test_passes_are_counted(classifier, x):
    y = np.eye(6)[[0] * len(x)]
    with passes_of(classifier) as counted:
        classifier.predict(x)
        classifier.loss_gradient(x, y)
        classifier.predict(x[:3])
    assert counted == {"forward": 2 * len(x) + 3, "gradient": len(x)}
    classifier.predict(x)
    assert counted["forward"] == 2 * len(x) + 3
