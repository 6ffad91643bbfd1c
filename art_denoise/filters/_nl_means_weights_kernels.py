"""Weights of non-local means on the CPU: the loops that its own and its adjoint's share. See `nl_means`.

An image is continued by `pad` pixels on every side, and each of its planes taken as one line, row after row: what
belongs to the pixels p + t then lies in one stretch, as does what belongs to the pixels p, and every loop is long and
without conditions. What is computed of pixels of the margin is never looked at. A shift t and its opposite share their
weights. It is worked on in blocks of rows, and in up to `MOST` shifts side by side: their weights, a line for each,
stay in the nearest cache.

Stretches are told by an array and where they start in it. What belongs together is handed on together:

- `window`: `pad`, `distance`, `side`, `before`, `kernel`, `outside`. Shifts reach over `distance` pixels along an
  axis, patches over `side`, from `before` pixels before p; none for 0. `kernel` are the weights of the pixels of a
  patch along an axis, and `outside` says whether pixels beyond the border are averaged as well.
- `curve`: `excess`, `factor`, `offset`, `cutoff`, `exact`. `excess` is subtracted from the distance of patches,
  `factor` multiplies it in the exponent; above `cutoff` there is no weight. `exact` says whether the exponential is,
  or is Schraudolph's.
- `grid`: `image`, `channels`, `plane`, `width`, `height`: the planes of an image, how many they are and of which size
  and width, and of how many rows the image is.
- `block`: `square`, `column`, `distance`, `bits`, `weight`, `stride`: lines for what is computed of a block. `weight`
  are the floats of which `bits` are the bits, a line every `stride`, with zeros around it.
- `stretch`: `p`, `q`, `size`, `rows`, `first`, `count`: pixels of a block, where the first shift leads, how many and
  of how many rows they are, the first shift along a row, and how many shifts there are side by side.
"""

from __future__ import annotations

import numpy as np

from art_denoise.filters._compiled import compiled, compiled_fused, inlined

#: Kind of all places: one that cannot be negative needs no test, without which loops are not vectorised.
at = np.uintp

#: Pixels in a block, give or take a row.
_BLOCK = 1024

#: Most shifts side by side, and zeros before and after a line of their weights, of which there have to be as many but
#: one.
MOST, AROUND = 7, 8


def _squares_of(shifts):
    """Return a loop that does what `_squared_distances` does, for three channels and some shifts side by side."""

    def squares(image, a, b, plane, size, square, stride):
        for j in range(size):
            x, y, z = image[a + j], image[a + plane + j], image[a + plane + plane + j]
            for k in range(shifts):
                o = at(k)
                u, v, w = x - image[b + o + j], y - image[b + plane + o + j], z - image[b + plane + plane + o + j]
                square[o * stride + j] = u * u + v * v + w * w

    # Compiled code goes by names.
    squares.__qualname__ = squares.__name__ = f"_squares_{shifts}"
    return compiled_fused(squares)


_three_squares = _squares_of(3)


@compiled_fused
def _squared_distances(image, a, b, plane, channels, size, square):
    """Write the squared distances of the pixels from a and from b, summed over the channels."""
    for j in range(size):
        difference = image[a + j] - image[b + j]
        square[j] = difference * difference
    for c in range(at(1), channels):
        first = c * plane
        for j in range(size):
            difference = image[a + first + j] - image[b + first + j]
            square[j] += difference * difference


@compiled_fused
def _weighted_sum(a, start, step, kernel, size, line, to):
    """Write Σ_k kernel[k] a[start + j + k · step], from `to` on."""
    side = kernel.size
    first, second, third = start, start + step, start + step + step
    if side == 1:
        for j in range(size):
            line[to + j] = kernel[0] * a[first + j]
    elif side == 2:
        for j in range(size):
            line[to + j] = kernel[0] * a[first + j] + kernel[1] * a[second + j]
    else:
        for j in range(size):
            line[to + j] = kernel[0] * a[first + j] + kernel[1] * a[second + j] + kernel[2] * a[third + j]
    for k in range(3, side):
        third += step
        for j in range(size):
            line[to + j] += kernel[k] * a[third + j]


