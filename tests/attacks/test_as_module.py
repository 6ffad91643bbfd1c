"""A defended classifier as a module: the same logits, the gradient of the defences, for attacks of other libraries."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from art.defences.preprocessor import SpatialSmoothing
from conftest import tiny_classifier

from art_denoise import AsPyTorch, ROFDefence, as_module
from art_denoise.defences.chain import with_defences

SHAPE = (3, 8, 8)


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).uniform(size=(6, *SHAPE)).astype(np.float32)


def test_the_logits_are_the_classifiers_and_follow_its_defences(images):
    classifier = tiny_classifier()
    module, x = as_module(classifier), torch.from_numpy(images)
    for chain in ([], [ROFDefence(weight=0.2)], [AsPyTorch(SpatialSmoothing(channels_first=True)), ROFDefence()]):
        with with_defences(classifier, chain):
            np.testing.assert_allclose(module(x).detach().numpy(), classifier.predict(images), atol=1e-5)


def test_the_gradient_is_that_of_the_defences_and_contiguous(images):
    classifier = tiny_classifier()
    classifier.model.to(memory_format=torch.channels_last)
    y = np.eye(classifier.nb_classes, dtype=np.float32)[classifier.predict(images).argmax(axis=1)]
    with with_defences(classifier, [ROFDefence(weight=0.2)]):
        x = torch.from_numpy(images).requires_grad_()
        loss = torch.nn.functional.cross_entropy(as_module(classifier)(x), torch.from_numpy(y.argmax(axis=1)))
        (gradient,) = torch.autograd.grad(len(x) * loss, x)
        expected = classifier.loss_gradient(images, y)
    assert gradient.is_contiguous()
    np.testing.assert_allclose(gradient.numpy(), expected * (np.abs(gradient.numpy()).max() / np.abs(expected).max()),
                               atol=1e-4 * np.abs(gradient.numpy()).max())  # fmt: skip


def test_it_is_always_in_evaluation_mode_and_has_the_networks_parameters():
    classifier = tiny_classifier()
    module = as_module(classifier)
    assert not module.train().training
    assert {p.data_ptr() for p in module.parameters()} == {p.data_ptr() for p in classifier.model.parameters()}


def test_what_is_no_classifier_for_pytorch_is_refused(images):
    with pytest.raises(TypeError, match="`classifier` must be one of ART's PyTorchClassifier, got int"):
        as_module(3)
    classifier = tiny_classifier()
    with (
        with_defences(classifier, [SpatialSmoothing(channels_first=True)]),
        pytest.raises(ValueError, match="AsPyTorch"),
    ):
        as_module(classifier)(torch.from_numpy(images))
