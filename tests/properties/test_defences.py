"""Defences of whatever ART gives them, in whatever process, thread or mode they are called."""

from __future__ import annotations

import copy
import pickle
import warnings
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
import torch
from conftest import tiny_classifier
from defended_images import DEFENCES, Images, X, called
from hypothesis import assume, given
from hypothesis import strategies as st
from inputs_tried import tried

from art_denoise import Compose, DefensiveNoiseDefence, NLMeansDefence, ROFDefence
from art_denoise.filters._operators import _LIBRARY

LAYOUTS = {
    "as it is": lambda x: x,
    "flipped": lambda x: np.ascontiguousarray(x[..., ::-1])[..., ::-1],
    "in Fortran's order": np.asfortranarray,
    "every second": lambda x: np.repeat(x, 2, axis=0)[::2],
    "big-endian": lambda x: x.astype(x.dtype.newbyteorder(">")),
    "read-only": lambda x: np.frombuffer(x.tobytes(), x.dtype).reshape(x.shape),
}


@st.composite
def calls(draw):
    """Return a defence and images in its range."""
    low, high = draw(st.sampled_from([(0.0, 1.0), (-1.0, 1.0), (0.0, 255.0), (-5.0, -3.0)]))
    common = {
        "clip_values": (low, high),
        "channels_first": draw(st.booleans()),
        "chunk_size": draw(st.sampled_from([None, 1, 2, 100])),
        "gradient": draw(st.sampled_from(["exact", "identity"])),
    }
    rof = ROFDefence(draw(st.floats(0, 0.5)), **common)
    nl_means = NLMeansDefence(draw(st.floats(0.01, 0.5)), **common)
    n, c = draw(st.integers(0, 9)), draw(st.integers(1, 5))
    # Of fewer pixels the axes could be mistaken, and that is said.
    h, w = draw(st.integers(6, 14)), draw(st.integers(6, 14))
    noise_shape = (c, h, w) if common["channels_first"] else (h, w, c)
    noise = DefensiveNoiseDefence(
        np.full(noise_shape, 0.01, np.float32),
        clip_values=(low, high),
        channels_first=common["channels_first"],
    )
    defence = draw(st.sampled_from([rof, nl_means, noise, Compose([rof, nl_means])]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = (n, c, h, w) if common["channels_first"] else (n, h, w, c)
    x = rng.uniform(low, high, shape).astype(draw(st.sampled_from([np.float32, np.float64])))
    return defence, x, draw(st.sampled_from(list(LAYOUTS.values()))), (low, high)


@given(calls())
def test_any_images_in_the_range(call):
    defence, x, layout, (low, high) = call
    tried()
    given = layout(x)
    before = given.copy()
    result, y = defence(given, None)
    assert y is None
    # The type that ART computes in.
    assert (result.shape, result.dtype) == (x.shape, np.float32)
    assert np.array_equal(given, before)
    assert result.size == 0 or (low - 1e-6 <= result.min() and result.max() <= high + 1e-4)
    np.testing.assert_array_equal(result, defence(x)[0])
    if len(x):
        np.testing.assert_array_equal(defence(x[:1])[0], result[:1])
        grad = defence.estimate_gradient(given, np.ones_like(x))
        assert grad.shape == x.shape
        assert np.isfinite(grad).all()


@given(calls(), st.sampled_from([np.nan, np.inf, -np.inf]))
def test_images_that_are_not_finite(call, value):
    defence, x, layout, _ = call
    assume(x.size)
    tried()
    x.flat[x.size // 2] = value
    with pytest.raises(ValueError, match="`x` must be finite"):
        defence(layout(x))


@given(calls(), st.floats(30, 1e6))
def test_images_of_another_scale(call, factor):
    defence, x, layout, (low, high) = call
    assume(x.size > 50)
    tried()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match="`clip_values`"):
            defence(layout(low + (x - low) * factor + (high - low) * 20))


@pytest.mark.parametrize("defence", DEFENCES, ids=["rof", "nl-means", "chain"])
def test_in_whatever_place(defence):
    """Copies, threads, processes and modes of torch give the same bits as a plain call."""
    expected = called(defence)
    places = {
        "a copy": lambda: called(copy.deepcopy(defence)),
        "a pickle": lambda: called(pickle.loads(pickle.dumps(defence))),
        "inference mode": lambda: torch.inference_mode()(called)(defence),
        "no gradient": lambda: torch.no_grad()(called)(defence),
        "mixed precision": lambda: torch.autocast("cpu", dtype=torch.bfloat16)(called)(defence),
    }
    for name, place in places.items():
        assert np.array_equal(place(), expected), name
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(called, [defence] * 8):
            assert np.array_equal(found, expected)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_in_other_processes(method):
    if method not in __import__("multiprocessing").get_all_start_methods():
        pytest.skip(f"no {method} here")
    with get_context(method).Pool(1) as pool:
        for defence in DEFENCES[:2]:
            assert np.array_equal(pool.apply_async(called, (defence,)).get(timeout=120), called(defence))


def test_in_those_who_load_data():
    loader = torch.utils.data.DataLoader(Images(DEFENCES[1]), batch_size=2, num_workers=2, timeout=120)
    assert np.array_equal(np.concatenate([batch.numpy() for batch in loader]), called(DEFENCES[1]))


@pytest.mark.long  # PyTorch takes seconds to import its compiler
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # from PyTorch itself
@pytest.mark.skipif(_LIBRARY is None, reason="operators have all rules from PyTorch 2.5 on")
def test_in_a_compiled_network():
    """What the network says of defended images, and its gradient; where the graph breaks, the rest is compiled."""
    network, defence = tiny_classifier(X.shape[1:]).model, DEFENCES[2]

    def defended(x: torch.Tensor) -> torch.Tensor:
        return network(defence.forward(x)[0])

    def both(function) -> tuple[torch.Tensor, torch.Tensor]:
        x = torch.from_numpy(X).requires_grad_()
        logits = function(x)
        return logits.detach(), torch.autograd.grad(logits.square().sum(), x)[0]

    torch._dynamo.reset()
    for found, plain in zip(both(torch.compile(defended, backend="aot_eager")), both(defended), strict=True):
        # Compiled, a network may sum in another order.
        torch.testing.assert_close(found, plain, atol=1e-5, rtol=1e-5)
