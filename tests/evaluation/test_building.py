"""From values to objects: chains that ART takes, their gradients, users' files, and the universal attacks."""

from __future__ import annotations

import pickle
import sys
import traceback

import numpy as np
import pytest
import torch
from art.defences.preprocessor import GaussianAugmentation, JpegCompression, SpatialSmoothing
from conftest import tiny_classifier

from art_denoise import SGDUAP, AsPyTorch, Compose, DeepFoolUAP, DefensiveNoiseDefence, NLMeansDefence, ROFDefence
from art_denoise.defences.chain import with_defences
from art_denoise.evaluation.building import build_chain, build_universal
from art_denoise.evaluation.checking import checked_chain
from art_denoise.evaluation.components import make_threat, parse_attack, parse_defence
from art_denoise.evaluation.differentiable import has_gradient, known_of
from art_denoise.evaluation.experiment import Knowledge, Preprocessor, params

SHAPE = (3, 9, 8)

FILE = """
from __future__ import annotations

import sys
from dataclasses import dataclass

import torch
from art.defences.preprocessor import GaussianAugmentation, SpatialSmoothing
from art.defences.preprocessor.preprocessor import PreprocessorPyTorch

from art_denoise import ROFDefence
from beside import FACTOR


@dataclass
class Strength:
    value: float


class Of(PreprocessorPyTorch):
    def __init__(self, function):
        super().__init__(device_type="cpu")
        self.function = function

    def forward(self, x, y=None):
        return self.function(x), y


class Estimating(SpatialSmoothing):
    def estimate_gradient(self, x, grad):
        return 3 * grad


def squared(strength: float = 2.0):
    return Of(Power(Strength(strength).value))


class Power:
    def __init__(self, strength):
        self.strength = strength

    def __call__(self, x):
        return x**self.strength * FACTOR


def rounded():
    return Of(lambda x: torch.round(8 * x) / 8)


def detached():
    return Of(lambda x: x.detach() ** 2)


def by_numpy():
    return Of(lambda x: torch.from_numpy(x.numpy() ** 2))


def larger():
    return Of(lambda x: torch.nn.functional.interpolate(x, scale_factor=2))


def without_gradient():
    return Of(lambda x: x / (not torch.is_grad_enabled()))


def one_image():
    return Of(lambda x: x[:1])


def not_a_number():
    return Of(lambda x: x / 0)


def of_255():
    return Of(lambda x: x * 255)


def overshooting():
    return Of(lambda x: x * 1.5)


def black():
    return Of(torch.zeros_like)


def failing():
    return Of(lambda x: x.nothing)


def estimating():
    return Estimating(channels_first=True)


def several():
    return [SpatialSmoothing(channels_first=True), ROFDefence(device_type="cpu")]


def nothing():
    return None


def no_stages():
    return []


def mixed():
    return [ROFDefence(), 3]


def leaving():
    sys.exit("I am a script")


def raising():
    raise KeyError("abc")


def for_training():
    return GaussianAugmentation(augmentation=False)
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(FILE)
    (tmp_path / "beside.py").write_text("FACTOR = 1.0\n")
    return path


@pytest.fixture(autouse=True)
def modules_as_before(monkeypatch):
    """Each test has a module `beside` of its own."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    sys.modules.pop("beside", None)


@pytest.fixture
def x() -> np.ndarray:
    return np.random.default_rng(3).uniform(0, 1, (3, *SHAPE)).astype(np.float32)


def chain_of(text, gradient="exact", **kwargs):
    return build_chain(parse_defence(text).preprocessors, device_type="cpu", gradient=gradient, **kwargs)


def test_ours_by_their_parameters():
    rof, nlm = chain_of("rof:weight=5,max_iter=7+nlm:h=0.02,mode=centred,patch_size=3")
    assert isinstance(rof, ROFDefence)
    assert (rof.weight, rof.max_iter, rof.gradient, rof.device_type) == (5 / 255, 7, "exact", "cpu")
    assert isinstance(nlm, NLMeansDefence)
    assert (nlm.h, nlm.mode, nlm.patch_size) == (0.02, "centred", 3)
    rof, nlm = chain_of("rof+nlm", "identity", clip_values=(0, 255))
    assert rof.gradient == nlm.gradient == "identity"
    assert rof.clip_values == nlm.clip_values == (0, 255)


