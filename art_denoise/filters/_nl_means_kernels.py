"""The inner loops of non-local means on the CPU. See `nl_means` for the mathematics.

A shift t = (down, right) of the search window and its opposite share their weights. The images are continued by `pad`
pixels on every side. What the modes differ in:

- `side` and `before`: patches reach over `side` pixels along an axis, from `before` pixels before p; none for 0.
- `kernel`: weights of the pixels of a patch along an axis, or None for 1.
- `outside`: whether pixels beyond the border are averaged as well.
- `exact`: whether the exponential is exact, or Schraudolph's.

`excess` is subtracted from the distance of patches, `factor` multiplies it in the exponent; above `cutoff` there is no
weight.
"""

from __future__ import annotations

import numpy as np

from art_denoise.filters._compiled import compiled, compiled_freely
from art_denoise.filters._planes import copy


@compiled_freely
def _add_squares(a, b, line, first):
    """Add (a - b)² to a line, or set it at first."""
    if first:
        for j in range(line.size):
            difference = a[j] - b[j]
            line[j] = difference * difference
    else:
        for j in range(line.size):
            difference = a[j] - b[j]
            line[j] += difference * difference


@compiled_freely
def _weighted_sum(lines, start, side, kernel, line):
    """Write the sum of `side` lines of a ring, weighted if there is a kernel; `start` is the place of the first."""
    for k in range(side):
        a = lines[(start + k) % side]
        if kernel is None:
            for j in range(line.size):
                line[j] = line[j] + a[j] if k > 0 else a[j]
        else:
            for j in range(line.size):
                line[j] = line[j] + kernel[k] * a[j] if k > 0 else kernel[k] * a[j]


@compiled_freely
def _moving_sum(a, side, kernel, line):
    """Write the sums of `side` neighbours in a line, weighted if there is a kernel."""
    for k in range(side):
        if kernel is None:
            for j in range(line.size):
                line[j] = line[j] + a[j + k] if k > 0 else a[j + k]
        else:
            for j in range(line.size):
                line[j] = line[j] + kernel[k] * a[j + k] if k > 0 else kernel[k] * a[j + k]


@compiled_freely
def _spread(a, side, kernel, line):
    """Write the adjoint of `_moving_sum`; the line is longer than a by a patch less one pixel."""
    for j in range(line.size):
        line[j] = 0
    for k in range(side):
        if kernel is None:
            for j in range(a.size):
                line[j + k] += a[j]
        else:
            for j in range(a.size):
                line[j + k] += kernel[k] * a[j]


@compiled
def _clear(line):
    for j in range(line.size):
        line[j] = 0


@compiled_freely
def _add(a, line):
    for j in range(line.size):
        line[j] += a[j]


@compiled
def _fast_exponential(distance, excess, factor, offset, cutoff, bits):
    """Write the bits of Schraudolph's exponential: they are linear in the exponent."""
    integer = bits.dtype.type
    zero = distance.dtype.type(0)
    for j in range(distance.size):
        d = max(distance[j] - excess, zero)
        bits[j] = integer(offset - d * factor) if d <= cutoff else integer(0)


@compiled_freely
def _exact_exponential(distance, excess, factor, cutoff, bits, weight):
    """Write 2^-(factor · distance), where `weight` are the floats of which `bits` are the bits."""
    number = distance.dtype.type
    zero = number(0)
    if distance.itemsize == 8:
        for j in range(distance.size):
            d = max(distance[j] - excess, zero)
            weight[j] = 2.0 ** -(d * factor) if d <= cutoff else zero
        return
    for j in range(distance.size):
        d = max(distance[j] - excess, zero)
        y = max(-d * factor, number(-126))
        whole = np.floor(y)
        bits[j] = (np.int32(whole) + np.int32(127)) << np.int32(23) if d <= cutoff else np.int32(0)
        distance[j] = y - whole
    # 2^r for 0 ≤ r < 1 by its Taylor series about 1/2, to the precision of float32.
    for j in range(distance.size):
        z = (distance[j] - number(0.5)) * number(0.6931471805599453)
        series = number(1 / 720) + z * number(1 / 5040)
        series = number(1 / 24) + z * (number(1 / 120) + z * series)
        series = number(1) + z * (number(1) + z * (number(0.5) + z * (number(1 / 6) + z * series)))
        weight[j] *= number(1.4142135623730951) * series


