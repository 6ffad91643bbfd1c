"""The contract: what every exported defence keeps, and that the suite that says so sees what does not keep it."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from art.defences.preprocessor import GaussianAugmentation, Preprocessor, SpatialSmoothing
from broken_defences import BROKEN, Broken, Crops, Float64, HidesTheGradient, Remembers
from defence_examples import EXAMPLES, make

from art_denoise import defences
from art_denoise.testing import RULES, check_defence

ON_CUDA = {"tensors stay on their device"}

#: Rules that say nothing of an example. The noise is for images of one size; what wraps a preprocessor has it as its
#: only parameter, and what wraps one for NumPy takes no tensors.
NOT_CLAIMED = {
    "noise": {"images of any size are treated", "images of different sizes are treated one by one, or refused"},
    "compose": {
        "images of any size are treated",
        "images of different sizes are treated one by one, or refused",
        "set_params changes what it is told, all or nothing",
    },
    "as_numpy": {
        "arrays and tensors are treated alike",
        "x.grad is left as it is",
        "set_params changes what it is told, all or nothing",
        *ON_CUDA,
    },
    "as_pytorch": {"set_params changes what it is told, all or nothing"},
}


def test_every_exported_class_is_here():
    exported = {cls for cls in map(defences.__dict__.get, defences.__all__) if inspect.isclass(cls)}
    here = {type(make(name)) for name in EXAMPLES}
    # AsFlat takes features instead of images: see tests/defences/test_adapters.py. AsAugmentation is no preprocessor of
    # ART, but holds one: see tests/defences/test_augmentation.py.
    assert exported == here | {defences.AsFlat, defences.AsAugmentation}
    assert all(issubclass(cls, Preprocessor) for cls in exported - {defences.AsAugmentation})


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_defence_keeps_the_contract_to_the_bit(name):
    skip = ["images of any size are treated"] if name in ("noise", "compose") else []
    checked = check_defence(EXAMPLES[name], tolerance=0, skip=skip)
    # Every rule that is not expected to say nothing was checked.
    not_claimed = NOT_CLAIMED.get(name, set()) | (set() if torch.cuda.is_available() else ON_CUDA)
    assert set(checked) == set(RULES) - not_claimed


def test_what_breaks_is_known_of_every_rule():
    assert list(BROKEN) == list(RULES)


def test_what_the_broken_ones_are_derived_from_breaks_nothing():
    # It has all parameters of what it derives from, and the gradient of what it does to the images, which is nothing.
    assert set(check_defence(Broken)) >= set(RULES) - ON_CUDA


@pytest.mark.parametrize("rule", RULES)
def test_a_broken_rule_is_seen(rule):
    if rule in ON_CUDA and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    with pytest.raises(AssertionError, match="breaks 1 of the 1 rules") as raised:
        check_defence(BROKEN[rule], only=[rule])
    # The rule, what was seen, and the remedy.
    assert re.match(rf"- {re.escape(repr(rule))}: .+\. .+\.$", str(raised.value).splitlines()[1])


class Average(Preprocessor):
    """Somebody else's: the mean of each pixel and its two neighbours in a row, for NumPy, images channels last."""

    params = ["clip_values"]  # noqa: RUF012

    def __init__(self, clip_values=(0, 255)):
        super().__init__(is_fitted=True, apply_fit=False, apply_predict=True)
        self.clip_values = clip_values
        self._check_params()

    def __call__(self, x, y=None):
        x = np.asarray(x)
        if x.ndim != 4 or 0 in x.shape[1:]:
            raise ValueError(f"`x` must be images (N, H, W, C), got {x.shape}")
        if x.dtype.kind not in "fiu" or not np.isfinite(x).all():
            raise ValueError("`x` must be finite numbers")
        low, high = self.clip_values
        if x.size and (x.min() < 2 * low - high or x.max() > 2 * high - low):
            raise ValueError(f"`x` must be within `clip_values` = {self.clip_values}")
        padded = np.pad(np.clip(x.astype(np.float32), low, high), ((0, 0), (0, 0), (1, 1), (0, 0)), mode="edge")
        result = (padded[:, :, :-2] + padded[:, :, 1:-1] + padded[:, :, 2:]) / np.float32(3)
        return np.clip(result, low, high), y

    def estimate_gradient(self, x, grad):
        shares = np.pad(grad / np.float32(3), [(0, 0)] * (grad.ndim - 2) + [(2, 2), (0, 0)])
        result = shares[..., :-2, :] + shares[..., 1:-1, :] + shares[..., 2:, :]
        # What was taken from beyond an edge came from the edge.
        result[..., 1, :] += result[..., 0, :]
        result[..., -2, :] += result[..., -1, :]
        return result[..., 1:-1, :]

    def set_params(self, **kwargs):
        unknown = set(kwargs) - set(self.params)
        if unknown:
            raise TypeError(f"no parameters: {unknown}")
        Average(**kwargs)
        super().set_params(**kwargs)

    def _check_params(self):
        if len(self.clip_values) != 2 or not self.clip_values[0] < self.clip_values[1]:
            raise ValueError(f"`clip_values` must be two numbers, the first the less, got {self.clip_values}")

    def __repr__(self):
        return f"{type(self).__name__}(clip_values={self.clip_values})"


