"""The sentences below the tables: how everything is read, and what was found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from results_by_hand import (
    ATTACKED,
    CLEAN,
    JPEG,
    OTHER,
    ROF,
    SIGNS,
    TARGET,
    UAP,
    N,
    counts,
    experiment,
    labels_with,
    results,
)

from art_denoise.evaluation.experiment import (
    Attack,
    Cell,
    Condition,
    Defence,
    Knowledge,
    Preprocessor,
    Published,
    Section,
    Source,
    Threat,
    params,
)
from art_denoise.evaluation.report.facts import facts, reading
from art_denoise.evaluation.statistics import cluster_interval


def sections(*conditions):
    return (Section("", conditions),)


def alone(*conditions, **changes):
    """Return an experiment of these rows alone."""
    return experiment(sections=sections(*conditions), comparisons=(), transfers=(), sweeps=(), networks=(), **changes)


def test_reading():
    assert reading(results()) == [
        "Order: the image v0, plus the perturbation δ, clipped to [0, 1]; plus v_def, clipped; defended, clipped; "
        "standardised for the network; classified.",
        "δ: L∞ ≤ 10/255, the universal perturbation of Moosavi-Dezfooli et al. (2017), DeepFoolUAP, one perturbation "
        "for all images, crafted from 80 crops on the column's network, with max_iter 3.",
        "Random signs: ±10/255, each pixel and channel by itself.",
        "IncV1 is the target itself (white-box); VGG16: made without the target (transfer).",
        "“oblivious”: the attacker does not know the defence, and differentiates the network alone.",
        "“transfer”: the attacker has another network, and does not know the defence.",
        "“bpda”: the attacker knows the defence, and takes its gradient as the identity (BPDA).",
        "“exact”: the attacker knows the defence, and its exact gradient.",
        "D_jpeg: art:JpegCompression, with quality 75.",
        "D_ROF: scikit-image's Chambolle iteration and stop rule, weight 10/255, each channel by itself.",
        "v_def: the defensive noise, Eq. 1 of the paper with draws that turn a wrong prediction into a right one, "
        "through the defence that it precedes, "
        "12 draws per image, on clean images of a split of their own; σ and ε chosen by the loss on a tuning split.",
        "Accuracy: top-1 of the target, with a 95 % Wilson interval. Comparisons: the same images, exact McNemar test.",
    ]


def test_how_files_became_images():
    found = results()
    framing = {"resize": 256, "crop": 224, "interpolation": "bilinear", "margin": "even"}
    found = replace(found, images=replace(found.images, facts={"framing": framing, "classes": "by WordNet id"}))
    assert reading(found)[0] == ("v0: shorter side resized to 256 (bilinear), centre crop 224; classes by WordNet id.")
    found = replace(found, images=replace(found.images, facts={"classes": "by WordNet id"}))
    assert reading(found)[0] == "v0: classes by WordNet id."


def test_attacks_and_defences_of_others_are_told_by_name_and_parameters():
    pgd = Threat(
        Attack("pgd", params(max_iter=20, eps_step=2 / 255, inner={"a": 1}), "PGD", kind="per-image"),
        eps=4 / 255,
        norm="2",
    )
    minimiser = Defence((Preprocessor("rof", params(weight=0.1, solver="converged"), "D_min"), Preprocessor("blur")))
    lines = reading(results(alone(CLEAN, Condition(pgd, minimiser))))
    assert (
        "PGD: L2 ≤ 4/255, the attack pgd, each image by itself, on the column's network, with eps_step 0.007843, inner "
        "(a 1), max_iter 20." in lines
    )
    assert "D_min: rof, with solver converged, weight 0.1." in lines
    assert "blur: blur with its defaults." in lines


@pytest.mark.parametrize("knowledge", list(Knowledge))
def test_every_knowledge_is_explained(knowledge):
    threat = replace(UAP, knowledge=knowledge)
    lines = reading(results(alone(Condition(threat, JPEG))))
    assert f"“{knowledge.value}”: the attacker {knowledge.text}." in lines


def test_perturbations_from_files():
    given = Source("theirs.npy", "theirs", stands_for=UAP.attack)
    asked = alone(CLEAN, ATTACKED, sources=(given,))
    found = results(asked)
    record = {"linf": 0.1, "provenance": {"assumed": ["RGB", "HWC"]}}
    found = replace(found, made=(replace(found.made[0], source="theirs.npy", record=record),))
    assert (
        "δ of theirs: from a file, L∞ 25.5/255, more than the 10/255 of the other attacks: its figures are of a larger "
        "attack; assumed of the file: RGB, HWC. What its maker knew is not known; it counts as transfer."
        in reading(found)
    )
    # Rounding is not more.
    as_large = replace(found, made=(replace(found.made[0], record={"linf": 10.0001 / 255}),))
    assert any("from a file, L∞ 10.0/255. What" in line for line in reading(as_large))
    assert not any("DeepFoolUAP" in line for line in reading(found))


def test_noise():
    asked = alone(CLEAN, Condition(UAP, ROF.with_noise("knowing")), Condition(UAP, ROF.with_noise("random")))
    lines = reading(results(asked, config={"options": {"noise_accept": "loss", "noise_through": "classifier"}}))
    assert (
        "v_def: the defensive noise, Eq. 1 of the paper with draws that lower the cross-entropy, through the "
        "classifier alone, on clean images of a "
        "split of their own; σ and ε chosen by the loss on a tuning split. “Knowing δ”: fitted on images that the "
        "column's attack has perturbed." in lines
    )
    assert "Random direction: Gaussian noise of the same root mean square as v_def." in lines


def test_noise_that_is_left_out():
    published = (Published(Condition(UAP, ROF.with_noise("fitted")), TARGET.key, None, 50.0),)
    left_out = "v_def: left out, as there are no images to fit it on."
    assert left_out in reading(results(alone(CLEAN, published=published), made=()))
    assert left_out not in reading(results(alone(CLEAN), made=()))
    assert left_out not in reading(results(experiment(published=published)))


def test_several_seeds():
    assert reading(results(experiment(seeds=(0, 1))))[-1].endswith(
        "The spread over seeds is that of perturbations, not of images."
    )


def test_facts():
    found = results()
    facts_of_images = {"remarks": ["2 images could not be read"]}
    checks = {
        "Inception V1": {"accuracy": 66.9, "n": 300, "published": 69.8, "differing": 3},
        "Mine": {"accuracy": None, "n": 300, "published": None, "differing": 0},
    }
    found = replace(
        found,
        images=replace(found.images, facts=facts_of_images),
        checks=checks,
        failures=("Craft δ on vgg16: out of memory",),
    )
    assert [line for line in facts(found) if "costs no more accuracy" not in line] == [
        "Inception V1 classifies 66.9 % of 300 clean crops right, published: 69.8 %.",
        "Inception V1 gave 3 images another label the second time: it draws at random.",
        "Mine: random weights; the figures mean nothing.",
        "2 images could not be read.",
        "Failed: Craft δ on vgg16: out of memory.",
        "v_def before D_ROF: 57 of 2000 draws accepted, σ 8/255, RMS 2/255, L∞ 5.3/255.",
        "v_def before D_jpeg: left out, no draw helped.",
    ]


def test_noise_that_knows_the_attack():
    found = results()
    made = replace(
        found.made[-2], threat=UAP, source=OTHER.key, defence=ROF.with_noise("knowing"), record={"provenance": {}}
    )
    assert facts(replace(found, made=(made,)))[-1] == "v_def before D_ROF, knowing δ of VGG16: fitted."


def test_cells_without_results_are_counted():
    asked = experiment()
    labels = {cell: labels_with(right) for cell, right in list(counts(asked).items())[2:]}
    assert f"2 of {len(asked.cells())} cells have no result: the tables say why." in facts(results(asked, labels))


def test_attacks_that_do_nothing():
    """Of 200, 6 in one direction are chance no more, 5 are."""
    asked = experiment()
    labels = {cell: labels_with(right) for cell, right in counts(asked).items()}
    labels[Cell(CLEAN, TARGET.key)] = labels_with(100)
    labels[Cell(ATTACKED, TARGET.key, TARGET.key)] = labels_with(94)
    labels[Cell(ATTACKED, TARGET.key, OTHER.key)] = labels_with(95)
    told = "δ of {} costs no more accuracy than chance might: what a defence wins back from it tells nothing."
    lines = facts(results(asked, labels))
    assert told.format("VGG16") in lines
    assert told.format("IncV1") not in lines
    # One that helps, however surely.
    labels[Cell(ATTACKED, TARGET.key, TARGET.key)] = labels_with(140)
    assert told.format("IncV1") in facts(results(asked, labels))
    del labels[Cell(CLEAN, TARGET.key)]
    assert not any("costs no more accuracy" in line for line in facts(results(asked, labels)))


def test_controls_are_no_attacks():
    asked = alone(CLEAN, Condition(SIGNS))
    assert not any(
        "costs no more" in line for line in facts(results(asked, {c: labels_with(100) for c in asked.cells()}))
    )


def test_noise_that_helps_behind_a_defence_is_told_of():
    asked = experiment()
    labels = {cell: labels_with(100) for cell in asked.cells()}
    told = "D_jpeg(v0 + δ) of IncV1 is right more often than D_jpeg(v0): what the defence wins back is partly that"
    assert not any(line.startswith(told) for line in facts(results(asked, labels)))
    # Of 200, 5 in one direction are chance, 6 are not.
    for more, is_told in ((5, False), (6, True)):
        labels[Cell(Condition(UAP, JPEG), TARGET.key, TARGET.key)] = labels_with(100 + more)
        assert any(line.startswith(told) for line in facts(results(asked, labels))) == is_told


def test_where_images_are_parts_of_the_same_pictures_it_is_said_what_intervals_are_of():
    found = results()
    images = replace(found.images, groups=np.arange(N) % 7)
    (line,) = [line for line in reading(replace(found, images=images)) if line.startswith("Intervals and tests")]
    assert "other crops of the same 7 pictures" in line
    clean = found.labels[Cell(Condition(), found.experiment.target.key)] == found.images.labels
    low, high = cluster_interval(clean, images.groups)
    assert f"{100 * low:.1f}–{100 * high:.1f} by picture" in line
    assert not any(line.startswith("Intervals and tests") for line in reading(found))
