"""The inner loops of non-local means on the CPU. See `nl_means` for the mathematics.

An image is continued by `pad` pixels on every side, and each of its planes taken as one line, row after row: what
belongs to the pixels p + t then lies in one stretch, as does what belongs to the pixels p, and every loop is long and
without conditions. What is computed of pixels of the margin is never looked at. A shift t and its opposite share their
weights. It is worked on in blocks of rows that stay in a cache, with all shifts one after another.

Stretches are told by an array and where they start in it. What belongs together is handed on together:

- `window`: `pad`, `distance`, `side`, `before`, `kernel`, `outside`. Shifts reach over `distance` pixels along an
  axis, patches over `side`, from `before` pixels before p; none for 0. `kernel` are the weights of the pixels of a
  patch along an axis, and `outside` says whether pixels beyond the border are averaged as well.
- `curve`: `excess`, `factor`, `offset`, `cutoff`, `exact`. `excess` is subtracted from the distance of patches,
  `factor` multiplies it in the exponent; above `cutoff` there is no weight. `exact` says whether the exponential is,
  or is Schraudolph's.
- `grid`: `image`, `inside`, `channels`, `plane`, `width`, `height`: the planes of an image, one of 1 for the pixels
  of the image and of 0 for its margin, how many planes there are and of which size, and of how many rows the image
  is.
- `block`: `distance`, `column`, `square`, `bits`, `weight`: lines for what is computed of a block. `weight` are the
  floats of which `bits` are the bits.
"""

from __future__ import annotations

import numpy as np

from art_denoise.filters._compiled import compiled, compiled_freely

#: Kind of all places: one that cannot be negative needs no test, without which loops are not vectorised.
_at = np.uintp

#: Pixels in a block, give or take a row.
_BLOCK = 8192


@compiled_freely
def _squared_distances(image, a, b, plane, channels, size, line):
    """Write the squared distances of the pixels from a and from b, summed over the channels."""
    if channels == _at(3):
        # At once, as most images have three.
        for j in range(size):
            x = image[a + j] - image[b + j]
            y = image[a + plane + j] - image[b + plane + j]
            z = image[a + plane + plane + j] - image[b + plane + plane + j]
            line[j] = x * x + y * y + z * z
        return
    for j in range(size):
        difference = image[a + j] - image[b + j]
        line[j] = difference * difference
    for c in range(_at(1), channels):
        first = c * plane
        for j in range(size):
            difference = image[a + first + j] - image[b + first + j]
            line[j] += difference * difference


@compiled_freely
def _weighted_sum(a, step, kernel, size, line, start):
    """Write Σ_k kernel[k] a[j + k · step], from `start` on."""
    side = kernel.size
    first, second, third = step * _at(0), step, step + step
    if side == 1:
        for j in range(size):
            line[start + j] = kernel[0] * a[j]
    elif side == 2:
        for j in range(size):
            line[start + j] = kernel[0] * a[first + j] + kernel[1] * a[second + j]
    else:
        for j in range(size):
            line[start + j] = kernel[0] * a[first + j] + kernel[1] * a[second + j] + kernel[2] * a[third + j]
    for k in range(3, side):
        third += step
        for j in range(size):
            line[start + j] += kernel[k] * a[third + j]


@compiled
def _fast_exponential(distance, size, excess, factor, offset, cutoff, bits):
    """Write the bits of Schraudolph's exponential: they are linear in the exponent."""
    integer = bits.dtype.type
    zero = distance.dtype.type(0)
    for j in range(size):
        d = max(distance[j] - excess, zero)
        bits[j] = integer(offset - d * factor) if d <= cutoff else integer(0)


@compiled_freely
def _exact_exponential(distance, size, excess, factor, cutoff, rest, bits, weight):
    """Write 2^-(factor · distance), where `weight` are the floats of which `bits` are the bits."""
    number = distance.dtype.type
    zero = number(0)
    if distance.itemsize == 8:
        for j in range(size):
            d = max(distance[j] - excess, zero)
            weight[j] = 2.0 ** -(d * factor) if d <= cutoff else zero
        return
    for j in range(size):
        d = max(distance[j] - excess, zero)
        y = max(-d * factor, number(-126))
        whole = np.floor(y)
        bits[j] = (np.int32(whole) + np.int32(127)) << np.int32(23) if d <= cutoff else np.int32(0)
        rest[j] = y - whole
    # 2^r for 0 ≤ r < 1 by its Taylor series about 1/2, to the precision of float32.
    for j in range(size):
        z = (rest[j] - number(0.5)) * number(0.6931471805599453)
        series = number(1 / 720) + z * number(1 / 5040)
        series = number(1 / 24) + z * (number(1 / 120) + z * series)
        series = number(1) + z * (number(1) + z * (number(0.5) + z * (number(1 / 6) + z * series)))
        weight[j] *= number(1.4142135623730951) * series


