"""ART's evasion attacks on images, each image by itself, so that the result depends on nothing but what is given.

ART's attacks draw from global generators, and some from new ones without a seed; some hand networks arrays in double
precision, or take networks only that return probabilities; the default step of most is larger than the bounds in use
here. All of that is seen to here, and in the table of attacks.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Literal

import numpy as np
import torch
from art.attacks import evasion
from art.attacks.attack import EvasionAttack
from art.defences.postprocessor import Postprocessor
from art.defences.preprocessor.preprocessor import PreprocessorPyTorch
from art.estimators.classification import PyTorchClassifier
from art.exceptions import EstimatorError

from art_denoise._checks import check_integer
from art_denoise._random import drawn_from
from art_denoise.attacks._classifier import value_range
from art_denoise.attacks.best_pgd import SAMPLES, BestPGD
from art_denoise.defences.adapters import as_pytorch
from art_denoise.defences.chain import defences_of, with_defences
from art_denoise.evaluation.attack_table import ART, ArtAttack, art_attack
from art_denoise.evaluation.expectation import draws, mean_of_draws
from art_denoise.evaluation.experiment import Attack
from art_denoise.evaluation.origins import arguments_of, check_arguments, unknown

#: How far an attack that promises a bound may be beyond it, as a share of the bound, by rounding: AutoAttack takes what
#: is beyond it by 1e-4.
_ROUNDING = 1e-3

#: Parameters of ART's attacks that are not the user's: they are set here, or are no values.
_SET_HERE = (
    "estimator",
    "classifier",
    "eps",
    "norm",
    "targeted",
    "seed",
    "verbose",
    "summary_writer",
    "estimator_orig",
    "attacks",
)

#: The parameter that every attack has here: how many draws of the defences its gradients and scores are the mean of.
_SAMPLES = "eot_samples"

#: Attacks of ART that make one perturbation for all images.
_UNIVERSAL = ("UniversalPerturbation", "TargetedUniversalPerturbation")


def attack_images(
    classifier: PyTorchClassifier,
    attack: Attack,
    *,
    eps: float,
    norm: float | Literal["inf", "2"] = "inf",
    x: np.ndarray,
    y: np.ndarray,
    seed: int = 0,
    verbose: bool = False,
    told: Callable[[int], object] | None = None,
) -> np.ndarray:
    """Attack images one by one with one of ART's evasion attacks, untargeted.

    The defences that are in place on the classifier are attacked with it: who knows less is given another classifier.

    If a defence draws at random, an attack goes by the mean of several draws (expectation over transformation, Athalye
    et al. 2018, arXiv:1707.07397), of gradients and of scores: of `eot_samples`, which each attack has as a parameter
    here, by default 8.

    Attacks that promise a bound keep to it; what rounding leaves beyond it is projected back. Those that look for the
    least perturbation return what they need: an image that would need more than `eps` is returned as it was, because
    within its bound the attack has failed. They go by the label that is predicted, not by `y`, and so are not run for
    images that are classified wrongly already, whose label they could only put right.

    An image's result depends on the others where ART draws for many at a time: FGS, PGD and APGD with random starts,
    Square, whose squares are in the same place in all images, AutoAttack, SimBA, ZOO, HopSkipJump and Boundary, whose
    draws follow one another. APGD stops a batch when all of its losses are 0. DeepFool and CW with `batch_size` above 1
    consider the classes, and end the search, of a whole batch.

    Cost: that of the attack. Not to be called from several threads at once, as ART draws from global generators.

    :param classifier: Classifier with `clip_values` that returns logits, with defences for PyTorch or none.
    :param attack: The attack, of kind "per-image". `eps_step`, a share of the value range, is by default
        2.5 `eps` / `max_iter` for PGD and the FGS that iterate, and 2 `eps` for APGD.
    :param eps: Bound on what is added to an image, as a share of the value range, > 0.
    :param norm: Norm of the bound, "inf" or 2.
    :param x: Images, float32 (N, 3, H, W) in [0, 1], whatever the classifier's `clip_values`.
    :param y: Their labels, int (N,).
    :param seed: Seed of all that is drawn, by attack and defences. Generators are put back afterwards.
    :param verbose: Show ART's progress bars.
    :param told: Is told the number of images when they are done.
    :return: The images with what was added, float32 (N, 3, H, W) in [0, 1].
    :raises ValueError: If there is no such attack, it cannot run on this classifier or does not take a parameter, or
        images or labels are of another form.
    :raises RuntimeError: If the attack returned NaN, or broke its promise of a bound.
    """
    row, order = art_attack(attack.name), _order(norm)
    _check_images(x, y, classifier)
    attacked = np.array(x, dtype=np.float32)
    with ExitStack() as stack:
        stack.enter_context(_undisturbed(classifier, seed, probabilities=row.probabilities))
        made = build_art_attack(classifier, attack, eps=eps, norm=norm, seed=seed, verbose=verbose)
        chosen = np.ones(len(x), dtype=bool)
        images = _to_range(classifier, attacked)
        if len(x) and not isinstance(made, BestPGD):
            # That one sees to it itself, and knows which of its points is the best on average.
            samples = dict(attack.params).get(_SAMPLES) or (SAMPLES if draws(classifier, images) else 1)
            stack.enter_context(mean_of_draws(classifier, samples))
        if not row.bounded and len(x):
            chosen = classifier.predict(images).argmax(axis=1) == y
        if chosen.any():
            one_hot = np.eye(classifier.nb_classes, dtype=np.float32)[y[chosen]]
            # A square of no size, or a gradient of zero: ART goes on with what is not NaN, and so does what follows.
            with np.errstate(divide="ignore", invalid="ignore"):
                found = np.asarray(made.generate(images[chosen], one_hot))
            attacked[chosen] = _within(_from_range(classifier, found), attacked[chosen], eps, order, row, attack.name)
    if told is not None:
        told(len(x))
    return attacked


def attack_one_by_one(
    classifier: PyTorchClassifier,
    attack: Attack,
    *,
    eps: float,
    norm: float | Literal["inf", "2"] = "inf",
    x: np.ndarray,
    y: np.ndarray,
    seed: int = 0,
    told: Callable[[int], object] | None = None,
) -> tuple[np.ndarray, dict[int, str]]:
    """Attack images as :func:`attack_images`; where that fails, each by itself, so that no image is lost for another.

    :return: The images with what was added, and why the attack failed, by number of the image: these are as they were.
    :raises Exception: What the attack raised, if it fails on all of them.
    """

    def attacked(part: slice) -> np.ndarray:
        return attack_images(
            classifier, attack, eps=eps, norm=norm, x=x[part], y=y[part], seed=seed + part.start, told=told
        )

    try:
        return attacked(slice(0, len(x))), {}
    except Exception:
        found, failed = x.copy(), {}
        for i in range(len(x)):
            try:
                found[i : i + 1] = attacked(slice(i, i + 1))
            except Exception as error:
                failed[i] = f"{type(error).__name__}: {error}"
        if len(failed) == len(x):
            raise
        return found, failed


def build_art_attack(
    classifier: PyTorchClassifier,
    attack: Attack,
    *,
    eps: float,
    norm: float | Literal["inf", "2"] = "inf",
    seed: int = 0,
    verbose: bool = False,
) -> EvasionAttack:
    """Build an attack on single images; arguments as for :func:`attack_images`.

    :raises ValueError: If there is no such attack, it cannot run on this classifier, or does not take a parameter. What
        ART says of a value is not changed.
    """
    if attack.kind != "per-image":
        raise ValueError(f"{attack.name} is no attack on images one by one, but {attack.kind}")
    row, order = art_attack(attack.name), _order(norm)
    make = _class(row, attack.name)
    takes = inspect.signature(make).parameters
    given = {**row.defaults, **arguments_of(attack)}
    also = ["eps", "norm", "knowledge"]
    if _SAMPLES not in takes:
        samples = given.pop(_SAMPLES, None)
        also.append(_SAMPLES)
        if samples is not None:
            check_integer(_SAMPLES, samples, low=1)
    check_arguments(attack.name, make, given, (*_SET_HERE, row.eps or ""), tuple(also))
    low, high = value_range(classifier)
    bound = float(eps) * (high - low)
    if "eps_step" in given:
        given["eps_step"] = float(given["eps_step"]) * (high - low)
    elif row.step is not None:
        steps = given.get("max_iter", takes["max_iter"].default if "max_iter" in takes else 1)
        given["eps_step"] = row.step(bound, steps if isinstance(steps, int) else 1)
    bounding = row.eps or ("eps" if "eps" in takes else None)
    filled = {
        "norm": order,
        "targeted": False,
        "verbose": verbose,
        "seed": seed,
        **({bounding: bound} if bounding else {}),
    }
    arguments = {**{name: value for name, value in filled.items() if name in takes}, **given}
    try:
        made: EvasionAttack = make(classifier, **arguments)
    except EstimatorError as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"attack `{attack.name}` cannot run on this estimator: {reason}") from error
    return made


def auto_attack(
    estimator: PyTorchClassifier,
    norm: float = np.inf,
    eps: float = 0.3,
    eps_step: float = 0.1,
    batch_size: int = 32,
    max_iter: int = 100,
    nb_random_init: int = 5,
    queries: int = 5000,
    query_restarts: int = 5,
    verbose: bool = False,
) -> evasion.AutoAttack:
    """Build ART's AutoAttack, as it builds itself, but for bars, numbers of steps, and networks of two classes.

    These have no ratio of differences of logits, which takes the third largest: APGD by it is left out for them.

    :param max_iter: Steps of APGD and of DeepFool.
    :param nb_random_init: Restarts of APGD.
    :param queries: Steps of Square.
    :param query_restarts: Restarts of Square.
    """
    ball = {"estimator": estimator, "norm": norm, "eps": eps}
    steps = {"eps_step": eps_step, "max_iter": max_iter, "nb_random_init": nb_random_init, "batch_size": batch_size}
    losses = ["cross_entropy", "difference_logits_ratio"][: 2 if estimator.nb_classes > 2 else 1]
    apgd = evasion.AutoProjectedGradientDescent
    attacks: list[EvasionAttack] = [apgd(**ball, **steps, loss_type=loss, verbose=verbose) for loss in losses]
    attacks += [
        evasion.DeepFool(estimator, max_iter=max_iter, epsilon=1e-3, batch_size=batch_size, verbose=verbose),
        evasion.SquareAttack(**ball, max_iter=queries, p_init=0.8, nb_restarts=query_restarts, verbose=verbose),
    ]
    return evasion.AutoAttack(**ball, eps_step=eps_step, attacks=attacks, batch_size=batch_size)


#: Attacks that are not one of ART's classes as it is.
_BUILT_BY: dict[str, Callable[..., EvasionAttack]] = {"AutoAttack": auto_attack, "BestPGD": BestPGD}


def _class(row: ArtAttack, name: str) -> Callable[..., EvasionAttack]:
    """Return what builds an attack, or raise if there is no such class, or a package that it needs."""
    there = {
        key: value
        for key, value in vars(evasion).items()
        if inspect.isclass(value) and issubclass(value, EvasionAttack)
    }
    if row.cls in _UNIVERSAL:
        raise ValueError(f"{name} makes one perturbation for all images: use deepfool-uap")
    if row.cls not in there and row.cls not in _BUILT_BY:
        raise unknown("evasion attack", name, [f"{ART}{key}" for key in there], name, of="ART")
    row.check_package(name)
    return _BUILT_BY.get(row.cls) or there[row.cls]


@contextmanager
def _undisturbed(classifier: PyTorchClassifier, seed: int, *, probabilities: bool) -> Iterator[None]:
    """Give ART's attacks generators that are seeded, and a classifier that takes and returns what they need."""
    before = classifier.postprocessing_defences
    original = np.random.RandomState
    with drawn_from(seed), with_defences(classifier, [_AsFloat32(), *map(as_pytorch, defences_of(classifier))]):
        try:
            # HopSkipJump and Boundary make a new generator for each image, which the system seeds.
            np.random.RandomState = _seeded(original)  # type: ignore[misc]
            if probabilities:
                classifier.set_params(postprocessing_defences=[_Softmax()])
            yield
        finally:
            np.random.RandomState = original  # type: ignore[misc]
            classifier.set_params(postprocessing_defences=before)


