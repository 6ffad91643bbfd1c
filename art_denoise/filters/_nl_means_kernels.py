"""The inner loops of non-local means on the CPU, and of its adjoint. See `nl_means` for the mathematics.

How images are taken as lines, and what is handed on together, is said in `_nl_means_weights_kernels`. The weights of up
to `MOST` shifts side by side are added up in registers: for p what is at p + t, and for p + t what is at p.
"""

from __future__ import annotations

import numpy as np

from art_denoise.filters._compiled import compiled, compiled_fused, inlined
from art_denoise.filters._nl_means_weights_kernels import (
    AROUND,
    MOST,
    at,
    begin,
    block_rows,
    clear,
    memory_for,
    slack,
    squares,
    stretch_of,
    sum_over_patch,
    weights,
)


def _products_of(shifts, sign, differences):
    """Return a loop that adds to the sums of three planes what some shifts side by side contribute to one side.

    From `p` on that is weight · values at p + t, or, of the opposite shifts with `sign` -1, at p - t; or, of
    `differences`, weight · (values at p - those there). Without them the fourth plane has the sums of weights.
    """

    def add(weight, start, stride, values, here, there, plane, size, sums, p):
        second, third, fourth = plane, plane + plane, plane + plane + plane
        for j in range(size):
            x, y, z = sums[p + j], sums[p + second + j], sums[p + third + j]
            n = sums[p + fourth + j]
            if differences:
                x0, y0, z0 = values[here + j], values[here + second + j], values[here + third + j]
            for k in range(shifts):
                o = at(k)
                if sign > 0:
                    w, place = weight[start + o * stride + j], there + o + j
                else:
                    w, place = weight[start + o * stride - o + j], there - o + j
                if differences:
                    x += w * (x0 - values[place])
                    y += w * (y0 - values[place + second])
                    z += w * (z0 - values[place + third])
                else:
                    x += w * values[place]
                    y += w * values[place + second]
                    z += w * values[place + third]
                    n += w
            sums[p + j], sums[p + second + j], sums[p + third + j] = x, y, z
            if not differences:
                sums[p + fourth + j] = n

    # Compiled code goes by names.
    kind = "differences" if differences else "products"
    add.__qualname__ = add.__name__ = f"_add_{shifts}_{kind}_{'there' if sign > 0 else 'back'}"
    return compiled_fused(add)


_seven_there, _seven_back = _products_of(MOST, 1, False), _products_of(MOST, -1, False)
_three_there, _three_back = _products_of(3, 1, False), _products_of(3, -1, False)


@compiled_fused
def _add(weight, start, size, sums, p):
    for j in range(size):
        sums[p + j] += weight[start + j]


@compiled_fused
def _add_product(weight, start, values, first, size, sums, p):
    for j in range(size):
        sums[p + j] += weight[start + j] * values[first + j]


@inlined
def _add_weighted(grid, block, stretch, values, sums):
    """Add what the shifts of a stretch contribute to the weighted sums of planes, and to the sums of weights."""
    _, channels, plane, _, _ = grid
    weight, stride = block[4], at(block[5])
    p, q, size, _, _, count = stretch
    k = 0
    while k < count:
        start, there = at(AROUND) + at(k) * stride, q + at(k)
        if channels == 3 and k + MOST <= count:
            _seven_there(weight, start, stride, values, p, there, at(plane), size, sums, p)
            _seven_back(weight, start, stride, values, there, p, at(plane), size + at(MOST - 1), sums, there)
            k += MOST
        elif channels == 3 and k + 3 <= count:
            _three_there(weight, start, stride, values, p, there, at(plane), size, sums, p)
            _three_back(weight, start, stride, values, there, p, at(plane), size + at(2), sums, there)
            k += 3
        else:
            for c in range(channels):
                first = at(c * plane)
                _add_product(weight, start, values, first + there, size, sums, first + p)
                _add_product(weight, start, values, first + p, size, sums, first + there)
            first = at(channels * plane)
            _add(weight, start, size, sums, first + p)
            _add(weight, start, size, sums, first + there)
            k += 1


@inlined
def _add_shifts(grid, window, curve, block, sums):
    """Add what all shifts of the search window but none contribute to the weighted sums and to the sums of weights.

    `sums` holds planes of weighted sums, and then one of sums of weights.
    """
    height, distance = grid[4], window[1]
    rows = block_rows(height, distance, grid[3])
    for above in range(-distance, height, rows):
        for down in range(distance + 1):
            for first in range(-distance if down > 0 else 1, distance + 1, MOST):
                stretch = stretch_of(grid, window, above, rows, down, first)
                if stretch[2] == at(0) or stretch[5] <= 0:
                    continue
                k = 0
                while k < stretch[5]:
                    some = squares(grid, window, block, stretch, k)
                    for e in range(some):
                        weights(grid, window, curve, block, stretch, k + e, e, False)
                    k += some
                _add_weighted(grid, block, stretch, grid[0], sums)


