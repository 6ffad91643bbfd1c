"""How the inner loops of the filters run on the CPU: compiled by Numba, on as many threads as torch uses.

The loops themselves are in `_rof_kernels` and `_nl_means_kernels`. They do the arithmetic of the torch code on one
plane (H, W) or one image (C, H, W) at a time, so that what one thread works on stays in its cache, and hold no lock.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numba
import torch

#: Compile a loop for the CPU at hand, once for all processes. Its arithmetic is done as it is written.
compiled = numba.njit(nogil=True, cache=True, error_model="numpy")

#: The same for a sum, which may be taken in any order: that lets the compiler use vector instructions.
compiled_sum = numba.njit(nogil=True, cache=True, error_model="numpy", fastmath={"reassoc", "nsz"})

#: Fewest values in one task, so that handing it out costs little next to doing it.
_TASK_SIZE = 2**16


def share_out(work: Callable[[int, int], None], count: int, size: int) -> None:
    """Call `work(start, stop)` on parts of `range(count)`, on as many threads as torch uses.

    :param size: Values of one item; decides how many items make a task.
    """
    step = max(1, _TASK_SIZE // max(1, size))
    parts = [(start, min(start + step, count)) for start in range(0, count, step)]
    threads = min(torch.get_num_threads(), len(parts))
    if threads <= 1:
        for part in parts:
            work(*part)
        return
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(work, *part) for part in parts]:
            done.result()
