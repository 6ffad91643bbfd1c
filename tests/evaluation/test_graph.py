"""Keys are of what a task is made of, and of nothing else; a plan is what is not there."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

from art_denoise.evaluation.artefact import Artefact
from art_denoise.evaluation.experiment import Knowledge, Preprocessor, params
from art_denoise.evaluation.graph import Resource, Task, Work, closure, to_do


@dataclass(frozen=True)
class Made(Task):
    folder: ClassVar[str] = "things"
    of: object = ()
    number: int = 0
    text: str = field(default="", compare=False)

    def modules(self):
        return ()

    @property
    def title(self):
        return f"Make {self.text}"

    @property
    def work(self):
        return Work("Make")

    def run(self, on):
        return Artefact({})


@dataclass(frozen=True)
class Other(Made):
    pass


@dataclass(frozen=True)
class Network(Resource):
    weights: Made

    def modules(self):
        return ()

    @property
    def title(self):
        return "Network"


@dataclass(frozen=True)
class Through:
    noise: Made | None = None


ROF = Preprocessor("rof", params(weight=0.1), "D_ROF")


DIFFERENT = [
    Made(),
    Made(number=1),
    Other(),
    Made(of=(1,)),
    Made(of=Made()),
    Made(of=(Made(),)),
    Made(of=Through()),
    Made(of=Through(Made())),
    Made(of=Through(Made(number=1))),
    Made(of=Knowledge.BPDA),
    Made(of=Knowledge.EXACT),
    Made(of=ROF),
    Made(of=ROF.with_params(weight=0.2)),
    Made(of=ROF.with_params(eps=0.1)),
]


def test_keys_differ_with_every_part():
    keys = [task.key for task in DIFFERENT]
    assert len(set(keys)) == len(keys)


def test_texts_are_no_part_of_a_key():
    assert Made(text="one").key == Made(text="another").key
    assert Made(of=ROF).key == Made(of=replace(ROF, text="D", latex="D")).key


def test_keys_are_the_same_in_every_process():
    # Taken down once: it has to be the same wherever it is worked out.
    assert Made(of=(1, "a", None, 0.5)).key == Made(of=[1, "a", None, 0.5]).key
    assert len(Made().key) == 16


def test_inputs_are_found_wherever_they_are():
    first, second, third = Made(number=1), Made(number=2), Made(number=3)
    assert Made(of=(first, (second,), Through(third))).inputs == (first, second, third)


def test_each_task_comes_after_what_it_needs_and_once():
    base = Made(number=1)
    left, right = Made(of=base, number=2), Made(of=base, number=3)
    top = Made(of=(left, right))
    order = list(closure([top, left]))
    assert len(order) == 4
    assert order.index(base.key) < order.index(left.key) < order.index(top.key)
    assert order.index(right.key) < order.index(top.key)


def test_nothing_is_done_for_what_is_there():
    base = Made(number=1)
    left, right = Made(of=base, number=2), Made(number=3)
    top = Made(of=(left, right))
    assert set(to_do([top], lambda task: False)) == {t.key for t in (base, left, right, top)}
    assert set(to_do([top], lambda task: task == left)) == {right.key, top.key}
    assert not to_do([top], lambda task: task == top)


def test_resources_are_not_done_but_what_they_need_is():
    weights = Made(number=1)
    scored = Made(of=Network(weights))
    assert list(to_do([scored], lambda task: False)) == [weights.key, scored.key]
    assert Made(of=Network(weights)).key != Made(of=Network(Made(number=2))).key
