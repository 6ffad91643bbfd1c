"""What no filter can be faster than on the CPU at hand: its arithmetic alone, on values that stay in the nearest cache.

On as many threads as torch uses, compiled as the filters are. An image is 4096 values taken as often as it needs.
"""

from __future__ import annotations

import numpy as np

from art_denoise.filters._compiled import compiled, compiled_fused, share_out

_LINE = 4096


@compiled
def _divisions(lengths: np.ndarray, down: np.ndarray, across: np.ndarray, passes: int) -> None:
    one = lengths.dtype.type(1)
    for _ in range(passes):
        for j in range(lengths.size):
            divisor = np.sqrt(lengths[j]) + one
            down[j] = one / divisor
            across[j] = lengths[j] / divisor


@compiled_fused
def _multiply_adds(values: np.ndarray, factor: np.ndarray, passes: int) -> None:
    # Thirty-two at once for each value, so that loads and stores do not count.
    for _ in range(passes):
        for j in range(values.size):
            y, a = values[j], factor[j]
            for _ in range(32):
                y = y * a + a
            values[j] = y


def bare_divisions(x: np.ndarray, iterations: int) -> np.ndarray:
    """Take the square root and do the two divisions of Chambolle's iteration, as often as for images (N, C, H, W)."""

    def work(start: int, stop: int) -> None:
        lines = [np.full(_LINE, 0.5, x.dtype) for _ in range(3)]
        _divisions(*lines, max(1, round((stop - start) * x[0].size * iterations / _LINE)))

    share_out(work, len(x), x[0].size)
    return x


def bare_multiply_adds(x: np.ndarray, count: int) -> np.ndarray:
    """Do `count` multiplications with an addition for each pixel of planes (N, H, W)."""

    def work(start: int, stop: int) -> None:
        values, factor = np.full(_LINE, 0.5, x.dtype), np.full(_LINE, 0.5, x.dtype)
        _multiply_adds(values, factor, max(1, round((stop - start) * x[0].size * count / _LINE / 32)))

    share_out(work, len(x), x[0].size)
    return x
