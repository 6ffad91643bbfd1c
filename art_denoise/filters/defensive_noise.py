"""The defensive noise of Lee, Park & Lee (2018), Eq. 1, as an estimator over batches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, get_args

import torch
from torch.nn import functional
from tqdm.auto import tqdm

from art_denoise._checks import check_choice, check_integer, check_number
from art_denoise.choices import AcceptedDraw


class ImageSource(Protocol):
    """Images that are read when they are needed: what a tensor (N, C, H, W) does when it is indexed."""

    def __len__(self) -> int: ...

    def __getitem__(self, chosen: slice | torch.Tensor) -> torch.Tensor: ...


class NoHelpfulDrawError(ValueError):
    """No draw at all helped: there is nothing to average."""


@dataclass(frozen=True)
class NoiseEstimate:
    """Mean of the accepted draws, `mean` float32 (C, H, W), and how many were `accepted` out of how many `drawn`."""

    mean: torch.Tensor
    accepted: int
    drawn: int


def mean_accepted_noise(
    logits: Callable[[torch.Tensor], torch.Tensor],
    x: torch.Tensor | ImageSource,
    y: torch.Tensor,
    *,
    sigma: float,
    draws: int,
    accept: AcceptedDraw = "flip",
    seed: int = 0,
    batch_size: int = 128,
    progress: str | None = None,
) -> NoiseEstimate:
    r"""Average the random perturbations that help a classifier.

    .. math:: \frac{\sum_i \mathbf 1[\mathrm{accept}_i] \, \delta_i}{\sum_i \mathbf 1[\mathrm{accept}_i]},
              \qquad \delta_i \sim N(0, \sigma^2 I)

    An average of n accepted draws is signal plus noise of size sigma / √n.

    :param logits: Maps perturbed images (B, C, H, W) to logits (B, K); defences, clipping and standardisation inside.
    :param x: Images `v_i`, float tensor (N, C, H, W), in units of the value range (0 to 1); or what returns such
        tensors (B, C, H, W) when it is indexed by a slice or an integer tensor (B,), and is never read whole.
    :param y: Labels `y_i`, integer tensor (N,).
    :param sigma: Standard deviation of the draws in units of the value range, > 0, ≤ 1e6. The paper leaves
        it open.
    :param draws: Draws per image, ≥ 1. An image on which no draw can be accepted gets none.
    :param accept: "flip" accepts a draw that turns a wrong prediction into a right one, the case of the paper's
        experiment. "loss" accepts a draw that lowers the cross-entropy, as Eq. 1 is written.
    :param seed: Seed of the draws, ≥ 0, which are made on the CPU and so are the same on any device.
    :param batch_size: Perturbed images per call of `logits`. The result does not depend on it.
    :param progress: Name of the progress bar; None shows none.
    :raises ValueError: If an argument is outside its interval; `NoHelpfulDrawError` if no draw at all was accepted.

    Source: S. Lee, S. Park, J. Lee, "Defensive denoising methods against adversarial attack" (2018), Eq. (1), without
    its factor ε. Deviation: the draws have a standard deviation of their own instead of 1.
    """
    sigma = check_number("sigma", sigma, low=0, low_open=True, high=1e6)
    check_integer("draws", draws, low=1)
    check_integer("batch_size", batch_size, low=1)
    seed = check_integer("seed", seed, low=0)
    check_choice("accept", accept, get_args(AcceptedDraw))
    if len(x) != len(y) or len(x) == 0:
        raise ValueError(f"`x` and `y` must be of the same length, at least 1, got {len(x)} and {len(y)}")

    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        before = torch.cat([logits(x[start : start + batch_size]) for start in range(0, len(x), batch_size)])
        losses = functional.cross_entropy(before, y, reduction="none")
        first = x[:1]
        candidates = torch.arange(len(x), device=first.device)
        if accept == "flip":
            candidates = candidates[before.argmax(1) != y]
        total = torch.zeros(first.shape[1:], dtype=torch.float64, device=first.device)
        accepted = 0
        # One draw per candidate after another, so that more draws continue the sequence of fewer.
        queue = candidates.repeat(draws).split(batch_size) if len(candidates) else ()
        for chosen in tqdm(queue, desc=progress, disable=progress is None, unit="batch"):
            # Drawn one by one: a larger tensor would be filled in another order.
            drawn_each = [
                torch.randn(total.shape, generator=generator, dtype=torch.float32, device="cpu") for _ in chosen
            ]
            delta = torch.stack(drawn_each).to(first) * sigma
            after = logits(x[chosen] + delta)
            if accept == "flip":
                helped = after.argmax(1) == y[chosen]
            else:
                helped = functional.cross_entropy(after, y[chosen], reduction="none") < losses[chosen]
            total += delta[helped].sum(0, dtype=torch.float64)
            accepted += int(helped.sum())
    drawn = len(candidates) * draws
    if not accepted:
        why = "every image is classified correctly already" if not drawn else f"none of {drawn} draws helped"
        raise NoHelpfulDrawError(
            f"no defensive noise can be estimated, {why}: use other images, more `draws` or another `sigma`"
        )
    return NoiseEstimate((total / accepted).float(), accepted, drawn)
