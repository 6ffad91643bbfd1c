"""What lies outside `clip_values`: noise and steps of attacks are clipped and told of once, other scales refused."""

from __future__ import annotations

import inspect
import pickle
import warnings

import numpy as np
import pytest
import scipy.stats
import torch
from art.attacks.evasion import ShadowAttack, UniversalPerturbation
from art.estimators.certification.randomized_smoothing import PyTorchRandomizedSmoothing
from art.estimators.certification.randomized_smoothing.macer.pytorch import PyTorchMACER
from art.estimators.certification.randomized_smoothing.randomized_smoothing import RandomizedSmoothingMixin
from conftest import tiny_classifier
from defence_examples import EXAMPLES, make

from art_denoise import AsFlat, Compose, DefensiveNoiseDefence, NLMeansDefence, ROFDefence
from art_denoise.defences._scale import are_of_another_scale, likely_range, share_outside

SHAPE = (3, 8, 8)

#: ART before 1.19 asks SciPy for a function that SciPy 1.12 removed.
needs_smoothing = pytest.mark.skipif(
    "binom_test" in inspect.getsource(RandomizedSmoothingMixin) and not hasattr(scipy.stats, "binom_test"),
    reason="this ART cannot smooth with this SciPy",
)


def drawn(kind: str, shape: tuple[int, ...]) -> np.ndarray:
    """Images in [0, 1]: grey values at random, black and white ones, and smooth ones as photographs are."""
    rng = np.random.default_rng(3)
    if kind == "smooth":
        coarse = rng.random((*shape[:2], 3, 3)).astype(np.float32)
        fine = torch.nn.functional.interpolate(torch.from_numpy(coarse), size=shape[2:], mode="bicubic")
        return fine.clamp(0, 1).numpy()
    values = {"uniform": rng.random(shape), "two": rng.random(shape) > 0.5, "black": np.zeros(shape)}[kind]
    return values.astype(np.float32)


def told(x: np.ndarray) -> bool:
    return are_of_another_scale(torch.from_numpy(x.astype(np.float32)), 0.0, 1.0)


@pytest.mark.parametrize("kind", ["uniform", "two", "black", "smooth"])
@pytest.mark.parametrize("shape", [(1, 1, 3, 3), (1, 1, 8, 8), (2, 3, 32, 32), (1, 3, 96, 96)])
def test_noise_is_no_other_scale(kind, shape):
    """Up to a standard deviation of the whole range, in any of forty draws each; so are coherent signs."""
    images, rng = drawn(kind, shape), np.random.default_rng(4)
    for sigma in (0.12, 0.25, 0.5, 1.0):
        assert not any(told(images + sigma * rng.normal(size=shape)) for _ in range(40))
    for size in (0.1, 0.7, 0.95):
        assert not told(images + size * rng.choice([-1.0, 1.0], shape))
        assert not told(images + size)
        assert not told(images - size)
    # What ART's UniversalPerturbation adds: the difference of an attacked image and an image.
    assert not told(images + 0.98 * (rng.random(shape) - images[::-1, :, ::-1]))


@pytest.mark.parametrize(
    "scaled",
    [
        lambda x: 255 * x,
        lambda x: 255 * x * (np.arange(x[0].size).reshape(x[0].shape) % 450 == 3),  # thin lines on black
        lambda x: 65535 * x,
        lambda x: np.where(x > 0.8, 1.0, -1.0),  # digits, -1 to 1
        lambda x: x + 3,
        lambda x: x - 3,
    ],
)
@pytest.mark.parametrize("kind", ["uniform", "smooth"])
def test_other_scales_are_seen(kind, scaled):
    assert told(scaled(drawn(kind, (2, 3, 32, 32))))
    assert told(scaled(drawn(kind, (1, 3, 32, 32))))


