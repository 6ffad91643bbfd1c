"""The inner loops of Chambolle's iteration on the CPU. See `_rof_chambolle` for the mathematics."""

from __future__ import annotations

import numpy as np

from art_denoise.filters._compiled import compiled, compiled_freely, inlined
from art_denoise.filters._planes import (
    add_gradient,
    copy,
    divergence_rows,
    line_square_sum,
    line_sum,
    lines,
    mask_of_block,
)


@compiled
def _block_sum(a, start, count):
    """Sum up to 128 entries of a flat array in eight interleaved parts, as NumPy does."""
    total = a.dtype.type(0)
    whole = 0
    if count >= 8:
        r0, r1, r2, r3 = a[start], a[start + 1], a[start + 2], a[start + 3]
        r4, r5, r6, r7 = a[start + 4], a[start + 5], a[start + 6], a[start + 7]
        whole = count - count % 8
        for i in range(start + 8, start + whole, 8):
            r0 += a[i]
            r1 += a[i + 1]
            r2 += a[i + 2]
            r3 += a[i + 3]
            r4 += a[i + 4]
            r5 += a[i + 5]
            r6 += a[i + 6]
            r7 += a[i + 7]
        total = ((r0 + r1) + (r2 + r3)) + ((r4 + r5) + (r6 + r7))
    for i in range(start + whole, start + count):
        total += a[i]
    return total


@compiled
def _pairwise_sum(a):
    """Sum a flat array in the order in which NumPy sums it, to the last bit the same: halves, down to 128 entries.

    The halves are kept on a stack, as a function that calls itself crashes when Numba loads it from its cache.
    """
    starts, counts = np.empty(64, np.int64), np.empty(64, np.int64)
    halves, lefts = np.zeros(64, np.int64), np.empty(64, a.dtype)
    top = 0
    starts[0], counts[0] = 0, a.size
    while True:
        while counts[top] > 128:  # down into the left half
            half = counts[top] // 2
            half -= half % 8
            halves[top] = 1
            starts[top + 1], counts[top + 1], halves[top + 1] = starts[top], half, 0
            top += 1
        total = _block_sum(a, starts[top], counts[top])
        top -= 1
        while top >= 0 and halves[top] == 2:  # up from a right half
            total = lefts[top] + total
            top -= 1
        if top < 0:
            return total
        # Up from a left half, and down into its right.
        lefts[top] = total
        halves[top] = 2
        done = counts[top + 1]
        starts[top + 1], counts[top + 1], halves[top + 1] = starts[top] + done, counts[top] - done, 0
        top += 1


@compiled
def _image_rows(f, p, start, stop, width, d, u):
    """Write d = ∇ᵀp and u = f + d at the pixels `start` to `stop`, whole rows."""
    p0, p1 = p[0, width + start : width + stop], p[1, width + start : width + stop]
    above, left = p[0, start:stop], p[1, width + start - 1 : width + stop - 1]
    f = f[start:stop]
    for j in range(stop - start):
        term = (-(p0[j] + p1[j]) + above[j]) + left[j]
        d[j] = term
        u[j] = f[j] + term


@compiled
def _step_rows(u, q, start, stop, width, mask, lengths, step, ratio):
    """Take the dual step q ← (q - step g) / (1 + ratio |g|) at the pixels `start` to `stop`, and write |g|.

    g is the gradient of u, which holds these pixels, those of one row more, and another.
    """
    one = u.dtype.type(1)
    size = stop - start
    q0, q1 = q[0, width + start : width + stop], q[1, width + start : width + stop]
    here, right, below = u[:size], u[1 : size + 1], u[width : width + size]
    for j in range(size):
        down = below[j] - here[j]
        across = (right[j] - here[j]) * mask[j]
        length = np.sqrt(down * down + across * across)
        lengths[j] = length
        divisor = length * ratio + one
        q0[j] = (q0[j] - step * down) / divisor
        q1[j] = (q1[j] - step * across) / divisor


