"""Random draws that depend on arguments only, whoever makes them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def numbered_seed(seed: int, number: int) -> int:
    """Return a seed of its own for each of several parts, none of which somebody would give by hand for another."""
    return seed + 1_000_003 * number


@contextmanager
def drawn_from(*parts: int) -> Iterator[None]:
    """Seed the generators of Python, NumPy and PyTorch from some numbers, and put their states back afterwards."""
    states = random.getstate(), np.random.get_state()  # noqa: NPY002
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    try:
        with torch.random.fork_rng(devices=devices):
            seed_all(*parts)
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002


def seed_all(*parts: int) -> None:
    """Seed the generators of Python, NumPy and PyTorch from some numbers."""
    state = np.random.SeedSequence(parts).generate_state(1)[0]
    random.seed(int(state))
    np.random.seed(state)  # noqa: NPY002 - whoever draws from the global generator gets the same again
    torch.manual_seed(int(state))