def test_arts_are_set_for_the_images(x):
    (jpeg,) = chain_of("art:JpegCompression:quality=30", input_shape=SHAPE)
    assert isinstance(jpeg, AsPyTorch)
    assert (jpeg.preprocessor.channels_first, jpeg.preprocessor.clip_values) == (True, (0.0, 1.0))
    expected = JpegCompression(clip_values=(0.0, 1.0), quality=30, channels_first=True)(x)[0]
    assert np.array_equal(jpeg(x)[0], expected)
    # What ART takes for training only is applied, and adds no images.
    (noise,) = chain_of("art:GaussianAugmentation:sigma=0.1", input_shape=SHAPE)
    assert noise.apply_predict
    assert noise(x)[0].shape == x.shape
    (given,) = chain_of("art:SpatialSmoothing:window_size=5,channels_first=false")
    assert (given.preprocessor.window_size, given.preprocessor.channels_first) == (5, False)


def test_a_chain_predicts_on_a_classifier(file, x):
    """ART refuses chains of NumPy preprocessors on PyTorch estimators; these it takes."""
    chain = chain_of(f"art:SpatialSmoothing+{file}:squared+rof", input_shape=SHAPE)
    classifier = tiny_classifier(SHAPE)
    expected = classifier.predict(ROFDefence(device_type="cpu")(SpatialSmoothing(channels_first=True)(x)[0] ** 2)[0])
    with with_defences(classifier, checked_chain(classifier, chain)):
        assert np.allclose(classifier.predict(x), expected, atol=1e-6)


def test_a_users_list_keeps_its_order(file):
    smoothing, rof, nlm = chain_of(f"{file}:several+nlm", input_shape=SHAPE)
    assert isinstance(smoothing.preprocessor, SpatialSmoothing)
    assert isinstance(rof, ROFDefence)
    assert isinstance(nlm, NLMeansDefence)


def test_a_users_function_is_given_its_parameters(file, x):
    (stage,) = chain_of(f"{file}:squared:strength=3", input_shape=SHAPE)
    assert torch.allclose(stage.forward(torch.from_numpy(x))[0], torch.from_numpy(x) ** 3)


def test_a_path_is_relative_to_the_current_folder(file, monkeypatch):
    monkeypatch.chdir(file.parent)
    assert len(chain_of("mine.py:several")) == 2
    monkeypatch.setenv("HOME", str(file.parent))
    assert len(chain_of("~/mine.py:several")) == 2


def test_a_users_preprocessor_can_be_pickled(file, x):
    """ART pickles estimators, and defences live inside them."""
    (stage,) = chain_of(f"{file}:squared")
    again = pickle.loads(pickle.dumps(stage))
    assert torch.equal(again.forward(torch.from_numpy(x))[0], stage.forward(torch.from_numpy(x))[0])


@pytest.mark.parametrize(
    "text",
    [
        "rof",
        "nlm",
        "art:JpegCompression",
        "{file}:squared",
        "{file}:rounded",
        "{file}:several",
        "{file}:estimating",
        "{file}:without_gradient",
        "{file}:by_numpy",
    ],
)
def test_bpda_takes_the_identity_for_any_preprocessor(file, x, text):
    """Forward it is what it is; backward the identity, for classes as well."""
    text = text.format(file=file)
    exact, bpda = chain_of(text), chain_of(text, "identity", input_shape=SHAPE)
    images = torch.from_numpy(x).requires_grad_()
    result, expected = images, torch.from_numpy(x)
    for stage in bpda:
        result = stage.forward(result)[0]
    with torch.no_grad():
        for stage in exact:
            expected = stage.forward(expected)[0]
    assert torch.equal(result.detach(), expected)
    cotangent = torch.rand(x.shape, generator=torch.Generator().manual_seed(0))
    assert torch.equal(torch.autograd.grad(result, images, cotangent)[0], cotangent)
    assert not has_gradient(bpda)
    classifier = tiny_classifier(SHAPE)
    with with_defences(classifier, bpda):
        through = classifier.class_gradient(x)
    with_defence = classifier.class_gradient(expected.numpy())
    assert np.allclose(through, with_defence, atol=1e-6)


@pytest.mark.parametrize(
    ("text", "gradient"),
    [
        ("rof", True),
        ("nlm", True),
        ("none", True),
        ("{file}:squared+rof", True),
        ("{file}:estimating", True),
        ("{file}:rounded", False),  # zero almost everywhere
        ("{file}:detached", False),
        ("{file}:by_numpy", False),
        ("{file}:several", False),  # ART's estimate of a median's is the identity
        ("art:JpegCompression", False),
        ("rof+art:FeatureSqueezing:bit_depth=4", False),
    ],
)
def test_whether_a_true_gradient_gets_through(file, text, gradient):
    assert has_gradient(chain_of(text.format(file=file))) is gradient


