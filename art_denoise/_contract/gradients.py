"""Rules of the gradient of a defence."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from art.defences.preprocessor import Preprocessor
from art.defences.preprocessor.preprocessor import PreprocessorPyTorch

from art_denoise._contract.trial import Breach, NotClaimed, Trial, rule, tensor_of, treated_by

#: Length of a difference, as a share of the range: rounding to float32 is a thousandth of what it changes.
_STEP = 1e-3

#: Differences that are taken. Half of them may come upon a jump, as where a stop or a cut-off is on the borderline.
_TRIALS = 7

#: By how much slope and difference may differ.
_OFF = 0.05


@rule("x.grad is left as it is")
def grad_is_left(trial: Trial) -> Iterator[Breach]:
    if not trial.is_pytorch:
        raise NotClaimed
    x = tensor_of(trial.images).requires_grad_()
    trial.made().forward(x)
    if x.grad is not None:
        yield Breach(
            "`forward` wrote into `x.grad`",
            "Use torch.autograd.grad instead of `backward`: what an attack finds in `x.grad` would be wrong",
        )


@rule("the gradient is the slope")
def gradient_is_the_slope(trial: Trial) -> Iterator[Breach]:
    if trial.random or not claims_a_gradient(trial):
        raise NotClaimed
    x, preprocessor = inner_images(trial), trial.made()
    rng = np.random.default_rng(2)
    for name in ("forward", "estimate_gradient") if trial.is_pytorch else ("estimate_gradient",):
        off = []
        for _ in range(_TRIALS):
            weights = rng.normal(size=x.shape).astype(np.float32)
            if name == "forward":
                gradient = _pulled_by_autograd(preprocessor, x, weights)
            else:
                gradient = np.asarray(preprocessor.estimate_gradient(x.copy(), weights))
            if gradient.shape != x.shape:
                yield Breach(
                    f"`{name}` gave a gradient {gradient.shape} for images {x.shape}", "Return one of their shape"
                )
                return
            size = float(np.sqrt(np.mean(np.square(gradient, dtype=float))))
            if not size > 0:
                yield Breach(
                    f"`{name}` gave a gradient that is {'not finite' if np.isnan(size) else 'zero everywhere'}",
                    "Let the derivative through: where attacks see none, a defence only looks strong",
                )
                return
            direction = gradient / size + rng.normal(size=x.shape).astype(np.float32)
            step = _STEP * trial.width * direction
            ahead, behind = (np.sum(treated_by(preprocessor, x + s) * weights, dtype=float) for s in (step, -step))
            slope = (ahead - behind) / (2 * _STEP * trial.width)
            claimed = float(np.sum(gradient * direction, dtype=float))
            off.append(abs(slope - claimed) / abs(claimed))
        if not np.median(off) <= _OFF:
            yield Breach(
                f"`{name}` gives a gradient that is off by {np.median(off):.0%} of finite differences",
                "Correct the derivative. If it is an approximation on purpose, as in BPDA, skip this rule",
            )


@rule("gradient='identity' passes the gradient on")
def identity_passes_the_gradient(trial: Trial) -> Iterator[Breach]:
    try:
        trial.needs(gradient="identity")
    except ValueError:
        raise NotClaimed from None
    grad = np.random.default_rng(4).normal(size=trial.images.shape).astype(np.float32)
    pulled = trial.made(gradient="identity").estimate_gradient(trial.images.copy(), grad)
    if not np.array_equal(pulled, grad):
        yield Breach("with `gradient` = 'identity' the gradient was changed", "Return it as it is")
    if apart := trial.difference(trial.treated(trial.images, gradient="identity"), trial.result):
        yield Breach(f"results with and without `gradient` = 'identity' {apart}", "Change the gradient alone by it")


@rule("gradients of several classes come back one by one")
def gradients_of_several_classes(trial: Trial) -> Iterator[Breach]:
    x, preprocessor = inner_images(trial), trial.made()
    grads = np.random.default_rng(3).normal(size=(len(x), 3, *x.shape[1:])).astype(np.float32)
    remedy = "Let `estimate_gradient` take gradients (N, K, ...) of K classes, which ART's `class_gradient` passes it"
    several = np.asarray(preprocessor.estimate_gradient(x.copy(), grads.copy()))
    if several.shape != grads.shape:
        yield Breach(f"gradients {grads.shape} came back as {several.shape}", remedy)
        return
    one_by_one = np.stack([preprocessor.estimate_gradient(x.copy(), grads[:, k].copy()) for k in range(3)], axis=1)
    scale = float(np.abs(one_by_one).max())
    # Sums in another order; of those drawn at random only the shape is known.
    if not trial.random and not np.allclose(several, one_by_one, rtol=0, atol=1e-4 * scale):
        yield Breach("gradients of three classes at once and one by one differ", remedy)


def claims_a_gradient(trial: Trial) -> bool:
    """Whether a preprocessor says that its gradient is its own, rather than the identity or an estimate."""
    preprocessor = trial.made()
    if getattr(preprocessor, "gradient", "exact") == "identity":
        return False
    if isinstance(preprocessor, PreprocessorPyTorch):
        return bool(preprocessor.forward(tensor_of(trial.images).requires_grad_())[0].requires_grad)
    # ART's own returns the gradient as it is, by the name of BPDA.
    return type(preprocessor).estimate_gradient is not Preprocessor.estimate_gradient


def inner_images(trial: Trial) -> np.ndarray:
    """Return the images away from the ends of the range: a clip there may let a gradient through that is no slope."""
    low, high = trial.limits or (0.0, 1.0)
    middle = np.float32((low + high) / 2)
    return (trial.images - middle) * np.float32(0.6) + middle


def _pulled_by_autograd(preprocessor: PreprocessorPyTorch, x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    tensor = tensor_of(x).requires_grad_()
    result, _ = preprocessor.forward(tensor)
    (gradient,) = torch.autograd.grad(result, tensor, tensor_of(weights))
    pulled: np.ndarray = gradient.cpu().numpy()
    return pulled
