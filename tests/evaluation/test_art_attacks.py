"""ART's evasion attacks on images one by one: every one of the table, its bound, its draws, and who knows what."""

from __future__ import annotations

import importlib.util
import random

import numpy as np
import pytest
import torch
from art.attacks import evasion
from art.defences.preprocessor import JpegCompression
from art.defences.preprocessor.preprocessor import PreprocessorPyTorch
from art.estimators.classification import PyTorchClassifier
from conftest import tiny_classifier
from scipy.special import log_softmax

from art_denoise import AsPyTorch, ROFDefence
from art_denoise.defences.chain import with_defences
from art_denoise.evaluation.art_attacks import _Softmax, attack_images, auto_attack, build_art_attack
from art_denoise.evaluation.attack_table import ART_ATTACKS, ArtAttack
from art_denoise.evaluation.building import build_chain
from art_denoise.evaluation.components import make_threat, parse_attack, parse_defence

#: ART's Square cannot do with less: in norm 2 it cuts an image into five by five.
SHAPE = (3, 16, 15)

#: Parameters that make attacks short.
SHORT = {
    "autoattack": "max_iter=4,nb_random_init=1,queries=10,query_restarts=1",
    "hopskipjump": "max_iter=2,max_eval=60,init_eval=30",
    "boundary": "max_iter=15",
    "zoo": "max_iter=4,nb_parallel=40,learning_rate=0.1",
    "cw-l2": "max_iter=3,binary_search_steps=3",
    "simba": "max_iter=120",
    # ART draws where a square begins, and fails if there is but one place for it.
    "square": "max_iter=40,p_init=0.5",
    "deepfool": "max_iter=20",
    **dict.fromkeys(("apgd", "apgd-dlr"), "max_iter=5,nb_random_init=1"),
    **dict.fromkeys(("pgd", "ifgsm", "mifgsm"), "max_iter=5"),
}

CASES = [(name, norm) for name, row in ART_ATTACKS.items() for norm in row.norms]


@pytest.fixture
def classifier():
    return tiny_classifier(SHAPE)


@pytest.fixture
def x() -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 1, (5, *SHAPE)).astype(np.float32)


@pytest.fixture
def y(classifier, x) -> np.ndarray:
    """The predicted labels, of which the last is called wrong."""
    labels = classifier.predict(x).argmax(1)
    labels[-1] = (labels[-1] + 1) % 4
    return labels


def threat_of(name, norm="inf", eps=None, more=""):
    eps = eps or {"inf": 40, "2": 600}[norm]
    given = ",".join(part for part in (SHORT.get(name, ""), more) if part)
    return parse_attack(f"{name}:eps={eps},norm={norm}{',' if given else ''}{given}")


def attacked(classifier, threat, x, y, **kwargs):
    return attack_images(classifier, threat.attack, eps=threat.eps, norm=threat.norm, x=x, y=y, **kwargs)


def sizes(found, x, norm):
    order = np.inf if norm == "inf" else 2
    return np.linalg.norm((found - x).reshape(len(x), -1).astype(float), ord=order, axis=1)


def loss(classifier, x, y) -> float:
    return float(-log_softmax(classifier.predict(x), axis=1)[np.arange(len(y)), y].mean())


def states():
    return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002


@pytest.mark.filterwarnings("ignore:.*lie outside `clip_values`:RuntimeWarning")  # of ZOO, which clips at its end
@pytest.mark.parametrize(("name", "norm"), CASES)
def test_every_attack_of_the_table(classifier, x, y, name, norm):
    """It fools, within its bound, draws the same whatever was drawn before, and leaves everything as it was."""
    if name == "autoattack":
        pytest.importorskip("multiprocess")
    classifier.set_params(preprocessing_defences=[ROFDefence(weight=0.01, device_type="cpu")])
    before, labels, chain, told = x.copy(), y.copy(), classifier.preprocessing_defences, []
    threat, state, made = threat_of(name, norm), states(), np.random.RandomState
    found = attacked(classifier, threat, x, y, told=told.append)
    assert states() == state
    assert found.dtype == np.float32
    assert found.shape == x.shape
    assert found.min() >= 0
    assert found.max() <= 1
    assert sizes(found, x, norm).max() <= threat.eps * (1 + 1e-6) + 1e-6
    clean, wrong = classifier.predict(x).argmax(1) == y, classifier.predict(found).argmax(1) != y
    assert np.sum(wrong & clean) >= 1
    assert wrong[~clean].all()
    assert np.random.RandomState is made
    assert classifier.preprocessing_defences is chain
    assert classifier.postprocessing_defences is None
    assert np.array_equal(x, before)
    assert np.array_equal(y, labels)
    assert told == [len(x)]
    random.random()
    np.random.random()  # noqa: NPY002
    torch.rand(3)
    assert np.array_equal(attacked(classifier, threat, x, y), found)