@compiled
def _step_and_image_rows(f, p, q, u, start, ahead, size, width, mask, lengths, d, image, step, ratio):
    """Do `_step_rows` at `size` pixels from `start`, and `_image_rows` at as many from `ahead`, in one loop.

    The first waits for the divider all the time; that gives the second for nothing.
    """
    one = u.dtype.type(1)
    q0, q1 = q[0, width + start : width + start + size], q[1, width + start : width + start + size]
    here, right, below = u[:size], u[1 : size + 1], u[width : width + size]
    p0, p1 = p[0, width + ahead : width + ahead + size], p[1, width + ahead : width + ahead + size]
    above, left = p[0, ahead : ahead + size], p[1, width + ahead - 1 : width + ahead - 1 + size]
    f = f[ahead : ahead + size]
    for j in range(size):
        term = (-(p0[j] + p1[j]) + above[j]) + left[j]
        d[j] = term
        image[j] = f[j] + term
        down = below[j] - here[j]
        across = (right[j] - here[j]) * mask[j]
        length = np.sqrt(down * down + across * across)
        lengths[j] = length
        divisor = length * ratio + one
        q0[j] = (q0[j] - step * down) / divisor
        q1[j] = (q1[j] - step * across) / divisor


@inlined
def _rof_pass(f, p, q, kept, u, d, lengths, mask, width, step, ratio, weight, summed):
    """Do one iteration from the dual field p to q, and return the energy at p if it is `summed`, else 0.

    q is p, or, if p is to be `kept`, another array. u becomes the image of p. `d` and `lengths` become ∇ᵀp and |∇u| if
    they are as long as a plane; shorter arrays, of a block and a row, are used for one block after another.
    """
    n = f.size
    whole = d.size == n
    # The image is computed ahead of the step, which takes the place of the p that it is made of.
    ahead = min(mask.size + width, n)
    _image_rows(f, p, 0, ahead, width, d[:ahead], u[:ahead])
    energy = 0.0
    if summed:
        energy += line_square_sum(d[:ahead])
    for start in range(0, n, mask.size):
        stop = min(start + mask.size, n)
        ahead = stop + width
        both = max(0, min(stop - start, n - ahead))
        if stop == n:
            copy(u[n - width : n], u[n : n + width])
        if kept:
            copy(p[0, width + start : width + stop], q[0, width + start : width + stop])
            copy(p[1, width + start : width + stop], q[1, width + start : width + stop])
        terms = d[ahead : ahead + both] if whole else d[:both]
        some = lengths[start:stop] if whole else lengths[: stop - start]
        if both:
            image = u[ahead : ahead + both]
            _step_and_image_rows(f, p, q, u[start:], start, ahead, both, width, mask, some, terms, image, step, ratio)
        if start + both < stop:
            _step_rows(u[start + both :], q, start + both, stop, width, mask[both:], some[both:], step, ratio)
        if summed:
            energy += line_square_sum(terms) + weight * line_sum(some)
    return energy


@inlined
def _exact_energy(d, lengths, weight):
    """Return the energy as scikit-image computes it with NumPy, to the last bit the same. Squares `d`."""
    for j in range(d.size):
        d[j] *= d[j]
    energy = _pairwise_sum(d)
    energy += weight * _pairwise_sum(lengths)
    return energy / d.dtype.type(d.size)


@inlined
def _rof_stops(f, p, u, d, lengths, mask, width, step, ratio, weight, eps, k):
    """Start anew, do k iterations and a last one, and return whether scikit-image would stop at the last."""
    p[:] = 0
    first = previous = energy = weight
    for i in range(k + 1):
        _rof_pass(f, p, p, False, u, d, lengths, mask, width, step, ratio, weight, False)
        if i == 0 or i >= k - 1:
            previous = energy
            energy = _exact_energy(d, lengths, weight)
        if i == 0:
            first = energy
    return abs(previous - energy) < eps * first


