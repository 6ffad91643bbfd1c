"""The inner loops of Chambolle's iteration on the CPU for planes that are coupled. See `_rof_chambolle`.

Each group, the channels of an image, has one length of the gradient at every pixel, and so one root and one division
where channels by themselves have a root and two divisions each.
"""

from __future__ import annotations

import numpy as np

from art_denoise.filters._compiled import compiled, compiled_freely, inlined
from art_denoise.filters._planes import add_gradient, copy, divergence_rows, mask_of_block


@compiled_freely
def _image_rows(f, p, start, stop, width, u):
    """Write u = f + ∇ᵀp of one plane at the pixels `start` to `stop`, whole rows, and return ‖∇ᵀp‖² there."""
    square = u.dtype.type(0)
    p0, p1 = p[0, width + start : width + stop], p[1, width + start : width + stop]
    above, left = p[0, start:stop], p[1, width + start - 1 : width + stop - 1]
    f, u = f[start:stop], u[start:stop]
    for j in range(stop - start):
        term = above[j] + left[j] - p0[j] - p1[j]
        u[j] = f[j] + term
        square += term * term
    return square


@compiled_freely
def _add_squares(u, width, mask, squares):
    """Add |∇u|² of one plane, whose u begins at these pixels, to `squares`."""
    size = squares.size
    here, right, below = u[:size], u[1 : size + 1], u[width : width + size]
    for j in range(size):
        down = below[j] - here[j]
        across = (right[j] - here[j]) * mask[j]
        squares[j] += down * down + across * across


@compiled_freely
def _to_scales(squares, ratio):
    """Turn |∇u|² into 1 / (1 + ratio |∇u|), and return the sum of |∇u|."""
    total, one = squares.dtype.type(0), squares.dtype.type(1)
    for j in range(squares.size):
        length = np.sqrt(squares[j])
        total += length
        squares[j] = one / (one + ratio * length)
    return total


@compiled_freely
def _step_rows(u, q, start, width, mask, scales, step):
    """Take the dual step q ← (q - step g) · scale of one plane at the pixels of `scales`, from `start` on."""
    size = scales.size
    q0, q1 = q[0, width + start : width + start + size], q[1, width + start : width + start + size]
    here, right, below = u[:size], u[1 : size + 1], u[width : width + size]
    for j in range(size):
        down = below[j] - here[j]
        across = (right[j] - here[j]) * mask[j]
        q0[j] = (q0[j] - step * down) * scales[j]
        q1[j] = (q1[j] - step * across) * scales[j]


@inlined
def _pass(f, p, q, kept, u, squares, mask, width, step, ratio, weight):
    """Do one iteration from the dual fields p (K, 2, W + H W) to q, and return the energy at p.

    q is p, or, if p is to be `kept`, another array. u (K, H W + W + 1) becomes the image of p.
    """
    planes, n = f.shape
    # The image is computed ahead of the step, which takes the place of the p that it is made of.
    ahead = min(mask.size + width, n)
    energy = 0.0
    for c in range(planes):
        energy += _image_rows(f[c], p[c], 0, ahead, width, u[c])
    for start in range(0, n, mask.size):
        stop = min(start + mask.size, n)
        ahead = stop + width
        further = min(ahead + mask.size, n)
        some = squares[: stop - start]
        some[:] = 0
        for c in range(planes):
            if ahead < n:
                energy += _image_rows(f[c], p[c], ahead, further, width, u[c])
            if stop == n:
                copy(u[c, n - width : n], u[c, n : n + width])
            if kept:
                copy(p[c, 0, width + start : width + stop], q[c, 0, width + start : width + stop])
                copy(p[c, 1, width + start : width + stop], q[c, 1, width + start : width + stop])
            _add_squares(u[c, start:], width, mask, some)
        energy += weight * _to_scales(some, ratio)
        for c in range(planes):
            _step_rows(u[c, start:], q[c], start, width, mask, some, step)
    return energy


