"""Table 1 as data: the paper's rows and figures, what it leaves out, and whatever else is asked for in their place."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import product

import pytest

from art_denoise.evaluation.components import parse_attack, parse_defence
from art_denoise.evaluation.experiment import Cell, Condition, Experiment, Knowledge, Network, Source
from art_denoise.evaluation.studies import lee2018
from art_denoise.evaluation.studies.lee2018 import DEEPFOOL, NLM, ROF, SGD, SIGNS

NETWORKS = (
    Network("inception_v1", "IncV1", "Inception V1"),
    Network("vgg16", "VGG16", "VGG-16"),
    Network("vgg19", "VGG19", "VGG-19"),
)
SOURCES = tuple(Source(network.key, network.text) for network in NETWORKS)

#: Headings and rows of the table, as the README has them.
ROWS = {
    "As in the paper": [
        "v0",
        "v0 + δ",
        "D_ROF(v0 + δ)",
        "D_ROF(v0 + δ + v_def)",
        "D_nlm(v0 + δ)",
        "D_nlm(v0 + δ + v_def)",
    ],
    "With the stronger attack": [
        "v0 + δ_SGD",
        "D_ROF(v0 + δ_SGD)",
        "D_ROF(v0 + δ_SGD + v_def)",
        "D_nlm(v0 + δ_SGD)",
        "D_nlm(v0 + δ_SGD + v_def)",
    ],
    "The attacker knows the defence": ["D_ROF(v0 + δ_SGD knowing D_ROF)", "D_nlm(v0 + δ_SGD knowing D_nlm)"],
    "Besides": [
        "D_ROF(v0)",
        "D_nlm(v0)",
        "v0 + random signs",
        "D_ROF(v0 + random signs)",
        "D_nlm(v0 + random signs)",
        "D_ROF(v0 + δ + random direction)",
        "D_nlm(v0 + δ + random direction)",
    ],
}

#: Pairs that are compared: what the first adds to the second.
KNOWING, RANDOM = "What it costs that the attacker knows the defence", "v0 + δ + random direction"

BEYOND = "What an attack does that noise of its size does not"

COMPARISONS = [
    ("What an attack does", "the attack", "v0 + δ", "v0"),
    ("What an attack does", "δ_SGD rather than δ", "v0 + δ_SGD", "v0 + δ"),
    (BEYOND, "δ rather than random signs", "v0 + δ", "v0 + random signs"),
    (BEYOND, "δ_SGD rather than random signs", "v0 + δ_SGD", "v0 + random signs"),
    ("What a defence costs without an attack", "D_ROF on clean images", "D_ROF(v0)", "v0"),
    ("What a defence costs without an attack", "D_nlm on clean images", "D_nlm(v0)", "v0"),
    ("What a defence wins back", "D_ROF against δ", "D_ROF(v0 + δ)", "v0 + δ"),
    ("What a defence wins back", "D_nlm against δ", "D_nlm(v0 + δ)", "v0 + δ"),
    ("What a defence wins back", "D_ROF against δ_SGD", "D_ROF(v0 + δ_SGD)", "v0 + δ_SGD"),
    ("What a defence wins back", "D_nlm against δ_SGD", "D_nlm(v0 + δ_SGD)", "v0 + δ_SGD"),
    ("What an attack does behind a defence", "δ behind D_ROF", "D_ROF(v0 + δ)", "D_ROF(v0)"),
    ("What an attack does behind a defence", "δ behind D_nlm", "D_nlm(v0 + δ)", "D_nlm(v0)"),
    ("What an attack does behind a defence", "δ_SGD behind D_ROF", "D_ROF(v0 + δ_SGD)", "D_ROF(v0)"),
    ("What an attack does behind a defence", "δ_SGD behind D_nlm", "D_nlm(v0 + δ_SGD)", "D_nlm(v0)"),
    (KNOWING, "the attacker knows D_ROF", "D_ROF(v0 + δ_SGD knowing D_ROF)", "D_ROF(v0 + δ_SGD)"),
    (KNOWING, "the attacker knows D_nlm", "D_nlm(v0 + δ_SGD knowing D_nlm)", "D_nlm(v0 + δ_SGD)"),
    ("What v_def adds", "v_def, before D_ROF", "D_ROF(v0 + δ + v_def)", "D_ROF(v0 + δ)"),
    ("What v_def adds", "v_def, before D_nlm", "D_nlm(v0 + δ + v_def)", "D_nlm(v0 + δ)"),
    ("What v_def adds", "direction of v_def, before D_ROF", "D_ROF(v0 + δ + v_def)", f"D_ROF({RANDOM})"),
    ("What v_def adds", "direction of v_def, before D_nlm", "D_nlm(v0 + δ + v_def)", f"D_nlm({RANDOM})"),
]

#: The paper's Table 1, by row and column.
FIGURES = {
    "v0": (69.4, 69.4, 69.4),
    "v0 + δ": (12.5, 28.7, 31.7),
    "D_ROF(v0 + δ)": (56.3, 47.2, 49.1),
    "D_ROF(v0 + δ + v_def)": (57.1, 51.2, 51.3),
    "D_nlm(v0 + δ)": (57.7, 45.0, 46.9),
    "D_nlm(v0 + δ + v_def)": (58.0, 47.7, 49.4),
}


def table(**kwargs: object) -> Experiment:
    given = {"target": NETWORKS[0], "sources": SOURCES, "networks": NETWORKS, **kwargs}
    return lee2018.table1(**given)


def of(*defences: str, attacks: tuple[str, ...] = (), **kwargs: object) -> Experiment:
    """Return the table of defences and attacks as they are written."""
    if defences:
        kwargs["defences"] = [parse_defence(text) for text in defences]
    if attacks:
        kwargs["attacks"] = [parse_attack(text) for text in attacks]
    return table(**kwargs)


def rows(experiment: Experiment) -> list[str]:
    return [condition.text for condition in experiment.conditions]


def test_rows_of_the_default_table():
    assert {section.title: [c.text for c in section.conditions] for section in table().sections} == ROWS


def test_comparisons_of_the_default_table():
    pairs = [(pair.family, pair.text, pair.first.text, pair.second.text) for pair in table().comparisons]
    assert pairs == COMPARISONS


def test_the_papers_figures():
    experiment = table()
    found = {}
    for condition in experiment.conditions:
        cells = list(experiment.cells_of(condition)) * (3 if experiment.columns(condition) == (None,) else 1)
        figures = tuple(experiment.published_for(cell) for cell in cells)
        if set(figures) != {None}:
            found[condition.text] = figures
    assert found == FIGURES
    # Of no other target, and of no other strength.
    other = table(target=NETWORKS[1])
    assert not any(other.published_for(cell) for cell in other.cells() if cell.target == "vgg16")
    stronger = of("rof:weight=20", "nlm:h=0.1")
    assert {c.condition.text for c in stronger.cells() if stronger.published_for(c)} == {"v0", "v0 + δ"}


def test_the_papers_parameters():
    assert dict(ROF.preprocessors[0].params) == {"weight": 10 / 255}
    assert dict(NLM.preprocessors[0].params) == {"h": 0.05}
    assert DEEPFOOL.eps == SGD.eps == SIGNS.eps == 10 / 255


def test_the_same_written_is_the_same_table():
    asked = of("rof", "nlm:h=0.05", attacks=("deepfool-uap", "sgd-uap"), sweep=True)
    assert asked == table(sweep=True)
    assert any(asked.published_for(cell) == 56.3 for cell in asked.cells())
    # With others beside them, too.
    (sweep,) = of("rof:solver=converged", sweep=True).sweeps
    assert dict(sweep.points)[10] in {row.defence for row in of("rof:solver=converged").conditions}


def test_transfer_is_from_each_network_to_each():
    experiment = table()
    assert [(t.title, t.threat, t.control) for t in experiment.transfers] == [
        ("δ", DEEPFOOL, SIGNS),
        ("δ_SGD", SGD, SIGNS),
    ]
    cells = set(experiment.cells())
    for threat, source, target in product((DEEPFOOL, SGD), SOURCES, NETWORKS):
        assert Cell(Condition(threat), target.key, source.key) in cells
    assert len(cells) == 3 * 14 + 6 + 2 * (2 * 3 + 2)


def test_controls_are_of_the_size_of_the_attack():
    experiment = of(attacks=("deepfool-uap:eps=5", "sgd-uap:eps=8"), sweep=True)
    controls = {cell.condition.threat for cell in experiment.cells()}
    controls = {threat.eps for threat in controls if threat is not None and not threat.crafted}
    assert controls == {5 / 255}
    assert {t.control.eps for t in experiment.transfers} == {5 / 255}
    assert {t.control.norm for t in of(attacks=("sgd-uap:norm=2,eps=400",)).transfers} == {"2"}


def test_the_papers_rows_only():
    experiment = table(paper_only=True)
    assert rows(experiment) == ROWS["As in the paper"]
    assert not experiment.transfers
    texts = [pair.text for pair in experiment.comparisons]
    assert texts == ["the attack", "D_ROF against δ", "D_nlm against δ", "v_def, before D_ROF", "v_def, before D_nlm"]


def test_a_defender_who_knows_the_attack():
    added = [row for row in table(knowing=True).conditions if row not in table().conditions]
    assert [row.text for row in added] == ["D_ROF(v0 + δ + v_def knowing δ)", "D_nlm(v0 + δ + v_def knowing δ)"]
    # No noise is fitted on what each image has of its own.
    assert not [row for row in rows(of(attacks=("pgd",), knowing=True)) if "knowing δ" in row]


def test_without_images_for_it_there_is_no_noise():
    experiment = table(noise=False, knowing=True)
    assert all(row.defence.noise is None for row in experiment.conditions)
    assert rows(experiment) == [row for row in rows(table()) if "v_def" not in row and "direction" not in row]


@pytest.mark.parametrize(
    ("attack", "text"),
    [
        ("pgd:knowledge=bpda", "δ_PGD"),
        ("pgd:knowledge=exact", "δ_PGD"),
        ("sgd-uap:knowledge=bpda", "δ_SGD"),
    ],
)
def test_an_attack_that_knows_the_defence_is_itself_and_undefended_knows_nothing(attack, text):
    experiment = of(attacks=("deepfool-uap", attack))
    asked = parse_attack(attack)
    family = next(s for s in experiment.sections if s.title in (f"With {text}", "With the stronger attack"))
    assert family.conditions[0] == Condition(replace(asked, knowledge=Knowledge.OBLIVIOUS))
    assert all(row.threat == asked for row in family.conditions[1:])
    assert family.conditions[1].text == f"D_ROF(v0 + {text} knowing D_ROF)"
    # It has a row of its own already; who differentiates the network alone is another.
    aware = next(s for s in experiment.sections if s.title == "The attacker knows the defence")
    assert {row.threat.attack.name for row in aware.conditions} == {"deepfool-uap"}
    assert [t.threat.attack.name for t in experiment.transfers] == ["deepfool-uap"]


def test_who_only_asks_is_on_the_target_alone():
    experiment = of(attacks=("square:max_iter=50",))
    attacked = [row for row in experiment.conditions if row.threat and row.threat.crafted]
    assert {row.threat.knowledge for row in attacked} == {Knowledge.BLACK_BOX}
    assert all([c.source for c in experiment.cells_of(row)] == ["inception_v1"] for row in attacked)
    assert not experiment.transfers
    assert "D_ROF(v0 + δ_Square querying D_ROF)" in rows(experiment)


def test_files_alone_need_nothing_crafted():
    files = tuple(Source(name, name, stands_for=DEEPFOOL.attack) for name in ("theirs", "other"))
    experiment = table(sources=files, noise=False, networks=NETWORKS[:1])
    assert rows(experiment) == [
        "v0", "v0 + δ", "D_ROF(v0 + δ)", "D_nlm(v0 + δ)", "D_ROF(v0)", "D_nlm(v0)", "v0 + random signs",
        "D_ROF(v0 + random signs)", "D_nlm(v0 + random signs)",
    ]  # fmt: skip
    assert [pair.text for pair in experiment.comparisons] == [
        "the attack", "δ rather than random signs", "D_ROF on clean images", "D_nlm on clean images",
        "D_ROF against δ", "D_nlm against δ", "δ behind D_ROF", "δ behind D_nlm",
    ]  # fmt: skip
    assert {cell.source for cell in experiment.cells()} == {None, "theirs", "other"}


def test_images_may_also_be_attacked_one_by_one_on_the_target_by_who_knows_the_defence():
    single = parse_attack("best-pgd:images=50")
    experiment = table(single=single)
    (section,) = [s for s in experiment.sections if s.title == "He attacks each image by itself"]
    knowing = replace(single, knowledge=Knowledge.EXACT)
    v_def = [Condition(knowing, defence.with_noise("fitted")) for defence in (ROF, NLM)]
    assert section.conditions == (Condition(knowing), Condition(knowing, ROF), Condition(knowing, NLM), *v_def)
    columns = [[source.key for source in experiment.columns(row)] for row in section.conditions]
    assert columns == [["inception_v1"]] * 5
    without = table(single=single, noise=False)
    assert not any(row.defence.noise for row in without.conditions)
    # One perturbation for all images is also crafted through the defence on other networks, as before.
    assert len(experiment.columns(Condition(replace(SGD, knowledge=Knowledge.EXACT), ROF))) == 3
    # All other rows are those of the table without.
    assert set(experiment.conditions) - set(section.conditions) == set(table().conditions)


def test_the_attacker_knows_what_can_be_differentiated():
    experiment = table(defences=(ROF, NLM), knows=(Knowledge.BPDA,))
    aware = next(s for s in experiment.sections if s.title == "The attacker knows the defence")
    assert [row.threat.knowledge for row in aware.conditions] == [Knowledge.BPDA, Knowledge.EXACT]


def test_a_sweep_over_the_strengths_of_the_appendix():
    rof, nlm = table(sweep=True).sweeps
    assert {strength for strength, _ in rof.points} >= {0, 5, 10, 20}
    assert {strength for strength, _ in nlm.points} >= {0, 0.02, 0.05, 0.1}
    assert dict(rof.points)[10] == ROF
    assert dict(nlm.points)[0.05] == NLM
    assert not dict(rof.points)[0]
    assert rof.threats == (None, DEEPFOOL, SIGNS)
    for sweep in (rof, nlm):
        assert [strength for strength, _ in sweep.points] == sorted({strength for strength, _ in sweep.points})


def test_a_sweep_has_the_strength_of_the_table_and_its_other_parameters():
    (sweep,) = of("rof:weight=12,solver=converged", "art:JpegCompression", sweep=True).sweeps
    assert {strength for strength, _ in sweep.points} >= {0, 10, 12, 20}
    assert {dict(d.preprocessors[0].params)["solver"] for strength, d in sweep.points if strength} == {"converged"}


def test_a_sweep_of_what_has_no_strength_is_refused():
    with pytest.raises(ValueError, match=r"`sweep` is over the strengths of rof and nlm.*leave it out"):
        of("art:JpegCompression", "rof+nlm", "noise+rof", sweep=True)


def test_five_seeds():
    experiment = table(seeds=range(5))
    assert experiment.seeds == (0, 1, 2, 3, 4)
    for row in experiment.conditions:
        cells = list(experiment.cells_of(row))
        seeds = [0] if row.threat is None else [0, 1, 2, 3, 4]
        assert [(c.source, c.seed) for c in cells] == [
            (None if s is None else s.key, seed) for s in experiment.columns(row) for seed in seeds
        ]
    # Those of one seed are among them, as they were.
    assert set(table().cells()) < set(experiment.cells())


@pytest.mark.parametrize(
    ("changes", "title"),
    [
        ({}, "As in the paper"),
        ({"defences": (parse_defence("rof:weight=5"),)}, "As in the paper"),
        ({"defences": (ROF, parse_defence("art:JpegCompression"))}, "With δ"),
        ({"attacks": (parse_attack("pgd"),)}, "With δ_PGD"),
    ],
)
def test_only_what_the_paper_did_is_called_so(changes, title):
    assert table(**changes).sections[0].title == title


def test_one_more_denoiser_is_one_value():
    more = table(defences=(ROF, NLM, parse_defence("art:JpegCompression:quality=75")))
    added = [row for row in rows(more) if row not in rows(table())]
    d = "D_JpegCompression"
    assert added == [
        f"{d}(v0 + δ)", f"{d}(v0 + δ + v_def)", f"{d}(v0 + δ_SGD)", f"{d}(v0 + δ_SGD + v_def)",
        f"{d}(v0 + δ_SGD knowing {d})", f"{d}(v0)", f"{d}(v0 + random signs)", f"{d}(v0 + δ + random direction)",
    ]  # fmt: skip
    assert [row for row in rows(more) if row in rows(table())] == rows(table())
    assert len(more.comparisons) - len(table().comparisons) == 8
    assert set(table().cells()) < set(more.cells())


def test_one_more_attack_is_one_value():
    more = table(attacks=(DEEPFOOL, parse_attack("pgd:max_iter=5"), SGD))
    added = [row for row in rows(more) if row not in rows(table())]
    assert added == [
        "v0 + δ_PGD", "D_ROF(v0 + δ_PGD)", "D_ROF(v0 + δ_PGD + v_def)", "D_nlm(v0 + δ_PGD)",
        "D_nlm(v0 + δ_PGD + v_def)",
    ]  # fmt: skip
    assert [t.title for t in more.transfers] == ["δ", "δ_PGD", "δ_SGD"]
    assert {"δ_PGD rather than δ", "D_ROF against δ_PGD", "D_nlm against δ_PGD"} <= {p.text for p in more.comparisons}
    assert set(table().cells()) < set(more.cells())


DEFENCES = [
    (),
    ("rof",),
    ("noise+rof",),
    ("rof", "noise+rof"),
    ("noise",),
    ("rof+nlm", "art:JpegCompression"),
    ("rof:weight=5", "rof:weight=20"),
    ("none",),
    ("rof", "noise:kind=knowing+rof", "noise:kind=random+rof"),
]
ATTACKS = [
    (),
    ("sgd-uap",),
    ("sgd-uap", "deepfool-uap"),
    ("pgd:knowledge=bpda",),
    ("deepfool-uap", "pgd:knowledge=bpda", "pgd"),
    ("sgd-uap", "sgd-uap:knowledge=exact"),
    ("pgd", "pgd:knowledge=bpda", "pgd:knowledge=exact"),
    ("square",),
    ("square", "deepfool-uap:knowledge=transfer"),
    ("random-signs",),
]


@pytest.mark.parametrize("attacks", ATTACKS, ids=" ".join)
@pytest.mark.parametrize("defences", DEFENCES, ids=" ".join)
def test_whatever_is_asked_for_the_table_hangs_together(defences, attacks):
    for paper_only, noise, knowing, files in product((False, True), repeat=4):
        first = parse_attack(attacks[0]).attack if attacks else DEEPFOOL.attack
        sources = (Source("theirs", stands_for=first), *(() if knowing else SOURCES)) if files else SOURCES
        experiment = of(
            *defences, attacks=attacks, paper_only=paper_only, noise=noise, knowing=knowing, sources=sources
        )
        there = Counter(experiment.conditions)
        assert Condition() in there
        assert all(section.conditions for section in experiment.sections)
        # Each row once, with a cell at least.
        assert set(there.values()) == {1}
        assert all(experiment.columns(row) for row in there)
        # No comparison of what is not there, or with itself, or twice.
        assert {row for pair in experiment.comparisons for row in (pair.first, pair.second)} <= set(there)
        assert all(pair.first != pair.second for pair in experiment.comparisons)
        assert set(Counter(experiment.comparisons).values()) <= {1}
        # Where there is no defence, there is none to know.
        undefended = {row.threat.knowledge for row in there if row.threat and not row.defence}
        assert not undefended & {Knowledge.EXACT, Knowledge.BPDA}
