"""The ladder: every defence against attackers who have more and more to go by."""

from __future__ import annotations

from dataclasses import replace

import pytest

from art_denoise.evaluation.components import parse_attack, parse_defence
from art_denoise.evaluation.experiment import NOTHING, Condition, Knowledge, Network, Source
from art_denoise.evaluation.studies.honest import LADDER, ladder

NET, OTHER = Network("net", "Net"), Network("other", "Other")
ROF, JPEG, NOISE = map(parse_defence, ("rof", "art:JpegCompression", "art:GaussianAugmentation"))
RUNGS = [(rung, [parse_attack(text) for text in rung.attacks]) for rung in LADDER]


@pytest.fixture
def asked():
    sources = [Source(network.key, network.text) for network in (NET, OTHER)]
    return ladder(
        NET,
        sources,
        (NET, OTHER),
        defences=[ROF, JPEG, NOISE],
        rungs=RUNGS,
        knows=[Knowledge.EXACT, Knowledge.BPDA, Knowledge.EXACT],
        drawing=[NOISE],
    )


def test_every_rung_is_a_section_and_every_row_is_there_once(asked):
    assert [section.title for section in asked.sections] == ["No attack", *(rung.title for rung in LADDER)]
    assert len(asked.conditions) == len(set(asked.conditions))
    assert len(asked.cells()) == len(set(asked.cells()))


def test_every_defence_meets_every_attacker_who_can_do_what_he_is_to_do(asked):
    for rung, threats in RUNGS:
        for threat in threats:
            if threat.knows_draws:
                # Of the others there are no draws to know.
                assert [c.defence for c in asked.conditions if c.threat == threat] == [NOISE]
                continue
            alone = [c for c in asked.conditions if not c.defence and c.threat and c.threat.attack == threat.attack]
            assert alone or not rung.alone
            assert Condition(threat, ROF) in asked.conditions
            # Who has the exact gradient of a defence that has none, has the identity.
            exact = threat.knowledge is Knowledge.EXACT
            assert (Condition(threat, JPEG) in asked.conditions) == (not exact)
            assert Condition(replace(threat, knowledge=Knowledge.BPDA) if exact else threat, JPEG) in asked.conditions
    known = {cell.knowledge for cell in asked.cells() if cell.condition.defence == ROF}
    assert known == {None, *Knowledge} - {Knowledge.PARTLY_EXACT}
    for defence in (NOTHING, ROF, JPEG):
        assert Condition(None, defence) in asked.conditions


def test_who_transfers_has_another_network_and_who_asks_has_the_target(asked):
    for cell in asked.cells():
        if cell.knowledge is Knowledge.TRANSFER:
            assert cell.source == OTHER.key
        if cell.knowledge in (Knowledge.BLACK_BOX, Knowledge.EXACT, Knowledge.BPDA):
            assert cell.source == NET.key


def test_defences_are_compared_with_none_on_the_same_images(asked):
    there = set(asked.conditions)
    assert {c.second.defence for c in asked.comparisons if c.family == "What a defence wins back"} == {NOTHING}
    known = [c for c in asked.comparisons if c.first.threat and c.first.threat.knows_draws]
    assert known
    assert all(c.second.threat is None or not c.second.threat.knows_draws for c in known)
    assert all({c.first, c.second} <= there for c in asked.comparisons)
    assert len({(c.first, c.second) for c in asked.comparisons}) == len(asked.comparisons)


def test_attacks_of_the_ladder_can_be_told_apart_from_each_other():
    texts = [text for rung in LADDER for text in rung.attacks]
    assert len(set(map(parse_attack, texts))) == len(texts)
    assert all(rung.sizes for rung in LADDER)
