"""What a defence takes: slow ones take longer, those that keep much take memory, and what has no gradient says so."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from conftest import tiny_classifier
from fake_defences import Detaches, Fake
from folders import machine_of, options_of, write_project
from results_by_hand import JPEG, ROF, results

from art_denoise.defences.chain import with_defences
from art_denoise.evaluation.cost import IMAGES, measure_cost
from art_denoise.evaluation.defence import evaluate_defence
from art_denoise.evaluation.from_options import evaluation
from art_denoise.evaluation.report import all_tables
from art_denoise.evaluation.report.table import Missing
from art_denoise.evaluation.results import Results
from art_denoise.evaluation.run import run

SHAPE = (3, 16, 16)


class Slow(Fake):
    """Takes a twentieth of a second, and 200 megabytes that it forgets."""

    def change(self, x):
        time.sleep(0.05)
        self.size = float(torch.ones(200_000_000 // 4).sum())
        return x * 1


@pytest.fixture
def x() -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 1, (IMAGES, *SHAPE)).astype(np.float32)


def test_time_and_memory_are_those_of_the_defence(x):
    classifier, own = tiny_classifier(SHAPE), Detaches()
    with with_defences(classifier, [own]):
        record = measure_cost(classifier, [Slow()], x)
        assert classifier.preprocessing_defences == [own]
    assert record["images"] == IMAGES
    for slow, alone in (("forward", "network"), ("gradient", "network_gradient")):
        assert record[slow] - record[alone] >= 0.05 / IMAGES
    # Where it can be seen.
    assert record["memory"] is None or 0.5 < record["memory"] * IMAGES / 200_000_000 < 2
    nothing = measure_cost(classifier, [Detaches()], x)
    assert nothing["gradient"] is None
    assert nothing["forward"] > 0


def test_the_table():
    record = {"images": 8, "network": 0.01, "forward": 0.0125, "network_gradient": 0.03, "gradient": 0.036}
    found = results(
        costs={
            ROF: record | {"memory": 2_000_000},
            JPEG: record | {"gradient": None, "network_gradient": None, "memory": None},
        }
    )
    (table,) = all_tables(found)["costs"]
    rof, jpeg = table.rows
    assert [value.value for value in rof.values] == pytest.approx([10, 2.5, 30, 6, 2])
    assert all(isinstance(value, Missing) for value in jpeg.values[2:])
    assert "costs" not in all_tables(results())


def test_only_if_it_is_asked_for(x):
    classifier = tiny_classifier(SHAPE)
    y = classifier.predict(x).argmax(axis=1)
    arguments = {"eps": 0.1, "attacks": ["random-signs"], "verbose": False}
    found = evaluate_defence(classifier, Slow(), x, y, costs=True, **arguments)
    ((defence, record),) = found.costs.items()
    assert defence.text == "D_Slow"
    assert record["forward"] > record["network"]
    assert not evaluate_defence(classifier, Slow(), x, y, **arguments).costs


@pytest.mark.long
def test_in_a_run(tmp_path):
    project = write_project(tmp_path)
    options = options_of(project, defences=("rof", "noise+rof"), attacks=("random-signs",), costs=True)
    found = run(project / "run", options, machine_of(project), evaluation)
    assert [defence.text for defence in found.costs] == ["D_ROF"]
    # Once measured it stays.
    assert Results.load(project / "run").costs == found.costs
    assert run(project / "run", options, machine_of(project), evaluation).costs == found.costs