#: How far, as a share of the energy, a sum in another order can be off. A stop decided by more is decided.
_DOUBT = 4e-7


@compiled
def rof_planes(f, u, start, stop, step, ratios, weights, eps, max_iter, iterations):
    """Run the dual iteration on planes `start` to `stop` of f (M, H, W); write u and the number of iterations.

    Each plane has a weight, and the step over it, its ratio.
    The energy that decides the stop is summed quickly. Where that leaves a doubt, the iterations are done again with
    scikit-image's own sums; where it always would, because `eps` is small, those are taken throughout.
    """
    height, width = f.shape[1:]
    n = height * width
    careful = 0 < eps < 100 * _DOUBT
    mask = mask_of_block(f[0])
    some = min(mask.size + width, n)
    plane, image, p_line, d_block, lengths_block = lines((n, n + width + 1, 2 * (width + n), some, some), f)
    p = p_line.reshape((2, width + n))
    d, lengths = np.empty(n, f.dtype), np.empty(n, f.dtype)
    if careful:
        d_block, lengths_block = d, lengths
    for m in range(start, stop):
        ratio, weight = ratios[m], weights[m]
        copy(f[m].reshape(n), plane)
        p[:] = 0
        first = previous = 0.0
        for k in range(max_iter):
            iterations[m] = k + 1
            # Without a stop, the energy is only needed to see a flat image.
            summed = not careful and (eps > 0 or k == 0)
            energy = _rof_pass(
                plane, p, p, False, image, d_block, lengths_block, mask, width, step, ratio, weight, summed
            )
            if careful:
                energy = float(_exact_energy(d, lengths, weight))
            if k == 0:
                first = energy
                if energy == 0:  # flat: the result is the input
                    break
            elif eps > 0:
                change, limit = abs(previous - energy), eps * first
                if careful:
                    # In the precision of the image, as scikit-image compares.
                    number = f.dtype.type
                    if abs(number(previous) - number(energy)) < eps * number(first):
                        break
                elif abs(change - limit) < _DOUBT * (first + energy):
                    if _rof_stops(plane, p, image, d, lengths, mask, width, step, ratio, weight, eps, k):
                        break
                elif change < limit:
                    break
            previous = energy
        copy(image, u[m].reshape(n))


@compiled_freely
def _step_rows_adjoint(u, p, a, b, start, stop, width, mask, step, ratio):
    """Take the adjoint of `_step_rows`, where u and p are those before the step.

    a is the gradient with respect to q, and becomes that with respect to p where u stays; b becomes the gradient with
    respect to g. With s = 1 / (1 + ratio |g|) and q = s (p - step g) they are s a and
    -step s a - ratio s ⟨a, q⟩ g / |g|, where the second term is taken as 0 for g = 0. b holds a row more before.
    """
    zero, one = p.dtype.type(0), p.dtype.type(1)
    size = stop - start
    here, right, below = u[:size], u[1 : size + 1], u[width : width + size]
    p0, p1 = p[0, width + start : width + stop], p[1, width + start : width + stop]
    a0, a1 = a[0, start:stop], a[1, start:stop]
    b0, b1 = b[0, width : width + size], b[1, width : width + size]
    for j in range(size):
        down = below[j] - here[j]
        across = (right[j] - here[j]) * mask[j]
        square = down * down + across * across
        length = np.sqrt(square)
        inverse = one / (length + ratio * square)
        s = length * inverse if square > zero else one
        along = ratio * s * inverse if square > zero else zero
        along *= a0[j] * (p0[j] - step * down) + a1[j] * (p1[j] - step * across)
        c0, c1 = s * a0[j], s * a1[j]
        a0[j] = c0
        a1[j] = c1
        b0[j] = -step * c0 - along * down
        b1[j] = -step * c1 - along * across