@compiled
def _exponential(distance, size, curve, rest, bits, weight):
    """Write the weights, and their bits, that belong to distances; `curve` says how the one follows from the other."""
    excess, factor, offset, cutoff, exact = curve
    if exact:
        _exact_exponential(distance, size, excess, factor, cutoff, rest, bits, weight)
    else:
        _fast_exponential(distance, size, excess, factor, offset, cutoff, bits)


@compiled_freely
def _mask(weight, inside, p, q, size):
    """Take away the weights where p or p + t is not in the image."""
    for j in range(size):
        weight[j] *= inside[p + j] * inside[q + j]


@compiled
def _weights(grid, window, curve, block, p, q, size):
    """Write the weights of the pixels from p, for which q is p + t, and the distances, into the lines of the block."""
    image, inside, channels, plane, width, _ = grid
    _, _, side, before, kernel, outside = window
    distance, column, square, bits, weight = block
    if side > 0:
        corner = _at(before * (width + 1))
        beside = size + _at(side - 1)
        reach = beside + _at((side - 1) * width)
        _squared_distances(image, p - corner, q - corner, _at(plane), _at(channels), reach, square)
        _weighted_sum(square, _at(width), kernel, beside, column, _at(0))
        _weighted_sum(column, _at(1), kernel, size, distance, _at(0))
    else:
        _clear(distance, size)
    _exponential(distance, size, curve, column, bits, weight)
    if not outside:
        _mask(weight, inside, p, q, size)


@compiled
def _clear(line, size):
    for j in range(size):
        line[j] = 0


@compiled_freely
def _add(weight, size, sums, start):
    for j in range(size):
        sums[start + j] += weight[j]


@compiled_freely
def _add_product(weight, a, first, size, sums, start):
    for j in range(size):
        sums[start + j] += weight[j] * a[first + j]


