"""How the inner loops of the filters run on the CPU: compiled by Numba, on as many threads as torch uses.

The loops themselves are in the files `_*_kernels`. They do the arithmetic of the torch code on one plane (H, W) or one
image (C, H, W) at a time, so that what one thread works on stays in its cache, and hold no lock.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import numba
import torch

from art_denoise.filters._kept import KeptLoop


def compiled(loop: Callable[..., Any]) -> Any:
    """Compile a loop for the CPU at hand, once for all processes. Its arithmetic is done as it is written."""
    return _kept(numba.njit(nogil=True, error_model="numpy")(loop))


def inlined(loop: Callable[..., Any]) -> Any:
    """Let a loop be part of those that call it, as if it were written there.

    For what calls other loops: each level between those and what Python calls is compiled with all that is below it,
    which takes as long again.
    """
    return numba.njit(nogil=True, error_model="numpy", inline="always")(loop)


def compiled_fused(loop: Callable[..., Any]) -> Any:
    """Compile a loop in which products may be added without rounding them first."""
    return _kept(numba.njit(nogil=True, error_model="numpy", fastmath={"nsz", "contract"})(loop))


def compiled_freely(loop: Callable[..., Any]) -> Any:
    """Compile a loop in which sums may be taken in any order, too.

    Which order may depend on what the loop is compiled into, and so on whether a process compiles or finds it compiled.
    """
    free = {"reassoc", "nsz", "contract"}
    return _kept(numba.njit(nogil=True, error_model="numpy", fastmath=free)(loop))


def _kept(loop: Any) -> Any:
    """Let what is compiled be kept between processes, if there is a place for it."""
    # Without a place it is compiled in every process.
    with suppress(RuntimeError):
        loop._cache = KeptLoop(loop.py_func)
    return loop


#: Fewest values in one task, so that handing it out costs little next to doing it.
_TASK_SIZE = 2**16


def share_out(work: Callable[[int, int], None], count: int, size: int) -> None:
    """Call `work(start, stop)` on parts of `range(count)`, on as many threads as torch uses.

    `work` sets up its arrays once for a part, not for an item: fresh memory costs more than the filters do.

    :param size: Values of one item; decides how many items make a task.
    """
    least = max(1, _TASK_SIZE // max(1, size))
    threads = torch.get_num_threads()
    parts, stop = [], 0
    while stop < count:
        # Items differ in cost: parts become smaller towards the end, so that no thread waits long for another.
        start, stop = stop, min(count, stop + max(least, (count - stop) // (3 * threads)))
        parts.append((start, stop))
    left = iter(parts)

    def take() -> None:
        for start, stop in left:
            work(start, stop)

    threads = min(threads, len(parts))
    if threads <= 1:
        take()
        return
    with ThreadPoolExecutor(threads - 1) as pool:
        others: list[Future[None]] = []
        # While Python shuts down there are no more threads to be had: then fewer do the same.
        with suppress(RuntimeError):
            for _ in range(threads - 1):
                others.append(pool.submit(take))
        take()
        for other in others:
            other.result()
