"""The inner loops of total-variation denoising on the CPU. See `rof` for the mathematics."""

from __future__ import annotations

import numpy as np

from art_denoise.filters._compiled import compiled, compiled_sum


@compiled_sum
def _sum(row):
    total = 0.0
    for j in range(row.size):
        total += row[j]
    return total


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
def _rof_pass(f, u, p0, p1, d_now, d_next, squares, lengths, step, ratio, weight):
    """Do one iteration in place and return the energy at its start. `u` becomes the image before the step.

    `squares` and `lengths` are (H, W), to be filled with the terms of the energy, or (1, W), to be used for every row.
    """
    height, width = f.shape
    one = f.dtype.type(1)
    kept = squares.shape[0]
    energy = 0.0
    # Row 0 of u = f + ∇ᵀp; then always one row ahead of the update of p, which it still needs unchanged.
    for j in range(width):
        d_now[j] = -(p0[0, j] + p1[0, j])
    for j in range(1, width):
        d_now[j] += p1[0, j - 1]
    for j in range(width):
        u[0, j] = f[0, j] + d_now[j]
    for i in range(height):
        square, length = squares[i % kept], lengths[i % kept]
        # Rows of their own, so that the compiler sees that they do not overlap and uses vector instructions.
        here, q0, q1 = u[i], p0[i], p1[i]
        for j in range(width):
            square[j] = d_now[j] * d_now[j]
        if i + 1 < height:
            below, f_below, r0, r1 = u[i + 1], f[i + 1], p0[i + 1], p1[i + 1]
            d_next[0] = -(r0[0] + r1[0]) + q0[0]
            for j in range(1, width):
                d_next[j] = (-(r0[j] + r1[j]) + q0[j]) + r1[j - 1]
            for j in range(width):
                below[j] = f_below[j] + d_next[j]
            for j in range(width - 1):
                down = below[j] - here[j]
                right = here[j + 1] - here[j]
                length[j] = np.sqrt(down * down + right * right)
            down = below[width - 1] - here[width - 1]
            length[width - 1] = np.sqrt(down * down)
            for j in range(width):
                q0[j] = (q0[j] - step * (below[j] - here[j])) / (length[j] * ratio + one)
            for j in range(width - 1):
                q1[j] = (q1[j] - step * (here[j + 1] - here[j])) / (length[j] * ratio + one)
        else:
            for j in range(width - 1):
                right = here[j + 1] - here[j]
                length[j] = np.sqrt(right * right)
            length[width - 1] = 0
            for j in range(width - 1):
                q1[j] = (q1[j] - step * (here[j + 1] - here[j])) / (length[j] * ratio + one)
        energy += _sum(square) + weight * _sum(length)
        d_now, d_next = d_next, d_now
    return energy


@compiled
def _exact_energy(squares, lengths, weight):
    """Return the energy as scikit-image computes it with NumPy, to the last bit the same."""
    size = squares.size
    energy = _pairwise_sum(squares.reshape(size))
    energy += weight * _pairwise_sum(lengths.reshape(size))
    return energy / squares.dtype.type(size)


@compiled
def _rof_stops(f, u, p0, p1, d_now, d_next, squares, lengths, step, ratio, weight, eps, k):
    """Start anew, do k iterations and a last one, and return whether scikit-image would stop at the last."""
    p0[:] = 0
    p1[:] = 0
    first = previous = energy = weight
    for i in range(k + 1):
        _rof_pass(f, u, p0, p1, d_now, d_next, squares, lengths, step, ratio, weight)
        if i == 0 or i >= k - 1:
            previous = energy
            energy = _exact_energy(squares, lengths, weight)
        if i == 0:
            first = energy
    return abs(previous - energy) < eps * first


#: How far, as a share of the energy, a sum in another order can be off. A stop decided by more is decided.
_DOUBT = 1e-6


@compiled
def rof_planes(f, u, start, stop, step, ratio, weight, eps, max_iter, iterations):
    """Run the dual iteration on planes `start` to `stop` of f (M, H, W); write u and the number of iterations.

    The energy that decides the stop is summed quickly. Where that leaves a doubt, the iterations are done again with
    scikit-image's own sums; where it always would, because `eps` is small, those are taken throughout.
    """
    height, width = f.shape[1:]
    careful = 0 < eps < 50 * _DOUBT
    p0 = np.empty((height, width), f.dtype)
    p1 = np.empty((height, width), f.dtype)
    d_now = np.empty(width, f.dtype)
    d_next = np.empty(width, f.dtype)
    squares, lengths = np.empty((height, width), f.dtype), np.empty((height, width), f.dtype)
    square, length = np.empty((1, width), f.dtype), np.empty((1, width), f.dtype)
    for m in range(start, stop):
        p0[:] = 0
        p1[:] = 0
        first = previous = 0.0
        for k in range(max_iter):
            iterations[m] = k + 1
            if careful:
                _rof_pass(f[m], u[m], p0, p1, d_now, d_next, squares, lengths, step, ratio, weight)
                energy = float(_exact_energy(squares, lengths, weight))
            else:
                energy = _rof_pass(f[m], u[m], p0, p1, d_now, d_next, square, length, step, ratio, weight)
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
                    if _rof_stops(f[m], u[m], p0, p1, d_now, d_next, squares, lengths, step, ratio, weight, eps, k):
                        break
                elif change < limit:
                    break
            previous = energy


