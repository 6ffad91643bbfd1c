"""Filters of whatever is given: the right answer, or one error that names the argument."""

from __future__ import annotations

import warnings
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from inputs_tried import tried
from skimage.restoration import denoise_nl_means, denoise_tv_chambolle

from art_denoise import nl_means_denoise, rof_denoise

FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]

#: Mostly small, for time.
SIDE = st.integers(1, 12) | st.integers(1, 12) | st.integers(1, 97)

STRENGTH = st.floats(1e-3, 1) | st.sampled_from([1e-40, 1e-12, 10 / 255, 50.0, 1e6])


@st.composite
def filters(draw):
    """Return a filter with valid arguments, the least side it takes, and whether its results stay in the range of x."""
    kind = draw(st.sampled_from(["chambolle", "converged", "fast", "centred", "gaussian"]))
    strength = draw(STRENGTH)
    if kind in ("chambolle", "converged"):
        few = {"max_iter": draw(st.integers(1, 40))}
        return partial(rof_denoise, weight=strength, solver=kind, **few), 1, False
    size, distance = draw(st.integers(1, 5)), draw(st.integers(0, 4))
    options = {"patch_distance": distance, "sigma": draw(st.sampled_from([0.0, 0.05]))}
    if kind == "fast":
        return partial(nl_means_denoise, h=strength, patch_size=size, **options), 2 * (size // 2), True
    size |= 1
    weights = "uniform" if kind == "centred" else "gaussian"
    options |= {"mode": "centred", "patch_size": size, "patch_weights": weights}
    return partial(nl_means_denoise, h=strength, **options), size, True


@st.composite
def tensors(draw, *, finite: bool = True, floats=FLOATS, side=SIDE):
    """Return images of any size, type, layout and content."""
    n, c, h, w = draw(st.integers(1, 4) | st.integers(0, 9)), draw(st.integers(1, 5)), draw(side), draw(side)
    assume(n * c * h * w <= 20_000)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kinds = ["noise", "constant", "black and white", "tiny", "of a wide range"]
    kind = draw(st.sampled_from(kinds if finite else ["not a number", "infinite"]))
    x = rng.random((n, c, h, w))
    if kind == "constant":
        x[:] = x.flat[0] if x.size else 0
    elif kind == "black and white":
        x = np.round(x)
    elif kind == "tiny":
        x *= 1e-41
    elif kind == "of a wide range":
        x = (x - 0.5) * 200
    elif not finite:
        assume(x.size)
        x.flat[rng.integers(x.size)] = np.nan if kind == "not a number" else np.inf
    given = torch.from_numpy(x).to(draw(st.sampled_from(floats)))
    layout = draw(st.sampled_from(["as it is", "transposed", "channels last", "cut out", "sign turned"]))
    if layout == "transposed":
        given = given.permute(3, 1, 0, 2).contiguous().permute(2, 1, 3, 0)
    elif layout == "channels last":
        given = given.contiguous(memory_format=torch.channels_last)
    elif layout == "cut out":
        given = torch.cat([given, given], 3)[..., :w]
    elif layout == "sign turned":
        given = torch._neg_view(-given)
    return given


@given(tensors(), filters())
def test_any_images(x, filter):
    denoise, least, stays = filter
    tried()
    before = x.clone()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "ROF did not converge", RuntimeWarning)
        if any(1 < side < least for side in x.shape[2:]) and x.numel():
            with pytest.raises(ValueError, match="`patch_size`"):
                denoise(x)
            return
        result = denoise(x)
        assert (result.shape, result.dtype) == (x.shape, x.dtype)
        assert torch.equal(x, before)
        assert torch.isfinite(result).all()
        if not x.numel():
            return
        assert torch.equal(denoise(x.contiguous()), result)
        k = len(x) // 2
        # An image depends on nothing but itself.
        assert torch.equal(denoise(x[k : k + 1]), result[k : k + 1])
        # Each of the pixels that a mean is of may round its sum by half an epsilon; there are up to 81.
        reach = x.double().abs().max() * torch.finfo(x.dtype).eps * 48 + torch.finfo(x.dtype).tiny
        if stays:
            assert result.double().min() >= x.double().min() - reach
            assert result.double().max() <= x.double().max() + reach


@given(tensors(finite=False), filters())
def test_images_that_are_not_finite(x, filter):
    denoise, least, _ = filter
    tried()
    assume(not any(1 < side < least for side in x.shape[2:]))
    # A strength of as good as nothing changes nothing, whatever it is given.
    assume(denoise.keywords.get("weight", denoise.keywords.get("h")) >= 1e-6)
    with pytest.raises(ValueError, match=r"`x` must be finite, got .*: replace them"):
        denoise(x)


NONSENSE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from(["chambolle", "converged", "fast", "centred", "uniform", "gaussian"]),
    st.sampled_from([np.float32(0.1), np.int64(2), np.array(0.1), np.array([0.1]), 10**400, -(10**400), 1j]),
    st.lists(st.floats(), max_size=3).map(torch.tensor),
    st.binary(max_size=3),
)