@pytest.mark.parametrize(
    ("kind", "shape", "contrast"),
    [("uniform", (4, 3, 8, 8), 1), ("smooth", (2, 3, 96, 96), 1), ("smooth", (2, 3, 96, 96), 0.7)],
)
def test_standardised_images_are_seen(kind, shape, contrast):
    """Of low contrast, too: fewer values are far out, but they lie side by side, where noise does not."""
    mean, std = (np.array(v)[:, None, None] for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    images = 0.5 + contrast * (drawn(kind, shape) - 0.5)
    assert told((images - mean) / std)


def test_the_share_and_the_likely_range():
    assert share_outside(torch.tensor([-0.1, 0.0, 1.0005, 1.1]), 0, 1) == 0.5
    assert [likely_range(*ends) for ends in ((-1, 1), (0, 255), (0, 65535), (-2.1, 2.6), (0, 1), (-9, 255))] == [
        "(-1, 1)",
        "(0, 255)",
        "(0, 65535)",
        None,
        None,
        None,
    ]


@pytest.mark.parametrize("name", EXAMPLES)
def test_clipped_values_are_told_of_once(name, images):
    defence = make(name)
    expected = make(name)(np.clip(2 * images - 0.5, 0, 1))[0]
    with pytest.warns(
        RuntimeWarning, match=r"% of the values of `x` lie outside .* = \(0, 1\), from -\S+ to 1"
    ) as seen:
        result = defence(2 * images - 0.5)[0]
    assert len(seen) == 1
    np.testing.assert_array_equal(result, expected)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        defence(2 * images - 0.5)
        defence.estimate_gradient(2 * images - 0.5, images)
        pickle.loads(pickle.dumps(defence))(2 * images - 0.5)
        # Rounding is nobody's fault.
        make(name)((images * np.float32(1.0005)).astype(np.float16))


def test_images_in_another_range_get_the_remedy(images):
    """30 to 50 % of images in -1 to 1 are clipped at 0: what is told is what to do about it."""
    x = 2 * images - 1
    with pytest.warns(RuntimeWarning, match=r"to the range of the data, most likely \(-1, 1\)"):
        ROFDefence()(x)
    with pytest.raises(
        ValueError, match=r"units of `clip_values` = \(0, 1\).*most likely \(0, 255\); defences come bef"
    ):
        ROFDefence()(255 * images)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        right = ROFDefence(clip_values=(-1, 1))(x)[0], ROFDefence(clip_values=(0, 255))(255 * images)[0]
    for result, ends in zip(right, ((-1, 1), (0, 255)), strict=True):
        unit = (result - ends[0]) / (ends[1] - ends[0])
        np.testing.assert_allclose(unit, ROFDefence()(images)[0], atol=2e-3)


def test_another_range_is_told_of_again(images):
    defence = ROFDefence()
    with pytest.warns(RuntimeWarning, match=r"\(0, 1\)"):
        defence(images + 0.3)
    defence.clip_values = (0, 0.9)
    with pytest.warns(RuntimeWarning, match=r"\(0, 0\.9\)"):
        defence(images + 0.3)


def test_wherever_images_come_in(images):
    x = 2 * images - 0.5
    flat, y = x.reshape(2, -1), np.array([0, 1])
    with pytest.warns(RuntimeWarning, match="lie outside"):
        AsFlat(ROFDefence(), images.shape[1:])(flat)
    chain = Compose([ROFDefence(), NLMeansDefence()])
    with pytest.warns(RuntimeWarning, match="ROFDefence clips them") as seen:
        chain(x)
    assert len(seen) == 1  # the next sees what was clipped
    classifier = tiny_classifier(images.shape[1:])
    with pytest.warns(RuntimeWarning, match="DefensiveNoiseDefence clips them"):
        DefensiveNoiseDefence().fit(x, y, classifier=classifier, accept="loss", draws=2)
    with pytest.raises(ValueError, match="in units of `clip_values`"):
        DefensiveNoiseDefence().fit(255 * images, y, classifier=classifier, draws=1)


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_value_that_is_no_number_is_refused_everywhere(name, value, images):
    x = images.copy()
    x[1, 2, 5, 5] = value
    defence = make(name)
    with pytest.raises(ValueError, match="`x` must be finite"):
        defence(x)
    with pytest.raises(ValueError, match="`x` must be finite"):
        defence.estimate_gradient(x, images)
    if hasattr(defence, "device"):
        with pytest.raises(ValueError, match="`x` must be finite"):
            defence.forward(torch.from_numpy(x))


def test_the_gradient_passes_through_the_clip(images):
    """Where a value is clipped the gradient is what it is beside, not 0."""
    x = torch.from_numpy(images)
    gradients = []
    for shown in (x.clamp(0.3, 1), (x - 0.3) * 2):
        shown = shown.requires_grad_()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result, _ = DefensiveNoiseDefence(np.zeros(images.shape[1:])).forward(shown)
        gradients.append(torch.autograd.grad(result.sum(), shown)[0])
    assert torch.equal(gradients[1], torch.ones_like(x))


@pytest.mark.parametrize("defence", [ROFDefence, NLMeansDefence])
@pytest.mark.filterwarnings("ignore:.*lie outside `clip_values`:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:'binom_test' is deprecated:DeprecationWarning")  # in the oldest ART
class TestAttacksAndCertificatesOfART:
    x = np.random.default_rng(0).random((4, *SHAPE)).astype(np.float32)

    def test_universal_perturbation_with_its_own_bound(self, defence):
        classifier = tiny_classifier(SHAPE, preprocessing_defences=[defence()])
        attack = UniversalPerturbation(
            classifier, attacker="fgsm", attacker_params={"eps": 0.7}, delta=0.01, max_iter=2, verbose=False
        )
        assert attack.eps == 10
        assert attack.generate(self.x).shape == self.x.shape

    def test_shadow_attack(self, defence):
        classifier = tiny_classifier(SHAPE, preprocessing_defences=[defence()])
        attack = ShadowAttack(classifier, nb_steps=5, batch_size=1, verbose=False)
        assert attack.generate(self.x[:1], np.eye(4, dtype=np.float32)[[3]]).shape == (1, *SHAPE)

    @needs_smoothing
    @pytest.mark.filterwarnings("ignore::UserWarning")  # of ART, about where it adds the noise
    def test_randomized_smoothing(self, defence):
        """Defences see images and noise of up to a whole range; what is predicted is of the clipped images."""
        network = tiny_classifier(SHAPE).model
        for scale in (0.12, 1.0):
            smoothed = PyTorchRandomizedSmoothing(
                network,
                torch.nn.CrossEntropyLoss(),
                SHAPE,
                4,
                clip_values=(0, 1),
                preprocessing_defences=[defence()],
                sample_size=30,
                scale=scale,
                alpha=0.1,
                device_type="cpu",
            )
            assert smoothed.predict(self.x[:1]).shape == (1, 4)

    @needs_smoothing
    @pytest.mark.filterwarnings("ignore::UserWarning")  # of ART, about where it adds the noise
    def test_training_with_noise(self, defence):
        network = tiny_classifier(SHAPE).model
        trained = PyTorchMACER(
            network,
            torch.nn.CrossEntropyLoss(),
            SHAPE,
            4,
            optimizer=torch.optim.SGD(network.parameters(), lr=0.01),
            clip_values=(0, 1),
            preprocessing_defences=[defence(apply_fit=True)],
            scale=1.0,
            gaussian_samples=4,
            device_type="cpu",
        )
        trained.fit(self.x, np.arange(4), batch_size=4, nb_epochs=1, verbose=False)
        assert trained.predict(self.x).shape == (4, 4)
