"""Arrays of every type, order and layout for every defence and adapter: the right answer or one named error."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from art.defences.preprocessor import Preprocessor
from art.defences.preprocessor.preprocessor import PreprocessorPyTorch
from given import answer, same
from hypothesis import given
from hypothesis import strategies as st
from inputs_tried import tried

from art_denoise import AsFlat, AsNumPy, AsPyTorch, Compose, DefensiveNoiseDefence, NLMeansDefence, ROFDefence


def noise(shape: tuple[int, ...], **options: Any) -> DefensiveNoiseDefence:
    return DefensiveNoiseDefence(np.random.default_rng(1).normal(0, 0.02, shape), **options)


#: Each of the shape of an image in its own layout, and what they all take.
MADE: dict[str, Callable[..., Preprocessor]] = {
    "rof": lambda shape, **options: ROFDefence(**options),
    "rof converged": lambda shape, **options: ROFDefence(0.1, solver="converged", **options),
    "nl_means": lambda shape, **options: NLMeansDefence(**options),
    "nl_means centred": lambda shape, **options: NLMeansDefence(0.1, mode="centred", patch_size=3, **options),
    "noise": noise,
    "compose": lambda shape, **options: Compose([noise(shape, **options), ROFDefence(**options)]),
    "as_numpy": lambda shape, **options: AsNumPy(NLMeansDefence(**options)),
    "as_pytorch": lambda shape, **options: AsPyTorch(AsNumPy(ROFDefence(**options)), gradient="estimate"),
}

RANGES = [(0, 1), (0, 255), (-1, 1), (-3.5, 2.25), (0, 65535), (1000, 1001), (-1e-3, 1e-3), (0, 1e30), (0, 1e-30)]

REAL = ["<f4", ">f4", "<f8", ">f8", "<f2", ">f2", "g", "u1", "i1", "<i2", ">u2", ">i4", "<i8", "?"]
UNREAL = ["c8", "c16", "U3", "S2", "M8[s]", "m8[s]", "V4"]

VALUES: dict[str, Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]] = {
    "any": lambda rng, shape: rng.random(shape),
    "of a photograph": lambda rng, shape: np.clip(rng.normal(0, 0.03, shape) + np.linspace(0.2, 0.8, shape[-1]), 0, 1),
    "constant": lambda rng, shape: np.full(shape, rng.random()),
    "black and white": lambda rng, shape: rng.integers(0, 2, shape).astype(float),
    "nearly constant": lambda rng, shape: 0.5 + 1e-7 * rng.random(shape),
    "denormal": lambda rng, shape: 1e-40 * rng.random(shape),
}


def unaligned(x: np.ndarray) -> np.ndarray:
    memory = np.empty(x.nbytes + 1, np.uint8)[1:].view(x.dtype).reshape(x.shape)
    memory[:] = x
    return memory


def read_only(x: np.ndarray) -> np.ndarray:
    x = x.copy()
    x.setflags(write=False)
    return x


ORDERS: list[Callable[[np.ndarray], np.ndarray]] = [
    lambda x: x,
    np.asfortranarray,
    lambda x: np.ascontiguousarray(x[::-1, :, ::-1])[::-1, :, ::-1],
    lambda x: np.ascontiguousarray(x.T).T,
    lambda x: np.repeat(x, 2, axis=2)[:, :, ::2],
    unaligned,
    read_only,
]

SIDE = st.integers(1, 12) | st.integers(1, 12) | st.integers(1, 97)


@st.composite
def arrays(draw, types: list[str], *, least: int = 0, pixels: int = 6000):
    """Return images, their range, and whether their channels come first."""
    channels, height, width = draw(st.integers(1, 5)), draw(SIDE), draw(SIDE)
    most = max(1, min(9, pixels // (channels * height * width)))
    shape = (draw(st.integers(least, most)), channels, height, width)
    first, (low, high) = draw(st.booleans()), draw(st.sampled_from(RANGES))
    values = VALUES[draw(st.sampled_from(sorted(VALUES)))](np.random.default_rng(draw(st.integers(0, 99))), shape)
    dtype = np.dtype(draw(st.sampled_from(types)))
    with np.errstate(all="ignore"):
        x = low + values * (high - low)
        x = x.astype(dtype) if dtype.kind in "fiub" else np.zeros(shape, dtype)
    return draw(st.sampled_from(ORDERS))(x if first else x.transpose(0, 2, 3, 1)), (low, high), first


def may_be_refused(x: np.ndarray, first: bool, name: str) -> bool:
    """Whether images of this shape, whatever is in them, are refused for a good reason."""
    channels, height, width = x.shape[1:] if first else (x.shape[3], *x.shape[1:3])
    # They look like the other layout, or are smaller than a patch.
    return (channels > 4 and (width if first else height) in (1, 3, 4)) or (
        name == "nl_means centred" and 2 in (height, width)
    )


@given(arrays(REAL), st.sampled_from(sorted(MADE)), st.integers(1, 10))
def test_any_array(drawn, name, chunk):
    """The same of any type and order in memory, in either layout, alone and in a batch, in any chunks, as a tensor."""
    tried()
    x, (low, high), first = drawn
    shape, before = x.shape[1:], x.copy()
    options = {"clip_values": (low, high), "channels_first": first, "device_type": "cpu"}
    defence = MADE[name](shape, **options)
    found = answer(lambda: defence(x, "labels"))
    assert same(x, before)
    with np.errstate(all="ignore"):
        plain = np.array(x.astype("f4"), order="C")
    if found is None:
        # Another type may hold other numbers than those of the range.
        assert may_be_refused(x, first, name) or plain.min() < low or plain.max() > high or not np.isfinite(plain).all()
        return
    result, labels = found
    assert (result.shape, result.dtype, labels) == (x.shape, np.float32, "labels")
    assert np.isfinite(result).all()
    assert not x.size or (np.float32(low) <= result.min() and result.max() <= np.float32(high))
    assert same(result, answer(lambda: defence(plain)[0]))
    assert same(result, answer(lambda: MADE[name](shape, chunk_size=chunk, **options)(plain)[0]))
    for k in range(len(x)):
        # Alone it may be of another scale, which a batch is as a whole.
        alone = answer(lambda k=k: defence(plain[k : k + 1])[0])
        assert alone is None or same(result[k : k + 1], alone)
    if isinstance(defence, PreprocessorPyTorch):
        assert same(answer(lambda: defence.forward(torch.from_numpy(plain))[0]).numpy(), result)
    if name not in ("noise", "compose"):
        other = MADE[name](shape, **{**options, "channels_first": not first})
        there, back = ((0, 2, 3, 1), (0, 3, 1, 2))[:: 1 if first else -1]
        swapped = answer(lambda: other(plain.transpose(there))[0])
        assert swapped is None or same(swapped.transpose(back), result)


@given(arrays(REAL, pixels=2000), st.sampled_from(sorted(MADE)), st.data())
def test_flat_features(drawn, inner, data):
    tried()
    x, clip_values, first = drawn
    shape = x.shape[1:]
    image_shape = data.draw(st.sampled_from([shape, shape, list(shape), shape[1:], (1, 1, 1), "abc", None]))
    defence = MADE[inner](shape, clip_values=clip_values, channels_first=first, device_type="cpu")
    flat = answer(lambda: AsFlat(defence, image_shape=image_shape))
    if flat is None or tuple(image_shape) != shape:
        return
    found = answer(lambda: flat(x.reshape(len(x), math.prod(shape)))[0])
    expected = answer(lambda: defence(x)[0])
    assert (found is None) == (expected is None)
    assert found is None or same(found.reshape(expected.shape), expected)


@given(arrays(UNREAL, pixels=500), st.sampled_from(sorted(MADE)), st.data())
def test_what_is_no_image(drawn, name, data):
    """Of another type, with a value that is none, of other axes, or objects."""
    tried()
    x, clip_values, first = drawn
    shape, low = x.shape[1:], clip_values[0]
    kind = data.draw(st.sampled_from(["type", "value", "axes", "objects"]))
    if kind == "value":
        x = np.full(x.shape, low, "f4")
        if x.size:
            x[-1, -1, -1, -1] = data.draw(st.sampled_from([float("nan"), float("inf"), 1e38, -1e38, low]))
    elif kind == "axes":
        x = np.full((*x.shape, 1, 1)[: data.draw(st.integers(0, 6))], low, "f4")
    elif kind == "objects":
        elements = [None, "a", np.zeros((3, 4, 5)), np.zeros(2), 1.0, [[1], [2, 3]], object()]
        x = np.empty(3, object)
        x[:] = data.draw(st.lists(st.sampled_from(elements), min_size=3, max_size=3))
    defence = MADE[name](shape, clip_values=clip_values, channels_first=first, device_type="cpu")
    found = answer(lambda: defence(x)[0])
    if found is not None and found.dtype != object:
        assert kind in ("value", "axes")
        assert np.isfinite(found).all()
        assert found.shape == x.shape


@given(arrays(["<f4"], least=1, pixels=1000), st.sampled_from(sorted(MADE)), st.data())
def test_estimated_gradients(drawn, name, data):
    """Of the shape of what they are given, finite, and those of autograd; else one named error."""
    tried()
    x, clip_values, first = drawn
    options = {"clip_values": clip_values, "channels_first": first, "device_type": "cpu"}
    defence = MADE[name](x.shape[1:], gradient=data.draw(st.sampled_from(["exact", "identity"])), **options)
    n, *rest = x.shape
    shapes = [x.shape, x.shape, (n, 3, *rest), (n, 0, *rest), x.shape[1:], (), (2, 3)]
    grad = np.random.default_rng(0).normal(size=data.draw(st.sampled_from(shapes)))
    grad = grad.astype(data.draw(st.sampled_from(["f4", ">f4", "f8"])))
    found = answer(lambda: defence.estimate_gradient(x, grad))
    if found is None:
        return
    assert found.shape == grad.shape
    assert np.isfinite(found).all()
    if isinstance(defence, (ROFDefence, NLMeansDefence, DefensiveNoiseDefence)) and grad.shape == x.shape:
        tensor = torch.from_numpy(x.copy()).requires_grad_()
        result = answer(lambda: defence.forward(tensor)[0])
        (pulled,) = torch.autograd.grad(result, tensor, torch.from_numpy(grad.astype("f4")))
        assert np.array_equal(pulled.numpy(), found)