@compiled
def rof_groups(f, u, start, stop, step, ratios, weights, eps, max_iter, iterations):
    """Run the dual iteration on groups `start` to `stop` of f (M, K, H, W); write u and the number of iterations.

    Each group has a weight, and the step over it, its ratio. It stops when its energy has settled.
    """
    planes, height, width = f.shape[1:]
    n = height * width
    mask = mask_of_block(f[0, 0])
    squares = np.empty(mask.size, f.dtype)
    image = np.zeros((planes, n + width + 1), f.dtype)
    p = np.empty((planes, 2, width + n), f.dtype)
    for m in range(start, stop):
        group = f[m].reshape((planes, n))
        p[:] = 0
        first = previous = 0.0
        for k in range(max_iter):
            iterations[m] = k + 1
            energy = _pass(group, p, p, False, image, squares, mask, width, step, ratios[m], weights[m])
            if k == 0:
                first = energy
                if energy == 0:  # flat: the result is the input
                    break
            elif abs(previous - energy) < eps * first:
                break
            previous = energy
        for c in range(planes):
            copy(image[c], u[m, c].reshape(n))


@compiled_freely
def _add_squares_and_products(u, p, a, start, width, mask, step, squares, products):
    """Add |g|² and ⟨a, p - step g⟩ of one plane, g = ∇u, at the pixels of two lines, from `start` on."""
    size = squares.size
    here, right, below = u[:size], u[1 : size + 1], u[width : width + size]
    p0, p1 = p[0, width + start : width + start + size], p[1, width + start : width + start + size]
    a0, a1 = a[0, start : start + size], a[1, start : start + size]
    for j in range(size):
        down = below[j] - here[j]
        across = (right[j] - here[j]) * mask[j]
        squares[j] += down * down + across * across
        products[j] += a0[j] * (p0[j] - step * down) + a1[j] * (p1[j] - step * across)


@compiled_freely
def _to_factors(squares, products, ratio):
    """Turn |g|² into s = 1 / (1 + ratio |g|), and ⟨a, p - step g⟩ into ratio s² ⟨…⟩ / |g|, 0 for g = 0."""
    zero, one = squares.dtype.type(0), squares.dtype.type(1)
    for j in range(squares.size):
        square = squares[j]
        length = np.sqrt(square)
        inverse = one / (length + ratio * square)
        s = length * inverse if square > zero else one
        products[j] *= ratio * s * inverse if square > zero else zero
        squares[j] = s


@compiled_freely
def _step_rows_adjoint(u, a, b, start, width, mask, step, scales, alongs):
    """Take the adjoint of `_step_rows` in one plane: a, of q, becomes that of p, and b that of g; see `_step_adjoint`.

    b holds a row more before.
    """
    size = scales.size
    here, right, below = u[:size], u[1 : size + 1], u[width : width + size]
    a0, a1 = a[0, start : start + size], a[1, start : start + size]
    b0, b1 = b[0, width : width + size], b[1, width : width + size]
    for j in range(size):
        down = below[j] - here[j]
        across = (right[j] - here[j]) * mask[j]
        c0, c1 = scales[j] * a0[j], scales[j] * a1[j]
        a0[j] = c0
        a1[j] = c1
        b0[j] = -step * c0 - alongs[j] * down
        b1[j] = -step * c1 - alongs[j] * across