class AverageLast(Average):
    """The same, which says where its channels are."""

    channels_first = False


def test_a_preprocessor_of_others_in_its_own_range_and_layout():
    checked = set(check_defence(AverageLast))
    assert set(RULES) - checked == {
        "chunks do not matter",
        "arrays and tensors are treated alike",
        "tensors stay on their device",
        "both layouts are treated alike",
        "images of the other layout are refused",
        "images of different sizes are treated one by one, or refused",
        "x.grad is left as it is",
        "gradient='identity' passes the gradient on",
    }
    # With images that are its caller's own it need not even say where the channels are.
    images = np.random.default_rng(0).uniform(0, 255, (3, 8, 9, 3)).astype(np.float32)
    assert set(check_defence(Average, images=images)) >= checked - {"images of any size are treated"}


def test_a_wrong_estimate_for_numpy_is_seen():
    class Wrong(AverageLast):
        def estimate_gradient(self, x, grad):
            return 2 * super().estimate_gradient(x, grad)

    with pytest.raises(AssertionError, match="`estimate_gradient` gives a gradient that is off by 50% of finite"):
        check_defence(Wrong, only=["the gradient is the slope"])
    with pytest.raises(AssertionError, match="`loss_gradient` of a defended classifier is off by"):
        check_defence(Wrong, only=["attacks get the gradient through ART"])


def test_preprocessors_of_art():
    """What ART's own does not claim is not asked of it; what it breaks is true, and named."""

    def smoothing(**kwargs):
        return SpatialSmoothing(**{"channels_first": True, "clip_values": (0, 1), **kwargs})

    with pytest.raises(AssertionError) as raised:
        check_defence(smoothing)
    broken = re.findall(r"^- '([^']+)'", str(raised.value), flags=re.M)
    assert "the result is float32, whatever the numbers" in broken
    assert "values that are no intensities are refused" in broken
    checked = check_defence(smoothing, skip=set(broken))
    assert {"both layouts are treated alike", "an image alone is treated as in any batch"} <= set(checked)
    assert "the gradient is the slope" not in checked  # it is the identity, and ART says so
    assert "chunks do not matter" not in checked


def test_one_that_draws_at_random_says_so():
    def noise(**kwargs):
        return GaussianAugmentation(sigma=0.1, **{"augmentation": False, "apply_predict": True, **kwargs})

    rules = ["the same call gives the same result", "an image alone is treated as in any batch", "it can be pickled"]
    with pytest.raises(AssertionError, match=r"(?s)breaks 3 of the 3 rules.*of equal calls.*random=True"):
        check_defence(noise, only=rules)
    assert check_defence(noise, only=rules, random=True) == tuple(rules[1:])