@inlined
def _rof_pass_adjoint(u, p, a, grad, b, v, mask, width, step, ratio):
    """Take the adjoint of `_rof_pass`: a, the gradient with respect to q, becomes that with respect to p; (2, H W).

    What f itself contributes is added to `grad`. `b` and `v` are for the row above a block and the block.
    """
    n = grad.size
    b[:, :width] = 0
    for start in range(0, n, mask.size):
        stop = min(start + mask.size, n)
        size = stop - start
        _step_rows_adjoint(u[start:], p, a, b, start, stop, width, mask, step, ratio)
        divergence_rows(b, width, v[width : width + size], grad[start:stop])
        # The gradient of a row needs the row below it, and so comes a row later.
        if start == 0:
            add_gradient(v[width:], a, 0, stop - width, width, mask)
        else:
            add_gradient(v, a, start - width, stop - width, width, mask)
        if stop == n:
            copy(v[size : size + width], v[width + size : 2 * width + size])
            add_gradient(v[size:], a, n - width, n, width, mask)
        else:
            for line in (v, b[0], b[1]):
                copy(line[size : size + width], line[:width])


@compiled
def rof_planes_adjoint(f, grad_u, grad_f, start, stop, step, ratios, weights, iterations, most_stored):
    """Take the adjoint of `rof_planes`: from the gradient with respect to u to that with respect to f.

    The dual fields of all iterations and their images are needed, last to first. They are computed again: those of one
    segment of at most `most_stored` iterations are kept at a time, and the first field of every segment.
    """
    height, width = f.shape[1:]
    n = height * width
    longest = 1
    for m in range(start, stop):
        longest = max(longest, iterations[m])
    segment = longest
    if longest > most_stored:
        segment = int(np.ceil(np.sqrt(longest)))
    mask = mask_of_block(f[0])
    some = min(mask.size + width, n)
    firsts = np.empty(((longest + segment - 1) // segment, 2, width + n), f.dtype)
    fields = np.empty((segment, 2, width + n), f.dtype)
    images = np.zeros((segment, n + width + 1), f.dtype)
    image = np.zeros(n + width + 1, f.dtype)
    d, lengths = np.empty(some, f.dtype), np.empty(some, f.dtype)
    a, b = np.empty((2, n), f.dtype), np.empty((2, width + mask.size), f.dtype)
    v = np.zeros(mask.size + 2 * width + 1, f.dtype)
    firsts[0] = 0
    fields[:, :, :width] = 0
    for m in range(start, stop):
        ratio, weight = ratios[m], weights[m]
        plane, grad = f[m].reshape(n), grad_f[m].reshape(n)
        used = iterations[m]  # the result belongs to the field after used - 1 iterations
        for k in range(1, (used - 1) // segment + 1):
            p = firsts[k]
            copy(firsts[k - 1].reshape(p.size), p.reshape(p.size))
            for _ in range(segment):
                _rof_pass(plane, p, p, False, image, d, lengths, mask, width, step, ratio, weight, False)
        # The last field has no iteration after it: u = f + ∇ᵀp.
        copy(grad_u[m].reshape(n), grad)
        copy(grad, image[:n])
        copy(grad[n - width :], image[n : n + width])
        a[:] = 0
        for i in range(0, n, mask.size):
            add_gradient(image[i:], a, i, min(i + mask.size, n), width, mask)
        top = used - 2
        for k in range((used - 1) // segment, -1, -1):
            # The iterations from the fields k * segment to top.
            count = top - k * segment + 1
            p = firsts[k]
            for i in range(count):
                _rof_pass(plane, p, fields[i], True, images[i], d, lengths, mask, width, step, ratio, weight, False)
                p = fields[i]
            for i in range(count - 1, -1, -1):
                p = fields[i - 1] if i > 0 else firsts[k]
                _rof_pass_adjoint(images[i], p, a, grad, b, v, mask, width, step, ratio)
            top = k * segment - 1