def test_gradients_of_what_is_wrapped():
    noise = DefensiveNoiseDefence(np.zeros((3, 32, 32), np.float32), gradient="identity", device_type="cpu")
    assert has_gradient([noise])  # that of a sum is the identity
    assert has_gradient([Compose([ROFDefence(device_type="cpu")])])
    assert not has_gradient([Compose([ROFDefence(device_type="cpu"), SpatialSmoothing(channels_first=True)])])
    assert not has_gradient([AsPyTorch(SpatialSmoothing(channels_first=True), gradient="estimate")])


@pytest.mark.parametrize(
    ("text", "known"),
    [
        ("rof", Knowledge.EXACT),
        ("rof+{file}:detached", Knowledge.PARTLY_EXACT),
        ("{file}:rounded+nlm", Knowledge.PARTLY_EXACT),
        ("{file}:by_numpy+art:JpegCompression", Knowledge.BPDA),
        ("{file}:detached", Knowledge.BPDA),
    ],
)
def test_where_a_part_has_no_gradient_the_identity_takes_its_place_and_no_other(file, x, text, known):
    text = text.format(file=file)
    assert known_of(chain_of(text), SHAPE) is known
    exact, partly = chain_of(text), chain_of(text, "partly-exact", input_shape=SHAPE)
    images = torch.from_numpy(x).requires_grad_()
    cotangent = torch.rand(x.shape, generator=torch.Generator().manual_seed(0))
    result = images
    for stage in partly:
        result = stage.forward(result)[0]
    found = torch.autograd.grad(result, images, cotangent)[0]
    # By hand: back through what has a gradient, around what has none.
    points, expected = [torch.from_numpy(x)], cotangent
    with torch.no_grad():
        for stage in exact:
            points.append(stage.forward(points[-1])[0])
    assert torch.equal(result.detach(), points[-1])
    for stage, point in reversed(list(zip(exact, points[:-1], strict=True))):
        if has_gradient([stage], SHAPE):
            leaf = point.clone().requires_grad_()
            expected = torch.autograd.grad(stage.forward(leaf)[0], leaf, expected)[0]
    assert torch.allclose(found, expected, atol=1e-6)
    assert torch.equal(found, cotangent) == (known is Knowledge.BPDA)


def test_an_attacker_cannot_use_a_gradient_that_is_not_there(file):
    classifier = tiny_classifier(SHAPE)
    exact = make_threat("pgd", knowledge="exact")
    cases = [("rof+art:JpegCompression", "JpegCompression", "partly-exact"), (f"{file}:rounded", "Of", "bpda")]
    for text, name, known in cases:
        chain = chain_of(text)
        with pytest.raises(
            ValueError, match=f"`knowledge` is exact, but {name} has no gradient of its own: use {known}"
        ):
            checked_chain(classifier, chain, exact)
        for other in (None, make_threat("pgd", knowledge="bpda"), make_threat("square")):
            assert checked_chain(classifier, chain, other) == chain
    assert len(checked_chain(classifier, chain_of("rof"), exact)) == 1
    assert classifier.preprocessing_defences is None


def test_overshoot_is_clipped_and_no_other_range(file):
    assert len(chain_of(f"{file}:overshooting", input_shape=SHAPE)) == 1


def test_a_chain_that_art_would_get_wrong_is_refused():
    with pytest.raises(ValueError, match="TotalVarMin takes images channels last only"):
        checked_chain(tiny_classifier(SHAPE), chain_of("art:TotalVarMin"))
    with pytest.raises(ValueError, match="`clip_values`"):
        checked_chain(tiny_classifier(SHAPE), chain_of("rof", clip_values=(0, 255)))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nothing", "must return an ART preprocessor, or a list of them, and returns NoneType"),
        ("no_stages", "and returns a list of nothing"),
        ("mixed", "and returns a list of ROFDefence, int"),
        ("leaving", r"cannot be built \(SystemExit in .*mine.py, line \d+: I am a script\)"),
        ("for_training", "ART would not apply GaussianAugmentation at prediction: make it with `apply_predict=True`"),
        ("one_image", r"must return images for images, and returns \(1, 3, 9, 8\) for \(2, 3, 9, 8\)"),
        ("of_255", "returns values from 0 to 255 for images from 0.0 to 1.0: it must return images in the range"),
        ("black", "returns 0 everywhere, whatever the image"),
        ("not_a_number", "returns NaN or infinite values for images from 0.0 to 1.0"),
        ("failing", r"fails for images \(2, 3, 9, 8\) \(AttributeError: .*nothing"),
    ],
)
def test_what_a_users_file_does_wrong_is_told(file, name, message):
    with pytest.raises(ValueError, match=f"mine.py:{name} .*{message}|mine.py:{name}: {message}"):
        chain_of(f"{file}:{name}", input_shape=SHAPE)