@compiled
def _negative_divergence(p0, p1, v):
    """Write v = ∇ᵀp, the adjoint of the forward differences, at a field that is 0 at the far border."""
    height, width = v.shape
    for i in range(height):
        for j in range(width):
            v[i, j] = -(p0[i, j] + p1[i, j])
        if i > 0:
            for j in range(width):
                v[i, j] += p0[i - 1, j]
        for j in range(1, width):
            v[i, j] += p1[i, j - 1]


@compiled
def _add(a, b):
    """Add plane b to plane a."""
    for i in range(a.shape[0]):
        for j in range(a.shape[1]):
            a[i, j] += b[i, j]


@compiled
def _rof_pass_adjoint(u, q0, q1, a0, a1, b0, b1, v, grad, step, ratio):
    """Take the adjoint of one iteration p → q, where u belongs to p.

    (a0, a1) is the gradient with respect to q and becomes that with respect to p; what f itself contributes is added
    to `grad`. With s = 1 / (1 + ratio |g|), q = s (p - step g) and g = ∇u:
    the gradient with respect to g is -step s a - ratio s ⟨a, q⟩ g / |g|.
    """
    height, width = u.shape
    one = u.dtype.type(1)
    zero = u.dtype.type(0)
    for i in range(height):
        last = i + 1 == height
        below = u[i if last else i + 1]
        for j in range(width - 1):
            down = below[j] - u[i, j]
            right = u[i, j + 1] - u[i, j]
            length = np.sqrt(down * down + right * right)
            s = one / (one + ratio * length)
            inner = a0[i, j] * q0[i, j] + a1[i, j] * q1[i, j]
            along = ratio * s * inner / length if length > zero else zero
            a0[i, j] *= s
            a1[i, j] *= s
            b0[i, j] = -step * a0[i, j] - along * down
            b1[i, j] = -step * a1[i, j] - along * right
        j = width - 1
        down = below[j] - u[i, j]
        length = abs(down)
        s = one / (one + ratio * length)
        along = ratio * s * (a0[i, j] * q0[i, j]) / length if length > zero else zero
        a0[i, j] *= s
        a1[i, j] *= s
        b0[i, j] = -step * a0[i, j] - along * down
        b1[i, j] = zero  # no difference across the border
        if last:
            for j in range(width):
                b0[i, j] = zero
    # u = f + ∇ᵀp and g = ∇u: back through both.
    _negative_divergence(b0, b1, v)
    _add(grad, v)
    _add_gradient(v, a0, a1)


@compiled
def _add_gradient(v, a0, a1):
    """Add the forward differences of v to a field."""
    height, width = v.shape
    for i in range(height - 1):
        for j in range(width):
            a0[i, j] += v[i + 1, j] - v[i, j]
    for i in range(height):
        for j in range(width - 1):
            a1[i, j] += v[i, j + 1] - v[i, j]


@compiled
def rof_planes_adjoint(f, grad_u, grad_f, start, stop, step, ratio, weight, iterations, most_stored):
    """Take the adjoint of `rof_planes`: from the gradient with respect to u to that with respect to f.

    The dual fields of all iterations are needed, last to first. They are computed again: at most `most_stored` of them
    are kept at a time, the first of every segment and those of one segment.
    """
    height, width = f.shape[1:]
    longest = 1
    for m in range(start, stop):
        longest = max(longest, iterations[m])
    segment = longest
    if longest > most_stored:
        segment = int(np.ceil(np.sqrt(longest)))
    firsts = np.empty(((longest + segment - 1) // segment, 2, height, width), f.dtype)
    p = np.empty((segment, 2, height, width), f.dtype)
    u = np.empty((height, width), f.dtype)
    v = np.empty((height, width), f.dtype)
    a = np.empty((2, height, width), f.dtype)
    b = np.empty((2, height, width), f.dtype)
    d_now = np.empty(width, f.dtype)
    d_next = np.empty(width, f.dtype)
    squares, lengths = np.empty((1, width), f.dtype), np.empty((1, width), f.dtype)
    for m in range(start, stop):
        used = iterations[m]  # the result belongs to the field p[used - 1]
        firsts[0] = 0
        for k in range(1, (used - 1) // segment + 1):
            firsts[k] = firsts[k - 1]
            for _ in range(segment):
                _rof_pass(f[m], u, firsts[k, 0], firsts[k, 1], d_now, d_next, squares, lengths, step, ratio, weight)
        grad_f[m] = grad_u[m]
        a[:] = 0
        _add_gradient(grad_u[m], a[0], a[1])
        top = used - 1
        for k in range((used - 1) // segment, -1, -1):
            # Fields k * segment .. top; the field after a segment is the first of the next.
            count = top - k * segment + 1
            p[0] = firsts[k]
            for i in range(1, count):
                p[i] = p[i - 1]
                _rof_pass(f[m], u, p[i, 0], p[i, 1], d_now, d_next, squares, lengths, step, ratio, weight)
            for i in range(count - 1, -1, -1):
                if k * segment + i == used - 1:
                    continue  # the last field has no iteration after it
                following = p[i + 1] if i + 1 < count else firsts[k + 1]
                _negative_divergence(p[i, 0], p[i, 1], u)
                _add(u, f[m])
                _rof_pass_adjoint(u, following[0], following[1], a[0], a[1], b[0], b[1], v, grad_f[m], step, ratio)
            top = k * segment - 1