@compiled
def nl_means_images(x, out, norms, start, stop, rows_index, columns_index, window, shared, each, bits):
    """Filter images `start` to `stop` of x (N, C, H, W) into out, and write the sums of weights, `norms` (N, H, W).

    What an exponential is like is `shared` by all images (excess, offset, exact) or its own (factors, cutoffs).
    The indices continue the images beyond their borders. `bits` is an empty array of integers as long as the floats.
    """
    grid, block = memory_for(x, rows_index, columns_index, window, bits)
    image, channels, plane, width, height = grid
    pad = window[0]
    sums = np.empty((channels + 1) * plane + slack(window), x.dtype)
    for n in range(start, stop):
        curve, centre = begin(x[n], rows_index, columns_index, pad, grid, shared, each, n, block)
        for j in range(channels * plane):
            sums[j] = centre * image[j]
        for j in range(channels * plane, sums.size):
            sums[j] = centre
        _add_shifts(grid, window, curve, block, sums)
        for i in range(height):
            first = (pad + i) * width + pad
            for j in range(x.shape[3]):
                norms[n, i, j] = sums[channels * plane + first + j]
            for c in range(channels):
                for j in range(x.shape[3]):
                    out[n, c, i, j] = sums[c * plane + first + j] / norms[n, i, j]


_seven_differences_there, _seven_differences_back = _products_of(MOST, 1, True), _products_of(MOST, -1, True)
_three_differences_there, _three_differences_back = _products_of(3, 1, True), _products_of(3, -1, True)


@compiled_fused
def _add_difference(weight, start, values, here, there, size, sums):
    """Add weight · (values here - those there) to the sums here, and take it away there: one after the other."""
    for j in range(size):
        sums[here + j] += weight[start + j] * (values[here + j] - values[there + j])
    for j in range(size):
        sums[there + j] -= weight[start + j] * (values[here + j] - values[there + j])


@inlined
def _add_weighted_differences(grid, block, stretch, values, sums):
    """Do what `_add_weighted` does, with the differences of values from those they are weighted for."""
    _, channels, plane, _, _ = grid
    weight, stride = block[4], at(block[5])
    p, q, size, _, _, count = stretch
    k = 0
    while k < count:
        start, there = at(AROUND) + at(k) * stride, q + at(k)
        if channels == 3 and k + MOST <= count:
            _seven_differences_there(weight, start, stride, values, p, there, at(plane), size, sums, p)
            most = size + at(MOST - 1)
            _seven_differences_back(weight, start, stride, values, there, p, at(plane), most, sums, there)
            k += MOST
        elif channels == 3 and k + 3 <= count:
            _three_differences_there(weight, start, stride, values, p, there, at(plane), size, sums, p)
            most = size + at(2)
            _three_differences_back(weight, start, stride, values, there, p, at(plane), most, sums, there)
            k += 3
        else:
            for c in range(channels):
                first = at(c * plane)
                _add_difference(weight, start, values, first + p, first + there, size, sums)
            k += 1


@compiled_fused
def _gradient_of_weights(grads, image, p, q, plane, channels, size, given, to):
    """Write the gradient with respect to the weights of a shift, which are those of p and of p + t."""
    if channels == at(3):
        second, third, fourth = plane, plane + plane, plane + plane + plane
        for j in range(size):
            x = grads[p + j] * image[q + j] + grads[q + j] * image[p + j]
            y = grads[p + second + j] * image[q + second + j] + grads[q + second + j] * image[p + second + j]
            z = grads[p + third + j] * image[q + third + j] + grads[q + third + j] * image[p + third + j]
            given[to + j] = (x + y) + (z + (grads[p + fourth + j] + grads[q + fourth + j]))
        return
    first = channels * plane
    for j in range(size):
        given[to + j] = grads[first + p + j] + grads[first + q + j]
    for c in range(channels):
        a, b = c * plane + p, c * plane + q
        for j in range(size):
            given[to + j] += grads[a + j] * image[b + j] + grads[b + j] * image[a + j]


@compiled
def _powers(bits, start, size, powers):
    """Write the bits of the powers of two that the weights are beyond."""
    mask = bits.dtype.type(0x7F800000 if bits.itemsize == 4 else 0x7FF0000000000000)
    for j in range(size):
        powers[j] = bits[start + j] & mask


@compiled_fused
def _slope(distance, size, excess, slope, power, start, given, to):
    """Multiply the gradients with respect to weights by the slope of the weight over the distance.

    Schraudolph's exponential is linear between powers of two: its slope is that power (over ln 2, which is in `slope`).
    """
    if excess == 0:
        # Where the distance is 0, so are the differences that the result is multiplied by.
        for j in range(size):
            given[to + j] *= power[start + j] * slope
        return
    zero = given.dtype.type(0)
    for j in range(size):
        given[to + j] *= power[start + j] * slope if distance[j] > excess else zero


