"""Loops over planes for the compiled code: a plane (H, W) as one line of H · W pixels.

It is worked on in blocks of whole rows that stay in the nearest cache, so that loops are long however narrow the image.
A `mask` is 1 but for the last pixel of every row, which has no pixel to its right. A dual field (2, W + H · W) has a
row of zeros before its first, so that what is above and to the left of a pixel is always there; an image
(H · W + W + 1) has a copy of its last row, and a pixel more, after it: so is what is below and to the right.
"""

from __future__ import annotations

import numpy as np

from art_denoise.filters._compiled import compiled, compiled_freely

#: Pixels in a block, give or take a row.
_BLOCK = 8192


@compiled
def mask_of_block(f):
    """Return the mask of a block of the plane f (H, W), of the size of a block."""
    height, width = f.shape
    rows = min(height, max(1, _BLOCK // width))
    mask = np.ones((rows, width), f.dtype)
    mask[:, width - 1] = 0
    return mask.reshape(rows * width)


@compiled
def lines(sizes, like):
    """Return lines of some sizes, each at another place within a page of memory.

    A processor takes a load for that of an earlier store if they are at the same place in different pages, and waits.
    """
    page = 4096 // like.itemsize
    total = 0
    for size in sizes:
        total += size + 2 * page
    memory = np.zeros(total, like.dtype)
    result, at = [memory[:0]], 0
    for k, size in enumerate(sizes):
        at = (at + page - 1) // page * page + (k * 3 * page // 16 + k * page // 64) % page
        result.append(memory[at : at + size])
        at += size
    return result[1:]


@compiled_freely
def line_square_sum(a):
    """Sum the squares of a line."""
    result = a.dtype.type(0)
    for j in range(a.size):
        result += a[j] * a[j]
    return result


@compiled_freely
def line_sum(a):
    """Sum a line."""
    result = a.dtype.type(0)
    for j in range(a.size):
        result += a[j]
    return result


@compiled
def copy(source, target):
    """Copy a line; Numba's assignment of slices is several times as slow."""
    for j in range(target.size):
        target[j] = source[j]


@compiled_freely
def add_gradient(v, a, start, stop, width, mask):
    """Add ∇v to the field a at the pixels `start` to `stop`; v holds these, those of one row more, and another."""
    size = stop - start
    here, right, below = v[:size], v[1 : size + 1], v[width : width + size]
    a0, a1 = a[0, start:stop], a[1, start:stop]
    for j in range(size):
        a0[j] += below[j] - here[j]
        a1[j] += (right[j] - here[j]) * mask[j]


@compiled_freely
def divergence_rows(b, width, v, grad):
    """Write v = ∇ᵀb at the rows of b but the first, and add it to `grad`."""
    size = grad.size
    b0, b1 = b[0, width : width + size], b[1, width : width + size]
    above, left = b[0, :size], b[1, width - 1 : width - 1 + size]
    for j in range(size):
        term = above[j] + left[j] - b0[j] - b1[j]
        v[j] = term
        grad[j] += term