@pytest.mark.parametrize("name", ["pgd", "square", "hopskipjump", "boundary", "simba"])
def test_another_seed_is_another_draw(classifier, x, y, name):
    threat = threat_of(name)
    assert not np.array_equal(attacked(classifier, threat, x, y, seed=1), attacked(classifier, threat, x, y, seed=2))


@pytest.mark.parametrize("name", ["deepfool", "cw-l2", "hopskipjump", "boundary"])
def test_who_needs_more_than_the_bound_has_failed(classifier, x, y, name):
    """An image comes back as it was, not with less than what would be needed."""
    found = attacked(classifier, threat_of(name, eps="1/10000"), x, y)
    assert np.array_equal(found, x)
    found = attacked(classifier, threat_of(name), x, y)
    # Going by the prediction, they might put right what is wrong already.
    assert np.array_equal(found[-1], x[-1])
    assert not np.array_equal(found[:-1], x[:-1])


def test_deepfool_gets_across_the_boundary(classifier, x, y):
    """With ART's overshoot rounding leaves half of the images on the near side."""
    found = attacked(classifier, threat_of("deepfool", eps=255), x, y)
    assert (classifier.predict(found).argmax(1) != y).all()


def test_an_image_by_itself_or_among_others(classifier, x, y):
    """Where nothing is drawn, the others do not matter."""
    for name in ("fgsm", "ifgsm", "deepfool"):
        threat = threat_of(name)
        one = attacked(classifier, threat, x[1:2], y[1:2])
        assert np.allclose(attacked(classifier, threat, x, y)[1:2], one, atol=1e-5), name


def test_no_images(classifier, x, y):
    for name in ("fgsm", "deepfool"):
        assert attacked(classifier, threat_of(name), x[:0], y[:0]).shape == (0, *SHAPE)