def _seeded(original: type[np.random.RandomState]) -> type[np.random.RandomState]:
    """Return a class of generators of which those without a seed are seeded by NumPy's global generator."""

    class Meta(type(original)):  # type: ignore[misc]
        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, original)

    class RandomState(original, metaclass=Meta):  # type: ignore[misc, valid-type]
        def __init__(self, seed: Any = None) -> None:
            super().__init__(np.random.randint(2**31) if seed is None else seed)  # noqa: NPY002

    return RandomState


class _AsFloat32(PreprocessorPyTorch):
    """Make images float32: HopSkipJump, Boundary and others hand networks their own arithmetic's double precision."""

    def __init__(self) -> None:
        super().__init__(device_type="cpu", is_fitted=True, apply_fit=False, apply_predict=True)

    def forward(self, x: torch.Tensor, y: Any | None = None) -> tuple[torch.Tensor, Any | None]:
        return x.to(torch.float32), y


class _Softmax(Postprocessor):
    """Make logits probabilities; probabilities stay what they are."""

    def __init__(self) -> None:
        super().__init__(is_fitted=True, apply_fit=False, apply_predict=True)

    def __call__(self, preds: np.ndarray) -> np.ndarray:
        if preds.min() >= 0 and np.allclose(preds.sum(axis=1), 1, atol=1e-4):
            return preds
        powers = np.exp(preds - preds.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)