@inlined
def _pass_adjoint(u, p, a, grad, b, v, squares, products, mask, width, step, ratio):
    """Take the adjoint of `_pass`: a (K, 2, H W), the gradient with respect to q, becomes that with respect to p.

    What f itself contributes is added to `grad` (K, H W). `b` and `v` are for the row above a block and the block.
    """
    planes, n = grad.shape
    b[:, :, :width] = 0
    for start in range(0, n, mask.size):
        stop = min(start + mask.size, n)
        size = stop - start
        scales, alongs = squares[:size], products[:size]
        scales[:] = 0
        alongs[:] = 0
        for c in range(planes):
            _add_squares_and_products(u[c, start:], p[c], a[c], start, width, mask, step, scales, alongs)
        _to_factors(scales, alongs, ratio)
        for c in range(planes):
            _step_rows_adjoint(u[c, start:], a[c], b[c], start, width, mask, step, scales, alongs)
            divergence_rows(b[c], width, v[c, width : width + size], grad[c, start:stop])
            # The gradient of a row needs the row below it, and so comes a row later.
            if start == 0:
                add_gradient(v[c, width:], a[c], 0, stop - width, width, mask)
            else:
                add_gradient(v[c], a[c], start - width, stop - width, width, mask)
            if stop == n:
                copy(v[c, size : size + width], v[c, width + size : 2 * width + size])
                add_gradient(v[c, size:], a[c], n - width, n, width, mask)
            else:
                for line in (v[c], b[c, 0], b[c, 1]):
                    copy(line[size : size + width], line[:width])


@compiled
def rof_groups_adjoint(f, grad_u, grad_f, start, stop, step, ratios, weights, iterations, most_stored):
    """Take the adjoint of `rof_groups`: from the gradient with respect to u to that with respect to f.

    The dual fields of all iterations and their images are needed, last to first. They are computed again: those of one
    segment of at most `most_stored` iterations are kept at a time, and the first field of every segment.
    """
    planes, height, width = f.shape[1:]
    n = height * width
    longest = 1
    for m in range(start, stop):
        longest = max(longest, iterations[m])
    segment = longest
    if longest > most_stored:
        segment = int(np.ceil(np.sqrt(longest)))
    mask = mask_of_block(f[0, 0])
    squares, products = np.empty(mask.size, f.dtype), np.empty(mask.size, f.dtype)
    firsts = np.empty(((longest + segment - 1) // segment, planes, 2, width + n), f.dtype)
    fields = np.empty((segment, planes, 2, width + n), f.dtype)
    images = np.zeros((segment, planes, n + width + 1), f.dtype)
    image = np.zeros((planes, n + width + 1), f.dtype)
    a, b = np.empty((planes, 2, n), f.dtype), np.empty((planes, 2, width + mask.size), f.dtype)
    v = np.zeros((planes, mask.size + 2 * width + 1), f.dtype)
    firsts[0] = 0
    fields[:, :, :, :width] = 0
    for m in range(start, stop):
        ratio, weight = ratios[m], weights[m]
        group, grad = f[m].reshape((planes, n)), grad_f[m].reshape((planes, n))
        used = iterations[m]  # the result belongs to the field after used - 1 iterations
        for k in range(1, (used - 1) // segment + 1):
            p = firsts[k]
            copy(firsts[k - 1].reshape(p.size), p.reshape(p.size))
            for _ in range(segment):
                _pass(group, p, p, False, image, squares, mask, width, step, ratio, weight)
        # The last field has no iteration after it: u = f + ∇ᵀp.
        a[:] = 0
        for c in range(planes):
            copy(grad_u[m, c].reshape(n), grad[c])
            copy(grad[c], image[c, :n])
            copy(grad[c, n - width :], image[c, n : n + width])
            for i in range(0, n, mask.size):
                add_gradient(image[c, i:], a[c], i, min(i + mask.size, n), width, mask)
        top = used - 2
        for k in range((used - 1) // segment, -1, -1):
            # The iterations from the fields k * segment to top.
            count = top - k * segment + 1
            p = firsts[k]
            for i in range(count):
                _pass(group, p, fields[i], True, images[i], squares, mask, width, step, ratio, weight)
                p = fields[i]
            for i in range(count - 1, -1, -1):
                p = fields[i - 1] if i > 0 else firsts[k]
                _pass_adjoint(images[i], p, a, grad, b, v, squares, products, mask, width, step, ratio)
            top = k * segment - 1