@compiled_fused
def _sum_over_two_by_two(a, start, width, size, line, to):
    below = start + width
    for j in range(size):
        line[to + j] = (a[start + j] + a[start + at(1) + j]) + (a[below + j] + a[below + at(1) + j])


@compiled
def sum_over_patch(a, start, width, kernel, size, column, line, to):
    """Write Σ_ik kernel[i] kernel[k] a[start + j + i · width + k], from `to` on."""
    if kernel.size == 2:
        # Of an even number are patches whose pixels count alike.
        _sum_over_two_by_two(a, start, width, size, line, to)
        return
    _weighted_sum(a, start, width, kernel, size + at(kernel.size - 1), column, at(0))
    _weighted_sum(column, at(0), at(1), kernel, size, line, to)


@compiled
def _fast_exponential(distance, size, curve, bits, to):
    """Write the bits of Schraudolph's exponential, from `to` on: they are linear in the exponent."""
    excess, factor, offset, cutoff, _ = curve
    integer = bits.dtype.type
    zero = distance.dtype.type(0)
    for j in range(size):
        d = max(distance[j] - excess, zero)
        bits[to + j] = integer(offset - d * factor) if d <= cutoff else integer(0)


@compiled_fused
def _exact_exponential(distance, size, curve, rest, bits, weight, to):
    """Write 2^-(factor · distance), where `weight` are the floats of which `bits` are the bits."""
    excess, factor, _, cutoff, _ = curve
    number = distance.dtype.type
    zero = number(0)
    if distance.itemsize == 8:
        for j in range(size):
            d = max(distance[j] - excess, zero)
            weight[to + j] = 2.0 ** -(d * factor) if d <= cutoff else zero
        return
    for j in range(size):
        d = max(distance[j] - excess, zero)
        y = max(-d * factor, number(-126))
        whole = np.floor(y)
        bits[to + j] = (np.int32(whole) + np.int32(127)) << np.int32(23) if d <= cutoff else np.int32(0)
        rest[j] = y - whole
    # 2^r for 0 ≤ r < 1 by its Taylor series about 1/2, to the precision of float32.
    for j in range(size):
        z = (rest[j] - number(0.5)) * number(0.6931471805599453)
        series = number(1 / 720) + z * number(1 / 5040)
        series = number(1 / 24) + z * (number(1 / 120) + z * series)
        series = number(1) + z * (number(1) + z * (number(0.5) + z * (number(1 / 6) + z * series)))
        weight[to + j] *= number(1.4142135623730951) * series


@inlined
def _exponential(distance, size, curve, rest, bits, weight, to):
    """Write the weights, and their bits, that belong to distances; `curve` says how the one follows from the other."""
    if curve[4]:
        _exact_exponential(distance, size, curve, rest, bits, weight, to)
    else:
        _fast_exponential(distance, size, curve, bits, to)


@compiled_fused
def _fast_weights_of_two(square, start, width, size, curve, bits, to):
    """Do both at once for patches of 2×2 pixels, which are the most usual, and write no distances."""
    excess, factor, offset, cutoff, _ = curve
    integer = bits.dtype.type
    zero = square.dtype.type(0)
    below = start + width
    for j in range(size):
        d = (square[start + j] + square[start + at(1) + j]) + (square[below + j] + square[below + at(1) + j])
        d = max(d - excess, zero)
        bits[to + j] = integer(offset - d * factor) if d <= cutoff else integer(0)


@compiled
def clear(line, start, size):
    for j in range(start, start + size):
        line[j] = 0


@inlined
def _clear_gaps(weight, to, size, rows, width, columns, right):
    """Take away the weights where p or p + t is not in the image: between its rows, of which the first starts at p."""
    clear(weight, to, max(0, -right))
    for i in range(rows):
        stop = i * width + columns - max(0, right)
        clear(weight, to + stop, min(size, (i + 1) * width + max(0, -right)) - stop)


@inlined
def squares(grid, window, block, stretch, k):
    """Write the squared distances that belong to shift k of a stretch, and to the next if there are three channels.

    :return: For how many shifts.
    """
    image, channels, plane, width, _ = grid
    _, _, side, before = window[:4]
    p, q, size = stretch[:3]
    if side == 0:
        return 1
    corner = at(before * (width + 1))
    reach = size + at((side - 1) * (width + 1))
    if channels == 3 and k + 3 <= stretch[5]:
        _three_squares(image, p - corner, q - corner + at(k), at(plane), reach, block[0], at(block[5]))
        return 3
    _squared_distances(image, p - corner, q - corner + at(k), at(plane), at(channels), reach, block[0])
    return 1


