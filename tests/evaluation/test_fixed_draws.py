"""A defence whose draws are known: the same for every image, whatever stands beside it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from art.defences.preprocessor.preprocessor import PreprocessorPyTorch

from art_denoise.evaluation.fixed_draws import FixedDraws


class Noise(PreprocessorPyTorch):
    """Adds what it draws, and doubles the result."""

    def __init__(self):
        super().__init__(device_type="cpu", is_fitted=True)

    def forward(self, x, y=None):
        return 2 * (x + torch.rand_like(x)), y


@pytest.fixture
def images():
    return torch.rand(4, 3, 5, 5, generator=torch.Generator().manual_seed(0))


def test_every_image_has_the_same_draws_alone_or_not(images):
    fixed = FixedDraws([Noise(), Noise()], 3)
    together, _ = fixed.forward(images)
    added = together - 4 * images
    assert float(added.std()) > 0.1
    assert torch.allclose(added, added[:1].expand_as(added), atol=1e-5)
    assert torch.equal(together[2:3], fixed.forward(images[2:3])[0])
    assert torch.equal(together, fixed.forward(images)[0])
    assert not torch.allclose(together, FixedDraws([Noise(), Noise()], 4).forward(images)[0])


def test_what_others_draw_goes_on_as_it_was(images):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    FixedDraws([Noise()], 3).forward(images)
    assert torch.equal(torch.rand(3), expected)


def test_a_gradient_gets_through(images):
    fixed, labels = FixedDraws([Noise(), Noise()], 3), np.arange(4)
    images.requires_grad_()
    result, _ = fixed.forward(images)
    assert torch.equal(torch.autograd.grad(result.sum(), images)[0], torch.full_like(images, 4))
    found, same = fixed(images.detach().numpy(), labels)
    assert np.array_equal(found, result.detach().numpy())
    assert same is labels
    assert np.allclose(fixed.estimate_gradient(images.detach().numpy(), np.ones(images.shape, np.float32)), 4)
