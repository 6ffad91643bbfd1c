"""The fit of the defensive noise, whatever it is given: a noise of the size asked for, or one named error."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from conftest import tiny_classifier
from given import answer, numbers, same
from hypothesis import given
from hypothesis import strategies as st
from inputs_tried import tried

from art_denoise import AsNumPy, Compose, DefensiveNoiseDefence, ROFDefence

SHAPE = (3, 8, 8)
CLASSIFIER = tiny_classifier(SHAPE)


class Read:
    """Images that are read when they are indexed."""

    def __init__(self, x: np.ndarray) -> None:
        self.x = x

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, chosen: Any) -> np.ndarray:
        return self.x[chosen]


IMAGES: dict[str, Any] = {
    "floats": lambda x: x,
    "double": lambda x: x.astype("f8"),
    "of the other byte order": lambda x: x.astype(">f4"),
    "half": lambda x: x.astype("f2"),
    "bytes": lambda x: (x * 255).astype(np.uint8),
    "tensor": torch.from_numpy,
    "list": lambda x: x.tolist(),
    "read when indexed": Read,
    "flipped": lambda x: np.ascontiguousarray(x[..., ::-1])[..., ::-1],
    "one is NaN": lambda x: np.where(np.arange(x.size).reshape(x.shape) == 5, np.float32("nan"), x),
    "of another scale": lambda x: 255 * x,
    "of another size": lambda x: x[..., 1:],
    "flat": lambda x: x.reshape(len(x), 192),
    "none": lambda x: None,
    "text": lambda x: "images",
    "bools": lambda x: x > 0.5,
    "complex": lambda x: x + 0j,
    "objects": lambda x: x.astype(object),
}
LABELS: dict[str, Any] = {
    "indices": lambda y: y,
    "bytes": lambda y: y.astype(np.uint8),
    "one-hot": lambda y: np.eye(4)[y],
    "one-hot bools": lambda y: np.eye(4)[y] > 0,
    "list": lambda y: y.tolist(),
    "tensor": torch.from_numpy,
    "floats": lambda y: y.astype(float),
    "too great": lambda y: y + 4,
    "below 0": lambda y: y - 9,
    "too few": lambda y: y[1:],
    "text": lambda y: y.astype(str),
    "of unequal lengths": lambda y: [[1], [1, 2]],
    "none": lambda y: None,
    "NaN": lambda y: np.full((len(y), 4), np.nan),
}
#: Few draws: what is asked for is done.
OPTIONS: dict[str, Any] = {
    "sigma": numbers,
    "eps": numbers,
    "draws": st.sampled_from([1, 2, 5, 0, -1, True, 1.5, "2", None, np.int64(3), 10**400, float("nan")]),
    "batch_size": st.sampled_from([1, 7, 128, 0, -3, True, 2.0, "8", None, np.uint8(9), 2**62, 2**63, 10**30]),
    "seed": st.sampled_from([0, 7, -1, 2**63, 2**64, 10**30, 1.5, True, "0", None, np.int32(4), np.uint64(9)]),
    "accept": st.sampled_from(["flip", "loss", "none", None, 1, []]),
    "through": st.sampled_from(["defences", "classifier", "none", None, 1, []]),
}


@given(st.integers(0, 9), st.integers(0, 99), st.data())
def test_any_fit(count, seed, data):
    tried()
    rng = np.random.default_rng(seed)
    x, y = rng.random((count, *SHAPE), dtype=np.float32), rng.integers(0, 4, count)
    images = data.draw(st.just("floats") | st.sampled_from(sorted(IMAGES)), label="images")
    labels = data.draw(st.just("indices") | st.sampled_from(sorted(LABELS)), label="labels")
    chosen = data.draw(st.lists(st.sampled_from(sorted(OPTIONS)), unique=True, max_size=2))
    options = {"sigma": 0.2, "draws": 3} | {name: data.draw(OPTIONS[name], label=name) for name in chosen}
    defence = DefensiveNoiseDefence(device_type="cpu")
    fitted = data.draw(st.sampled_from([defence, Compose([defence, ROFDefence(device_type="cpu")]), AsNumPy(defence)]))
    given_images, before = IMAGES[images](x), x.copy()
    answer(lambda: fitted.fit(given_images, LABELS[labels](y), classifier=CLASSIFIER, **options))
    assert same(x, before)
    assert not CLASSIFIER.preprocessing_defences
    if defence.noise is None:
        assert defence.estimate is None
        return
    assert np.isfinite(defence.noise).all()
    size = np.sqrt(np.mean(defence.noise.astype("f8") ** 2))
    np.testing.assert_allclose(size, float(options.get("eps", 2 / 255)), rtol=1e-3, atol=1e-30)
    if defence.noise.shape == SHAPE:
        assert np.isfinite(answer(lambda: defence(x)[0])).all()