@inlined
def _gradient_of_distances(grid, window, curve, slope, block, stretch, k, start, grads, given, powers, power):
    """Write the gradient with respect to the distances of shift k, whose weights are at `start`, with zeros around."""
    image, channels, plane, width, _ = grid
    _, _, distance, bits, weight, _ = block
    p, q, size = stretch[:3]
    around = (window[2] - 1) * (width + 1)
    _gradient_of_weights(grads, image, p, q + at(k), at(plane), at(channels), size, given, at(around))
    if curve[4]:
        _slope(distance, size, curve[0], slope, weight, at(start), given, at(around))
    else:
        _powers(bits, start, size, powers)
        _slope(distance, size, curve[0], slope, power, at(0), given, at(around))
    clear(given, 0, around)
    clear(given, around + int(size), around)


@inlined
def _add_shifts_adjoint(grid, window, curve, slope, block, grads, gradient):
    """Add what all shifts but none contribute to the gradient with respect to the image.

    `grads` are the gradients with respect to the planes of weighted sums, and to the sums of weights.
    """
    image, _, _, width, height = grid
    _, distance, side, before, kernel, _ = window
    square, column, _, bits, _, stride = block
    around = max(side - 1, 0) * (width + 1)
    given = np.zeros(stride + 2 * around, image.dtype)
    powers = np.zeros(stride, bits.dtype)
    power = powers.view(image.dtype)
    spread = np.zeros(MOST * (stride + around), image.dtype)
    across = np.zeros(given.size, image.dtype)
    spread_block = square, column, distance, bits, spread, stride + around
    rows = block_rows(height, distance, width)
    for above in range(-distance, height, rows):
        for down in range(distance + 1):
            for first in range(-distance if down > 0 else 1, distance + 1, MOST):
                stretch = stretch_of(grid, window, above, rows, down, first)
                p, q, size, _, _, count = stretch
                if size == at(0) or count <= 0:
                    continue
                reach, corner = size + at(around), at(before * (width + 1))
                k = 0
                while k < count:
                    some = squares(grid, window, block, stretch, k)
                    for e in range(some):
                        start = weights(grid, window, curve, block, stretch, k + e, e, True)
                        if side > 0:
                            _gradient_of_distances(
                                grid, window, curve, slope, block, stretch, k + e, start, grads, given, powers, power
                            )
                            # A distance is a sum over the patch: its gradient spreads over the patch. The kernel,
                            # being symmetric, may be taken either way.
                            to = AROUND + (k + e) * (stride + around)
                            sum_over_patch(given, at(0), at(width), kernel, reach, across, spread, at(to))
                            clear(spread, to + int(reach), AROUND)
                    k += some
                _add_weighted(grid, block, stretch, grads, gradient)
                if side > 0:
                    further = p - corner, q - corner, reach, 0, first, count
                    _add_weighted_differences(grid, spread_block, further, image, gradient)


@compiled
def nl_means_images_adjoint(
    x, out, norms, grad_out, grad_x, start, stop, rows_index, columns_index, window, shared, each, bits, slopes
):
    """Take the adjoint of `nl_means_images`: from the gradient with respect to out to that with respect to x.

    u = T / W, so that the gradients are ū / W with respect to T and -Σ ū u / W with respect to W. The weights are
    computed again.
    """
    grid, block = memory_for(x, rows_index, columns_index, window, bits)
    _, channels, plane, width, height = grid
    pad, columns = window[0], x.shape[3]
    grads = np.zeros((channels + 1) * plane + slack(window), x.dtype)
    # The last plane is for sums that are not looked at.
    gradient = np.zeros((channels + 1) * plane + slack(window), x.dtype)
    for n in range(start, stop):
        curve, centre = begin(x[n], rows_index, columns_index, pad, grid, shared, each, n, block)
        for i in range(height):
            first = (pad + i) * width + pad
            for j in range(columns):
                inner = x.dtype.type(0)
                for c in range(channels):
                    grads[c * plane + first + j] = grad_out[n, c, i, j] / norms[n, i, j]
                    inner += grads[c * plane + first + j] * out[n, c, i, j]
                grads[channels * plane + first + j] = -inner
        gradient[:] = 0
        _add_shifts_adjoint(grid, window, curve, slopes[n], block, grads, gradient)
        for c in range(channels):
            for i in range(height):
                first = c * plane + (pad + i) * width + pad
                for j in range(columns):
                    grad_x[n, c, i, j] = centre * grads[first + j]
            for i in range(rows_index.size):
                first, row = c * plane + i * width, grad_x[n, c, rows_index[i]]
                for j in range(columns):
                    row[j] += gradient[first + pad + j]
                for j in range(pad):
                    row[columns_index[j]] += gradient[first + j]
                    row[columns_index[pad + columns + j]] += gradient[first + pad + columns + j]