@compiled
def _patch_distances(padded, row, column, down, right, columns, i, side, kernel, square, distance):
    """Write the distances of the patches of one line of pixels p to those of p + t.

    `row` and `column` are the corner of the line's patches in the padded image. Lines come one after another from
    i = 0; `square` is a ring of as many lines of squared differences as a patch has, and one line more.
    """
    grown = columns + max(side, 1) - 1
    for k in range(0 if i == 0 else max(side - 1, 0), side):
        line = square[(i + k) % side, :grown]
        for c in range(padded.shape[0]):
            a = padded[c, row + k, column : column + grown]
            b = padded[c, row + k + down, column + right : column + right + grown]
            _add_squares(a, b, line, c == 0)
    distance = distance[:columns]
    if side:
        # Sum over the patch, first down the columns, then along the line.
        column_sum = square[side, :grown]
        _weighted_sum(square, i, side, kernel, column_sum)
        _moving_sum(column_sum, side, kernel, distance)
    else:
        _clear(distance)


@compiled
def _patch_weights(distance, excess, factor, offset, cutoff, exact, bits, weight):
    """Write the weights, and their bits, that belong to the distances of a line."""
    if exact:
        _exact_exponential(distance, excess, factor, cutoff, bits, weight)
    else:
        _fast_exponential(distance, excess, factor, offset, cutoff, bits)


@compiled
def _extent(down, right, height, width, outside):
    """Return where the weights of a shift are needed: first row, rows, columns before the image, and its columns.

    That is at the pixels p of the image, and, for the opposite shift, at those of the image - t; or only where p and
    p + t are both in the image.
    """
    if outside:
        return min(0, -down), height + abs(down), right, width
    return max(0, -down), height - abs(down), 0, width - right


@compiled_freely
def _add_product(weight, v, line):
    for j in range(line.size):
        line[j] += weight[j] * v[j]


@compiled
def _nl_means_shift(
    padded, pad, down, right, patch, kernel, outside, exponential, square, distance, bits, weight, total, weights
):
    """Add what one shift and its opposite contribute to the weighted sums and to the sums of weights of one image."""
    height, width = weights.shape
    side, before = patch
    top, rows, lead, size = _extent(down, right, height, width, outside)
    columns = size + lead
    behind = right - lead  # first column of the image that the opposite shift contributes to
    if rows <= 0 or size <= 0:
        return
    for i in range(rows):
        row, column = pad + top - before + i, pad - lead - before
        _patch_distances(padded, row, column, down, right, columns, i, side, kernel, square, distance)
        _patch_weights(distance[:columns], *exponential, bits[:columns], weight[:columns])
        y, z = top + i, top + i + down  # rows of p and p + t in the image
        if 0 <= y < height:
            here = weight[lead : lead + size]
            _add(here, weights[y, :size])
            for c in range(total.shape[0]):
                _add_product(here, padded[c, pad + z, pad + right : pad + right + size], total[c, y, :size])
        if 0 <= z < height:
            there = weight[:size]
            _add(there, weights[z, behind : behind + size])
            for c in range(total.shape[0]):
                source = padded[c, pad + y, pad - lead : pad - lead + size]
                _add_product(there, source, total[c, z, behind : behind + size])


@compiled_freely
def _add_two_products(a, b, weight, line, other):
    """Add the product of a line of gradients with the pixels to one line, and that with the weights to another."""
    for j in range(line.size):
        line[j] += a[j] * b[j]
    for j in range(line.size):
        other[j] += weight[j] * a[j]


@compiled_freely
def _slope(distance, excess, slope, exact, bits, weight, gradient):
    """Multiply a line of gradients with respect to weights by the slope of the weight over the distance.

    Schraudolph's exponential is linear between powers of two: its slope is that power (over ln 2, which is in `slope`).
    """
    if not exact:
        mask = bits.dtype.type(0x7F800000 if bits.itemsize == 4 else 0x7FF0000000000000)
        for j in range(gradient.size):
            bits[j] = bits[j] & mask
    zero = gradient.dtype.type(0)
    for j in range(gradient.size):
        gradient[j] *= weight[j] * slope if distance[j] > excess else zero


@compiled_freely
def _add_differences(a, b, spread, line, sign):
    for j in range(line.size):
        line[j] += sign * spread[j] * (a[j] - b[j])