@given(
    st.sampled_from([rof_denoise, nl_means_denoise]),
    st.fixed_dictionaries(
        {},
        optional={
            name: NONSENSE
            for name in ("weight", "h", "solver", "eps", "tol", "patch_size", "mode", "patch_weights", "sigma")
        }
        | {name: st.integers(-3, 5) | st.text(max_size=2) | st.none() for name in ("max_iter", "patch_distance")},
    ),
)
def test_any_arguments(denoise, given):
    """Each is taken, or refused by name; of what a filter has no use for Python itself says so."""
    tried()
    strength = "weight" if denoise is rof_denoise else "h"
    names = {"weight", "solver", "eps", "tol", "max_iter"}
    names = names if denoise is rof_denoise else {"h", "patch_size", "patch_distance", "mode", "patch_weights", "sigma"}
    arguments = {strength: 0.1} | {name: value for name, value in given.items() if name in names}
    x = torch.rand(2, 1, 6, 5, generator=torch.Generator().manual_seed(0))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "ROF did not converge", RuntimeWarning)
        said = None
        try:
            result = denoise(x, **arguments)
        except (TypeError, ValueError) as error:
            said = str(error)
    if said is None:
        assert result.shape == x.shape
        assert torch.isfinite(result).all()
    else:
        assert any(f"`{name}`" in said for name in names)


@given(
    st.none() | st.booleans() | st.integers() | st.binary() | st.lists(st.floats(), max_size=2) | st.just(np.ones(3))
)
@pytest.mark.parametrize("denoise", [partial(rof_denoise, weight=0.1), partial(nl_means_denoise, h=0.1)])
def test_what_is_no_image(denoise, x):
    tried()
    with pytest.raises(TypeError, match="`x` must be a floating-point torch tensor"):
        denoise(x)
    with pytest.raises((TypeError, ValueError), match="`x` must be"):
        denoise(torch.as_tensor(np.zeros(len(np.shape(x)))))


@given(tensors(floats=FLOATS[2:]), st.floats(0.01, 0.5))
def test_rof_against_scikit_image(x, weight):
    assume(x.numel() and x.abs().max() <= 1)
    tried()
    result = rof_denoise(x, weight)
    expected = [[denoise_tv_chambolle(plane, weight) for plane in image] for image in x.numpy(force=True)]
    # Another order of summing can end a channel one iteration earlier or later: near the end that is this much.
    np.testing.assert_allclose(result.numpy(), expected, atol=1e-6 if x.dtype == torch.float64 else 1e-4)


@given(tensors(floats=FLOATS[2:], side=st.integers(12, 30)), st.floats(0.02, 0.5), st.integers(1, 5), st.integers(1, 4))
def test_nl_means_against_scikit_image(x, h, size, distance):
    assume(x.numel() and x.abs().max() <= 1)
    tried()
    result = nl_means_denoise(x, h, patch_size=size, patch_distance=distance)
    # It turns an image of one channel round.
    arguments = {"patch_size": size, "patch_distance": distance, "h": h, "fast_mode": True}
    given = np.moveaxis(x.numpy(force=True), 1, 3)
    if given.shape[3] == 1:
        expected = [denoise_nl_means(v[..., 0], **arguments)[None] for v in given]
    else:
        expected = [np.moveaxis(denoise_nl_means(v, channel_axis=2, **arguments), 2, 0) for v in given]
    # Its exponential is one of float32. There a patch at the cut-off may be counted by one and not by the other.
    apart = np.abs(result.numpy() - np.array(expected)) > (1e-6 if x.dtype == torch.float64 else 2e-5)
    assert apart.mean() <= (0 if x.dtype == torch.float64 else 0.02)


@given(filters(), st.integers(1, 3), st.integers(5, 7), st.integers(5, 7), st.integers(0, 2**32 - 1))
def test_the_gradient_is_that_of_what_is_computed(filter, channels, height, width, seed):
    """⟨w, J v⟩ by differences and ⟨Jᵀ w, v⟩ by the backward pass."""
    denoise, _, _ = filter
    strength = denoise.keywords.get("weight", denoise.keywords.get("h"))
    # The derivative of "converged" is that of the minimiser, which forty iterations do not reach.
    assume(denoise.keywords.get("solver") != "converged" and 1e-2 <= strength <= 50)
    tried()
    draw = torch.Generator().manual_seed(seed)
    x, v, w = (torch.rand(1, channels, height, width, generator=draw, dtype=torch.float64) for _ in range(3))
    x.requires_grad_()
    (grad,) = torch.autograd.grad(denoise(x), x, w)
    slopes = []
    for step in (1e-6, 1e-7):
        ahead, behind = (denoise(x.detach() + sign * step * v) for sign in (1, -1))
        slopes.append(float(((ahead - behind) / (2 * step) * w).sum()))
    # At a stop or a cut-off there is a jump, which differences see and the derivative does not.
    assume(abs(slopes[0] - slopes[1]) < 1e-4 * (1 + abs(slopes[0])))
    assert float((grad * v).sum()) == pytest.approx(slopes[0], rel=1e-3, abs=1e-4)