def _check_images(x: np.ndarray, y: np.ndarray, classifier: PyTorchClassifier) -> None:
    if x.dtype != np.float32 or x.shape[1:] != tuple(classifier.input_shape):
        expected = ", ".join(map(str, classifier.input_shape))
        raise ValueError(f"`x` must be float32 (N, {expected}), got {x.dtype} {x.shape}")
    if x.size and not (x.min() >= 0 and x.max() <= 1):
        raise ValueError(f"`x` must be images in [0, 1], got values from {x.min()} to {x.max()}")
    if y.shape != (len(x),) or y.dtype.kind not in "iu":
        raise ValueError(f"`y` must be labels, int ({len(x)},), got {y.dtype} {y.shape}")
    if y.size and not (y.min() >= 0 and y.max() < classifier.nb_classes):
        raise ValueError(f"`y` must be from 0 to {classifier.nb_classes - 1}, got {y.min()} to {y.max()}")


def _within(found: np.ndarray, clean: np.ndarray, eps: float, order: float, row: ArtAttack, name: str) -> np.ndarray:
    """Return attacked images within the bound: projected onto it, or as they were where that is not rounding."""
    if found.shape != clean.shape or not np.isfinite(found).all():
        what = f"{found.shape}" if found.shape != clean.shape else "NaN or infinite values"
        raise RuntimeError(f"attack `{name}` returned {what} for images {clean.shape}: try other parameters of it")
    sizes = np.linalg.norm((found - clean).reshape(len(clean), -1).astype(np.float64), ord=order, axis=1)
    beyond = sizes > eps * (1 + _ROUNDING) + 1e-6
    if row.bounded and beyond.any():
        raise RuntimeError(
            f"attack `{name}` promises a bound of {eps:g} in norm {order:g}, and added {sizes.max():g} to an image: it "
            "is broken in this version of ART, or one of its parameters allows it"
        )
    if order == math.inf:
        kept = np.clip(found, clean - np.float32(eps), clean + np.float32(eps))
    else:
        shares = np.minimum(1, eps / np.maximum(sizes, np.finfo(float).tiny))
        kept = clean + (found - clean) * shares.reshape(-1, 1, 1, 1).astype(np.float32)
    kept[beyond] = clean[beyond]
    return np.clip(kept, 0, 1).astype(np.float32)


def _to_range(classifier: PyTorchClassifier, x: np.ndarray) -> np.ndarray:
    low, high = value_range(classifier)
    return x.copy() if (low, high) == (0, 1) else (x * (high - low) + low).astype(np.float32)


def _from_range(classifier: PyTorchClassifier, x: np.ndarray) -> np.ndarray:
    low, high = value_range(classifier)
    return (x if (low, high) == (0, 1) else (x - low) / (high - low)).astype(np.float32)


def _order(norm: float | str) -> float:
    if norm in ("inf", math.inf):
        return math.inf
    if norm in ("2", 2):
        return 2
    raise ValueError(f"`norm` must be inf or 2, got {norm!r}")
