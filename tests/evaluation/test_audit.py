"""What attacks did to each other shows which figures cannot be believed: each rule is raised by what it is about."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from results_by_hand import CLEAN, JPEG, OTHER, SIGNS, SOURCES, TARGET, UAP, N, experiment, labels_with, results

from art_denoise.evaluation.audit import Flag, flags
from art_denoise.evaluation.components import parse_attack
from art_denoise.evaluation.experiment import NOTHING, Cell, Condition, Defence, Section, Threat
from art_denoise.evaluation.report import render
from art_denoise.evaluation.results import Images

PGD, FGSM, SQUARE = (parse_attack(text) for text in ("pgd:max_iter=10", "fgsm", "square:knowledge=black-box"))
PGD_BPDA, PGD_EXACT = (parse_attack(f"pgd:max_iter=10,knowledge={known}") for known in ("bpda", "exact"))


def of(right: dict[tuple[Threat | None, Defence], np.ndarray], **changes: object):
    """Return results in which each attack on each defence has left the labels that are given, on the target itself."""
    rows = tuple(Condition(threat, defence) for threat, defence in right)
    asked = experiment(sources=SOURCES[:1], sections=(Section("", rows),), comparisons=(), transfers=(), sweeps=())
    labels = {}
    for condition, found in zip(rows, right.values(), strict=True):
        for cell in asked.cells_of(condition):
            labels[cell] = found
    return results(asked, labels, **changes)


def rules(found: tuple[Flag, ...]) -> list[str]:
    return [flag.rule for flag in found]


#: By rule: what the attacks did where it is raised, and where it is not.
HONEST = {
    (None, NOTHING): labels_with(190),
    (SIGNS, JPEG): labels_with(180),
    (PGD, NOTHING): labels_with(10),
    (FGSM, NOTHING): labels_with(60),
    (PGD, JPEG): labels_with(150),
    (PGD_BPDA, JPEG): labels_with(60),
    (PGD_EXACT, JPEG): labels_with(10),
    (SQUARE, JPEG): labels_with(40),
}


def test_honest_figures_raise_nothing():
    assert flags(of(HONEST)) == ()


@pytest.mark.parametrize(
    ("changed", "rule", "doubted", "because"),
    [
        ({(SQUARE, JPEG): labels_with(9)}, "An attack without the gradients", PGD_EXACT, SQUARE),
        ({(SIGNS, JPEG): labels_with(120)}, "Random noise of the same size", PGD, SIGNS),
        ({(PGD, JPEG): labels_with(0)}, "Attackers who ignore the defence", PGD_EXACT, PGD),
        ({(PGD_BPDA, JPEG): labels_with(0)}, "The identity in the place", PGD_EXACT, PGD_BPDA),
        ({(FGSM, NOTHING): labels_with(0)}, "One step does more harm than many", PGD, FGSM),
    ],
)
def test_each_rule_is_raised_by_what_it_is_about(changed, rule, doubted, because):
    found = [flag for flag in flags(of(HONEST | changed)) if flag.rule.startswith(rule)]
    assert [(flag.doubted.condition.threat, flag.because.condition.threat) for flag in found] == [(doubted, because)]


def test_an_image_that_only_an_attack_without_gradients_breaks_is_counted():
    right = HONEST | {(PGD_EXACT, JPEG): labels_with(10, first=0), (SQUARE, JPEG): labels_with(40, first=3)}
    (flag,) = flags(of(right))
    assert flag.figure == "3 of the 10 images that all attacks with gradients leave right"
    assert flag.p_value is None


def test_universal_perturbations_fool_different_images_and_that_is_no_flag():
    rows = (CLEAN, Condition(UAP))
    asked = experiment(sections=(Section("", rows),), comparisons=(), transfers=(), sweeps=())
    white, other = (Cell(Condition(UAP), TARGET.key, source) for source in (TARGET.key, OTHER.key))
    labels = {Cell(CLEAN, TARGET.key): labels_with(190), white: labels_with(100), other: labels_with(130, first=50)}
    assert flags(results(asked, labels)) == ()
    labels[other] = labels_with(60)
    (flag,) = flags(results(asked, labels))
    assert (flag.doubted, flag.because) == (white, other)
    assert flag.figure == f"60 rather than 100 of {N} images are left right"


def test_differences_that_chance_makes_are_not_told():
    # 5 images more: p = 0.0625; 6: 0.03125.
    assert not flags(of(HONEST | {(PGD_BPDA, JPEG): labels_with(5), (SQUARE, JPEG): labels_with(40)}))
    (flag,) = flags(of(HONEST | {(PGD_BPDA, JPEG): labels_with(4)}))
    assert flag.p_value == pytest.approx(2 * 0.5**6)


def test_few_images_decide_nothing():
    few = {key: labels[:20] for key, labels in HONEST.items()} | {(PGD_BPDA, JPEG): labels_with(0)[:20]}
    images = Images(
        "crops", "crop", tuple("abcdefghijklmnopqrst"), results().images.labels[:20], {0: "a"}, {"test": 20}
    )
    assert not flags(of(few, images=images))


@pytest.mark.parametrize(
    ("left", "expected"),
    [
        ((150, 60, 5), []),
        ((150, 60, 90), ["A smaller bound does more harm than a larger one"]),
        # Of six classes chance leaves 33 of 200; 60 are more.
        ((150, 100, 60), ["Accuracy does not fall to chance at the largest bound"]),
    ],
)
def test_more_room_does_more_harm_and_in_the_end_all_of_it(left, expected):
    sizes = [replace(PGD_EXACT, eps=eps / 255) for eps in (2, 8, 64)]
    right = {(threat, JPEG): labels_with(count) for threat, count in zip(sizes, left, strict=True)}
    found = rules(flags(of(right)))
    assert found[: len(expected)] == expected
    assert bool(found) == bool(expected)


def test_twice_the_steps_should_not_help_any_more():
    short, long = (parse_attack(f"pgd:max_iter={steps},knowledge=exact") for steps in (10, 20))
    assert not flags(of({(short, JPEG): labels_with(20), (long, JPEG): labels_with(18)}))
    (flag,) = flags(of({(short, JPEG): labels_with(40), (long, JPEG): labels_with(10)}))
    assert flag.rule.startswith("More steps still do more harm")
    assert flag.doubted.condition.threat == short


def test_where_nothing_that_transfers_is_more_than_noise_it_is_told_once():
    rows = (CLEAN, Condition(SIGNS), Condition(UAP))
    asked = experiment(sections=(Section("", rows),), comparisons=(), transfers=(), sweeps=())
    white, other = (Cell(Condition(UAP), TARGET.key, source) for source in (TARGET.key, OTHER.key))
    noise = Cell(Condition(SIGNS), TARGET.key)
    labels = {Cell(CLEAN, TARGET.key): labels_with(190), noise: labels_with(180), white: labels_with(50)}
    (flag,) = flags(results(asked, labels | {other: labels_with(178)}))
    assert flag.rule.startswith("Nothing that is crafted on another network does more harm")
    assert (flag.doubted, flag.because) == (other, noise)
    assert flag.figure == f"178 and 180 of {N} images are left right"
    assert flag.p_value == pytest.approx(0.5)
    assert not flags(results(asked, labels | {other: labels_with(150)}))


def test_a_network_that_noise_breaks_is_told_of():
    (flag,) = flags(of({(None, NOTHING): labels_with(190), (SIGNS, NOTHING): labels_with(170)}))
    assert flag.figure == "10.0 points less than clean"
    assert not flags(of({(None, NOTHING): labels_with(190), (SIGNS, NOTHING): labels_with(180)}))


def test_what_is_missing_takes_no_part():
    whole = of(HONEST | {(FGSM, NOTHING): labels_with(0)})
    missing = {cell: labels for cell, labels in whole.labels.items() if cell.condition.threat != PGD}
    assert not flags(replace(whole, labels=missing))


def test_the_report_has_a_table_of_them():
    text = render(of(HONEST | {(FGSM, NOTHING): labels_with(0)}))
    assert "What casts doubt on these figures" in text
    row = next(line for line in text.splitlines() if line.startswith("One step does more harm than many"))
    assert row.endswith("0 rather than 10 of 200 images are left right   0.002")
    much = render(of(HONEST | {(FGSM, NOTHING): labels_with(0), (PGD, NOTHING): labels_with(60)}))
    assert "0 rather than 60 of 200 images are left right   < 0.001" in much
    assert "What casts doubt" not in render(of(HONEST))
