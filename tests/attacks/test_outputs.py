"""Networks that return something else than logits: every attack says what it got and what to do."""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from art.estimators.classification import PyTorchClassifier

from art_denoise import SGDUAP, BestPGD, DeepFoolUAP, SharedForwardDeepFool, UniversalNoise, as_module

X = np.random.default_rng(0).random((5, 3, 4, 4), dtype=np.float32)

ATTACKS = {
    "BestPGD": lambda c: BestPGD(c, verbose=False).generate(X),
    "BestPGD, labels": lambda c: BestPGD(c, verbose=False).generate(X, np.zeros(5, int)),
    "SharedForwardDeepFool": lambda c: SharedForwardDeepFool(c, verbose=False).generate(X),
    "DeepFoolUAP": lambda c: DeepFoolUAP(c, verbose=False).craft(X),
    "SGDUAP": lambda c: SGDUAP(c, verbose=False).craft(X),
    "UniversalNoise": lambda c: UniversalNoise(c).craft(X),
    "as_module": lambda c: as_module(c)(torch.from_numpy(X)),
}

Named = namedtuple("Named", "features logits")

OUTPUTS = {
    "OrderedDict": (lambda z: OrderedDict(loss=z.sum(), logits=z), r"such as `network\(x\)\['logits'\]`"),
    "tuple": (lambda z: (z, z), r"such as `network\(x\)\[0\]`"),
    "Named": (lambda z: Named(z.sum(), z), r"such as `network\(x\)\[1\]`"),
    "dict": (lambda z: {"loss": z.sum()}, r"of which there is none \(N, K\) in it"),
    "SimpleNamespace": (lambda z: SimpleNamespace(logits=z), r"such as `network\(x\)\.logits`"),
}


def classifier(output) -> PyTorchClassifier:
    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.last = torch.nn.Linear(48, 4)

        def forward(self, x):
            return output(self.last(x.flatten(1)))

    return PyTorchClassifier(
        Network(), torch.nn.CrossEntropyLoss(), (3, 4, 4), 4, clip_values=(0, 1), device_type="cpu"
    )


@pytest.mark.parametrize("attack", ATTACKS)
def test_every_attack_says_so(attack):
    output, remedy = OUTPUTS["OrderedDict"]
    with pytest.raises(ValueError, match=rf"must return logits \(N, K\), K >= 2, got OrderedDict: wrap it .*{remedy}"):
        ATTACKS[attack](classifier(output))


@pytest.mark.parametrize("kind", OUTPUTS)
def test_every_kind_of_output(kind):
    output, remedy = OUTPUTS[kind]
    with pytest.raises(ValueError, match=rf"got {kind}: .*{remedy}"):
        ATTACKS["as_module"](classifier(output))


def test_the_remedy_works():
    output, _ = OUTPUTS["Named"]

    class Wrapped(torch.nn.Module):
        def __init__(self, network):
            super().__init__()
            self.network = network

        def forward(self, x):
            return self.network(x)[1]

    wrapped = PyTorchClassifier(
        Wrapped(classifier(output).model), torch.nn.CrossEntropyLoss(), (3, 4, 4), 4, clip_values=(0, 1)
    )
    for attack in ATTACKS.values():
        attack(wrapped)