@compiled
def _nl_means_shift_adjoint(
    padded, grads, grad_padded, pad, down, right, patch, kernel, outside, exponential, slope, lines, bits, weight
):
    """Add what one shift and its opposite contribute to the gradient with respect to the padded image.

    `grads` (C + 1, H, W) are the gradients with respect to the weighted sums of pixels and to the sums of weights.
    `lines` are the ring of squares, the ring of spread gradients, two lines of distances, and one of gradients.
    """
    channels = padded.shape[0]
    height, width = grads.shape[1:]
    side, before = patch
    square, spread, distance, kept, gradient = lines
    excess, exact = exponential[0], exponential[4]
    top, rows, lead, size = _extent(down, right, height, width, outside)
    columns = size + lead
    behind = right - lead
    grown = columns + max(side, 1) - 1
    if rows <= 0 or size <= 0:
        return
    g = gradient[:columns]
    one = padded.dtype.type(1)
    for k in range(side):
        _clear(spread[k])
    # A line of patches is `side` rows; a row is complete when the last line that it is in has been.
    for i in range(rows + max(side, 1) - 1):
        row, column = pad + top - before + i, pad - lead - before
        if i < rows:
            _patch_distances(padded, row, column, down, right, columns, i, side, kernel, square, distance)
            copy(distance, kept[:columns])  # the exponential may use it up
            _patch_weights(distance[:columns], *exponential, bits[:columns], weight[:columns])
            _clear(g)
            y, z = top + i, top + i + down
            if 0 <= y < height:
                there = slice(pad + right, pad + right + size)
                _add(grads[channels, y, :size], g[lead : lead + size])
                for c in range(channels):
                    t, v = grads[c, y, :size], padded[c, pad + z, there]
                    out = grad_padded[c, pad + z, there]
                    _add_two_products(t, v, weight[lead : lead + size], g[lead : lead + size], out)
            if 0 <= z < height:
                here = slice(pad - lead, pad - lead + size)
                _add(grads[channels, z, behind : behind + size], g[:size])
                for c in range(channels):
                    t, v = grads[c, z, behind : behind + size], padded[c, pad + y, here]
                    _add_two_products(t, v, weight[:size], g[:size], grad_padded[c, pad + y, here])
            if side == 0:
                continue
            _slope(kept[:columns], excess, slope, exact, bits[:columns], weight[:columns], g)
        elif side == 0:
            continue
        # A distance is a sum over the patch: its gradient spreads over the patch, along the line, then down.
        line = spread[i % side, :grown]
        if i < rows:
            _spread(g, side, kernel, line)
        else:
            _clear(line)
        whole = spread[side, :grown]
        # The newest line is the first row of its patches: the kernel, being symmetric, may be taken either way.
        _weighted_sum(spread, i + 1, side, kernel, whole)
        for c in range(channels):
            a = padded[c, row, column : column + grown]
            b = padded[c, row + down, column + right : column + right + grown]
            _add_differences(a, b, whole, grad_padded[c, row, column : column + grown], one)
            shifted = grad_padded[c, row + down, column + right : column + right + grown]
            _add_differences(a, b, whole, shifted, -one)


@compiled
def _continue(image, rows_index, columns_index, padded):
    """Write the image (C, H, W) as it is continued beyond its borders."""
    for c in range(image.shape[0]):
        for i in range(rows_index.size):
            for j in range(columns_index.size):
                padded[c, i, j] = image[c, rows_index[i], columns_index[j]]


@compiled
def _add_shifts(padded, pad, distance, patch, kernel, outside, exponential, square, line, bits, weight, total, weights):
    """Add what all shifts of the search window but none contribute; see `_nl_means_shift`."""
    for down in range(-distance, distance + 1):
        for right in range(distance + 1):
            if right > 0 or down > 0:
                _nl_means_shift(
                    padded,
                    pad,
                    down,
                    right,
                    patch,
                    kernel,
                    outside,
                    exponential,
                    square,
                    line,
                    bits,
                    weight,
                    total,
                    weights,
                )


@compiled
def _centre(exponential, bits, weight):
    """Return the weight of a pixel itself, that of the distance 0."""
    line = np.zeros(1, weight.dtype)
    _patch_weights(line, *exponential, bits[:1], weight[:1])
    return weight[0]


