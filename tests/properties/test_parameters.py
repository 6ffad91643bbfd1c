"""Parameters of defences and adapters, whatever they are: taken, or refused by name, and nothing has changed."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from art.defences.preprocessor import Preprocessor
from given import answer, numbers, same
from hypothesis import assume, given
from hypothesis import strategies as st
from inputs_tried import tried

from art_denoise import AsFlat, AsNumPy, AsPyTorch, Compose, DefensiveNoiseDefence, NLMeansDefence, ROFDefence

X = np.random.default_rng(0).random((2, 2, 6, 5), dtype=np.float32)

PLAIN: dict[Any, dict[str, Any]] = {
    ROFDefence: {},
    NLMeansDefence: {},
    DefensiveNoiseDefence: {"noise": np.full((2, 6, 5), 0.1)},
}

#: What is likely to be given for some of them, right or wrong.
OWN: dict[str, list[Any]] = {
    "max_iter": [1, 3, 0, -1, 2**63, 10**400, np.int64(3), 1.5, True, "1", None, float("nan")],
    "patch_size": [1, 2, 3, 4, 99, 1000, 1001, 10**9, np.int32(3), 3.0],
    "patch_distance": [0, 1, 3, 20, -1, 1001, 10**5, 2**62, 10**30, np.uint8(3), 3.0, False, None, "3"],
    "clip_values": [
        *((0, 1), [0, 255], (0, 0), (1, 0), (0, 1, 2), (0,), 5, None, "01", ("0", "1"), (False, True), (None, 1)),
        *((np.float32(0), np.float64(1)), np.array([0, 1]), torch.tensor([0.0, 1.0]), {0: 1, 1: 2}, (0, 10**400)),
        *((-1e39, 1e39), (-3e38, 3e38), (0, 1e-44), (0, 5e-324), (1e8, 1e8 + 1), (0, float("nan")), (0, float("inf"))),
    ],
    "noise": [
        *(np.zeros((2, 6, 5), dtype) for dtype in ("f4", ">f2", "g", bool, complex, int, object)),
        *(np.zeros(shape) for shape in ((2, 6, 4), (3,), (0, 6, 5), (6, 5, 2))),
        *(np.full((2, 6, 5), value) for value in (1.5, np.nan, -np.inf, 1e300, 1e-320)),
        *(torch.zeros(2, 6, 5), torch.zeros(2, 6, 5).bfloat16(), torch.zeros(2, 6, 5, requires_grad=True)),
        *(None, [[[0.0] * 5] * 6] * 2, [[1], [2, 3]], "noise", object()),
    ],
    "device_type": ["cpu", "gpu", "tpu", None, 1, ["cpu"]],
    "gradient": ["exact", "identity", "bpda", None, 1, []],
    "mode": ["fast", "centred", "slow", None, []],
    "solver": ["chambolle", "converged", "newton", None, []],
    "patch_weights": ["uniform", "gaussian", None, []],
}


@given(st.data())
def test_any_parameter_of_a_defence(data):
    """Given to the constructor or set later: the same images, or an error that names it."""
    kind = data.draw(st.sampled_from(list(PLAIN)))
    name = data.draw(st.sampled_from([n for n in kind.params if n != "verbose"]), label="name")
    value = data.draw(st.sampled_from(OWN[name]) | numbers if name in OWN else numbers, label="value")
    # So many iterations may be asked for, but not waited for.
    assume(not (name == "max_iter" and type(value) is int and 100 < value < 2**63))
    tried()
    made = answer(lambda: kind(**{**PLAIN[kind], name: value}))
    defence = kind(**PLAIN[kind])
    before, state = repr(defence), copy.copy(vars(defence))
    changed = answer(lambda: setattr(defence, name, value) or defence)
    assert (made is None) == (changed is None)
    if made is None:
        assert repr(defence) == before
        assert vars(defence).keys() == state.keys()
        assert all(vars(defence)[key] is state[key] for key in state)
        return
    found, again = answer(lambda: made(X)[0]), answer(lambda: changed(X)[0])
    assert (found is None) == (again is None)
    if found is not None:
        assert same(found, again)
        assert np.isfinite(found).all()
        assert found.shape == X.shape
    assert repr(made) == repr(changed)


@given(
    numbers | st.sampled_from([ROFDefence(), AsNumPy(ROFDefence()), Compose([ROFDefence()]), [ROFDefence()], Compose])
)
def test_any_parameter_of_an_adapter(value):
    tried()
    for make in (AsNumPy, AsPyTorch, Compose, lambda v: Compose([v]), lambda v: AsFlat(v, (1, 2, 2))):
        made = answer(lambda make=make: make(value))
        assert made is None or isinstance(made, Preprocessor)
    for attribute, adapter in (
        ("gradient", AsPyTorch(AsNumPy(ROFDefence()))),
        ("image_shape", AsFlat(ROFDefence(), (1, 2, 2))),
        ("preprocessors", Compose([ROFDefence()])),
        ("preprocessor", AsNumPy(ROFDefence())),
    ):
        before = repr(adapter)
        if answer(lambda a=attribute, d=adapter: setattr(d, a, value) or d) is None:
            assert repr(adapter) == before
