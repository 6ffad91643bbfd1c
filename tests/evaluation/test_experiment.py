"""What is asked is values: equal if everything is that can change a result, listed once each, and back from JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from art_denoise.evaluation.experiment import (
    NOTHING,
    Attack,
    Cell,
    Comparison,
    Condition,
    Defence,
    Experiment,
    Knowledge,
    Network,
    Noise,
    Preprocessor,
    Published,
    Section,
    Source,
    Sweep,
    Threat,
    Transfer,
    params,
)
from art_denoise.evaluation.experiment_json import from_json, to_json
from art_denoise.evaluation.studies import lee2018

UAP = Threat(Attack("uap", params(max_iter=3), "δ", r"\delta"))
SGD = Threat(Attack("sgd", text="δ_SGD"))
PGD = Threat(Attack("pgd", text="δ_PGD", kind="per-image"))
SQUARE = Threat(Attack("square", kind="per-image"), Knowledge.BLACK_BOX)
SIGNS = Threat(Attack("signs", text="signs", kind="control"))

ROF = Defence((Preprocessor("rof", params(weight=0.1), "D_ROF", r"D_{\mathrm{ROF}}"),))
JPEG = Defence((Preprocessor("art:Jpeg", params(quality=75)),))

TARGET, OTHER = Network("one", "One"), Network("two", "Two")
#: A network each, and a file in the place of UAP.
SOURCES = (Source("one", "One"), Source("two", "Two"), Source("file", "theirs", stands_for=UAP.attack))


def knowing(threat: Threat, knowledge: Knowledge) -> Threat:
    return replace(threat, knowledge=knowledge)


def experiment(*conditions: Condition, **kwargs: object) -> Experiment:
    kwargs = {"networks": (TARGET, OTHER), **kwargs}
    return Experiment("Some", TARGET, SOURCES, (Section("Rows", conditions),), **kwargs)


ALIKE = [
    (Preprocessor("rof", params(weight=0.1)), ROF.preprocessors[0]),
    (Attack("uap", params(max_iter=3), "another", "another"), UAP.attack),
    (Network("one", "a", "b"), TARGET),
    (Source("one", "a"), SOURCES[0]),
    (Comparison(Condition(), Condition(UAP), "a"), Comparison(Condition(), Condition(UAP), "b")),
    (Transfer(UAP, SIGNS, "a"), Transfer(UAP, SIGNS, "b")),
    (Condition(replace(UAP, attack=replace(UAP.attack, text="v")), ROF), Condition(UAP, ROF)),
    (
        experiment(published=(Published(Condition(), "one", None, 1.0),), published_by="somebody"),
        experiment(published=()),
    ),
]


@pytest.mark.parametrize(("first", "second"), ALIKE, ids=lambda v: type(v).__name__)
def test_what_things_are_called_is_no_part_of_them(first, second):
    assert first == second
    assert hash(first) == hash(second)


def test_everything_that_can_change_a_result_is():
    attack = UAP.attack
    different = [
        attack,
        attack.with_params(max_iter=4),
        replace(attack, kind="control"),
        replace(attack, name="sgd"),
        Preprocessor(attack.name, attack.params),
        UAP,
        replace(UAP, eps=0.1),
        replace(UAP, norm="2"),
        *(knowing(UAP, k) for k in Knowledge if k is not UAP.knowledge),
        NOTHING,
        ROF,
        Defence((*ROF.preprocessors, *JPEG.preprocessors)),
        Defence((*JPEG.preprocessors, *ROF.preprocessors)),
        *(ROF.with_noise(kind) for kind in ("fitted", "knowing", "random")),
        Defence((), Noise()),
        Condition(),
        Condition(UAP),
        Condition(None, ROF),
        Condition(UAP, ROF),
        Cell(Condition(), "one"),
        Cell(Condition(), "two"),
        Cell(Condition(), "one", "one"),
        Cell(Condition(), "one", seed=1),
        Source("one"),
        Source("one", stands_for=attack),
    ]
    assert len(set(different)) == len(different)


def test_parameters_are_values_whatever_order_and_form_they_are_given_in():
    given = params({"b": [1, 2], "a": {"y": 1, "x": (3,)}}, c=None)
    assert given == (("a", (("x", (3,)), ("y", 1))), ("b", (1, 2)), ("c", None))
    assert hash(given) == hash(params(c=None, a={"x": [3], "y": 1}, b=(1, 2)))
    assert ROF.preprocessors[0].with_params(h=1).params == (("h", 1), ("weight", 0.1))


@pytest.mark.parametrize(
    ("condition", "text"),
    [
        (Condition(), "v0"),
        (Condition(UAP), "v0 + δ"),
        (Condition(UAP, ROF), "D_ROF(v0 + δ)"),
        (Condition(UAP, ROF.with_noise("fitted")), "D_ROF(v0 + δ + v_def)"),
        (Condition(UAP, ROF.with_noise("random")), "D_ROF(v0 + δ + random direction)"),
        (Condition(UAP, ROF.with_noise("knowing")), "D_ROF(v0 + δ + v_def knowing δ)"),
        (Condition(knowing(UAP, Knowledge.EXACT), ROF), "D_ROF(v0 + δ knowing D_ROF)"),
        (Condition(SQUARE, JPEG), "art:Jpeg(v0 + square querying art:Jpeg)"),
        (Condition(SQUARE), "v0 + square"),
        (Condition(PGD, Defence((*ROF.preprocessors, *JPEG.preprocessors))), "art:Jpeg(D_ROF(v0 + δ_PGD))"),
        (Condition(knowing(PGD, Knowledge.BPDA), Defence((), Noise())), "v0 + δ_PGD + v_def knowing v_def"),
    ],
)
def test_rows_are_in_the_papers_symbols(condition, text):
    assert condition.text == text


def test_rows_in_latex():
    assert Condition(UAP, ROF.with_noise("fitted")).latex == r"D_{\mathrm{ROF}}(v_0 + \delta + v_{\mathrm{def}})"


@pytest.mark.parametrize(
    ("threat", "keys"),
    [
        (None, [None]),
        (SIGNS, [None]),
        (UAP, ["one", "two", "file"]),
        # Another attack, and another strength of it: what would have to be crafted.
        (SGD, ["one", "two"]),
        (replace(UAP, attack=UAP.attack.with_params(max_iter=9)), ["one", "two"]),
        (PGD, ["one", "two"]),
        (knowing(UAP, Knowledge.TRANSFER), ["two", "file"]),
        (SQUARE, ["one"]),
        # Whoever made the file has not crafted it through this defence.
        (knowing(UAP, Knowledge.EXACT), ["one", "two"]),
        (knowing(UAP, Knowledge.BPDA), ["one", "two"]),
        (knowing(UAP, Knowledge.BLACK_BOX), ["one"]),
    ],
)
def test_columns(threat, keys):
    for defence in (NOTHING, ROF):
        columns = experiment().columns(Condition(threat, defence))
        assert [None if column is None else column.key for column in columns] == keys


def test_v_def_can_know_of_what_is_the_same_for_all_images():
    knowing_delta = ROF.with_noise("knowing")
    assert [experiment().columns(Condition(threat, knowing_delta)) for threat in (None, SIGNS, PGD)] == [()] * 3
    assert len(experiment().columns(Condition(UAP, knowing_delta))) == 3


def test_what_the_attacker_knows_in_a_cell():
    def knowledge(threat: Threat | None, source: str | None) -> Knowledge | None:
        return Cell(Condition(threat, ROF), "one", source).knowledge

    assert knowledge(None, None) is None
    assert knowledge(SIGNS, None) is None
    assert knowledge(UAP, "one") is Knowledge.OBLIVIOUS
    assert knowledge(UAP, "two") is knowledge(UAP, "file") is Knowledge.TRANSFER
    assert knowledge(knowing(UAP, Knowledge.EXACT), "two") is Knowledge.EXACT
    assert knowledge(SQUARE, "one") is Knowledge.BLACK_BOX
    assert [k for k in Knowledge if k.knows_defence] == [
        Knowledge.BPDA,
        Knowledge.PARTLY_EXACT,
        Knowledge.EXACT,
        Knowledge.BLACK_BOX,
    ]


def test_cells_each_once_and_in_order():
    clean, attacked = Condition(), Condition(UAP)
    sweep = Sweep("ROF", "weight", ((0, NOTHING), (1, ROF)), (None, SIGNS))
    asked = experiment(
        clean, attacked, Condition(SIGNS), Condition(None, ROF),
        transfers=(Transfer(UAP, SIGNS),), sweeps=(sweep,), seeds=(4, 5),
    )  # fmt: skip
    expected = [
        Cell(clean, "one", None, 4),  # nothing in it is drawn
        *(Cell(attacked, "one", source, seed) for source in ("one", "two", "file") for seed in (4, 5)),
        *(Cell(Condition(SIGNS), "one", None, seed) for seed in (4, 5)),
        Cell(Condition(None, ROF), "one", None, 4),
        # The sweep: what is not there yet.
        *(Cell(Condition(SIGNS, ROF), "one", None, seed) for seed in (4, 5)),
        # The other network's.
        Cell(clean, "two", None, 4),
        *(Cell(Condition(SIGNS), "two", None, seed) for seed in (4, 5)),
        *(Cell(attacked, "two", source, seed) for source in ("one", "two", "file") for seed in (4, 5)),
    ]
    assert list(asked.cells()) == expected
    assert asked.conditions == (clean, attacked, Condition(SIGNS), Condition(None, ROF))


def test_cells_are_told_apart_in_messages():
    cells = experiment(Condition(UAP), Condition(UAP, ROF), transfers=(Transfer(UAP),), seeds=(0, 1)).cells()
    assert len({cell.text for cell in cells}) == len(cells)
    assert Cell(Condition(UAP, ROF), "one", "two", 3).text == "D_ROF(v0 + δ) on one, crafted on two, seed 3"


def test_published_figures_are_of_the_same_attack_however_long_it_was_crafted():
    attacked = Condition(UAP, ROF)
    asked = experiment(
        published=(Published(attacked, "one", "two", 28.7), Published(Condition(), "one", None, 69.4)),
    )
    assert asked.published_for(Cell(attacked, "one", "two")) == 28.7
    longer = replace(UAP, attack=UAP.attack.with_params(max_iter=50))
    assert asked.published_for(Cell(Condition(longer, ROF), "one", "two")) == 28.7
    # The clean figure is the same in all columns.
    assert asked.published_for(Cell(Condition(), "one")) == 69.4
    others = [
        Cell(attacked, "one", "one"),
        Cell(attacked, "two", "two"),
        Cell(Condition(replace(UAP, eps=0.1), ROF), "one", "two"),
        Cell(Condition(knowing(UAP, Knowledge.EXACT), ROF), "one", "two"),
        Cell(Condition(SGD, ROF), "one", "two"),
        Cell(Condition(UAP), "one", "two"),
        Cell(Condition(UAP, Defence((ROF.preprocessors[0].with_params(weight=0.2),))), "one", "two"),
        Cell(Condition(None, ROF), "one"),
    ]
    assert [asked.published_for(cell) for cell in others] == [None] * len(others)


def test_without_rows_there_are_no_comparisons_of_them():
    clean, attacked, defended = Condition(), Condition(UAP), Condition(UAP, ROF)
    sections = (Section("A", (clean, attacked)), Section("B", (defended,)))
    pairs = (Comparison(attacked, clean, "the attack"), Comparison(defended, attacked, "D_ROF"))
    asked = replace(experiment(), sections=sections, comparisons=pairs)
    left = asked.without([defended])
    assert left.sections == (Section("A", (clean, attacked)),)
    assert left.comparisons == pairs[:1]
    assert asked.without([clean]).comparisons == pairs[1:]
    assert asked.without([]) == asked


def table1(**kwargs: object) -> Experiment:
    return lee2018.table1(TARGET, SOURCES, (TARGET, OTHER), knowing=True, sweep=True, seeds=(0, 1), **kwargs)


def test_the_whole_table_as_json_and_back():
    whole = table1(attacks=(UAP, SQUARE, knowing(PGD, Knowledge.BPDA), SGD), defences=(lee2018.ROF, JPEG))
    document = json.loads(json.dumps(to_json(whole)))
    back = from_json(document)
    assert back == whole
    # Texts and figures of others, too, which are no part of what is equal.
    assert to_json(back) == document
    assert back.published == whole.published
    assert [c.text for c in back.comparisons] == [c.text for c in whole.comparisons]
    assert back.cells() == whole.cells()
    assert hash(back) == hash(whole)


@pytest.mark.parametrize("document", [{"is": "Path"}, {"name": "rof"}, {"is": "Defence", "filters": []}])
def test_other_values_are_refused(document):
    with pytest.raises(ValueError, match=r"is no value of an experiment|of another form"):
        from_json(document)


def test_asking_needs_neither_torch_nor_art():
    code = (
        "import sys\n"
        "from art_denoise.evaluation import experiment, components, options\n"
        "from art_denoise.evaluation.studies import grid, lee2018\n"
        "components.parse_attack('pgd:knowledge=bpda'), components.parse_defence('noise+rof')\n"
        "print(sorted({'torch', 'art', 'torchvision'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