@compiled
def nl_means_images(
    x, out, start, stop, rows_index, columns_index, pad, distance, patch, kernel, outside, shared, each, bits
):
    """Filter images `start` to `stop` of x (N, C, H, W) into out.

    What an exponential is like is `shared` by all images (excess, offset, exact) or its own (factors, cutoffs).
    The indices continue the images beyond their borders. `bits` is an empty array of integers as long as the floats.
    """
    channels, height, width = x.shape[1:]
    side = patch[0]
    widest = width + distance + side
    padded = np.empty((channels, rows_index.size, columns_index.size), x.dtype)
    weights = np.empty((height, width), x.dtype)
    square = np.empty((max(side, 1) + 1, widest), x.dtype)
    line = np.empty(widest, x.dtype)
    bits = np.empty(widest, bits.dtype)
    weight = bits.view(x.dtype)
    for n in range(start, stop):
        exponential = shared[0], each[0][n], shared[1], each[1][n], shared[2]
        centre = _centre(exponential, bits, weight)
        _continue(x[n], rows_index, columns_index, padded)
        total = out[n]
        weights[:] = centre
        for c in range(channels):
            for i in range(height):
                for j in range(width):
                    total[c, i, j] = centre * x[n, c, i, j]
        _add_shifts(
            padded, pad, distance, patch, kernel, outside, exponential, square, line, bits, weight, total, weights
        )
        for c in range(channels):
            for i in range(height):
                for j in range(width):
                    total[c, i, j] /= weights[i, j]


@compiled
def nl_means_images_adjoint(
    x,
    out,
    grad_out,
    grad_x,
    start,
    stop,
    rows_index,
    columns_index,
    pad,
    distance,
    patch,
    kernel,
    outside,
    shared,
    each,
    bits,
    slopes,
):
    """Take the adjoint of `nl_means_images`: from the gradient with respect to out to that with respect to x.

    u = T / W, so that the gradients are ū / W with respect to T and -Σ ū u / W with respect to W. The weights, and
    first of all W, are computed again.
    """
    channels, height, width = x.shape[1:]
    side = patch[0]
    widest = width + distance + side
    padded = np.empty((channels, rows_index.size, columns_index.size), x.dtype)
    grad_padded = np.empty_like(padded)
    grads = np.empty((channels + 1, height, width), x.dtype)
    weights = grads[channels]
    square = np.empty((max(side, 1) + 1, widest), x.dtype)
    spread = np.empty((max(side, 1) + 1, widest), x.dtype)
    line, kept, gradient = np.empty(widest, x.dtype), np.empty(widest, x.dtype), np.empty(widest, x.dtype)
    bits = np.empty(widest, bits.dtype)
    weight = bits.view(x.dtype)
    lines = (square, spread, line, kept, gradient)
    for n in range(start, stop):
        exponential = shared[0], each[0][n], shared[1], each[1][n], shared[2]
        centre = _centre(exponential, bits, weight)
        _continue(x[n], rows_index, columns_index, padded)
        weights[:] = centre
        _add_shifts(
            padded,
            pad,
            distance,
            patch,
            kernel,
            outside,
            exponential,
            square,
            line,
            bits,
            weight,
            grads[:0],
            weights,
        )
        # From here on `grads` are the gradients with respect to T and, last, to W.
        for i in range(height):
            for j in range(width):
                norm = weights[i, j]
                inner = x.dtype.type(0)
                for c in range(channels):
                    grads[c, i, j] = grad_out[n, c, i, j] / norm
                    inner += grads[c, i, j] * out[n, c, i, j]
                weights[i, j] = -inner
        grad_padded[:] = 0
        for down in range(-distance, distance + 1):
            for right in range(distance + 1):
                if right > 0 or down > 0:
                    _nl_means_shift_adjoint(
                        padded,
                        grads,
                        grad_padded,
                        pad,
                        down,
                        right,
                        patch,
                        kernel,
                        outside,
                        exponential,
                        slopes[n],
                        lines,
                        bits,
                        weight,
                    )
        for c in range(channels):
            for i in range(height):
                for j in range(width):
                    grad_x[n, c, i, j] = centre * grads[c, i, j]
            for i in range(rows_index.size):
                for j in range(columns_index.size):
                    grad_x[n, c, rows_index[i], columns_index[j]] += grad_padded[c, i, j]
