"""The denoisers as modules: the same as the functions, for any number of axes before the images."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch

from art_denoise import NLMeansDenoise, ROFDenoise, nl_means_denoise, rof_denoise

X = torch.rand((2, 3, 3, 12, 10), generator=torch.Generator().manual_seed(0))

CASES = [
    (ROFDenoise(), lambda x: rof_denoise(x, 10 / 255)),
    (ROFDenoise(0.1, solver="converged", tol=1e-3), lambda x: rof_denoise(x, 0.1, solver="converged", tol=1e-3)),
    (NLMeansDenoise(), lambda x: nl_means_denoise(x, 0.05)),
    (
        NLMeansDenoise(0.1, patch_size=3, mode="centred", patch_weights="gaussian", sigma=0.02),
        lambda x: nl_means_denoise(x, 0.1, patch_size=3, mode="centred", patch_weights="gaussian", sigma=0.02),
    ),
]


@pytest.mark.parametrize(("module", "function"), CASES)
def test_images_with_any_axes_before_them(module, function):
    wanted = function(X.flatten(0, 1)).reshape(X.shape)
    assert torch.equal(module(X), wanted)
    assert torch.equal(module(X[0]), wanted[0])
    assert torch.equal(module(X[0, 0]), wanted[0, 0])
    # Of one image all numbers of channels are clear, where the functions ask.
    assert torch.equal(module(X[0, 0, :2]), function(X[0, :1, :2])[0])
    assert module(X[:0]).shape == (0, 3, 3, 12, 10)
    assert module(X[0].to(torch.bfloat16)).dtype == torch.bfloat16


@pytest.mark.parametrize(("module", "function"), CASES)
def test_before_a_network_it_has_its_exact_gradient(module, function):
    network = torch.nn.Sequential(module, torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten(), torch.nn.Linear(4 * 80, 2))
    x = X[0].clone().requires_grad_()
    network(x).square().sum().backward()
    y = X[0].clone().requires_grad_()
    network[1:](function(y)).square().sum().backward()
    assert torch.equal(x.grad, y.grad)
    assert x.grad.abs().sum() > 0
    assert not list(module.parameters())
    assert not module.state_dict()
    assert torch.equal(module.train()(X[0]), module.eval()(X[0]))


def test_it_stands_in_a_chain_of_transforms():
    from torchvision import transforms

    chain = transforms.Compose([transforms.ConvertImageDtype(torch.float32), NLMeansDenoise(0.1)])
    picture = (255 * X[0, 0]).to(torch.uint8)
    assert torch.equal(chain(picture), nl_means_denoise(picture[None].float() / 255, 0.1)[0])


@pytest.mark.parametrize(("module", "_"), CASES)
def test_it_can_be_shown_copied_and_kept(module, _):
    for again in (copy.deepcopy(module), pickle.loads(pickle.dumps(module)), eval(repr(module))):
        assert repr(again) == repr(module)
        assert torch.equal(again(X), module(X))


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: ROFDenoise(-1), "`weight` must be"),
        (lambda: ROFDenoise(solver="fast"), "`solver` must be .chambolle. or .converged."),
        (lambda: NLMeansDenoise(0), "`h` must be"),
        (lambda: NLMeansDenoise(mode="centred"), "`patch_size` must be odd"),
        (lambda: ROFDenoise()(X[0, 0, 0]), "`x` must be"),
        (lambda: ROFDenoise()(X[:, :, :0]), "`x` must"),
    ],
)
def test_bad_input(make, why):
    with pytest.raises(ValueError, match=why):
        make()
    with pytest.raises(TypeError, match="floating-point"):
        ROFDenoise()((255 * X).to(torch.uint8))
