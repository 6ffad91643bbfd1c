"""What reviewers ask for: each demand is found where it is, and not where it is not."""

from __future__ import annotations

import pytest
from results_by_hand import JPEG, SIGNS, SOURCES, UAP, N, experiment, labels_with, results

from art_denoise.evaluation.components import parse_attack, parse_defence
from art_denoise.evaluation.experiment import NOTHING, Condition, Section
from art_denoise.evaluation.report import all_tables

AUDIT = {"images": 8, "draws": "none", "probabilities": False, "solvers": [], "cut": [], "zero": 0, "not_finite": 0}
AUDIT |= {"scale": 1.0, "off": 0.01, "psnr": 30.0, "ssim": 0.9, "noise_left": 0.5}

EXACT = "pgd:max_iter=10,knowledge=exact"


def answers(
    *attacks: str, sources=SOURCES[:1], alone: int = 10, behind: int = 10, audits=None, seeds=(0,)
) -> dict[str, str]:
    """Return what is told of attacks on a defence, by number of the demand.

    :param alone: Images that attacks leave right without the defence.
    :param behind: And behind it.
    """
    threats = [parse_attack(text) for text in attacks]
    rows = [Condition(), Condition(None, JPEG)]
    rows += [Condition(threat, defence) for threat in threats for defence in (NOTHING, JPEG)]
    sections = (Section("", tuple(dict.fromkeys(rows))),)
    asked = experiment(sources=sources, sections=sections, comparisons=(), transfers=(), sweeps=(), seeds=seeds)
    labels = {}
    for cell in asked.cells():
        attacked = cell.condition.threat is not None and cell.condition.threat.crafted
        labels[cell] = labels_with((behind if cell.condition.defence else alone) if attacked else 180)
    (table,) = all_tables(results(asked, labels, audits=audits or {}))["checklist"]
    assert len(table.rows) == 24
    return {row.name.text.partition(":")[0]: row.values[0].name.text for row in table.rows}


@pytest.mark.parametrize(
    ("demand", "with_it", "without"),
    [
        ("C2", (EXACT,), ("pgd:max_iter=10",)),
        ("C4", (EXACT, "pgd:max_iter=20,knowledge=exact", "fgsm:knowledge=exact"), ("deepfool",)),
        ("C5", (), ("best-pgd:num_random_init=0,knowledge=exact",)),
        ("C6", (EXACT, *(f"{EXACT},eps={eps}" for eps in (2, 4))), (EXACT,)),
        ("C8", (EXACT, "square"), (EXACT,)),
        ("C9", ("square", "hopskipjump"), (EXACT,)),
        ("C19", ("sgd-uap:knowledge=exact",), (EXACT,)),
    ],
)
def test_each_demand_is_found_where_it_is(demand, with_it, without):
    assert not with_it or answers(*with_it)[demand] == "yes"
    assert answers(*without)[demand] == "no"


def test_what_figures_contradict_is_not_there():
    rows = (Condition(), Condition(None, JPEG), *(Condition(parse_attack(t), JPEG) for t in (EXACT, "square")))
    asked = experiment(sources=SOURCES[:1], sections=(Section("", rows),), comparisons=(), transfers=(), sweeps=())
    labels = {cell: labels_with(180) for cell in asked.cells()}
    (square,) = (cell for cell in labels if cell.condition.threat == parse_attack("square"))
    labels[square] = labels_with(100)
    (table,) = all_tables(results(asked, labels))["checklist"]
    assert table.rows[7].name.text.startswith("C8: ")
    assert table.rows[7].values[0].name.text == "no"


def test_one_of_several_starts_is_a_part():
    assert answers("best-pgd:knowledge=exact", "best-pgd:num_random_init=0,knowledge=exact")["C5"] == "in part"


def test_an_attack_that_does_nothing_is_no_control():
    bpda = "pgd:max_iter=10,knowledge=bpda"
    assert answers("pgd:max_iter=10", bpda)["C12"] == "yes"
    assert answers("pgd:max_iter=10", bpda, alone=180)["C12"] == "no"


def test_what_was_looked_at_is_told():
    known, unknown = answers(EXACT, audits={JPEG: AUDIT}), answers(EXACT)
    assert (known["C11"], known["C14"], known["C24"]) == ("does not apply", "yes", "yes")
    assert (unknown["C11"], unknown["C14"], unknown["C24"]) == ("no", "in part", "no")
    drawing = {JPEG: AUDIT | {"draws": "seeded"}}
    assert answers("sgd-uap:knowledge=exact", audits=drawing)["C11"] == "no"
    assert answers("best-pgd:knowledge=exact", audits=drawing)["C11"] == "in part"


@pytest.mark.parametrize(
    ("found", "answer"), [((8, 8), "yes"), ((8, 2), "in part"), ((2, 2), "no"), ((), "no")], ids=str
)
def test_whether_attacks_succeed_where_they_have_to(found, answer):
    threats = [parse_attack(text) for text in (EXACT, "fgsm:knowledge=exact")]
    rows = [Condition(), Condition(None, JPEG), *(Condition(t, JPEG) for t in threats)]
    asked = experiment(
        sources=SOURCES[:1], sections=(Section("", tuple(rows)),), comparisons=(), transfers=(), sweeps=(), seeds=(0,)
    )
    labels = {cell: labels_with(100) for cell in asked.cells()}
    tried = {row: {"images": 8, "found": count, "chance": 0.1} for row, count in zip(rows[2:], found, strict=False)}
    run = results(asked, labels, tried=tried)
    (table,) = all_tables(run)["checklist"]
    assert table.rows[14].name.text.startswith("C15: ")
    assert table.rows[14].values[0].name.text == answer
    assert any(flag.rule.startswith("No attack with gradients finds") for flag in run.flags) == (found == (2, 2))


def test_defences_that_cost_alike_can_be_compared():
    def answer(*right: int) -> str:
        defences = [JPEG, parse_defence("rof"), parse_defence("nlm")][: len(right)]
        rows = [Condition(), *(Condition(t, d) for d in defences for t in (None, parse_attack(EXACT)))]
        asked = experiment(
            sources=SOURCES[:1],
            sections=(Section("", tuple(rows)),),
            comparisons=(),
            transfers=(),
            sweeps=(),
            seeds=(0,),
        )
        counts = dict(zip(defences, right, strict=True))
        labels = {
            cell: labels_with(counts.get(cell.condition.defence, 190) if cell.condition.threat is None else 20)
            for cell in asked.cells()
        }
        (table,) = all_tables(results(asked, labels))["checklist"]
        return table.rows[15].values[0].name.text

    assert answer(180) == "no"
    assert answer(180, 179, 177) == "yes"
    assert answer(180, 150) == "in part"


def test_other_networks_and_seeds():
    assert answers("pgd")["C10"] == "no"
    assert answers("pgd", sources=SOURCES)["C10"] == "in part"
    assert answers(EXACT, sources=SOURCES)["C10"] == "yes"
    assert answers("sgd-uap")["C20"] == "no"
    assert answers("sgd-uap", seeds=tuple(range(5)))["C20"] == "yes"


def test_without_a_defence_that_is_attacked_there_is_no_table():
    rows = (Condition(), Condition(UAP), Condition(SIGNS, JPEG))
    asked = experiment(sections=(Section("", rows),), comparisons=(), transfers=(), sweeps=())
    assert "checklist" not in all_tables(results(asked, {cell: labels_with(N) for cell in asked.cells()}))
