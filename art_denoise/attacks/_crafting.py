"""The loop that all universal attacks share: passes over the images, each measured, each kept in a checkpoint."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from art.defences.preprocessor import Preprocessor
from art.estimators.classification import PyTorchClassifier
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from tqdm.auto import tqdm

from art_denoise._files import content_digest, replacing
from art_denoise._images import Images
from art_denoise._random import drawn_from, seed_all
from art_denoise.attacks._classifier import labels_of

_logger = logging.getLogger(__name__)

#: Seconds after which a checkpoint is written inside of a pass.
_CHECKPOINT_SECONDS = 60.0

#: One update: from the perturbation (C, H, W), images (B, C, H, W), their labels (B,) and the number of passes
#: completed to the new perturbation, the number of images whose label it changed already, and of those that changed it.
Update = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, int], tuple[torch.Tensor, int, int]]


@dataclass
class State:
    """All that decides how crafting goes on.

    :param noise: The perturbation, float32 (C, H, W), in the classifier's units.
    :param best: That with the highest fooling rate of all that were measured.
    :param labels: The classifier's labels of the images, int64 (N,).
    :param position: Images that this pass has seen.
    :param fooled: Those of them whose label was changed already when they were seen.
    :param updates: Those of them, since the last measurement, that changed the perturbation.
    :param seconds: Time spent since the last measurement.
    :param history: One record for each measurement.
    """

    noise: np.ndarray
    best: np.ndarray
    labels: np.ndarray
    position: int = 0
    fooled: int = 0
    updates: int = 0
    seconds: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)

    @property
    def fooling_rates(self) -> list[float]:
        """Fooling rate at each measurement."""
        return [record["fooling_rate"] for record in self.history]


def craft(
    classifier: PyTorchClassifier,
    images: Images,
    update: Update,
    finished: Callable[[list[float]], bool],
    *,
    batch_size: int,
    max_passes: int,
    measurements: int,
    seed: int,
    labels: np.ndarray | None,
    checkpoint: Checkpoint | None,
    title: str | None,
    told: Callable[[int], object] = lambda count: None,
) -> State:
    """Go through the images in passes, each in an order of its own, until `finished` with the fooling rates.

    The fooling rate is measured `measurements` times in each pass, no more often than there are batches. Which
    perturbations are come by does not depend on that, only which of them are seen.

    What is drawn at random, by whom ever, depends on the seed, the pass and the place in it only: an interrupted
    crafting goes on as if nothing had happened.

    :param labels: Labels (N,) that updates are to be given; None: those that the classifier predicts.
    :param title: Name of the progress bar; None shows none.
    :param told: Is told how many images have been gone through since it was told last.
    """
    state = checkpoint.read() if checkpoint else None
    count = len(images)
    batches = math.ceil(count / batch_size)
    ends = [min(count, batches * (part + 1) // measurements * batch_size) for part in range(measurements)]
    done = 0 if state is None else len(state.history) // measurements * count + state.position
    with (
        drawn_from(seed),
        tqdm(total=max_passes * count, initial=done, desc=title, disable=title is None, unit="image") as bar,
    ):
        told(done)
        if state is None:
            zero = np.zeros(classifier.input_shape, dtype=np.float32)
            state = State(noise=zero, best=zero, labels=labels_of(classifier, images, told=_measuring(bar)))
            if checkpoint:
                checkpoint.write(state)
        while not finished(state.fooling_rates):
            _until_measured(classifier, images, update, state, ends, batch_size, seed, labels, checkpoint, bar, told)
            if checkpoint:
                checkpoint.write(state)
    return state


def _until_measured(
    classifier: PyTorchClassifier,
    images: Images,
    update: Update,
    state: State,
    ends: list[int],
    batch_size: int,
    seed: int,
    labels: np.ndarray | None,
    checkpoint: Checkpoint | None,
    bar: tqdm,
    told: Callable[[int], object],
) -> None:
    """Go on to the next of the places in a pass where the fooling rate is measured, from wherever the state is."""
    passes, part = divmod(len(state.history), len(ends))
    device, end = classifier.device, ends[part]
    order = np.random.default_rng([seed, passes]).permutation(len(images))
    noise = torch.from_numpy(state.noise).to(device)
    labels = state.labels if labels is None else labels
    started = written = time.monotonic()
    while state.position < end:
        chosen = order[state.position : state.position + batch_size]
        seed_all(seed, passes, state.position)
        batch = torch.from_numpy(images.read(chosen)).to(device)
        noise, fooled, updates = update(noise, batch, torch.from_numpy(labels[chosen]).to(device), passes)
        state.position += len(chosen)
        state.fooled += fooled
        state.updates += updates
        bar.update(len(chosen))
        told(len(chosen))
        _tell(bar, passes + 1, state.fooling_rates, f"{state.fooled / state.position:.0%} of those seen")
        now = time.monotonic()
        if checkpoint and now - written > _CHECKPOINT_SECONDS:
            state.noise, written = noise.cpu().numpy(), now
            state.seconds, started = state.seconds + now - started, now
            checkpoint.write(state)
    state.noise = noise.cpu().numpy()
    seed_all(seed, passes, len(images) + part)
    rate = float(np.mean(labels_of(classifier, images, state.noise, told=_measuring(bar)) != state.labels))
    if rate >= max([0.0, *state.fooling_rates]):
        state.best = state.noise
    state.history.append(
        {
            "passes": passes + end / len(images),
            "fooling_rate": rate,
            "updates": state.updates,
            "seconds": round(state.seconds + time.monotonic() - started, 3),
        }
    )
    _logger.info("after %.2f passes: fooling rate %.1f %%", passes + end / len(images), 100 * rate)
    state.updates, state.seconds = 0, 0.0
    if part + 1 == len(ends):
        state.position = state.fooled = 0
    _tell(bar, passes + 1, state.fooling_rates, "")


def _measuring(bar: tqdm) -> Callable[[str], None]:
    """Return what shows beside a bar, which stands still meanwhile, how far predicting the labels has come."""
    return lambda text: bar.set_postfix_str(f"labels of {text}", refresh=True)


def _tell(bar: tqdm, number: int, rates: list[float], now: str) -> None:
    measured = f"fooling rate {rates[-1]:.1%}" if rates else ""
    bar.set_postfix_str(", ".join(text for text in (f"pass {number}", measured, now) if text), refresh=False)


class CheckpointError(ValueError):
    """A checkpoint is damaged, or of another crafting."""


class Checkpoint:
    """A file that holds the state of a crafting, and what the crafting depends on.

    :param path: The file; made when there is something to keep, whole or not at all.
    :param depends: All that decides how the crafting goes, as JSON-like values.
    """

    def __init__(self, path: str | os.PathLike[str], depends: dict[str, Any]) -> None:
        self.path, self.depends = Path(path), json.loads(json.dumps(depends))

    def read(self) -> State | None:
        """Return the state kept, or None if there is none.

        :raises CheckpointError: If the file is of another crafting, or damaged; it is left as it is.
        """
        if not self.path.is_file():
            return None
        try:
            with safe_open(self.path, framework="np") as file:
                metadata = file.metadata() or {}
                arrays = {name: file.get_tensor(name) for name in ("noise", "best", "labels")}
            if metadata.pop("sha256") != content_digest(metadata, arrays):
                raise ValueError("its content is not what was written")
            there = json.loads(metadata["depends"])
            state = State(**arrays, **json.loads(metadata["state"]))
        except (SafetensorError, OSError, KeyError, TypeError, ValueError, RecursionError) as error:
            raise CheckpointError(
                f"`checkpoint` = {os.fspath(self.path)!r} is no checkpoint, or is damaged ({error}): "
                "choose another file, or delete this one to start anew"
            ) from error
        differing = [
            f"{name}: {there.get(name)} there, {self.depends.get(name)} now"
            for name in sorted(there.keys() | self.depends.keys())
            if there.get(name) != self.depends.get(name)
        ]
        if differing:
            raise CheckpointError(
                f"`checkpoint` = {os.fspath(self.path)!r} is of another crafting ({'; '.join(differing)}): "
                "choose another file, or delete this one to start anew"
            )
        return state

    def write(self, state: State) -> None:
        """Keep a state."""
        arrays = {name: np.ascontiguousarray(getattr(state, name)) for name in ("noise", "best", "labels")}
        rest = json.dumps({name: value for name, value in vars(state).items() if name not in arrays})
        metadata = {"depends": json.dumps(self.depends), "state": rest}
        with replacing(self.path) as beside:
            save_file(arrays, beside, metadata={**metadata, "sha256": content_digest(metadata, arrays)})


def digest_of(classifier: PyTorchClassifier) -> str:
    """Return 16 hexadecimal digits that change with any weight of a classifier, or with its preprocessing."""
    digest = hashlib.sha256()
    for name, tensor in classifier.model.state_dict().items():
        digest.update(f"{name}{_described(tensor)}".encode())
    digest.update(_described([classifier.clip_values, classifier.preprocessing_operations]).encode())
    return digest.hexdigest()[:16]


def _described(value: Any) -> str:
    """Describe a value the same way in every process: arrays by a digest, preprocessors by their parameters."""
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().contiguous().numpy()
    if isinstance(value, np.ndarray):
        return f"{value.dtype.str}{value.shape}{hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_described, value))}]"
    if isinstance(value, Preprocessor):
        parameters = [f"{name}={_described(getattr(value, name, None))}" for name in value.params]
        return f"{type(value).__qualname__}({', '.join(parameters)})"
    # What only says where it is in memory is known by its type.
    return type(value).__qualname__ if " at 0x" in repr(value) else repr(value)