@compiled
def _block_rows(height, distance, width):
    """Return how many rows make a block."""
    return max(1, min(height + distance, _BLOCK // width))


@compiled
def _stretch(grid, window, above, rows, down, right):
    """Return where the pixels p of a block of rows start for a shift, where the p + t do, and how many there are.

    They are those where one of the two is in the image, or both. A row ends where the next begins.
    """
    width, height = grid[4:]
    pad, distance, outside = window[0], window[1], window[5]
    top = max(above, -down if outside else 0)
    bottom = min(above + rows, height if outside else height - down)
    lead = pad - distance if outside else pad
    p = (pad + top) * width + lead
    size = (bottom - top) * width - 2 * lead
    if not outside and abs(right) >= width - 2 * pad:
        size = 0
    return _at(p), _at(p + down * width + right), _at(max(0, size))


@compiled
def _add_shifts(grid, window, curve, block, sums):
    """Add what all shifts of the search window but none contribute to the weighted sums and to the sums of weights.

    `sums` holds planes of weighted sums, as many as it is longer than one plane, and then one of sums of weights.
    """
    image, plane, width, height, distance = grid[0], grid[3], grid[4], grid[5], window[1]
    weight = block[4]
    channels = sums.size // plane - 1
    rows = _block_rows(height, distance, width)
    for above in range(-distance, height, rows):
        for down in range(distance + 1):
            for right in range(-distance if down > 0 else 1, distance + 1):
                p, q, size = _stretch(grid, window, above, rows, down, right)
                if size == _at(0):
                    continue
                _weights(grid, window, curve, block, p, q, size)
                for c in range(channels):
                    first = _at(c * plane)
                    _add_product(weight, image, first + q, size, sums, first + p)
                    _add_product(weight, image, first + p, size, sums, first + q)
                first = _at(channels * plane)
                _add(weight, size, sums, first + p)
                _add(weight, size, sums, first + q)


@compiled
def _slack(window):
    """Return how much longer lines of planes are, for what is computed beyond the last pixel."""
    return window[1] + window[2]


@compiled
def _memory(x, rows_index, columns_index, window, bits):
    """Return a grid for images of x (N, C, H, W), whose image is still to be written, and a block."""
    channels, height, columns = x.shape[1:]
    pad, distance, side = window[:3]
    width = columns_index.size
    plane = rows_index.size * width
    image = np.zeros(channels * plane + _slack(window), x.dtype)
    inside = np.zeros(plane + _slack(window), x.dtype)
    for i in range(pad, pad + height):
        inside[i * width + pad : i * width + pad + columns] = 1
    reach = (_block_rows(height, distance, width) + max(side, 1) - 1) * width + _slack(window)
    bits = np.empty(reach, bits.dtype)
    block = (np.empty(reach, x.dtype), np.empty(reach, x.dtype), np.empty(reach, x.dtype), bits, bits.view(x.dtype))
    return (image, inside, channels, plane, width, height), block


@compiled
def _begin(image, rows_index, columns_index, grid, shared, each, n, block):
    """Write an image (C, H, W), as it is continued beyond its borders, into a grid.

    :return: How weights follow from distances, and the weight of a pixel itself, that of the distance 0.
    """
    line, _, _, plane, width, _ = grid
    for c in range(image.shape[0]):
        for i in range(rows_index.size):
            start = c * plane + i * width
            for j in range(width):
                line[start + j] = image[c, rows_index[i], columns_index[j]]
    curve = shared[0], each[0][n], shared[1], each[1][n], shared[2]
    distance, column, _, bits, weight = block
    _clear(distance, _at(1))
    _exponential(distance, _at(1), curve, column, bits, weight)
    return curve, weight[0]


@compiled
def nl_means_images(x, out, start, stop, rows_index, columns_index, window, shared, each, bits):
    """Filter images `start` to `stop` of x (N, C, H, W) into out.

    What an exponential is like is `shared` by all images (excess, offset, exact) or its own (factors, cutoffs).
    The indices continue the images beyond their borders. `bits` is an empty array of integers as long as the floats.
    """
    grid, block = _memory(x, rows_index, columns_index, window, bits)
    image, _, channels, plane, width, height = grid
    pad = window[0]
    sums = np.zeros((channels + 1) * plane + _slack(window), x.dtype)
    for n in range(start, stop):
        curve, centre = _begin(x[n], rows_index, columns_index, grid, shared, each, n, block)
        for j in range(channels * plane):
            sums[j] = centre * image[j]
        for j in range(channels * plane, sums.size):
            sums[j] = centre
        _add_shifts(grid, window, curve, block, sums)
        for c in range(channels):
            for i in range(height):
                first = (pad + i) * width + pad
                for j in range(x.shape[3]):
                    out[n, c, i, j] = sums[c * plane + first + j] / sums[channels * plane + first + j]


@compiled_freely
def _add_two_products(a, first, b, second, size, line, start):
    """Add a[first + j] b[second + j] + a[second + j] b[first + j]."""
    for j in range(size):
        line[start + j] += a[first + j] * b[second + j] + a[second + j] * b[first + j]


@compiled_freely
def _sum_of_two(a, first, second, size, line, start):
    for j in range(size):
        line[start + j] = a[first + j] + a[second + j]


@compiled_freely
def _slope(distance, size, excess, slope, exact, bits, weight, gradient, start):
    """Multiply the gradients with respect to weights by the slope of the weight over the distance.

    Schraudolph's exponential is linear between powers of two: its slope is that power (over ln 2, which is in `slope`).
    """
    if not exact:
        mask = bits.dtype.type(0x7F800000 if bits.itemsize == 4 else 0x7FF0000000000000)
        for j in range(size):
            bits[j] = bits[j] & mask
    zero = gradient.dtype.type(0)
    for j in range(size):
        gradient[start + j] *= weight[j] * slope if distance[j] > excess else zero


@compiled_freely
def _add_differences(spread, image, a, b, size, line, gradient):
    """Add spread · (image at a - image at b) to the gradient at a, and take it away at b."""
    for j in range(size):
        product = spread[j] * (image[a + j] - image[b + j])
        line[j] = product
        gradient[a + j] += product
    for j in range(size):
        gradient[b + j] -= line[j]


@compiled
def _clear_around(line, before, size):
    """Write zeros before `size` values of a line, and as many after them."""
    for j in range(before):
        line[j] = 0
        line[before + size + j] = 0


@compiled
def _add_gradient_of_distances(grid, window, block, p, q, size, given, across, gradient):
    """Add to the gradient with respect to the image what comes through the distances of patches.

    :param given: The gradient with respect to the distances, after one value less than a patch is wide.
    """
    image, _, channels, plane, width, _ = grid
    _, _, side, before, kernel, _ = window
    # A distance is a sum over the patch: its gradient spreads over the patch, along the rows, then down the columns.
    # The kernel, being symmetric, may be taken either way.
    beside, back = _at(side - 1), _at((side - 1) * width)
    _clear_around(given, beside, size)
    _weighted_sum(given, _at(1), kernel, size + beside, across, back)
    _clear_around(across, back, size + beside)
    spread, reach = block[2], size + beside + back
    _weighted_sum(across, _at(width), kernel, reach, spread, _at(0))
    corner = _at(before * (width + 1))
    for c in range(channels):
        first = _at(c * plane) - corner
        _add_differences(spread, image, first + p, first + q, reach, block[1], gradient)


@compiled
def _add_shifts_adjoint(grid, window, curve, slope, block, grads, gradient):
    """Add what all shifts but none contribute to the gradient with respect to the image.

    `grads` are the gradients with respect to the planes of weighted sums, and to the sums of weights.
    """
    image, _, channels, plane, width, height = grid
    distance, side = window[1], window[2]
    distances, _, _, bits, weight = block
    rows = _block_rows(height, distance, width)
    beside = _at(max(side, 1) - 1)
    given = np.empty(distances.size + 2 * side, image.dtype)
    across = np.empty(distances.size + 2 * (side + 1) * width, image.dtype)
    for above in range(-distance, height, rows):
        for down in range(distance + 1):
            for right in range(-distance if down > 0 else 1, distance + 1):
                p, q, size = _stretch(grid, window, above, rows, down, right)
                if size == _at(0):
                    continue
                _weights(grid, window, curve, block, p, q, size)
                for c in range(channels):
                    first = _at(c * plane)
                    _add_product(weight, grads, first + p, size, gradient, first + q)
                    _add_product(weight, grads, first + q, size, gradient, first + p)
                if side == 0:
                    continue
                first = _at(channels * plane)
                _sum_of_two(grads, first + p, first + q, size, given, beside)
                for c in range(channels):
                    first = _at(c * plane)
                    _add_two_products(grads, first + p, image, first + q, size, given, beside)
                _slope(distances, size, curve[0], slope, curve[4], bits, weight, given, beside)
                _add_gradient_of_distances(grid, window, block, p, q, size, given, across, gradient)


@compiled
def nl_means_images_adjoint(
    x, out, grad_out, grad_x, start, stop, rows_index, columns_index, window, shared, each, bits, slopes
):
    """Take the adjoint of `nl_means_images`: from the gradient with respect to out to that with respect to x.

    u = T / W, so that the gradients are ū / W with respect to T and -Σ ū u / W with respect to W. The weights, and
    first of all W, are computed again.
    """
    grid, block = _memory(x, rows_index, columns_index, window, bits)
    _, _, channels, plane, width, height = grid
    pad, columns = window[0], x.shape[3]
    sums = np.zeros(plane + _slack(window), x.dtype)
    grads = np.zeros((channels + 1) * plane + _slack(window), x.dtype)
    gradient = np.zeros(channels * plane + _slack(window), x.dtype)
    for n in range(start, stop):
        curve, centre = _begin(x[n], rows_index, columns_index, grid, shared, each, n, block)
        sums[:] = centre
        _add_shifts(grid, window, curve, block, sums)
        for i in range(height):
            first = (pad + i) * width + pad
            for j in range(columns):
                norm = sums[first + j]
                inner = x.dtype.type(0)
                for c in range(channels):
                    grads[c * plane + first + j] = grad_out[n, c, i, j] / norm
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
                first = c * plane + i * width
                for j in range(width):
                    grad_x[n, c, rows_index[i], columns_index[j]] += gradient[first + j]
