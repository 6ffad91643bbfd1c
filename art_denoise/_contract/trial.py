"""A rule, and the preprocessor on trial that rules are given."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from art.defences.preprocessor import Preprocessor
from art.defences.preprocessor.preprocessor import PreprocessorPyTorch

#: Ranges that a defence with `clip_values` is tried in.
_RANGES = ((0.0, 1.0), (0, 255), (-1.0, 1.0), (0.0, 65535.0), (100, 101))


class Breach(NamedTuple):
    """What was seen that breaks a rule, what to do about it, and what was raised, if anything was."""

    seen: str
    remedy: str
    error: Exception | None = None


class NotClaimed(Exception):
    """A rule is about something that the preprocessor does not have."""


@dataclass(frozen=True)
class Rule:
    """One thing that every defence keeps.

    :param name: The rule in plain English, by which it can be skipped.
    :param find: Yields what breaks it.
    """

    name: str
    find: Callable[[Trial], Iterator[Breach]]

    def breaches(self, trial: Trial) -> list[Breach] | None:
        """Return all that breaks the rule, or None if it does not apply; what is raised breaks it too."""
        found = []
        try:
            for breach in self.find(trial):
                found.append(breach)
        except NotClaimed:
            return None
        except Exception as error:  # whatever a preprocessor of others raises
            found.append(
                Breach(
                    f"it raised {described(error)}",
                    "Call check_defence(..., only=[...]) with this rule alone, whose error shows where it is raised",
                    error,
                )
            )
        return found


def rule(name: str) -> Callable[[Callable[[Trial], Iterator[Breach]]], Rule]:
    """Make a rule of a function; its name is a sentence without a full stop."""
    return lambda find: Rule(name, find)


class Trial:
    """A preprocessor on trial: how it is made, and images to try it on.

    :param make: Makes a fresh preprocessor; keyword arguments override its parameters.
    :param images: Images in its own layout and range, (N, ...) float32, N >= 2. None: two noisy images
        (2, 3, 37, 31), or (2, 37, 31, 3) for `channels_first=False`, within its `clip_values`, or 0 and 1.
    :param tolerance: Largest difference between equal results, as a share of the range.
    :param random: Whether it draws at random, so that equal calls need not have equal results.
    """

    def __init__(
        self, make: Callable[..., Preprocessor], images: np.ndarray | None, tolerance: float, *, random: bool
    ) -> None:
        self.make, self.tolerance, self.random = make, tolerance, random
        self._given = images

    @cached_property
    def images(self) -> np.ndarray:
        """Images in the layout and range of the preprocessor, float32 (N, ...)."""
        if self._given is not None:
            return self._given.astype(np.float32)
        unit = noisy_images()
        low, high = self.limits or (0.0, 1.0)
        return np.ascontiguousarray((unit if self.channels_first else unit.transpose(0, 2, 3, 1)) * (high - low) + low)

    @cached_property
    def limits(self) -> tuple[float, float] | None:
        """Ends of the preprocessor's range; None if it has no `clip_values`, or others for each pixel.

        One that wraps others need not show theirs: they are taken for 0 and 1 if `make` takes `clip_values`.
        """
        preprocessor = self.made()
        if not hasattr(preprocessor, "clip_values"):
            return (0.0, 1.0) if self.offers(clip_values=(0.0, 1.0)) else None
        values = preprocessor.clip_values
        return None if np.shape(values) != (2,) else (float(values[0]), float(values[1]))

    @cached_property
    def ranges(self) -> list[tuple[float, float]]:
        """Other ranges that the preprocessor takes as `clip_values`; none if it does not have them."""
        return [ends for ends in _RANGES if ends != self.limits and self._takes_range(ends)]

    def _takes_range(self, ends: tuple[float, float]) -> bool:
        try:
            return self.offers(clip_values=ends)
        except ValueError:
            return False

    @property
    def width(self) -> float:
        """Width of the range of the images."""
        low, high = self.limits or (0.0, 1.0)
        return high - low

    @cached_property
    def channels_first(self) -> bool:
        """Whether images are (N, C, H, W), rather than (N, H, W, C)."""
        return bool(getattr(self.made(), "channels_first", True))

    @cached_property
    def is_pytorch(self) -> bool:
        """Whether it is a preprocessor for PyTorch."""
        return isinstance(self.made(), PreprocessorPyTorch)

    @cached_property
    def result(self) -> np.ndarray:
        """What it makes of the images."""
        return self.treated(self.images)

    def made(self, **parameters: Any) -> Preprocessor:
        """Make a fresh preprocessor, on the CPU if it can be told so: results on a GPU differ by rounding."""
        return self.make(**self._on_cpu, **parameters)

    @cached_property
    def _on_cpu(self) -> dict[str, str]:
        return {"device_type": "cpu"} if self._takes(device_type="cpu") else {}

    def offers(self, **parameters: Any) -> bool:
        """Whether `make` takes these parameters; whatever else it raises is passed on."""
        return self._takes(**self._on_cpu, **parameters)

    def _takes(self, **parameters: Any) -> bool:
        try:
            self.make(**parameters)
        except TypeError as error:
            if is_unknown_keyword(error):
                return False
            raise
        return True

    def needs(self, **parameters: Any) -> None:
        """End the rule, as one that does not apply, unless `make` takes these parameters."""
        if not self.offers(**parameters):
            raise NotClaimed

    def treated(self, x: np.ndarray, **parameters: Any) -> np.ndarray:
        """Return what a fresh preprocessor makes of a copy of images, which it may spoil."""
        return treated_by(self.made(**parameters), x)

    def difference(self, first: np.ndarray, second: np.ndarray, *, width: float | None = None) -> str | None:
        """Say how far apart two results are that ought to be equal; None if they are equal, or drawn at random."""
        if self.random and first.shape == second.shape:
            return None
        return far_apart(first, second, self.tolerance * (self.width if width is None else width))


def far_apart(first: np.ndarray, second: np.ndarray, allowed: float) -> str | None:
    """Say how far apart two arrays are; None if they are of one shape and differ by no more than is allowed."""
    if first.shape != second.shape:
        return f"are of shapes {first.shape} and {second.shape}"
    apart = np.abs(first.astype(np.float64) - second.astype(np.float64))
    # Not the other way round: NaN is no small difference.
    close = apart <= allowed
    return None if close.all() else f"differ by up to {apart.max():.3g}, in {np.mean(~close):.1%} of their values"


def treated_by(preprocessor: Preprocessor, x: np.ndarray) -> np.ndarray:
    """Return what a preprocessor makes of a copy of images.

    :raises TypeError: If it does not return the images and the labels, as ART has it.
    """
    returned = preprocessor(x.copy())
    if not isinstance(returned, tuple) or len(returned) != 2:
        raise TypeError(
            f"`__call__` must return a tuple of two, the images and the labels, got {type(returned).__name__}"
        )
    return np.asarray(returned[0])


def noisy_images() -> np.ndarray:
    """Draw two noisy images (2, 3, 37, 31) float32 in [0, 1]: a bright square on a ramp.

    Batch, channels, height and width all differ, and height and width are odd: swapped axes show. Some pixels are at
    the ends of the range.
    """
    rng = np.random.default_rng(7)
    clean = np.zeros((2, 3, 37, 31)) + np.linspace(0.0, 0.5, 31)
    clean[:, :, 10:25, 8:20] += np.array([0.2, 0.3, 0.6])[:, None, None]
    return np.clip(clean + rng.normal(0, 0.05, clean.shape), 0, 1).astype(np.float32)


def described(error: BaseException) -> str:
    """Describe an error on one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def is_unknown_keyword(error: TypeError) -> bool:
    """Whether Python raised it, as a function has no such parameter, or has been given it already."""
    return "unexpected keyword argument" in str(error) or "multiple values for" in str(error)


def tensor_of(x: np.ndarray) -> torch.Tensor:
    """Return a copy of an array as a tensor."""
    return torch.from_numpy(np.array(x))
