"""From results to tables: every figure in its place, over one seed and several, and what is missing says why."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from results_by_hand import (
    ATTACKED,
    AWARE,
    BPDA,
    CLEAN,
    JPEG,
    OTHER,
    ROF,
    SIGNS,
    SOURCES,
    TARGET,
    UAP,
    N,
    counts,
    experiment,
    labels_with,
    results,
)

from art_denoise.evaluation.components import parse_attack
from art_denoise.evaluation.experiment import (
    Attack,
    Cell,
    Comparison,
    Condition,
    Defence,
    Knowledge,
    Preprocessor,
    Section,
    Source,
    Sweep,
    Threat,
    Transfer,
    params,
)
from art_denoise.evaluation.records import per_image
from art_denoise.evaluation.report import all_tables, tables
from art_denoise.evaluation.report.renderers import renderer
from art_denoise.evaluation.report.table import Accuracy, Difference, Missing, Name, Number, Rate, Same, Table, Text
from art_denoise.evaluation.statistics import ATTACK_FAILED, NOT_ATTACKED, PairedDifference, Share, accuracy


def table_of(found, kind: str, number: int = 0) -> Table:
    return all_tables(found)[kind][number]


def row_of(table: Table, text: str, attacker: str | None = None):
    (row,) = [r for r in table.rows if r.name.text == text and attacker in (None, r.values[0].shown().main)]
    return row


def test_every_accuracy_stands_in_its_place():
    asked = experiment()
    right = counts(asked)
    table = table_of(results(asked), "accuracy")
    assert [c.name.text for c in table.columns] == ["the attacker", "IncV1", "VGG16"]
    assert [s.title for s in table.sections] == ["As it is", "More"]
    for condition, row in zip(asked.conditions, table.rows, strict=True):
        assert row.name.text == condition.text
        for source, value in zip(SOURCES, row.values[1:], strict=True):
            if condition in (CLEAN, Condition(None, JPEG), Condition(SIGNS)):
                cell = Cell(condition, TARGET.key)
                if source is SOURCES[1]:
                    assert value == Same()
                    continue
            else:
                cell = Cell(condition, TARGET.key, source.key)
            assert isinstance(value, Accuracy)
            assert value.share == Share(right[cell], N)
    assert table.rows[0].values[1].published == 69.4
    assert [v.published for v in table.rows[1].values[1:]] == [None, 28.7]


def test_a_quick_run_says_so_above_its_figures():
    assert "quick" not in table_of(results(), "accuracy").note
    table = table_of(results(config={"options": {"quick": True}}), "accuracy")
    assert table.note.startswith("A quick run, to see that all works: its figures mean nothing.")


def test_what_the_attacker_knows_stands_in_every_row():
    table = table_of(results(), "accuracy")
    assert [row.values[0].shown().main for row in table.rows] == [
        "nobody",
        *["oblivious / transfer"] * 3,
        "exact",
        "bpda",
        "nobody",
        "no network",
    ]
    assert "oblivious in the column IncV1, transfer in the others" in table.note
    # What reviewers ask for is of the whole; the short table has a column for each attacker.
    for kind, found in all_tables(results()).items():
        for table in found if kind not in ("checklist", "headline") else ():
            said = [table.note, *(c.name.text for c in table.columns), *(v.shown().main for v in table.values)]
            assert any("transfer" in text for text in said), kind


def test_names_have_a_latex_form_of_what_has_none():
    names = tables.row_names([Condition(UAP, JPEG), Condition(SIGNS), Condition(UAP, ROF)])
    assert [name.latex for name in names.values()] == [
        r"\mbox{D\_jpeg}(v_0 + \delta)",
        r"v_0 + \mbox{random signs}",
        r"D_{\mathrm{ROF}}(v_0 + \delta)",
    ]


def test_rows_that_would_be_called_the_same_are_told_apart():
    small = replace(UAP, eps=4 / 255)
    longer = replace(UAP, attack=replace(UAP.attack, params=params(max_iter=9)))
    other_jpeg = Defence((Preprocessor("art:JpegCompression", params(quality=50), "D_jpeg"),))
    rows = (
        *(Condition(t) for t in (UAP, small, longer)),
        Condition(None, JPEG),
        Condition(None, other_jpeg),
        Condition(BPDA, ROF),
        Condition(AWARE, ROF),
        Condition(UAP, ROF),
    )
    assert [name.text for name in tables.row_names(rows).values()] == [
        "v0 + δ, ε 10/255, max_iter 3",
        "v0 + δ, ε 4/255, max_iter 3",
        "v0 + δ, ε 10/255, max_iter 9",
        "D_jpeg(v0), art:JpegCompression:quality=75",
        "D_jpeg(v0), art:JpegCompression:quality=50",
        # These have another attacker.
        "D_ROF(v0 + δ knowing D_ROF)",
        "D_ROF(v0 + δ knowing D_ROF)",
        "D_ROF(v0 + δ)",
    ]
    assert tables.row_names(rows)[rows[1]].latex == (r"v_0 + \delta\mbox{, $\varepsilon$ 4/255, max\_iter 3}")


def test_columns_that_would_be_called_the_same_are_told_apart():
    asked = experiment(sources=(Source("a.py:net", "mine"), Source("b.py:net", "mine"), SOURCES[0]), networks=())
    table = table_of(results(asked), "accuracy")
    assert [c.name.text for c in table.columns[1:]] == ["mine (a.py:net)", "mine (b.py:net)", "IncV1"]


def test_no_columns_at_all():
    asked = experiment(
        sources=(),
        sections=(Section("", (CLEAN, Condition(None, JPEG))),),
        transfers=(),
        sweeps=(),
        networks=(),
        comparisons=(Comparison(Condition(None, JPEG), CLEAN, "the cost"),),
    )
    found = all_tables(results(asked, made=()))
    assert list(found) == ["accuracy", "comparisons"]
    assert [len(row.values) for row in found["accuracy"][0].rows] == [2, 2]
    assert found["comparisons"][0].rows[0].values[1].points == pytest.approx(100 / N)


def test_missing_cells_say_why():
    asked = experiment()
    right = counts(asked)
    cells = list(right)
    first, second = Cell(ATTACKED, TARGET.key, TARGET.key), Cell(ATTACKED, TARGET.key, OTHER.key)
    labels = {cell: labels_with(right[cell]) for cell in cells if cell not in (first, second)}
    table = table_of(results(asked, labels, missing={first: "the disk is full"}), "accuracy")
    assert row_of(table, "v0 + δ").values[1:] == (Missing("the disk is full"), Missing("not computed yet"))
    assert table.reasons == ("the disk is full", "not computed yet")
    assert [table.reason(v) for v in row_of(table, "v0 + δ").values[1:]] == ["1", "2"]


def test_cells_that_cannot_be_say_why():
    given = Source("theirs.npy", "theirs", stands_for=UAP.attack)
    transferred = replace(UAP, knowledge=Knowledge.TRANSFER)
    square = Threat(Attack("square", text="Square", kind="per-image"), Knowledge.BLACK_BOX)
    sgd = Threat(Attack("sgd-uap", text="δ_SGD"))
    asked = experiment(
        sources=(*SOURCES, given),
        sections=(Section("", (ATTACKED, Condition(sgd), Condition(transferred, JPEG), Condition(square, JPEG))),),
        comparisons=(
            Comparison(Condition(sgd), ATTACKED, "another"),
            Comparison(Condition(square, JPEG), Condition(sgd), "queries"),
        ),
    )
    table = table_of(results(asked), "accuracy")
    whys = [[v.why if isinstance(v, Missing) else "" for v in row.values[1:]] for row in table.rows]
    crafted = "this would have to be crafted on a network, and the column is a file"
    assert whys == [
        ["", "", ""],
        ["", "", crafted],
        ["this column is the target itself, and the attacker has another network", "", ""],
        ["", "an attacker who queries the target needs no other network", crafted],
    ]
    pairs = table_of(results(asked), "comparisons")
    assert isinstance(row_of(pairs, "another").values[3], Missing)
    assert isinstance(row_of(pairs, "queries").values[1], Difference)
    assert [type(v) for v in row_of(pairs, "queries").values[2:]] == [Missing, Missing]
    assert row_of(table, "D_jpeg(Square querying D_jpeg)".replace("(", "(v0 + ")).values[0] == Text(Name("black-box"))


def test_the_worst_of_all_attackers_is_image_by_image():
    asked = experiment()
    labels = {cell: labels_with(N) for cell in asked.cells()}
    # Each alone leaves 150 right; 100 are right against both.
    labels[Cell(Condition(UAP, JPEG), TARGET.key, TARGET.key)] = labels_with(150, first=0)
    labels[Cell(Condition(UAP, JPEG), TARGET.key, OTHER.key)] = labels_with(150, first=100)
    labels[Cell(Condition(None, JPEG), TARGET.key)] = labels_with(190)
    labels[Cell(Condition(AWARE, ROF), TARGET.key, TARGET.key)] = labels_with(120)
    labels[Cell(Condition(BPDA, ROF), TARGET.key, OTHER.key)] = labels_with(80)
    # A control is no attacker.
    labels[Cell(Condition(SIGNS), TARGET.key)] = labels_with(1)
    table = table_of(results(asked, labels), "worst")
    assert [c.name.text for c in table.columns] == [
        *("nobody", "oblivious", "transfer", "bpda", "exact"),
        *("all of them: robust accuracy", "of those right unattacked: adversarial accuracy", "the strongest by itself"),
    ]
    found = {
        row.name.text: [getattr(getattr(v, "share", None), "count", None) for v in row.values] for row in table.rows
    }
    assert found == {
        "v0": [N, N, N, None, None, N, N, None],
        "D_jpeg(v0)": [190, 150, 150, None, None, 100, 100, None],
        "D_ROF(v0 + v_def)": [None, N, N, None, None, N, None, None],
        "D_ROF(v0)": [None, None, None, 80, 120, 80, None, None],
    }
    jpeg = row_of(table, "D_jpeg(v0)")
    assert [value.share.n for value in jpeg.values[-3:-1]] == [N, 190]
    assert jpeg.values[-1].name.text == "δ, IncV1 (oblivious)"
    assert row_of(table, "D_ROF(v0)").values[-1].name.text == "δ, VGG16 (bpda)"
    assert table.note.endswith(
        "Nobody who attacks knows D_jpeg(v0), D_ROF(v0 + v_def): what they are worth is not known."
    )
    # While one is missing nobody knows.
    del labels[Cell(Condition(UAP, JPEG), TARGET.key, OTHER.key)]
    row = row_of(table_of(results(asked, labels), "worst"), "D_jpeg(v0)")
    assert row.values[1].share.count == 150
    assert row.values[-3] == Missing("not computed yet")


def test_controls_of_defences_are_no_defences():
    rows = (CLEAN, ATTACKED, Condition(AWARE, ROF), Condition(UAP, ROF.with_noise("random")))
    table = table_of(results(experiment(sections=(Section("", rows),))), "worst")
    assert [row.name.text for row in table.rows] == ["v0", "D_ROF(v0)"]
    assert "Nobody" not in table.note


def test_the_worst_is_told_by_the_size_of_the_attack_and_a_smaller_one_counts_for_a_larger():
    small, large = (replace(UAP, eps=eps) for eps in (2 / 255, 8 / 255))
    asked = experiment(sources=SOURCES[:1], sections=(Section("", (CLEAN, Condition(small), Condition(large))),))
    labels = {cell: labels_with(N) for cell in asked.cells()}
    (of_small,), (of_large,) = (tuple(asked.cells_of(Condition(threat))) for threat in (small, large))
    labels[of_small], labels[of_large] = labels_with(150, first=0), labels_with(150, first=50)
    table = table_of(results(asked, labels), "worst")
    assert [section.title for section in table.sections] == [
        *("At most 2/255 in the norm L∞", "At most 8/255 in the norm L∞")
    ]
    assert [section.rows[0].values[-3].share.count for section in table.sections] == [150, 100]


def test_an_attack_on_few_images_says_nothing_of_the_others():
    slow = parse_attack("square:images=50")
    asked = experiment(sources=SOURCES[:1], sections=(Section("", (CLEAN, ATTACKED, Condition(slow))),))
    labels = {cell: labels_with(N) for cell in asked.cells()}
    (few,), (all_of_them,) = (tuple(asked.cells_of(c)) for c in (Condition(slow), ATTACKED))
    labels[all_of_them] = labels_with(120, first=0)
    labels[few] = np.where(np.arange(N) % 4 == 0, labels_with(100, first=0), NOT_ATTACKED)
    found = results(asked, labels)
    row = row_of(table_of(found, "accuracy"), "v0 + δ_Square")
    assert (row.values[1].share.count, row.values[1].share.n) == (25, 50)
    worst = row_of(table_of(found, "worst"), "v0")
    # 120 are left by the one; of the last 20 of these the other, which has attacked every fourth, takes 5.
    assert [(v.share.count, v.share.n) for v in worst.values[1:4]] == [(120, N), (25, 50), (115, N)]
    assert sum(record["n"] == 50 for record in found.records()) == 1
    lines = b"".join(per_image(found)).decode().splitlines()
    assert len(lines) == 1 + (len(found.labels) - 1) * N + 50


def test_an_image_that_an_attack_failed_on_counts_as_wrong():
    labels = labels_with(N)
    labels[:3] = ATTACK_FAILED
    assert accuracy(labels, results().images.labels).count == N - 3


def test_the_worst_of_one_attack_is_no_table():
    asked = experiment(sources=SOURCES[:1], sections=(Section("", (CLEAN, ATTACKED, Condition(UAP, JPEG))),))
    assert "worst" not in all_tables(results(asked))


def test_paired_comparisons():
    asked = experiment()
    labels = {cell: labels_with(100) for cell in asked.cells()}
    # 40 are right before and wrong after, and 10 the other way round, in one column.
    labels[Cell(CLEAN, TARGET.key)] = labels_with(120, first=0)
    labels[Cell(ATTACKED, TARGET.key, OTHER.key)] = labels_with(90, first=40)
    labels[Cell(Condition(None, JPEG), TARGET.key)] = labels_with(117)
    table = table_of(results(asked, labels), "comparisons")
    attack = row_of(table, "the attack")
    assert attack.values[2].difference == PairedDifference(10, 40, N)
    assert attack.values[2].points == -15
    assert attack.values[2].p == pytest.approx(2 * sum(_choose(50, k) for k in range(11)) / 2**50)
    assert attack.values[1].difference == PairedDifference(0, 20, N)
    # Seven comparisons ask the same question; these two have the smallest p-values.
    family = [v for row in table.rows for v in row.values if isinstance(v, Difference)]
    assert len(family) == 7
    assert attack.values[1].corrected == pytest.approx(7 * attack.values[1].p)
    assert attack.values[2].corrected == pytest.approx(6 * attack.values[2].p)
    assert attack.values[2].fields()["p_holm"] == attack.values[2].corrected
    # The same in all columns: once.
    cost = row_of(table, "D_jpeg on clean images")
    assert (cost.values[1].difference, cost.values[2]) == (PairedDifference(0, 3, N), Same())
    assert cost.values[0] == Text(Name("nobody"))
    assert row_of(table, "the attacker knows D_ROF").values[0] == Text(Name("exact rather than oblivious / transfer"))
    assert attack.more == (("first", "v0 + δ"), ("second", "v0"))


def _choose(n: int, k: int) -> int:
    value = 1
    for i in range(k):
        value = value * (n - i) // (i + 1)
    return value


def test_p_values_are_corrected_within_what_asks_the_same():
    pairs = [
        Comparison(ATTACKED, CLEAN, "the attack", "What an attack does"),
        Comparison(Condition(None, JPEG), CLEAN, "D_jpeg on clean images", "What it costs"),
    ]
    asked = experiment(sources=SOURCES[:1], comparisons=tuple(pairs))
    labels = {cell: labels_with(100) for cell in asked.cells()} | {Cell(CLEAN, TARGET.key): labels_with(120)}
    table = table_of(results(asked, labels), "comparisons")
    assert [section.title for section in table.sections] == ["What an attack does", "What it costs"]
    assert all(row.values[1].corrected == row.values[1].p for row in table.rows)


def test_comparisons_without_cells_are_left_out():
    asked = experiment()
    labels = {c: labels_with(k) for c, k in counts(asked).items() if c.condition != Condition(UAP, JPEG)}
    table = table_of(results(asked, labels), "comparisons")
    assert "D_jpeg against δ" not in [row.name.text for row in table.rows]
    assert len(table.rows) == 3


def test_comparisons_of_the_same_name_say_of_what():
    pairs = (
        Comparison(ATTACKED, CLEAN, "cost"),
        Comparison(Condition(UAP, JPEG), CLEAN, "cost"),
        # These have another attacker.
        Comparison(Condition(AWARE, ROF), CLEAN, "cost"),
        Comparison(Condition(BPDA, ROF), CLEAN, "cost"),
    )
    table = table_of(results(experiment(comparisons=pairs)), "comparisons")
    assert [(row.name.text, row.values[0].shown().main) for row in table.rows] == [
        ("cost (v0 + δ, v0)", "oblivious / transfer"),
        ("cost (D_jpeg(v0 + δ), v0)", "oblivious / transfer"),
        ("cost", "exact"),
        ("cost", "bpda"),
    ]


def test_fooling_rates_from_network_to_network():
    asked = experiment()
    found = results(asked)
    table = table_of(found, "transfer")
    assert [c.name.text for c in table.columns] == ["IncV1", "VGG16"]
    assert [row.name.text for row in table.rows] == ["IncV1", "VGG16", "random signs"]
    for source, row in zip((TARGET.key, OTHER.key, None), table.rows, strict=True):
        for target, value in zip((TARGET.key, OTHER.key), row.values, strict=True):
            attacked = found.labels[Cell(Condition(UAP if source else SIGNS), target, source)]
            assert value.share == Share(int(np.sum(attacked != found.labels[Cell(CLEAN, target)])), N)
            assert value.marked == (source == target)
            assert value.attacker == (
                "no network" if source is None else "oblivious" if source == target else "transfer"
            )
    # Moosavi-Dezfooli et al. (2017), Table 2, at the size that they have.
    assert [v.published for row in table.rows for v in row.values] == [78.9, 39.2, 56.5, 78.3, None, None]
    assert table.mark.startswith("white-box")


@pytest.mark.parametrize(
    "threat",
    [replace(UAP, eps=4 / 255), replace(UAP, attack=replace(UAP.attack, name="sgd-uap")), replace(UAP, norm="2")],
)
def test_published_rates_are_of_the_same_attack_and_size(threat):
    asked = experiment(transfers=(Transfer(threat, SIGNS, "δ"),))
    table = table_of(results(asked), "transfer")
    assert {v.published for v in table.values} == {None}
    assert table.legend.published == ""


def test_transfers_of_the_same_name_are_told_apart():
    asked = experiment(transfers=(Transfer(UAP, None, "δ"), Transfer(replace(UAP, eps=4 / 255), None, "δ")))
    titles = [table.title for table in all_tables(results(asked))["transfer"]]
    assert ["ε 10/255" in titles[0], "ε 4/255" in titles[1]] == [True, True]


def test_sweeps():
    asked = experiment()
    right = counts(asked)
    table = table_of(results(asked), "sweep")
    assert [c.name.text for c in table.columns] == [
        "v0",
        "v0 + δ, IncV1 (oblivious)",
        "v0 + δ, VGG16 (transfer)",
        "v0 + random signs (no network)",
    ]
    assert [row.name.text for row in table.rows] == ["0", "50"]
    expected = [
        Cell(Condition(threat, JPEG), TARGET.key, source)
        for threat, source in ((None, None), (UAP, TARGET.key), (UAP, OTHER.key), (SIGNS, None))
    ]
    assert [v.share.count for v in table.rows[1].values] == [right[cell] for cell in expected]
    assert table.head.text == "quality"


def test_sweeps_say_which_strength_the_other_tables_are_of():
    points = ((0, Defence()), (5, JPEG), (10, ROF))
    for rows, said, told in (
        ((Condition(None, ROF), Condition(UAP, ROF)), [False, False, True], " The other tables are of 10."),
        ((Condition(None, JPEG), Condition(None, ROF)), [False, True, True], " The other tables are of 5 and 10."),
        ((Condition(),), [False, False, False], "attacker knows."),
    ):
        sweep = Sweep("D", "strength", points, (None,))
        asked = experiment(sections=(Section("", rows),), comparisons=(), transfers=(), sweeps=(sweep,))
        table = table_of(results(asked), "sweep")
        assert [dict(row.more)["in the other tables"] for row in table.rows] == said
        assert table.note.endswith(told)


def test_a_sweep_that_is_not_computed_yet_is_left_out():
    asked = experiment()
    asked = replace(asked, sweeps=(*asked.sweeps, Sweep("D_ROF", "weight", ((10, ROF),), (None,))))
    labels = {c: labels_with(k) for c, k in counts(asked).items() if c.condition != Condition(None, ROF)}
    assert [t.title for t in all_tables(results(asked, labels))["sweep"]] == [
        "Top-1 accuracy by the strength of D_jpeg"
    ]


def test_perturbations():
    table = table_of(results(), "perturbations")
    assert [row.name.text for row in table.rows] == ["δ", "δ", "δ"]
    assert [row.name.latex for row in table.rows] == [r"\delta"] * 3
    shown = [[v.shown().main for v in row.values] for row in table.rows]
    assert shown == [
        ["oblivious", "IncV1", "–", "62.5", "80", "2.75", "10.0"],
        ["transfer", "VGG16", "–", "62.5", "80", "2.75", "10.0"],
        ["exact", "VGG16", "D_ROF", "62.5", "80", "2.75", "10.0"],
    ]
    found = results()
    bare = replace(found.made[0], record={})
    absent = replace(found.made[1], record={"absent": "it stayed zero"})
    table = table_of(replace(found, made=(bare, absent)), "perturbations")
    assert table.rows[0].values[-1] == Missing("not recorded")
    assert table.rows[1].values[-1] == Missing("it stayed zero")


def test_perturbations_from_files():
    asked = experiment(sources=(Source("theirs.npy", "theirs", stands_for=UAP.attack),))
    found = results(asked)
    made = replace(found.made[0], source="theirs.npy", record={"linf": 0.1})
    (row,) = table_of(replace(found, made=(made,)), "perturbations").rows
    assert row.values[1] == Text(Name("theirs, a file"))
    assert row.values[-1] == Number(25.5, 1)
    assert row.values[-2] == Missing("not crafted here")


# Several seeds


def seeded(right: dict[tuple[str | None, int], int], clean: int = 150):
    """Return results over the seeds 0, 1, 2 with so many right labels by column and seed."""
    asked = experiment(seeds=(0, 1, 2), transfers=(), sweeps=(), networks=())
    labels = {cell: labels_with(clean) for cell in asked.cells() if cell.condition != ATTACKED}
    for (source, seed), count in right.items():
        labels[Cell(ATTACKED, TARGET.key, source, seed)] = labels_with(count)
    return results(asked, labels)


ALL = {(TARGET.key, 0): 60, (TARGET.key, 1): 70, (TARGET.key, 2): 50}


def test_mean_and_spread_over_seeds():
    table = table_of(seeded(ALL), "accuracy")
    value = row_of(table, "v0 + δ").values[1]
    # (60 + 70 + 50) / 3 of 200 are 30 %; the lowest is 25 %, the highest 35 %.
    assert value.share.value == pytest.approx(0.3)
    assert value.shown().main == "30.0"
    assert value.shown().detail == "25.0 to 35.0"
    assert value.fields() == {
        "attacker": "oblivious",
        "seeds": 3,
        "n": N,
        "accuracy": 30.0,
        "lowest": 25.0,
        "highest": 35.0,
        "published": None,
    }
    # Nobody attacks: there is one, with its interval.
    clean = row_of(table, "v0").values[1]
    assert clean.share == Share(150, N)
    assert "mean over the seeds 0, 1, 2" in table.note
    assert "not an interval" in table.note
    assert isinstance(row_of(table, "v0 + δ").values[2], Missing)


def test_from_five_seeds_on_there_is_an_interval_over_perturbations_and_images():
    asked = experiment(seeds=tuple(range(5)))
    labels = {cell: labels_with(50 + 10 * cell.seed, first=17 * cell.seed) for cell in asked.cells()}
    table = table_of(results(asked, labels), "accuracy")
    value = row_of(table, "v0 + δ").values[1]
    low, high = (round(100 * bound, 1) for bound in value.share.interval)
    assert value.shown().detail == f"{low}–{high}; 25.0 to 45.0"
    assert low < 30 < 40 < high
    assert (value.fields()["low"], value.fields()["lowest"]) == (pytest.approx(low, abs=0.1), 25.0)
    assert "over images and perturbations" in table.note


def test_seeds_that_are_not_there_yet_are_told_of():
    found = seeded({(TARGET.key, 0): 60, (TARGET.key, 2): 50})
    value = row_of(table_of(found, "accuracy"), "v0 + δ").values[1]
    assert value.shown().main == "27.5"
    assert value.shown().detail == "25.0 to 30.0, 2 of 3 seeds"
    only = seeded({(TARGET.key, 0): 60})
    assert row_of(table_of(only, "accuracy"), "v0 + δ").values[1].shown().detail == "30.0 to 30.0, 1 of 3 seeds"


def test_differences_over_seeds_are_not_pooled():
    # Of 150 that are right without the attack, with each seed so many are with it: 140, 145 and 150 of them.
    found = seeded({(TARGET.key, 0): 140, (TARGET.key, 1): 145, (TARGET.key, 2): 144})
    table = table_of(found, "comparisons")
    value = row_of(table, "the attack").values[1]
    assert value.points == pytest.approx(-100 * (10 + 5 + 6) / 3 / N)
    # The largest: 5 of 5 one way round; pooled, it would be 2 / 2**21.
    assert value.p == pytest.approx(2 / 2**5)
    assert value.shown().detail == f"−5.0 to −2.5, p {value.corrected:.3f}"
    assert value.fields()["seeds"] == 3
    assert "largest of the seeds' p-values" in table.note


def test_seeds_that_point_in_both_directions_show_nothing():
    found = seeded({(TARGET.key, 0): 100, (TARGET.key, 1): 199, (TARGET.key, 2): 100})
    assert row_of(table_of(found, "comparisons"), "the attack").values[1].p == 1


def test_fooling_rates_over_seeds():
    asked = experiment(seeds=(3, 4))
    found = results(asked)
    table = table_of(found, "transfer")
    clean = found.labels[Cell(CLEAN, OTHER.key, None, 3)]
    rates = [np.mean(found.labels[Cell(ATTACKED, OTHER.key, TARGET.key, seed)] != clean) for seed in (3, 4)]
    value = table.rows[0].values[1]
    assert isinstance(value, Rate)
    assert value.share.value == pytest.approx(np.mean(rates))
    assert value.share.spread == pytest.approx((min(rates), max(rates)))
    perturbations = table_of(found, "perturbations")
    assert [row.values[3].shown().main for row in perturbations.rows] == ["3", "4", "3", "4", "3"]


# A table more


def test_a_table_more_is_a_function_and_a_line(monkeypatch):
    def sizes(found):
        (first,) = tables.accuracies(found)
        return (replace(first, kind="sizes", title="Sizes"),)

    monkeypatch.setitem(tables.TABLES, "sizes", sizes)
    assert [table.title for table in all_tables(results())["sizes"]] == ["Sizes"]


def test_rows_have_a_value_for_each_column():
    table = table_of(results(), "accuracy")
    with pytest.raises(ValueError, match=r"row 'v0' of table .* has 3 values for 2 columns"):
        replace(table, columns=table.columns[:2])


def test_a_figure_in_doubt_is_marked_wherever_it_stands():
    pgd, square = parse_attack("pgd:knowledge=exact"), parse_attack("square")
    rows = tuple(Condition(threat, defence) for threat in (None, pgd, square) for defence in (Defence(), ROF))
    asked = experiment(sources=SOURCES[:1], sections=(Section("", rows),), comparisons=(), transfers=(), sweeps=())
    labels = {cell: labels_with(N) for cell in asked.cells()}
    for cell in asked.cells():
        threat = cell.condition.threat
        if threat is not None:
            # Who only asks breaks what the gradient leaves, behind the defence.
            behind = cell.condition.defence and threat.attack == square.attack
            labels[cell] = labels_with(20 if behind else 80, first=0)
    found = results(asked, labels)
    (flag,) = {flag.doubted for flag in found.flags}
    assert flag.condition == Condition(pgd, ROF)
    accuracy = table_of(found, "accuracy")
    doubted = [row.name.text for row in accuracy.rows for value in row.values if value.marked]
    assert doubted == [next(row.name.text for row in accuracy.rows if row.name.text.startswith("D_ROF(v0 + δ_PGD"))]
    worst = table_of(found, "worst")
    # By itself, and in all that it is a part of.
    marked = dict(zip((c.name.text for c in worst.columns), row_of(worst, "D_ROF(v0)").values, strict=True))
    assert [name for name, value in marked.items() if value.marked] == [
        *("exact", "all of them: robust accuracy", "of those right unattacked: adversarial accuracy")
    ]
    for table in (accuracy, worst):
        assert table.mark.startswith("in doubt")
        for name in ("text", "markdown", "latex", "html"):
            assert "in doubt" in renderer(name).render([table])
    (value,) = (value for row in accuracy.rows for value in row.values if value.marked)
    assert value.fields()["doubted"]
    # Where nothing is in doubt, nothing is said of it.
    assert not table_of(results(asked, {cell: labels_with(N) for cell in asked.cells()}), "accuracy").mark
