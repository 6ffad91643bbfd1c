"""The inner loops of non-local means on the CPU, for float32. See `nl_means` for the mathematics."""

from __future__ import annotations

import numpy as np

from art_denoise.filters._compiled import compiled


@compiled
def _patch_weights(padded, row, column, down, right, columns, i, radius, factor, offset, cutoff, square, bits):
    """Write the bits of the weights f(p, t) of one line of pixels p, for the shift t = (down, right).

    `row` and `column` are the corner of the line's patches in the padded image. Lines come one after another from
    i = 0; `square` is a ring of as many lines of squared differences as a patch has, and two lines more.
    """
    channels = padded.shape[0]
    side = 2 * radius if radius else 1
    grown = columns + side - 1
    for k in range(0 if i == 0 else side - 1, side):
        line = square[(i + k) % side]
        for c in range(channels):
            a = padded[c, row + k, column : column + grown]
            b = padded[c, row + k + down, column + right : column + right + grown]
            if c == 0:
                for j in range(grown):
                    line[j] = (a[j] - b[j]) * (a[j] - b[j])
            else:
                for j in range(grown):
                    line[j] += (a[j] - b[j]) * (a[j] - b[j])
    # Sum over the patch, first down the columns, then along the line. A patch of one pixel compares nothing.
    column_sum, distance = square[side], square[side + 1]
    for j in range(grown):
        column_sum[j] = square[0, j]
    for k in range(1, side):
        line = square[k]
        for j in range(grown):
            column_sum[j] += line[j]
    for j in range(columns):
        distance[j] = column_sum[j] if radius else np.float32(0)
    for k in range(1, side):
        for j in range(columns):
            distance[j] += column_sum[j + k]
    # Schraudolph's exponential: the bits of the result are linear in the exponent.
    for j in range(columns):
        bits[j] = np.int32(offset - distance[j] * factor) if distance[j] <= cutoff else np.int32(0)


@compiled
def _nl_means_shift(padded, pad, down, right, radius, factor, offset, cutoff, square, bits, weight, total, weights):
    """Add what one shift and its opposite contribute to the weighted sums and to the sums of weights of one image."""
    channels = total.shape[0]
    height, width = weights.shape
    # f(p, t) at the pixels p of the image, and, for the opposite shift, at those of the image - t.
    top, rows = min(0, -down), height + abs(down)
    lead = radius - 1 if radius else 0
    for i in range(rows):
        _patch_weights(
            padded,
            pad + top - lead + i,
            pad - right - lead,
            down,
            right,
            width + right,
            i,
            radius,
            factor,
            offset,
            cutoff,
            square,
            bits,
        )
        y = top + i  # row of p in the image
        if 0 <= y < height:
            w = weights[y]
            for j in range(width):
                w[j] += weight[right + j]
            for c in range(channels):
                t = total[c, y]
                v = padded[c, pad + y + down, pad + right : pad + right + width]
                for j in range(width):
                    t[j] += weight[right + j] * v[j]
        z = y + down  # row of p + t
        if 0 <= z < height:
            w = weights[z]
            for j in range(width):
                w[j] += weight[j]
            for c in range(channels):
                t = total[c, z]
                v = padded[c, pad + y, pad - right : pad - right + width]
                for j in range(width):
                    t[j] += weight[j] * v[j]


@compiled
def _nl_means_shift_adjoint(
    padded,
    grad_total,
    grad_weights,
    grad_padded,
    pad,
    down,
    right,
    radius,
    factor,
    offset,
    cutoff,
    slope,
    square,
    bits,
    weight,
    line_grad,
    spread,
):
    """Add what one shift and its opposite contribute to the gradient with respect to the padded image.

    `grad_total` (C, H, W) and `grad_weights` (H, W) are the gradients with respect to the weighted sums of pixels and
    the sums of weights.
    """
    channels = padded.shape[0]
    height, width = grad_weights.shape
    side = 2 * radius if radius else 1
    top, rows = min(0, -down), height + abs(down)
    lead = radius - 1 if radius else 0
    columns = width + right
    grown = columns + side - 1
    for i in range(rows):
        row, column = pad + top - lead + i, pad - right - lead
        _patch_weights(padded, row, column, down, right, columns, i, radius, factor, offset, cutoff, square, bits)
        for j in range(columns):
            line_grad[j] = 0
        y = top + i
        z = y + down
        if 0 <= y < height:
            for j in range(width):
                line_grad[right + j] += grad_weights[y, j]
            for c in range(channels):
                t = grad_total[c, y]
                v = padded[c, pad + z, pad + right : pad + right + width]
                g = grad_padded[c, pad + z, pad + right : pad + right + width]
                for j in range(width):
                    line_grad[right + j] += t[j] * v[j]
                    g[j] += weight[right + j] * t[j]
        if 0 <= z < height:
            for j in range(width):
                line_grad[j] += grad_weights[z, j]
            for c in range(channels):
                t = grad_total[c, z]
                v = padded[c, pad + y, pad - right : pad - right + width]
                g = grad_padded[c, pad + y, pad - right : pad - right + width]
                for j in range(width):
                    line_grad[j] += t[j] * v[j]
                    g[j] += weight[j] * t[j]
        if radius == 0:
            continue
        # The exponential is linear between powers of two: its slope there is that power over ln 2 (and the scale).
        for j in range(columns):
            bits[j] = bits[j] & np.int32(0x7F800000)
        for j in range(columns):
            line_grad[j] *= weight[j] * slope
        # A distance is a sum over the patch: its gradient spreads over the patch.
        for j in range(grown):
            spread[j] = 0
        for k in range(side):
            for j in range(columns):
                spread[j + k] += line_grad[j]
        for c in range(channels):
            for k in range(side):
                a = padded[c, row + k, column : column + grown]
                b = padded[c, row + k + down, column + right : column + right + grown]
                ga = grad_padded[c, row + k, column : column + grown]
                for j in range(grown):
                    ga[j] += spread[j] * (a[j] - b[j])
                gb = grad_padded[c, row + k + down, column + right : column + right + grown]
                for j in range(grown):
                    gb[j] -= spread[j] * (a[j] - b[j])


