"""The defences inside ART: chains, order, attacks, fitting."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import tiny_classifier
from skimage.restoration import denoise_tv_chambolle

from art_denoise import DefensiveNoiseDefence, NLMeansDefence, ROFDefence

SHAPE = (3, 8, 8)


@pytest.fixture
def x() -> np.ndarray:
    return np.random.default_rng(1).uniform(0.1, 0.9, (6, *SHAPE)).astype(np.float32)


def test_three_lines_of_use(x):
    classifier = tiny_classifier(SHAPE, preprocessing_defences=[ROFDefence()])
    denoised = np.stack([denoise_tv_chambolle(image, weight=10 / 255, channel_axis=0) for image in x])
    np.testing.assert_allclose(classifier.predict(x), tiny_classifier(SHAPE).predict(denoised), atol=1e-4)
    assert not np.allclose(classifier.predict(x), tiny_classifier(SHAPE).predict(x), atol=1e-3)


def test_chain_adds_the_noise_before_it_denoises(x):
    noise = np.random.default_rng(2).normal(0, 0.05, SHAPE).astype(np.float32)
    classifier = tiny_classifier(SHAPE, preprocessing_defences=[DefensiveNoiseDefence(noise), ROFDefence()])
    noisy = np.clip(x + noise, 0, 1)
    expected = tiny_classifier(SHAPE).predict(ROFDefence()(noisy)[0])
    np.testing.assert_allclose(classifier.predict(x), expected, atol=1e-5)


def test_standardisation_comes_after_the_defence(x):
    standardise = (np.full((3, 1, 1), 0.4, np.float32), np.full((3, 1, 1), 0.2, np.float32))
    classifier = tiny_classifier(SHAPE, preprocessing_defences=[ROFDefence()], preprocessing=standardise)
    expected = tiny_classifier(SHAPE, clip_values=(-9, 9)).predict((ROFDefence()(x)[0] - 0.4) / 0.2)
    np.testing.assert_allclose(classifier.predict(x), expected, atol=1e-4)


def test_float64_arrays(x):
    classifier = tiny_classifier(SHAPE, preprocessing_defences=[NLMeansDefence()])
    np.testing.assert_allclose(classifier.predict(x.astype(np.float64)), classifier.predict(x), atol=1e-6)


def test_apply_predict_and_apply_fit(x):
    silent = tiny_classifier(SHAPE, preprocessing_defences=[ROFDefence(apply_predict=False)])
    np.testing.assert_array_equal(silent.predict(x), tiny_classifier(SHAPE).predict(x))
    assert ROFDefence().apply_predict
    assert not ROFDefence().apply_fit


def noisy_task() -> tuple[np.ndarray, np.ndarray]:
    """Thirty images, the first ten of which the small classifier narrowly gets wrong."""
    x = np.random.default_rng(3).uniform(0.1, 0.9, (600, *SHAPE)).astype(np.float32)
    logits = tiny_classifier(SHAPE).predict(x)
    order = logits.argsort(axis=1)
    ranked = np.sort(logits, axis=1)
    narrow = (ranked[:, -1] - ranked[:, -2]).argsort()
    chosen = np.concatenate([narrow[:10], narrow[-20:]])
    y = order[:, -1].copy()
    y[narrow[:10]] = order[narrow[:10], -2]
    return x[chosen], y[chosen]


def test_fit_by_flips_corrects_what_was_wrong():
    x, y = noisy_task()
    classifier = tiny_classifier(SHAPE)
    defence = DefensiveNoiseDefence()
    defence.fit(x, y, classifier=classifier, sigma=0.1, eps=0.03, draws=200)
    assert defence.is_fitted
    assert defence.noise.shape == SHAPE
    assert np.sqrt(np.mean(defence.noise**2)) == pytest.approx(0.03, rel=1e-4)
    assert 0 < defence.estimate["accepted"] < defence.estimate["drawn"] == 10 * 200
    assert defence.estimate["linf"] == pytest.approx(np.abs(defence.noise).max())
    right = classifier.predict(defence(x)[0]).argmax(1) == y
    assert not (classifier.predict(x).argmax(1) == y)[:10].any()
    assert right[:10].mean() >= 0.5


def test_fit_by_loss_lowers_the_loss_of_most():
    x, _ = noisy_task()
    y = np.ones(30, dtype=int)  # one class for all, so that one direction can help all
    classifier = tiny_classifier(SHAPE)
    defence = DefensiveNoiseDefence()
    defence.fit(x, y, classifier=classifier, accept="loss", sigma=0.1, eps=0.03, draws=100)
    assert defence.estimate["drawn"] == 30 * 100

    def losses(images: np.ndarray) -> np.ndarray:
        logits = classifier.predict(images).astype(float)
        return np.log(np.exp(logits).sum(1)) - logits[np.arange(len(logits)), y]

    assert np.mean(losses(defence(x)[0]) < losses(x)) > 0.9


def test_fit_goes_through_the_defences_that_follow():
    x, y = noisy_task()
    fitted = {}
    for through in ("defences", "classifier"):
        noise = DefensiveNoiseDefence(np.full(SHAPE, 0.5))  # were it applied, nothing would be right
        chain = [noise, ROFDefence(0.1)]
        classifier = tiny_classifier(SHAPE, preprocessing_defences=chain)
        noise.fit(x, y, classifier=classifier, through=through, sigma=0.1, draws=20)
        assert list(classifier.preprocessing_defences) == chain
        fitted[through] = noise.noise
    alone = DefensiveNoiseDefence()
    alone.fit(x, y, classifier=tiny_classifier(SHAPE), sigma=0.1, draws=20)
    np.testing.assert_array_equal(fitted["classifier"], alone.noise)
    alone.fit(x, y, classifier=tiny_classifier(SHAPE, preprocessing_defences=[ROFDefence(0.1)]), sigma=0.1, draws=20)
    np.testing.assert_array_equal(fitted["defences"], alone.noise)
    assert not np.array_equal(fitted["defences"], fitted["classifier"])


def test_fit_follows_range_layout_and_labels():
    x, y = noisy_task()
    reference = DefensiveNoiseDefence()
    reference.fit(x, y, classifier=tiny_classifier(SHAPE), sigma=0.1, draws=20)

    one_hot = DefensiveNoiseDefence()
    one_hot.fit(x, np.eye(4)[y], classifier=tiny_classifier(SHAPE), sigma=0.1, draws=20)
    np.testing.assert_array_equal(one_hot.noise, reference.noise)

    class Bytes(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.network = tiny_classifier(SHAPE).model

        def forward(self, images):
            return self.network(images.permute(0, 3, 1, 2) / 255)

    from art.estimators.classification import PyTorchClassifier

    classifier = PyTorchClassifier(
        Bytes(),
        torch.nn.CrossEntropyLoss(),
        (8, 8, 3),
        4,
        clip_values=(0, 255),
        channels_first=False,
        device_type="cpu",
    )
    last = DefensiveNoiseDefence(clip_values=(0, 255), channels_first=False)
    last.fit(x.transpose(0, 2, 3, 1) * 255, y, classifier=classifier, sigma=0.1, draws=20)
    assert last.noise.shape == (8, 8, 3)
    np.testing.assert_allclose(last.noise.transpose(2, 0, 1), reference.noise, atol=1e-5)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.zeros((6, 1), dtype=int), r"class indices \(6,\) or one-hot labels \(6, 4\), got int64 \(6, 1\)"),
        (np.zeros(5, dtype=int), r"got int64 \(5,\)"),
        (np.full(6, 1.7), "got float64"),
        (np.full(6, "cat"), "`y` must be class indices"),
        (np.full(6, 9), "class indices from 0 to 3, got 9 to 9"),
        (np.full(6, -100), "class indices from 0 to 3, got -100"),
    ],
)
def test_labels_that_are_none(x, y, message):
    with pytest.raises(ValueError, match=message):
        DefensiveNoiseDefence().fit(x, y, classifier=tiny_classifier(SHAPE))


def test_fit_refuses_a_noise_beyond_the_range():
    x, y = noisy_task()
    defence = DefensiveNoiseDefence()
    with pytest.raises(ValueError, match=r"`eps` = 0\.9 makes a noise larger than the value range"):
        defence.fit(x, y, classifier=tiny_classifier(SHAPE), sigma=0.1, eps=0.9, draws=20)
    assert defence.noise is None


def test_another_noise_forgets_the_estimate():
    x, y = noisy_task()
    defence = DefensiveNoiseDefence()
    defence.fit(x, y, classifier=tiny_classifier(SHAPE), sigma=0.1, draws=20)
    assert defence.estimate
    defence.set_params(noise=np.zeros(SHAPE))
    assert defence.estimate is None


def test_fit_says_what_is_missing(x):
    with pytest.raises(TypeError, match="`y` and `classifier` are needed"):
        DefensiveNoiseDefence().fit(x, np.zeros(6, dtype=int))
    with pytest.raises(ValueError, match="`through`"):
        DefensiveNoiseDefence().fit(x, np.zeros(6, dtype=int), classifier=tiny_classifier(SHAPE), through="all")
    with pytest.raises(ValueError, match="`eps`"):
        DefensiveNoiseDefence().fit(x, np.zeros(6, dtype=int), classifier=tiny_classifier(SHAPE), eps=0)


def test_fit_reads_bytes_and_what_is_indexed_a_batch_at_a_time():
    """The same noise from floats, from bytes, and from what makes its images only when it is asked for some."""
    rng = np.random.default_rng(0)
    images, y = rng.integers(0, 256, (12, *SHAPE), dtype=np.uint8), rng.integers(0, 4, 12)
    floats = np.divide(images, 255, dtype=np.float32)
    asked = []

    class Lazy:
        def __len__(self) -> int:
            return len(floats)

        def __getitem__(self, chosen):
            asked.append(len(floats[chosen]))
            return floats[chosen]

    fitted = []
    for x in (floats, images, Lazy()):
        defence = DefensiveNoiseDefence(device_type="cpu")
        defence.fit(x, y, classifier=tiny_classifier(SHAPE), sigma=0.1, draws=20, batch_size=5)
        fitted.append(defence.noise)
    np.testing.assert_array_equal(fitted[1], fitted[0])
    np.testing.assert_array_equal(fitted[2], fitted[0])
    assert max(asked) <= 5
    # Bytes stand for the whole of another range, too.
    wide = DefensiveNoiseDefence(device_type="cpu", clip_values=(0, 255))
    classifier = tiny_classifier(SHAPE, clip_values=(0.0, 255.0), preprocessing=(0.0, 255.0))
    wide.fit(images, y, classifier=classifier, sigma=0.1, draws=20, batch_size=5)
    np.testing.assert_allclose(wide.noise, fitted[0], atol=1e-5)
