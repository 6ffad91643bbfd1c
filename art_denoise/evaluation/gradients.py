"""Whether attacks with gradients can be believed: what comes back through a defence, looked at before any attack.

A gradient that is cut, zero, not finite, of another size or not the slope makes an attack weak, and a defence look
strong (Athalye et al. 2018, arXiv:1802.00420). So does chance, which the attack does not average over, and a network
that returns probabilities. What is found here is told in the table of what casts doubt on figures.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

import numpy as np
import torch
from art.defences.preprocessor import Preprocessor
from art.estimators.classification import PyTorchClassifier
from skimage.metrics import structural_similarity

from art_denoise._random import drawn_from
from art_denoise.attacks._classifier import are_probabilities, logits_of, margins_of, scores_of, value_range
from art_denoise.defences.adapters import as_pytorch
from art_denoise.defences.chain import with_defences

#: Images that are looked at, and differences that are taken of each.
IMAGES, _TRIALS = 8, 5

#: Length of a difference, the norm over all pixels as a share of the value range: a network of many pixels has as many
#: corners on a way of the same length as one of few.
_STEP = 0.01

#: Size of the noise that a prediction has to answer to, likewise: where it does, a gradient of zero is none.
_NOISE = 2 / 255

#: Pixels of a window of the structural similarity.
_WINDOW = 7

#: Size of random signs, of which it is seen how much gets through, as a share of the range.
_SIGNS = 10 / 255

#: Functions that solve a problem while images go through, or take a gradient for it, and the packages that they are of.
_SOLVERS = frozenset(
    [
        *(("minimize", "scipy"), ("least_squares", "scipy"), ("fmin_l_bfgs_b", "scipy")),
        *(("backward", "torch"), ("grad", "torch"), ("step", "torch")),
    ]
)


def audit_gradients(
    classifier: PyTorchClassifier, defences: Sequence[Preprocessor], x: np.ndarray, y: np.ndarray, *, seed: int = 0
) -> dict[str, Any]:
    """Look at the gradients of a defended network on a few images.

    The gradient is that of the margin, the label's logit less the largest other one: unlike that of the cross-entropy
    it does not vanish where a network is sure.

    :param classifier: Classifier with `clip_values`.
    :param defences: Its defences, in the place of those that it has.
    :param x: Images, float32 (N, C, H, W) in units of `clip_values`; the first :data:`IMAGES` are looked at.
    :param y: Their labels, int (N,).
    :param seed: Seed of directions, and of what defences draw.
    :return: A JSON-like record: `images` that were looked at; `draws`, whether what is predicted differs from call to
        call: "none", "seeded", only with another seed of the generators of Python, NumPy and PyTorch, or "own";
        `probabilities`, whether these are returned; `solvers`, what solves a problem in the forward pass; `cut`, the
        preprocessors that no gradient gets through; and, None where there is none, of how many images the gradient is
        `zero`, though the prediction changes, or not finite, `not_finite`; its size as a share of that without a
        defence, the median, `scale`; by how much it is `off` from finite differences, the median, as a share; the peak
        signal-to-noise ratio of images behind the defence in dB, `psnr`, and their structural similarity (Wang et al.
        2004, windows of 7 pixels), `ssim`, the medians; and `noise_left`, the share of
        random signs of 10/255 that gets through, |D(x + s) - D(x)| / |s|, likewise.
    """
    low, high = value_range(classifier)
    images = torch.from_numpy(np.ascontiguousarray(x[:IMAGES], dtype=np.float32)).to(classifier.device)
    labels = torch.from_numpy(np.asarray(y[:IMAGES], dtype=np.int64)).to(classifier.device)
    chain = [as_pytorch(stage) for stage in defences]
    record: dict[str, Any] = {"images": len(images), "cut": [], "zero": None, "not_finite": None}
    record |= {"scale": None, "off": None, **_effect(chain, images, (low, high), seed)}

    def margins(points: torch.Tensor, of_seed: int = seed) -> torch.Tensor:
        with drawn_from(of_seed):
            scores, targets = logits_of(classifier, points, labels=labels)
        assert targets is not None
        return margins_of(scores, targets).view(len(points), -1).mean(1)

    with with_defences(classifier, chain), torch.no_grad():
        with _solvers_called() as called, drawn_from(seed):
            logits = scores_of(classifier, images)
        record["solvers"] = called
        record["probabilities"] = are_probabilities(logits)
        before, again, other = margins(images), margins(images), margins(images, seed + 1)
        record["draws"] = "own" if not _same(before, again) else "none" if _same(before, other) else "seeded"
    with with_defences(classifier, chain):
        gradient = _gradient(margins, images)
    if gradient is None:
        record["cut"] = _cutting(chain, images)
        return record
    with with_defences(classifier, []):
        alone = _gradient(margins, images)
    finite = torch.isfinite(gradient).flatten(1).all(1)
    record["not_finite"] = int((~finite).sum())
    gradient = gradient.nan_to_num(0, 0, 0)
    size = gradient.square().flatten(1).sum(1).sqrt()
    if alone is not None:
        share = size / alone.nan_to_num(0, 0, 0).square().flatten(1).sum(1).sqrt().clamp(min=1e-30)
        record["scale"] = float(share.median())
    rng = np.random.default_rng(seed)

    def drawn() -> torch.Tensor:
        return torch.from_numpy(rng.normal(size=images.shape).astype(np.float32)).to(images.device)

    with with_defences(classifier, chain), torch.no_grad():
        # Away from the ends of the range: a clip there lets a gradient through that is no slope.
        moved = (margins((images + _NOISE * (high - low) * drawn()).clamp(low, high)) - before).abs()
        record["zero"] = int(((size == 0) & finite & (moved > 1e-4)).sum())
        if record["draws"] != "own":
            record["off"] = _off(margins, images, gradient, (low, high), drawn)
    return record


def _effect(
    chain: Sequence[Any], images: torch.Tensor, ends: tuple[float, float], seed: int
) -> dict[str, float | None]:
    """Return what a defence does to images, and to noise; None where images of another shape come out."""

    def behind(points: torch.Tensor) -> torch.Tensor:
        with torch.no_grad(), drawn_from(seed):
            for stage in chain:
                points = stage.forward(points)[0]
        return points

    low, high = ends
    width = high - low
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=images.shape).astype(np.float32)
    # Some preprocessors refuse what is outside of the range.
    noise = (images + torch.from_numpy(signs).to(images.device) * (_SIGNS * width)).clamp(low, high) - images
    clean, noisy = behind(images), behind((images + noise).clamp(low, high))
    if clean.shape != images.shape:
        return {"psnr": None, "ssim": None, "noise_left": None}
    squares = (clean - images).square().flatten(1).mean(1)
    left = (noisy - clean).flatten(1).norm(dim=1) / noise.flatten(1).norm(dim=1)
    psnr = 10 * torch.log10(width**2 / squares.clamp(min=1e-20))
    changed = bool(squares.any())
    return {
        "psnr": float(psnr.median()) if changed else None,
        "ssim": _ssim(images, clean, width) if changed else None,
        "noise_left": float(left.median()),
    }


def _ssim(images: torch.Tensor, others: torch.Tensor, width: float) -> float | None:
    """Return the structural similarity of images, the median; None if they are smaller than its windows of 7 pixels."""
    if min(images.shape[2:]) < _WINDOW:
        return None
    pairs = zip(images.cpu().numpy(), others.cpu().numpy(), strict=True)
    found = [structural_similarity(a, b, win_size=_WINDOW, data_range=width, channel_axis=0) for a, b in pairs]
    return float(np.median(found))


def _off(
    margins: Any, images: torch.Tensor, gradient: torch.Tensor, ends: tuple[float, float], drawn: Any
) -> float | None:
    """Return by how much a gradient is off from finite differences, the median over images and directions."""
    low, high = ends
    inside, found = (images > low + 0.02 * (high - low)) & (images < high - 0.02 * (high - low)), []
    rms = gradient.square().flatten(1).mean(1).sqrt().view(-1, 1, 1, 1)
    for _ in range(_TRIALS):
        # Half along the gradient, as the slope along what is drawn alone is next to nothing.
        direction = (gradient / rms.clamp(min=1e-30) + drawn()) * inside
        length = _STEP * (high - low) / math.sqrt(images[0].numel())
        slope = (margins(images + length * direction) - margins(images - length * direction)) / (2 * length)
        claimed = (gradient * direction).flatten(1).sum(1)
        largest = torch.maximum(slope.abs(), claimed.abs())
        # Where nothing moves there is nothing to compare.
        found += ((slope - claimed).abs() / largest)[largest > 1e-6].tolist()
    return float(np.median(found)) if found else None


def _gradient(margins: Any, images: torch.Tensor) -> torch.Tensor | None:
    """Return the gradient of the margins; None if there is none."""
    point = images.clone().requires_grad_()
    try:
        with torch.enable_grad():
            total = margins(point).sum()
        found: torch.Tensor | None = torch.autograd.grad(total, point, allow_unused=True)[0]
    except RuntimeError:
        # What goes through NumPy, or is detached, fails only if a gradient is wanted.
        return None
    return found


def _cutting(chain: Sequence[Any], images: torch.Tensor) -> list[str]:
    """Return the names of the preprocessors that no gradient gets through."""
    names = []
    for stage in chain:
        point = images.clone().requires_grad_()
        try:
            with torch.enable_grad(), drawn_from(0):
                result = stage.forward(point)[0]
            gets_through = torch.autograd.grad(result.sum(), point, allow_unused=True)[0] is not None
        except RuntimeError:
            gets_through = False
        if not gets_through:
            names.append(type(getattr(stage, "preprocessor", stage)).__name__)
    return names


@contextmanager
def _solvers_called() -> Iterator[list[str]]:
    """Yield the names of what solves a problem as long as this lasts; they are there when it has ended."""
    called: dict[str, None] = {}
    names: list[str] = []

    def look(frame: FrameType, event: str, _: Any) -> None:
        module = frame.f_globals.get("__name__", "")
        if event == "call" and (frame.f_code.co_name, module.split(".")[0]) in _SOLVERS:
            called[f"{module}.{frame.f_code.co_name}"] = None

    before = sys.getprofile()
    sys.setprofile(look)
    try:
        yield names
    finally:
        sys.setprofile(before)
        names += called


def _same(first: torch.Tensor, second: torch.Tensor) -> bool:
    return torch.allclose(first, second, rtol=1e-4, atol=1e-5, equal_nan=True)