@pytest.mark.parametrize("name", ["fgsm", "pgd", "hopskipjump"])
def test_bounds_are_shares_of_the_value_range(classifier, x, y, name):
    """On a classifier of images in 0 to 255 the attack is the same."""

    class Scaled(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.network = classifier.model

        def forward(self, images):
            return self.network(images / 255)

    scaled = PyTorchClassifier(
        Scaled().eval(), torch.nn.CrossEntropyLoss(), SHAPE, 4, clip_values=(0, 255), device_type="cpu"
    )
    more = "eps_step=3" if name == "pgd" else ""
    threat = threat_of(name, eps=8 if name in ("fgsm", "pgd") else 200, more=more)
    found, expected = attacked(scaled, threat, x, y), attacked(classifier, threat, x, y)
    assert found.max() <= 1
    # Rounding turns the sign of a gradient that is nearly 0; a walk along the boundary goes elsewhere.
    assert np.mean(np.abs(found - expected) > 1e-3) < (0.2 if name == "hopskipjump" else 0.01)


def test_steps_fit_the_bound(classifier):
    def step(text, of=classifier):
        threat = parse_attack(text)
        return build_art_attack(of, threat.attack, eps=threat.eps, norm=threat.norm).eps_step

    assert step("pgd:eps=8,max_iter=20") == pytest.approx(2.5 * 8 / 255 / 20)
    assert step("ifgsm:eps=8") == pytest.approx(2.5 * 8 / 255 / 100)
    assert step("apgd:eps=8") == pytest.approx(16 / 255)
    assert step("pgd:eps=8,eps_step=3") == pytest.approx(3 / 255)
    assert step("pgd:eps=8,eps_step=3", tiny_classifier(SHAPE, clip_values=(0, 255))) == pytest.approx(3)


def test_parameters_reach_art(classifier):
    threat = parse_attack("pgd:max_iter=20,num_random_init=5,batch_size=7,decay=0.5,norm=2,eps=100")
    made = build_art_attack(classifier, threat.attack, eps=threat.eps, norm=threat.norm)
    assert (made.max_iter, made.num_random_init, made.batch_size, made.norm) == (20, 5, 7, 2)
    assert made._attack.decay == 0.5
    assert made.eps == pytest.approx(100 / 255)
    assert not made.targeted
    assert not made.verbose
    boundary = build_art_attack(classifier, parse_attack("boundary").attack, eps=0.1)
    assert not boundary.targeted  # as it is by default in ART


def test_who_knows_more_of_a_defence_attacks_otherwise(x):
    """Oblivious, by BPDA and by the exact gradient are three attacks, and knowing the gradient is the strongest."""
    classifier = tiny_classifier(SHAPE)
    values = parse_defence("rof:weight=60").preprocessors
    exact = build_chain(values, device_type="cpu")
    bpda = build_chain(values, device_type="cpu", gradient="identity")
    threat = parse_attack("pgd:eps=8,max_iter=20")
    with with_defences(classifier, exact):
        y = classifier.predict(x).argmax(1)
    found = {}
    for name, chain in (("oblivious", []), ("bpda", bpda), ("exact", exact)):
        with with_defences(classifier, chain):
            found[name] = attacked(classifier, threat, x, y)
    assert not np.array_equal(found["oblivious"], found["bpda"])
    assert not np.array_equal(found["bpda"], found["exact"])
    with with_defences(classifier, exact):
        losses = {name: loss(classifier, images, y) for name, images in found.items()}
    assert losses["exact"] > losses["bpda"] > losses["oblivious"]


@pytest.mark.parametrize("name", ["pgd", "square", "hopskipjump"])
def test_a_numpy_preprocessor_of_art_is_attacked_as_it_is(classifier, x, y, name):
    jpeg = JpegCompression(clip_values=(0, 1), quality=60, channels_first=True)
    found = []
    for chain in ([jpeg], [AsPyTorch(jpeg)]):
        with with_defences(classifier, chain):
            found.append(attacked(classifier, threat_of(name), x, y))
            assert classifier.predict(found[-1]).argmax(1)[:-1].tolist() != y[:-1].tolist()
    assert np.array_equal(*found)


def test_defences_that_draw_are_seeded(classifier, x, y):
    class Noisy(PreprocessorPyTorch):
        def __init__(self):
            super().__init__(device_type="cpu")

        def forward(self, images, labels=None):
            return images + 0.1 * torch.randn_like(images), labels

    with with_defences(classifier, [Noisy()]):
        found = [attacked(classifier, threat_of("pgd"), x, y, seed=4) for _ in range(2)]
    assert np.array_equal(*found)


def test_errors_of_foreign_code_keep_their_traceback(classifier, x, y):
    class Failing(PreprocessorPyTorch):
        def __init__(self):
            super().__init__(device_type="cpu")

        def forward(self, images, labels=None):
            raise KeyError("mine")

    state = states()
    with with_defences(classifier, [Failing()]), pytest.raises(KeyError, match="mine") as caught:
        attacked(classifier, threat_of("pgd"), x, y)
    assert caught.traceback[-1].name == "forward"
    assert states() == state
    assert not classifier.preprocessing_defences


def test_a_broken_promise_is_told(classifier, x, y, monkeypatch):
    def beyond(self, x, y=None, **kwargs):
        return np.clip(x + 2 * self.eps, 0, 1)

    monkeypatch.setattr(evasion.FastGradientMethod, "generate", beyond)
    with pytest.raises(RuntimeError, match=r"attack `fgsm` promises a bound of 0.0392157 in norm inf, and added 0.078"):
        attacked(classifier, parse_attack("fgsm"), x, y)


def test_rounding_beyond_the_bound_is_projected(classifier, x, y, monkeypatch):
    for norm, order in (("inf", np.inf), ("2", 2)):
        direction = np.ones((1, *SHAPE)) / np.linalg.norm(np.ones(SHAPE).ravel(), ord=order)

        def beyond(self, x, y=None, *, direction=direction, **kwargs):
            return x + direction * self.eps * 1.0005

        monkeypatch.setattr(evasion.FastGradientMethod, "generate", beyond)
        grey = np.full_like(x, 0.5)
        found = attacked(classifier, threat_of("fgsm", norm, eps=20), grey, y)
        assert np.allclose(sizes(found, grey, norm), 20 / 255, rtol=1e-5)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_is_told(classifier, x, y, monkeypatch, value):
    monkeypatch.setattr(evasion.FastGradientMethod, "generate", lambda self, x, y=None, **kwargs: x * value)
    with pytest.raises(RuntimeError, match="attack `fgsm` returned NaN or infinite values for images"):
        attacked(classifier, parse_attack("fgsm"), x, y)


def test_divisions_by_zero_within_an_attack_are_nobodys_business(classifier, x, y, monkeypatch):
    """Square divides by the size of squares that are not there, and goes on with what is a number."""

    def dividing(self, x, y=None, **kwargs):
        candidate = x / np.zeros_like(x)
        return np.where(np.isfinite(candidate), candidate, x)

    monkeypatch.setattr(evasion.FastGradientMethod, "generate", dividing)
    assert np.array_equal(attacked(classifier, parse_attack("fgsm"), x, y), x)


def test_an_attack_for_other_estimators_is_told(classifier, x, y):
    with pytest.raises(
        ValueError, match="attack `art:HighConfidenceLowUncertainty` cannot run on this estimator: High"
    ):
        attacked(classifier, parse_attack("art:HighConfidenceLowUncertainty"), x, y)


def test_any_other_attack_of_art(classifier, x, y):
    threat = parse_attack("art:NewtonFool:eps=60,max_iter=20")
    found = attacked(classifier, threat, x, y)
    assert sizes(found, x, "inf").max() <= threat.eps + 1e-6
    assert np.array_equal(found[-1], x[-1])
    assert np.sum(classifier.predict(found).argmax(1) != y) > 1
    # One that takes a bound is given it, and one that leaves it fails.
    made = build_art_attack(classifier, parse_attack("art:ProjectedGradientDescentNumpy").attack, eps=0.1)
    assert made.eps == pytest.approx(0.1)


def test_adding_an_attack_is_one_line_of_the_table(classifier, x, y, monkeypatch):
    row = ArtAttack("NewtonFool", "gradient", "NewtonFool", "Newton's steps", defaults={"max_iter": 20})
    monkeypatch.setitem(ART_ATTACKS, "newtonfool", row)
    found = attacked(classifier, parse_attack("newtonfool:eps=60"), x, y)
    assert np.sum(classifier.predict(found).argmax(1) != y) > 1


def test_autoattack_has_what_art_gives_it(classifier):
    pytest.importorskip("multiprocess")
    expected = evasion.AutoAttack(classifier, eps=0.1, eps_step=0.2)
    made = auto_attack(classifier, eps=0.1, eps_step=0.2)
    assert [type(a) for a in made.attacks] == [type(a) for a in expected.attacks]
    for attack, other in zip(made.attacks, expected.attacks, strict=True):
        names = [n for n in attack.attack_params if n not in ("verbose", "adv_criterion", "loss", "summary_writer")]
        assert [getattr(attack, n) for n in names] == [getattr(other, n) for n in names]
    of_two = auto_attack(tiny_classifier(SHAPE, classes=2), eps=0.1)
    assert [type(a).__name__ for a in of_two.attacks] == ["AutoProjectedGradientDescent", "DeepFool", "SquareAttack"]


def test_autoattack_without_its_package_is_told(classifier, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "multiprocess" else find(name, *a)
    )
    with pytest.raises(ValueError, match=r"`autoattack` needs the package multiprocess, .*: pip install multiprocess"):
        build_art_attack(classifier, parse_attack("autoattack").attack, eps=0.1)


def test_logits_are_asked_for_and_given_as_they_have_to_be(classifier, x, y):
    """APGD refuses probabilities, and says so; SimBA refuses logits, and is given probabilities."""
    probable = torch.nn.Sequential(classifier.model, torch.nn.Softmax(dim=1)).eval()
    other = PyTorchClassifier(probable, torch.nn.CrossEntropyLoss(), SHAPE, 4, clip_values=(0, 1), device_type="cpu")
    with pytest.raises(ValueError, match="seems to predict probabilities"):
        attacked(other, threat_of("apgd"), x, y)
    assert np.allclose(attacked(other, threat_of("simba"), x, y), attacked(classifier, threat_of("simba"), x, y))
    assert np.array_equal(_Softmax()(other.predict(x)), other.predict(x))
    assert np.allclose(_Softmax()(classifier.predict(x)), other.predict(x), atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"x": np.zeros((5, 3, 4, 4), np.float32)},
            r"`x` must be float32 \(N, 3, 16, 15\), got float32 \(5, 3, 4, 4\)",
        ),
        ({"x": np.zeros((5, *SHAPE))}, "`x` must be float32 .* got float64"),
        ({"x": np.full((5, *SHAPE), 255, np.float32)}, r"`x` must be images in \[0, 1\], got values from 255"),
        ({"x": np.full((5, *SHAPE), np.nan, np.float32)}, r"`x` must be images in \[0, 1\]"),
        ({"y": np.zeros(4, int)}, r"`y` must be labels, int \(5,\), got int64 \(4,\)"),
        ({"y": np.zeros(5)}, "`y` must be labels, int .* got float64"),
        ({"y": np.full(5, 4)}, "`y` must be from 0 to 3, got 4 to 4"),
        ({"norm": 1}, "`norm` must be inf or 2, got 1"),
    ],
)
def test_unfit_arguments_are_told(classifier, x, y, change, message):
    arguments = {"x": x, "y": y, "norm": "inf", **change}
    with pytest.raises(ValueError, match=message):
        attack_images(classifier, make_threat("fgsm").attack, eps=0.1, **arguments)


def test_other_kinds_of_attacks_are_told(classifier, x, y):
    with pytest.raises(ValueError, match="sgd-uap is no attack on images one by one, but universal"):
        attacked(classifier, parse_attack("sgd-uap"), x, y)


def test_bars_are_shown_only_if_they_are_wanted(classifier, x, y, capfd):
    for name in ("pgd", "square", "deepfool", "autoattack", "simba"):
        if name != "autoattack" or importlib.util.find_spec("multiprocess"):
            attacked(classifier, threat_of(name), x, y)
    assert capfd.readouterr().err == ""
    attacked(classifier, threat_of("square"), x, y, verbose=True)
    assert "SquareAttack" in capfd.readouterr().err
