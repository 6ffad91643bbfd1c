"""Attributes of defences and attacks are checked whenever they are set, as arguments are."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from art.attacks.attack import EvasionAttack
from art.defences.preprocessor import SpatialSmoothing
from conftest import tiny_classifier
from defence_examples import EXAMPLES, make

import art_denoise
from art_denoise import (
    SGDUAP,
    AsFlat,
    AsPyTorch,
    BestPGD,
    Compose,
    DeepFoolUAP,
    DefensiveNoiseDefence,
    NLMeansDefence,
    ROFDefence,
    SharedForwardDeepFool,
    UniversalNoise,
)
from art_denoise._attributes import CheckedAttributes

#: What is wrong for each parameter, whichever object has it.
WRONG = {
    "weight": -1,
    "solver": "newton",
    "coupling": "typo",
    "eps": -1,
    "tol": 0,
    "max_iter": 0,
    "h": 0,
    "patch_size": 0,
    "patch_distance": -1,
    "mode": "slow",
    "patch_weights": "typo",
    "sigma": -1,
    "noise": np.zeros((8, 9)),
    "clip_values": (1, 0),
    "channels_first": 1,
    "gradient": "typo",
    "chunk_size": 0,
    "verbose": "no",
    "apply_fit": 1,
    "apply_predict": 1,
    "device_type": "tpu",
    "preprocessors": [],
    "preprocessor": None,
    "image_shape": (3, 8),
    "norm": 3,
    "eps_step": 0,
    "num_random_init": -1,
    "loss": "typo",
    "momentum": 2,
    "eot_samples": 0,
    "batch_size": 0,
    "seed": -1,
    "delta": 2,
    "patience": 0,
    "measurements": 0,
    "starts": 0,
    "step_size": 0,
    "beta": 0,
    "search_size": 0,
    "searches": 0,
    "attacker": "fgsm",
    "attacker_params": {"typo": 1},
    "epsilon": -1,
    "nb_grads": 1,
    "like": "noise",
}

#: Neither checked by anybody, nor to be set: a name of a file, and what ART keeps for itself.
UNCHECKED = {"checkpoint", "summary_writer"}

ATTACKS = (BestPGD, DeepFoolUAP, SGDUAP, SharedForwardDeepFool, UniversalNoise)

MADE = {
    **{name: lambda name=name: make(name) for name in EXAMPLES},
    "as_flat": lambda: AsFlat(ROFDefence(), (3, 8, 8)),
    **{attack.__name__: lambda attack=attack: attack(tiny_classifier()) for attack in ATTACKS},
}


def parameters_of(thing) -> list[str]:
    return getattr(thing, "attack_params", None) or thing.params


def test_every_attack_and_defence_is_here():
    public = [value for value in vars(art_denoise).values() if isinstance(value, type)]
    assert {c for c in public if issubclass(c, EvasionAttack)} == set(ATTACKS)
    assert {c for c in public if issubclass(c, CheckedAttributes)} == {type(made()) for made in MADE.values()}


@pytest.mark.parametrize("name", MADE)
def test_what_a_constructor_refuses_cannot_be_set(name):
    thing = MADE[name]()
    names = [parameter for parameter in parameters_of(thing) if parameter not in UNCHECKED]
    assert names
    for parameter in names:
        before = getattr(thing, parameter)
        with pytest.raises((TypeError, ValueError)):
            setattr(thing, parameter, WRONG[parameter])
        assert getattr(thing, parameter) is before
        # ART's way, too.
        with pytest.raises((TypeError, ValueError)):
            thing.set_params(**{parameter: WRONG[parameter]})
        assert getattr(thing, parameter) is before


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
@pytest.mark.parametrize("name", EXAMPLES)
def test_copies_are_checked_too(name, copied, images):
    thing = MADE[name]()
    other = copied(thing)
    parameter = thing.params[0]
    with pytest.raises((TypeError, ValueError)):
        setattr(other, parameter, WRONG[parameter])
    np.testing.assert_array_equal(other(images)[0], thing(images)[0])


def test_what_is_right_is_set(images):
    defence = ROFDefence()
    defence.weight, defence.chunk_size, defence.clip_values = 0.2, 1, (0, 2)
    expected = ROFDefence(0.2, chunk_size=1, clip_values=(0, 2))
    assert repr(defence) == repr(expected)
    np.testing.assert_array_equal(defence(images)[0], expected(images)[0])
    attack = BestPGD(tiny_classifier())
    attack.eps, attack.told = 0.1, print  # not every attribute is a parameter
    assert attack.eps == 0.1


def test_parameters_that_depend_on_each_other():
    defence = NLMeansDefence()
    with pytest.raises(ValueError, match="`patch_size` must be odd with mode='centred', got 2"):
        defence.mode = "centred"
    assert defence.mode == "fast"
    defence.set_params(mode="centred", patch_size=3)
    assert (defence.mode, defence.patch_size) == ("centred", 3)


def test_a_refused_noise_leaves_everything_as_it_was():
    defence = DefensiveNoiseDefence(np.zeros((3, 8, 8)))
    defence.estimate = {"draws": 16}
    with pytest.raises(ValueError, match="divide noise made for 0 to 255"):
        defence.noise = np.full((3, 8, 8), 9.0)
    assert defence.estimate == {"draws": 16}
    assert not defence.noise.any()


def test_one_that_is_derived_may_have_more_parameters():
    class Twice(ROFDefence):
        params = [*ROFDefence.params, "times"]  # noqa: RUF012

        def __init__(self, times=2, **kwargs):
            super().__init__(**kwargs)
            self.times = times

    defence = Twice(3)
    assert defence.times == 3
    with pytest.raises(ValueError, match="`weight`"):
        defence.weight = -1
    assert repr(Twice()).endswith("times=2)")


def test_adapters_keep_to_what_they_wrap():
    chain = Compose([ROFDefence(), AsPyTorch(SpatialSmoothing(channels_first=True))])
    with pytest.raises(ValueError, match="`preprocessors` must agree on `apply_fit`"):
        chain.preprocessors = [ROFDefence(), ROFDefence(apply_fit=True)]
    with pytest.raises(TypeError, match="is one for PyTorch already"):
        chain.preprocessors[1].preprocessor = ROFDefence()
