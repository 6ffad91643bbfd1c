"""What a report says first: who attacks is told apart, and no sentence says more than the figures do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from art_denoise.evaluation.experiment import NOTHING, Attack, Condition, Section, Threat
from art_denoise.evaluation.report.headline import asked, charts, headline, main_sentences
from art_denoise.evaluation.report.table import Accuracy, Missing
from art_denoise.evaluation.results import Results
from tests.results_by_hand import (
    AWARE,
    CLEAN,
    JPEG,
    OTHER,
    ROF,
    SIGNS,
    TARGET,
    UAP,
    N,
    experiment,
    labels_with,
    results,
)

PGD = Threat(Attack("pgd", text="PGD", kind="per-image"))
AWARE_PGD = replace(PGD, knowledge=AWARE.knowledge)


def found(rows: dict[Condition, int | tuple[int, int]], **changes: object) -> Results:
    """Return results with so many right labels in each row; in its columns of the target and of another network."""
    whole = experiment(sections=(Section("", tuple(rows)),), comparisons=(), transfers=(), sweeps=(), **changes)
    labels = {}
    for cell in whole.cells():
        right = rows[cell.condition]
        labels[cell] = labels_with(right if isinstance(right, int) else right[cell.source == OTHER.key])
    return results(whole, labels)


USUAL = {
    CLEAN: 160,
    Condition(UAP): (60, 120),
    Condition(SIGNS): 150,
    Condition(PGD): (10, 130),
    Condition(None, ROF): 152,
    Condition(UAP, ROF): (140, 145),
    Condition(SIGNS, ROF): 151,
    Condition(AWARE, ROF): (90, 100),
    Condition(AWARE_PGD, ROF): (30, 110),
}


def shares(results: Results) -> dict[str, dict[str, float]]:
    return {
        chart.name.text: {
            bar.text: 100 * bar.value.share.value for bar in chart.bars if isinstance(bar.value, Accuracy)
        }
        for chart in charts(results)
    }


def test_each_kind_of_attacker_has_a_bar():
    assert shares(found(USUAL)) == {
        "no defence": {
            "nobody attacks": 80,
            "random noise of the size of the attacks": 75,
            "made on another network": 60,
            # The first images are right in every row, so that the worst of several is the least.
            "made on this network, not knowing the defence": 5,
            "knowing the defence, one perturbation for all images": 30,
            "knowing the defence, each image by itself": 5,
            "all of them, the worst for each image": 5,
        },
        "D_ROF": {
            "nobody attacks": 76,
            "random noise of the size of the attacks": 75.5,
            "made on another network": 72.5,
            "made on this network, not knowing the defence": 70,
            "knowing the defence, one perturbation for all images": 45,
            "knowing the defence, each image by itself": 15,
            "all of them, the worst for each image": 15,
        },
    }


def test_the_short_table_has_the_same_figures_without_intervals():
    (table,) = headline(found(USUAL))
    values = [[value.shown().main for value in row.values] for row in table.rows]
    assert values == [
        ["80.0", "75.0", "60.0", "5.0", "30.0", "5.0", "5.0"],
        ["76.0", "75.5", "72.5", "70.0", "45.0", "15.0", "15.0"],
    ]
    assert not any(value.shown().detail for value in table.values)
    assert all("low" in value.fields() for value in table.values)


def test_the_first_sentence_says_what_the_defence_buys_and_costs():
    assert main_sentences(found(USUAL)) == (
        "Whatever is tried by attackers who know it, D_ROF leaves 15.0 % of the crops right, where 5.0 % are left "
        "without a defence; on crops that nobody attacks it costs 4.0 points of accuracy.",
    )
    (_, chart) = charts(found(USUAL))
    assert chart.sentence == (
        "D_ROF costs 4.0 points of accuracy on crops that nobody attacks, and leaves right 72.5 % against attackers "
        "who have another network, 70.0 % against attackers who do not know it and 15.0 % whatever is tried by those "
        "who know it."
    )


def test_what_may_be_chance_is_called_so():
    (sentence,) = main_sentences(found(USUAL | {Condition(AWARE_PGD, ROF): (14, 14)}))
    assert "leaves 7.0 % of the crops right, where 5.0 % are left without a defence, which may be chance;" in sentence


@pytest.mark.parametrize(("clean", "said"), [(160, "it costs nothing"), (162, "it adds 1.0 point of accuracy")])
def test_a_defence_may_cost_nothing(clean, said):
    (sentence,) = main_sentences(found(USUAL | {Condition(None, ROF): clean}))
    assert sentence.endswith(f"; on crops that nobody attacks {said}.")


def test_the_best_is_one_that_no_other_was_attacked_in_more_ways_than():
    """What nobody attacked image by image looks better than it is."""
    jpeg = {Condition(None, JPEG): 158, Condition(UAP, JPEG): (140, 140), Condition(AWARE, JPEG): (100, 100)}
    (sentence,) = main_sentences(found(USUAL | jpeg))
    assert "D_ROF leaves 15.0 %" in sentence
    (sentence,) = main_sentences(
        found(USUAL | jpeg | {Condition(SIGNS, JPEG): 150, Condition(AWARE_PGD, JPEG): (40, 40)})
    )
    assert "D_jpeg, the best of 2 defences, leaves 20.0 %" in sentence


def test_where_nobody_knows_the_defence_nothing_is_said_of_its_worth():
    some = found({CLEAN: 160, Condition(UAP): (60, 120), Condition(UAP, ROF): (140, 145)})
    assert main_sentences(some) == ("No attacker who knows the defences was tried: what they are worth is not known.",)
    (_, chart) = charts(some)
    assert chart.sentence == (
        "D_ROF leaves right 72.5 % against attackers who have another network and 70.0 % against attackers who do not "
        "know it. No attacker who knows it was tried."
    )
    assert all(isinstance(bar.value, (Accuracy, Missing)) for bar in chart.bars)


def test_of_what_is_not_told_of_clean_images_the_sentence_is_whole():
    """As of a defence after v_def, which has no row of clean images."""
    whole = found({Condition(UAP): (60, 120), Condition(UAP, ROF): (140, 145)})
    others = {cell: of for cell, of in whole.labels.items() if cell.source == OTHER.key}
    (_, chart) = charts(replace(whole, labels=others))
    assert chart.sentence == (
        "D_ROF leaves right 72.5 % against attackers who have another network. No attacker who knows it was tried."
    )


def test_a_figure_in_doubt_is_told_of():
    """The attacker who knows the defence does less harm than the one who does not."""
    odd = found(USUAL | {Condition(AWARE_PGD, ROF): (148, 148), Condition(AWARE, ROF): (146, 146)})
    (table,) = headline(odd)
    # Of the one perturbation for all images, and of all of them: that on each image by itself is in no doubt.
    assert [value.marked for value in table.rows[1].values] == [*[False] * 4, True, False, True]
    assert main_sentences(odd)[-1] == "That figure is in doubt: an attack may be weaker than it looks."


def test_without_attacks_there_is_no_headline():
    nothing = found({CLEAN: 160})
    assert headline(nothing) == charts(nothing) == main_sentences(nothing) == ()


def test_other_sizes_are_left_to_other_tables():
    small = replace(AWARE_PGD, eps=2 / 255)
    larger = replace(AWARE_PGD, eps=16 / 255)
    some = found(USUAL | {Condition(small, ROF): (20, 20), Condition(larger, ROF): (0, 0)})
    (table,) = headline(some)
    # Who may change more can always change less, and not the other way round.
    assert table.rows[1].values[-1].share.count == 20
    assert "Of attacks of at most 10/255 in the norm L∞; others below." in table.note


def test_images_count_that_are_right_whatever_is_tried():
    some = found(USUAL)
    odd = next(cell for cell in some.labels if cell.condition == Condition(AWARE, ROF) and cell.source == TARGET.key)
    labels = {**some.labels, odd: labels_with(90, N // 2)}
    (table,) = headline(replace(some, labels=labels))
    right = np.ones(N, bool)
    for cell, predicted in labels.items():
        if cell.condition.defence == ROF and cell.condition.threat not in (None, SIGNS):
            right &= predicted == some.images.labels
    assert table.rows[1].values[-1].share.count == int(right.sum())


def test_what_was_asked_is_told():
    said = dict(asked(found(USUAL)))
    assert said["Network"] == "Inception V1"
    assert said["Defences"] == "D_ROF"
    assert said["Attacks"] == "δ (deepfool-uap), PGD (pgd)"
    assert said["Size"] == "at most 10/255 in the norm L∞"
    assert said["Crafted on"] == "IncV1, VGG16"
    assert said["Images"].startswith(f"{N} test ")
    assert "exact: knows the defence, and its exact gradient" in said["Attackers"]
    assert NOTHING.text not in said["Defences"]
