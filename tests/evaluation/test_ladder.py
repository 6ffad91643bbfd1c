"""The ladder of attackers from files: every rung is climbed, gradients are looked at, and the worst stands first."""

from __future__ import annotations

import numpy as np
import pytest
from folders import machine_of, options_of, write_project

from art_denoise.evaluation.experiment import Knowledge
from art_denoise.evaluation.from_options import ladder
from art_denoise.evaluation.report import all_tables
from art_denoise.evaluation.results import Results
from art_denoise.evaluation.run import run
from art_denoise.evaluation.statistics import NOT_ATTACKED
from art_denoise.evaluation.studies.honest import LADDER

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Results:
    project = write_project(tmp_path_factory.mktemp("own"))
    options = options_of(project, defences=("rof", "art:JpegCompression:quality=50"), sgd_passes=1)
    found = run(project / "run", options, machine_of(project), ladder)
    # As it is read again.
    again = Results.load(project / "run")
    assert (again.audits, again.tried, again.passes) == (found.audits, found.tried, found.passes)
    return found


def test_every_rung_is_climbed(results):
    assert not results.failures
    assert not results.missing
    # Nothing is drawn: there are no draws to know.
    rungs = [rung.title for rung in LADDER if not any("draws=known" in text for text in rung.attacks)]
    assert [section.title for section in results.experiment.sections] == ["No attack", *rungs]
    rof, jpeg = (d for d in results.audits if d)
    known = {d: {c.knowledge for c in results.labels if c.condition.defence == d} for d in (rof, jpeg)}
    assert known[rof] >= {None, Knowledge.OBLIVIOUS, Knowledge.BPDA, Knowledge.EXACT, Knowledge.BLACK_BOX}
    # It has no gradient: nobody has the exact one, and who would take it has the identity.
    assert known[jpeg] == known[rof] - {Knowledge.EXACT}


def test_what_is_slow_attacks_few_images(results):
    for cell, labels in results.labels.items():
        threat = cell.condition.threat
        attacked = int(np.sum(labels != NOT_ATTACKED))
        assert attacked == min(len(labels), (threat and threat.images) or len(labels))


def test_gradients_were_looked_at_through_every_defence(results):
    assert [bool(defence) for defence in results.audits] == [False, True, True]
    alone, rof, jpeg = results.audits.values()
    assert alone["off"] < 0.1
    assert rof["off"] < 0.1 < jpeg["off"]


def test_attacks_were_tried_where_they_have_to_succeed_and_their_passes_counted(results):
    (table,) = all_tables(results)["attacks"]
    rof = [row for row in table.rows if row.name.text.startswith("D_ROF(v0 + δ_BestPGD knowing")]
    assert rof
    for row in rof:
        images, forward, gradient, planted, chance = (value.value for value in row.values[2:])
        assert images == len(results.images)
        assert 0 < gradient <= forward <= 150
        assert planted >= 75
        assert chance <= 25
    assert {row.defence.text for row in results.tried} == {"D_ROF", "D_JpegCompression"}
    assert len({row.name.text for row in table.rows}) == len(table.rows)
    assert not any("D_" in row.name.text for row in table.rows if "MI-FGS" in row.name.text)
    # Who does not know the defence has the same images wherever they are scored.
    counted = {c.condition.threat.attack.name for c in results.passes if not c.condition.threat.knowledge.knows_defence}
    assert counted == {"mifgsm"}


def test_the_short_table_stands_first_and_then_the_worst_for_each_size(results):
    tables = all_tables(results)
    assert list(tables)[:2] == ["headline", "worst"]
    (table,) = tables["worst"]
    assert len(table.sections) == 5
    robust = [row.values[-3].share.value for row in table.rows if row.name.text == "D_ROF(v0)"]
    assert len(robust) == 5
    assert robust == sorted(robust, reverse=True)
    assert {"flags", "mechanism", "checklist"} <= set(tables)