def test_a_users_error_is_the_cause_with_its_traceback(file):
    line = FILE.splitlines().index('    raise KeyError("abc")') + 1
    with pytest.raises(ValueError, match=rf"cannot be built \(KeyError in .*mine.py, line {line}: 'abc'\)") as caught:
        chain_of(f"{file}:raising")
    cause = caught.value.__cause__
    assert isinstance(cause, KeyError)
    assert "raising" in [frame.name for frame in traceback.extract_tb(cause.__traceback__)]


def test_a_file_that_cannot_be_run_is_told(tmp_path):
    broken = tmp_path / "broken.py"
    broken.write_text("import nothing_of_this_name\n\ndef f():\n    pass\n")
    with pytest.raises(ValueError, match=r"cannot be built \(ModuleNotFoundError in .*broken.py, line 1"):
        chain_of(f"{broken}:f")
    script = tmp_path / "script.py"
    script.write_text("import sys\n\nsys.exit(2)\n")
    with pytest.raises(ValueError, match=r"cannot be built \(SystemExit in .*script.py, line 3: 2\)"):
        chain_of(f"{script}:f")
    unreadable = tmp_path / "unreadable.py"
    unreadable.write_text("def f(:\n")
    with pytest.raises(ValueError, match=r"cannot be built \(SyntaxError"):
        chain_of(f"{unreadable}:f")


def test_bpda_needs_the_shape_to_stay(file, x):
    text = f"{file}:larger"
    assert chain_of(text, input_shape=SHAPE)
    with pytest.raises(
        ValueError, match=r"\(2, 3, 18, 16\) of \(2, 3, 9, 8\), and so its gradient cannot be taken as the"
    ):
        chain_of(text, "identity", input_shape=SHAPE)
    (stage,) = chain_of(text, "identity")
    with pytest.raises(ValueError, match="cannot be taken as the identity"):
        stage.forward(torch.from_numpy(x).requires_grad_())


def test_trying_a_chain_leaves_the_generators_alone():
    np.random.seed(5)  # noqa: NPY002 - ART's augmentation draws from it
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    chain_of("art:GaussianAugmentation:sigma=0.1", input_shape=SHAPE)
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002


def test_the_universal_attacks_get_their_arguments(tmp_path):
    classifier = tiny_classifier(SHAPE, clip_values=(0, 255))
    threat = parse_attack(
        "deepfool-uap:eps=20,max_iter=3,delta=0.1,attacker_params.max_iter=7,attacker_params.epsilon=0.1"
    )
    made = build_universal(threat.attack, threat.eps, "inf", 5, classifier=classifier, checkpoint=tmp_path / "c")
    assert isinstance(made, DeepFoolUAP)
    assert (made.max_iter, made.delta, made.seed, made.norm) == (3, 0.1, 5, np.inf)
    assert made.eps == pytest.approx(20)
    assert made.attacker_params == {"max_iter": 7, "epsilon": 0.1}
    assert (made.checkpoint, made.verbose) == (tmp_path / "c", False)
    threat = parse_attack("sgd-uap:eps=255,norm=2,beta=9,eot_samples=2")
    made = build_universal(threat.attack, threat.eps, "2", 0, classifier=tiny_classifier(SHAPE), verbose=True)
    assert isinstance(made, SGDUAP)
    assert (made.eps, made.norm, made.beta, made.eot_samples, made.verbose) == (1.0, 2, 9, 2, True)
    with pytest.raises(ValueError, match="pgd makes no perturbation for all images"):
        build_universal(parse_attack("pgd").attack, 0.1, "inf", 0, classifier=classifier)


def test_a_universal_attack_crafts(x):
    made = build_universal(parse_attack("sgd-uap").attack, 0.2, "inf", 0, classifier=tiny_classifier(SHAPE))
    assert 0 < np.abs(made.craft(x).array).max() <= 0.2 + 1e-6


def test_values_made_by_hand_are_built():
    (rof,) = build_chain([Preprocessor("rof", params(weight=0.1))], device_type="cpu")
    assert rof.weight == 0.1
    with pytest.raises(ValueError, match="there is no preprocessor 'rofl'"):
        build_chain([Preprocessor("rofl")], device_type="cpu")
    with pytest.raises(ValueError, match="art:GaussianAugmentation: ART would not apply"):
        build_chain([Preprocessor("art:GaussianAugmentation", params(apply_predict=False))], device_type="cpu")
    assert GaussianAugmentation().apply_predict is False  # as ART has it
