"""A record of each defence in RobustBench's form."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
from results_by_hand import N, labels_with, results, truth

from art_denoise.evaluation.components import parse_attack, parse_defence
from art_denoise.evaluation.experiment import NOTHING, Condition, Experiment, Network, Section, Source
from art_denoise.evaluation.report import write_report
from art_denoise.evaluation.report.robustbench import robustbench

ROF, NLM = parse_defence("rof"), parse_defence("nlm")


def found(*attacks: str, right: dict[str, np.ndarray]):
    threats = [parse_attack(text) for text in attacks]
    rows = [Condition(t, d) for t in (None, *threats) for d in (NOTHING, ROF, NLM)]
    net = Network("net", "Net", "The net")
    asked = Experiment("One", net, (Source("net", "Net"),), (Section("", tuple(rows)),))
    labels = {}
    for cell in asked.cells():
        threat = cell.condition.threat
        labels[cell] = right["clean" if threat is None else f"{threat.attack.name} {255 * threat.eps:.3g}"]
    return results(asked, labels, made=(), examples=None)


def test_a_record_for_each_defence_and_size():
    pgd, auto = "pgd:knowledge=exact,eps=4", "autoattack:knowledge=exact"
    right = {
        "clean": labels_with(180),
        "pgd 4": labels_with(130),
        # Others than those that PGD leaves.
        "autoattack 10": np.where(np.arange(N) >= 60, truth(), (truth() + 1) % 6),
        "square 10": labels_with(100),
    }
    run = found(pgd, auto, "square", right=right)
    records = json.loads(robustbench(run))
    assert [(r["defence"], r["eps"]) for r in records] == [
        ("rof", "4/255"),
        ("nlm", "4/255"),
        ("rof", "10/255"),
        ("nlm", "10/255"),
    ]
    small, large = records[0], records[2]
    assert small["name"] == "The net, D_ROF"
    assert (small["clean_acc"], small["external"], small["autoattack_acc"]) == ("90.00", "65.00", "")
    # 60 to 100 is what all leave: those of a smaller size are attackers, too.
    assert (large["external"], large["autoattack_acc"]) == ("20.00", "60.00")
    assert large["unreliable"]
    assert "An attack without the gradients" in large["footnote"]
    assert set(small) >= {"link", "authors", "venue", "architecture", "dataset", "additional_data", "reported"}


def test_who_knows_the_draws_takes_no_part():
    right = {"clean": labels_with(180), "pgd 4": labels_with(130)}
    text = "pgd:knowledge=exact,eps=4"
    assert robustbench(found(f"{text},draws=known", right=right)) == ""
    run = found(text, f"{text},draws=known", right=right)
    known = next(cell for cell in run.labels if cell.condition.threat and cell.condition.threat.knows_draws)
    run.labels[known] = labels_with(3)
    assert json.loads(robustbench(run))[0]["external"] == "65.00"


def test_nothing_where_nobody_knows_a_defence(tmp_path):
    run = found("pgd", right={"clean": labels_with(180), "pgd 10": labels_with(20)})
    assert robustbench(run) == ""
    write_report(run, tmp_path)
    file = tmp_path / "report" / "robustbench.json"
    assert not file.exists()
    knowing = found("pgd:knowledge=exact", right={"clean": labels_with(180), "pgd 10": labels_with(20)})
    write_report(knowing, tmp_path)
    assert len(json.loads(file.read_text())) == 2
    write_report(replace(run), tmp_path)
    assert not file.exists()