@compiled
def _exponential(scale, limit):
    """Return offset, factor and cut-off of the weight of a distance d that is still to be divided by `scale`.

    As bits, exp(-d / scale) is 2²³ (127 - 60801 / 2²⁰ - d / (scale ln 2)).
    """
    offset = np.float32(2**23 * (127 - 60801 / 2**20))
    return offset, np.float32(2**23 / np.log(2.0) / scale), np.float32(limit * scale)


@compiled
def _add_shifts(padded, pad, distance, radius, factor, offset, cutoff, square, bits, weight, total, weights):
    """Add what all shifts of the search window but none contribute; see `_nl_means_shift`."""
    for down in range(-distance, distance + 1):
        for right in range(distance + 1):
            if right > 0 or down > 0:
                _nl_means_shift(
                    padded, pad, down, right, radius, factor, offset, cutoff, square, bits, weight, total, weights
                )


@compiled
def _continue(image, rows_index, columns_index, padded):
    """Write the image (C, H, W) as it is continued beyond its borders."""
    for c in range(image.shape[0]):
        for i in range(rows_index.size):
            for j in range(columns_index.size):
                padded[c, i, j] = image[c, rows_index[i], columns_index[j]]


@compiled
def nl_means_images(x, out, start, stop, rows_index, columns_index, pad, radius, distance, scale, limit):
    """Filter float32 images `start` to `stop` of x (N, C, H, W) into out.

    The indices continue the images by reflection; distances above `limit`, in units of `scale`, get no weight.
    """
    channels, height, width = x.shape[1:]
    side = 2 * radius if radius else 1
    widest = width + distance + side - 1
    padded = np.empty((channels, rows_index.size, columns_index.size), x.dtype)
    weights = np.empty((height, width), x.dtype)
    square = np.empty((side + 2, widest), x.dtype)
    bits = np.empty(widest, np.int32)
    weight = bits.view(np.float32)
    offset, factor, cutoff = _exponential(scale, limit)
    bits[0] = np.int32(offset)
    centre = weight[0]
    for n in range(start, stop):
        _continue(x[n], rows_index, columns_index, padded)
        total = out[n]
        weights[:] = centre
        for c in range(channels):
            for i in range(height):
                for j in range(width):
                    total[c, i, j] = centre * x[n, c, i, j]
        _add_shifts(padded, pad, distance, radius, factor, offset, cutoff, square, bits, weight, total, weights)
        for c in range(channels):
            for i in range(height):
                for j in range(width):
                    total[c, i, j] /= weights[i, j]


@compiled
def nl_means_images_adjoint(
    x, out, grad_out, grad_x, start, stop, rows_index, columns_index, pad, radius, distance, scale, limit
):
    """Take the adjoint of `nl_means_images`: from the gradient with respect to out to that with respect to x.

    u = T / W, so that the gradients are ū / W with respect to T and -Σ ū u / W with respect to W. The weights, and
    first of all W, are computed again.
    """
    channels, height, width = x.shape[1:]
    side = 2 * radius if radius else 1
    widest = width + distance + side - 1
    padded = np.empty((channels, rows_index.size, columns_index.size), x.dtype)
    grad_padded = np.empty_like(padded)
    total = np.empty((channels, height, width), x.dtype)
    weights = np.empty((height, width), x.dtype)
    square = np.empty((side + 2, widest), x.dtype)
    bits = np.empty(widest, np.int32)
    weight = bits.view(np.float32)
    line_grad = np.empty(widest, x.dtype)
    spread = np.empty(widest, x.dtype)
    offset, factor, cutoff = _exponential(scale, limit)
    slope = np.float32(-2 / np.log(2.0) / scale)  # the 2 is that of the square
    bits[0] = np.int32(offset)
    centre = weight[0]
    for n in range(start, stop):
        _continue(x[n], rows_index, columns_index, padded)
        weights[:] = centre
        _add_shifts(padded, pad, distance, radius, factor, offset, cutoff, square, bits, weight, total[:0], weights)
        # From here on `total` is the gradient with respect to T, and `weights` that with respect to W.
        for i in range(height):
            for j in range(width):
                norm = weights[i, j]
                inner = np.float32(0)
                for c in range(channels):
                    total[c, i, j] = grad_out[n, c, i, j] / norm
                    inner += total[c, i, j] * out[n, c, i, j]
                weights[i, j] = -inner
        grad_padded[:] = 0
        for down in range(-distance, distance + 1):
            for right in range(distance + 1):
                if right > 0 or down > 0:
                    _nl_means_shift_adjoint(
                        padded,
                        total,
                        weights,
                        grad_padded,
                        pad,
                        down,
                        right,
                        radius,
                        factor,
                        offset,
                        cutoff,
                        slope,
                        square,
                        bits,
                        weight,
                        line_grad,
                        spread,
                    )
        for c in range(channels):
            for i in range(height):
                for j in range(width):
                    grad_x[n, c, i, j] = centre * total[c, i, j]
            for i in range(rows_index.size):
                for j in range(columns_index.size):
                    grad_x[n, c, rows_index[i], columns_index[j]] += grad_padded[c, i, j]
