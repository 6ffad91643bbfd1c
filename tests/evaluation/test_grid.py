"""Any defences against any attacks as data: its rows, what is compared, and what there are no rows for."""

from __future__ import annotations

import pytest

from art_denoise.evaluation.components import parse_attack, parse_defence
from art_denoise.evaluation.experiment import Condition, Knowledge, Network, Source
from art_denoise.evaluation.studies import grid

TARGET, OTHER = Network("inception_v1", "IncV1"), Network("vgg16", "VGG16")
SOURCES = (Source(TARGET.key, TARGET.text), Source(OTHER.key, OTHER.text))
ROF, JPEG = parse_defence("rof"), parse_defence("art:JpegCompression")
PGD = [parse_attack(f"pgd:max_iter=10{knows}") for knows in ("", ",knowledge=bpda", ",knowledge=exact")]
SQUARE = parse_attack("square")


def evaluation(sources=SOURCES, attacks=(*PGD, SQUARE), seeds=(0,)):
    return grid.evaluation(TARGET, sources, (TARGET, OTHER), defences=[ROF, JPEG], attacks=attacks, seeds=seeds)


def rows(experiment):
    return {section.title: [condition.text for condition in section.conditions] for section in experiment.sections}


def test_every_defence_meets_every_attack_of_whatever_knowledge():
    experiment = evaluation()
    assert rows(experiment) == {
        "No attack": ["v0", "D_ROF(v0)", "D_JpegCompression(v0)"],
        "With δ_PGD": [
            "v0 + δ_PGD",
            "D_ROF(v0 + δ_PGD)",
            "D_JpegCompression(v0 + δ_PGD)",
            *2 * ["D_ROF(v0 + δ_PGD knowing D_ROF)", "D_JpegCompression(v0 + δ_PGD knowing D_JpegCompression)"],
        ],
        "With δ_Square": [
            "v0 + δ_Square",
            "D_ROF(v0 + δ_Square querying D_ROF)",
            "D_JpegCompression(v0 + δ_Square querying D_JpegCompression)",
        ],
    }
    known = [c.threat.knowledge for c in experiment.sections[1].conditions]
    pairs = (Knowledge.OBLIVIOUS, Knowledge.BPDA, Knowledge.EXACT)
    assert known == [Knowledge.OBLIVIOUS, *(k for k in pairs for _ in range(2))]
    assert (experiment.title, experiment.target, experiment.transfers) == ("Evaluation", TARGET, ())


def test_each_row_of_a_defence_is_compared_with_none_and_with_no_attack():
    experiment = evaluation()
    compared = {(pair.first, pair.second) for pair in experiment.comparisons}
    clean, (_, with_pgd, with_square) = Condition(), experiment.sections
    expected = {(Condition(None, defence), clean) for defence in (ROF, JPEG)}
    for section in (with_pgd, with_square):
        alone, *defended = section.conditions
        assert not alone.defence
        expected |= {(alone, clean), *((row, alone) for row in defended)}
        expected |= {(row, Condition(None, row.defence)) for row in defended}
    assert compared == expected
    assert len(experiment.comparisons) == len(expected)
    assert set(experiment.conditions) >= {row for pair in compared for row in pair}


def test_attacks_that_differ_in_more_than_knowledge_have_rows_of_their_own_under_one_heading():
    stronger = parse_attack("pgd:max_iter=20,knowledge=bpda")
    larger = parse_attack("pgd:max_iter=10,eps=16")
    sections = evaluation(attacks=[*PGD, stronger, larger]).sections
    assert [section.title for section in sections] == ["No attack", f"With {PGD[0].attack.text}"]
    # Each has a row of its own without a defence.
    assert len({row.threat for row in sections[1].conditions if not row.defence}) == 3


def test_what_is_asked_for_twice_is_there_once():
    assert evaluation(attacks=[*PGD, *PGD]) == evaluation(attacks=PGD)
    twice = grid.evaluation(TARGET, SOURCES, (TARGET, OTHER), defences=[ROF, JPEG, ROF], attacks=PGD)
    assert twice == evaluation(attacks=PGD)


def test_who_knows_the_defence_is_undefended_without_knowing_anything():
    alone = evaluation(attacks=PGD[2:]).sections[1].conditions[0]
    assert (alone.threat.knowledge, bool(alone.defence)) == (Knowledge.OBLIVIOUS, False)


def test_each_seed_has_cells_of_its_own():
    cells = evaluation(attacks=PGD, seeds=(3, 4)).cells()
    assert {cell.seed for cell in cells if cell.condition.threat} == {3, 4}
    # Seven rows, two columns, two seeds; three rows without an attack.
    assert len(cells) == 7 * 2 * 2 + 3


def test_what_would_have_to_be_crafted_on_a_file_is_left_out():
    sgd, pgd = parse_attack("sgd-uap"), PGD[0]
    file = Source("mine", "mine", stands_for=sgd.attack)
    experiment = evaluation([file], [sgd, pgd])
    assert list(rows(experiment)) == ["No attack", "With δ_SGD"]
    left = set(experiment.conditions)
    assert all({pair.first, pair.second} <= left for pair in experiment.comparisons)


@pytest.mark.parametrize(
    ("attack", "defences", "expected"),
    [
        ("sgd-uap", [], ["v0 + δ_SGD"]),
        ("sgd-uap", [ROF], ["v0 + δ_SGD", "D_ROF(v0 + δ_SGD)"]),
        ("sgd-uap:knowledge=exact", [ROF], ["D_ROF(v0 + δ_SGD knowing D_ROF)"]),
    ],
)
def test_a_perturbation_by_itself(attack, defences, expected):
    threat = parse_attack(attack)
    experiment = grid.perturbation(TARGET, threat, defences, seed=5)
    clean = ["v0", *("D_ROF(v0)" for _ in defences)]
    assert rows(experiment) == {"No attack": clean, "With δ_SGD": expected}
    # Crafted once, on the target.
    crafted = {(c.condition.threat, c.source, c.seed) for c in experiment.cells() if c.condition.threat}
    assert crafted == {(threat, TARGET.key, 5)}
    assert [(p.first.defence, p.second) for p in experiment.comparisons] == [
        (row.defence, Condition(None, row.defence)) for row in experiment.sections[1].conditions
    ]