@inlined
def weights(grid, window, curve, block, stretch, k, e, sloped):
    """Write the weights of shift k of a stretch, from square e of those written last.

    If they are to be `sloped`, and something is subtracted from distances, those are written as well.

    :return: Where the weights start.
    """
    width, columns = grid[3], grid[3] - 2 * window[0]
    side, kernel, outside = window[2], window[4], window[5]
    square, column, distance, bits, weight, stride = block
    _, _, size, rows, first, _ = stretch
    to = AROUND + k * stride
    if side == 2 and not curve[4] and not (sloped and curve[0] > 0):
        _fast_weights_of_two(square, at(e * stride), at(width), size, curve, bits, at(to))
    else:
        if side > 0:
            sum_over_patch(square, at(e * stride), at(width), kernel, size, column, distance, at(0))
        else:
            clear(distance, 0, int(size))
        _exponential(distance, size, curve, column, bits, weight, at(to))
    if not outside:
        _clear_gaps(weight, to, int(size), rows, width, columns, first + k)
    clear(weight, to + int(size), AROUND)
    return to


@inlined
def block_rows(height, distance, width):
    """Return how many rows make a block."""
    return max(1, min(height + distance, _BLOCK // width))


@inlined
def stretch_of(grid, window, above, rows, down, first):
    """Return a stretch: of a block of rows the pixels p for which p or p + t is in the image, or both.

    A row ends where the next begins. `first` is the first shift along a row.
    """
    width, height = grid[3:]
    pad, distance, outside = window[0], window[1], window[5]
    top = max(above, -down if outside else 0)
    bottom = min(above + rows, height if outside else height - down)
    lead = pad - distance if outside else pad
    last = min(distance, first + MOST - 1)
    if not outside:
        # Further than the image is wide there is nothing.
        first, last = max(first, 2 * pad - width + 1), min(last, width - 2 * pad - 1)
    p = (pad + top) * width + lead
    size = max(0, (bottom - top) * width - 2 * lead)
    return at(p), at(p + down * width + first), at(size), bottom - top, first, last - first + 1


@inlined
def slack(window):
    """Return how much longer lines of planes are, for what is computed beyond the last pixel."""
    return window[1] + window[2]


@inlined
def memory_for(x, rows_index, columns_index, window, bits):
    """Return a grid for images of x (N, C, H, W), whose image is still to be written, and a block."""
    channels, height = x.shape[1:3]
    side = window[2]
    width = columns_index.size
    plane = rows_index.size * width
    image = np.zeros(channels * plane + slack(window), x.dtype)
    reach = block_rows(height, window[1], width) * width + max(side - 1, 0) * (width + 1)
    stride = reach + 2 * AROUND
    bits = np.zeros(MOST * stride, bits.dtype)
    square, column, distance = (
        np.zeros(3 * stride, x.dtype),
        np.zeros(stride + side, x.dtype),
        np.zeros(stride, x.dtype),
    )
    return (image, channels, plane, width, height), (square, column, distance, bits, bits.view(x.dtype), stride)


@inlined
def begin(image, rows_index, columns_index, pad, grid, shared, each, n, block):
    """Write an image (C, H, W), as it is continued beyond its borders, into a grid.

    :return: How weights follow from distances, and the weight of a pixel itself, that of the distance 0.
    """
    line, channels, plane, width, _ = grid
    columns = width - 2 * pad
    for c in range(channels):
        for i in range(rows_index.size):
            start, row = c * plane + i * width, image[c, rows_index[i]]
            for j in range(columns):
                line[start + pad + j] = row[j]
            for j in range(pad):
                line[start + j] = row[columns_index[j]]
                line[start + pad + columns + j] = row[columns_index[pad + columns + j]]
    curve = shared[0], each[0][n], shared[1], each[1][n], shared[2]
    _, column, distance, bits, weight, _ = block
    clear(distance, 0, 1)
    _exponential(distance, at(1), curve, column, bits, weight, at(AROUND))
    return curve, weight[AROUND]