def test_all_that_is_broken_is_named_or_the_first():
    rules = ["the shape is kept", "labels pass through", "repr shows every parameter"]

    class Worse(Crops):
        def __repr__(self):
            return "none"

    with pytest.raises(AssertionError) as raised:
        check_defence(Worse, only=rules)
    lines = str(raised.value).splitlines()
    assert lines[0] == "Worse breaks 2 of the 3 rules of a defence that were checked:"
    assert lines[1] == (
        "- 'the shape is kept': images (2, 3, 37, 31) came back as (2, 3, 37, 30). "
        "Return as many images, with the axes in the order in which they came."
    )
    assert lines[2].startswith("- 'repr shows every parameter': `repr` is 'none', without weight, solver")
    with pytest.raises(AssertionError, match="breaks 1 of the 1 rules"):
        check_defence(Worse, only=rules, fail_first=True)
    assert check_defence(Worse, only=rules, skip=[rules[0], rules[2]]) == (rules[1],)


def test_what_is_raised_is_the_cause():
    class Raises(Broken):
        def before(self, x):
            raise ZeroDivisionError("no images today")

    with pytest.raises(AssertionError, match="it raised ZeroDivisionError: no images today") as raised:
        check_defence(Raises, only=["the shape is kept"])
    assert isinstance(raised.value.__cause__, ZeroDivisionError)


@pytest.mark.parametrize(
    ("thing", "message"),
    [(object, "returned object. Derive the class"), (lambda: 1 / 0, "it raised ZeroDivisionError")],
)
def test_what_is_no_preprocessor_at_all(thing, message):
    with pytest.raises(AssertionError, match=message) as raised:
        check_defence(thing)
    assert "1 of the 1 rules" in str(raised.value)


def test_small_differences_are_tolerated_as_far_as_is_said():
    class Rounds(Broken):
        def before(self, x):
            return x

        def after(self, result, x):
            return result + 1e-6 * len(x)

    rule = "an image alone is treated as in any batch"
    assert check_defence(Rounds, only=[rule]) == (rule,)
    with pytest.raises(AssertionError, match="differ by up to"):
        check_defence(Rounds, only=[rule], tolerance=0)


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        (
            {"skip": ["the shape is lost"]},
            ValueError,
            "`skip` must be names of rules, got 'the shape is lost'; they",
        ),
        ({"only": "the shape is kept"}, TypeError, r"`only` must be a collection .* use \['the shape is kept'\]"),
        ({"images": [[1.0]]}, TypeError, "`images` must be an array of floats in the range of"),
        ({"images": np.zeros((1, 3, 8, 8))}, ValueError, r"four axes and N >= 2, got \(1, 3, 8, 8\)"),
        ({"tolerance": -1}, ValueError, "`tolerance` must be finite and >= 0"),
        ({"random": 1}, TypeError, "`random` must be True or False"),
        ({"fail_first": "yes"}, TypeError, "`fail_first` must be True or False"),
    ],
)
def test_bad_arguments(kwargs, error, message):
    with pytest.raises(error, match=message):
        check_defence(Float64, **kwargs)


def test_a_defence_in_place_of_its_class():
    """It can be called, and what calling it does would be told of as if the defence were at fault."""
    with pytest.raises(TypeError, match=r"got one that is made already: use Float64, or lambda \*\*options"):
        check_defence(Float64())


def test_no_test_framework_is_needed():
    code = "import sys, art_denoise.testing; print([name for name in ('pytest', '_pytest') if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_a_defence_that_keeps_state_or_hides_its_gradient_breaks_more_than_one_rule():
    """What is wrong in earnest is seen from several sides."""
    for broken, least in ((Remembers, 3), (HidesTheGradient, 2)):
        with pytest.raises(AssertionError) as raised:
            check_defence(broken)
        assert len(re.findall(r"^- ", str(raised.value), flags=re.M)) >= least
