"""The inner loops of the converged ROF solver on the CPU for planes that are coupled. See `_rof_converged`.

What is of all planes of a group at each pixel, lengths and products, is summed into a line first, in which roots and
divisions are taken once; then each plane takes its step.
"""

from __future__ import annotations

import numpy as np

from art_denoise.filters._compiled import compiled, compiled_freely, inlined
from art_denoise.filters._planes import copy, line_square_sum, mask_of_block
from art_denoise.filters._rof_converged_kernels import divergence_rows, finish, primal_rows


@compiled_freely
def _ascend_rows(ahead, p, start, stop, width, mask, sigma, squares):
    """Take the dual step p ← p + σ ∇ū of one plane at the pixels `start` to `stop`, and add |p|² to `squares`."""
    size = stop - start
    p0, p1 = p[0, width + start : width + stop], p[1, width + start : width + stop]
    here, right, below = ahead[start:stop], ahead[start + 1 : stop + 1], ahead[start + width : stop + width]
    for j in range(size):
        z0 = p0[j] + sigma * (below[j] - here[j])
        z1 = p1[j] + sigma * ((right[j] - here[j]) * mask[j])
        p0[j] = z0
        p1[j] = z1
        squares[j] += z0 * z0 + z1 * z1


@compiled_freely
def _to_shortening(squares, weight):
    """Turn |p|² into what shortens p to at most `weight`."""
    for j in range(squares.size):
        squares[j] = weight / max(weight, np.sqrt(squares[j]))


@compiled_freely
def _shorten_rows(p, start, stop, width, scales):
    """Multiply the dual field of one plane by the scale of each pixel."""
    p0, p1 = p[0, width + start : width + stop], p[1, width + start : width + stop]
    for j in range(stop - start):
        p0[j] *= scales[j]
        p1[j] *= scales[j]


@compiled_freely
def _gap_rows(f, u, p, start, stop, width, mask, squares, products):
    """Add |∇u|² and ⟨∇u, p⟩ of one plane to lines, and return ‖u - w‖² and ‖u - f‖² of some rows."""
    number = f.dtype.type
    apart, fidelity = number(0), number(0)
    p0, p1 = p[0, width + start : width + stop], p[1, width + start : width + stop]
    above, left = p[0, start:stop], p[1, width + start - 1 : width + stop - 1]
    here, right, below = u[start:stop], u[start + 1 : stop + 1], u[start + width : stop + width]
    f = f[start:stop]
    for j in range(stop - start):
        down = below[j] - here[j]
        across = (right[j] - here[j]) * mask[j]
        change = here[j] - f[j]
        difference = change - (p0[j] + p1[j] - above[j] - left[j])
        apart += difference * difference
        fidelity += change * change
        squares[j] += down * down + across * across
        products[j] += down * p0[j] + across * p1[j]
    return apart, fidelity


@compiled_freely
def _slack(squares, products, weight):
    """Return the sums of weight |∇u| - ⟨∇u, p⟩ and of weight |∇u|."""
    number = squares.dtype.type
    slack, variation = number(0), number(0)
    for j in range(squares.size):
        length = weight * np.sqrt(squares[j])
        variation += length
        slack += length - products[j]
    return slack, variation


@inlined
def _gap(f, u, p, mask, width, weight, squares, products):
    """Return the duality gap of the images u and the dual fields p of a group, and the energy of u."""
    planes, n = f.shape
    gap, energy = 0.0, 0.0
    for c in range(planes):
        finish(u[c], n, width)
    for start in range(0, n, mask.size):
        stop = min(start + mask.size, n)
        lengths, along = squares[: stop - start], products[: stop - start]
        lengths[:] = 0
        along[:] = 0
        for c in range(planes):
            apart, fidelity = _gap_rows(f[c], u[c], p[c], start, stop, width, mask, lengths, along)
            gap += 0.5 * apart
            energy += 0.5 * fidelity
        slack, variation = _slack(lengths, along, weight)
        gap += slack
        energy += variation
    return gap, energy


@compiled
def solve_groups(x, result, dual, start, stop, weights, tol, max_iter, every, tau, gamma, gaps, iterations):
    """Minimise the ROF energy of groups `start` to `stop` of x (M, K, H, W); write u, p, gaps and iterations."""
    planes, height, width = x.shape[1:]
    n = height * width
    mask = mask_of_block(x[0, 0])
    squares, products = np.empty(mask.size, x.dtype), np.empty(mask.size, x.dtype)
    number = x.dtype.type
    u, ahead = np.zeros((planes, n + width + 1), x.dtype), np.zeros((planes, n + width + 1), x.dtype)
    p = np.empty((planes, 2, width + n), x.dtype)
    for m in range(start, stop):
        weight = weights[m]
        f = x[m].reshape((planes, n))
        p[:] = 0
        for c in range(planes):
            copy(f[c], u[c, :n])
            copy(f[c], ahead[c, :n])
        step = tau
        k = 0
        while True:
            if k % every == 0 or k == max_iter:
                gap, energy = _gap(f, u, p, mask, width, weight, squares, products)
                gaps[m] = max(gap, 0.0) / energy if energy != 0 else 0.0
                if gaps[m] <= tol or k == max_iter or not np.isfinite(gaps[m]):
                    break
            k += 1
            theta = 1 / np.sqrt(1 + 2 * gamma * step)
            sigma, now, factor = number(1 / (8 * step)), number(step), number(theta)
            step *= theta
            for c in range(planes):
                finish(ahead[c], n, width)
            for i in range(0, n, mask.size):
                j = min(i + mask.size, n)
                scales = squares[: j - i]
                scales[:] = 0
                for c in range(planes):
                    _ascend_rows(ahead[c], p[c], i, j, width, mask, sigma, scales)
                _to_shortening(scales, weight)
                for c in range(planes):
                    _shorten_rows(p[c], i, j, width, scales)
                    primal_rows(f[c], u[c], ahead[c], p[c], i, j, width, now, factor)
        iterations[m] = k
        for c in range(planes):
            copy(u[c], result[m, c].reshape(n))
            copy(p[c, 0, width:], dual[m, c, 0].reshape(n))
            copy(p[c, 1, width:], dual[m, c, 1].reshape(n))


@compiled_freely
def _linearise_rows(u, p, start, stop, width, mask, direction, squares):
    """Write z = p + ∇u of one plane into `direction` at some rows, and add |z|² to `squares`."""
    p0, p1 = p[0, start:stop], p[1, start:stop]
    here, right, below = u[start:stop], u[start + 1 : stop + 1], u[start + width : stop + width]
    e0, e1 = direction[0, start:stop], direction[1, start:stop]
    for j in range(stop - start):
        z0 = p0[j] + (below[j] - here[j])
        z1 = p1[j] + (right[j] - here[j]) * mask[j]
        e0[j] = z0
        e1[j] = z1
        squares[j] += z0 * z0 + z1 * z1


@compiled_freely
def _to_compliance(squares, weight, floor, compliance):
    """Turn |z|² into what makes z a direction, 0 where |z| ≤ weight, and write the compliance.

    See `_linearise_rows` of planes by themselves.
    """
    zero = squares.dtype.type(0)
    for j in range(squares.size):
        size = np.sqrt(squares[j])
        squares[j] = 1 / size if size > weight else zero
        compliance[j] = max((size - weight) / weight, floor)


@compiled_freely
def _scale_rows(field, start, stop, scales):
    """Multiply a field (2, H W) of one plane by the scale of each pixel."""
    e0, e1 = field[0, start:stop], field[1, start:stop]
    for j in range(stop - start):
        e0[j] *= scales[j]
        e1[j] *= scales[j]


@compiled_freely
def _residual_rows(t, v, d, r, direction, compliance, start, stop, width, mask, alpha, along):
    """Update r ← r - α (∇t + c d) and v ← v - α t of one plane at some rows; add ⟨e, r⟩ to a line, return ‖v‖²."""
    square = t.dtype.type(0)
    here, right, below = t[start:stop], t[start + 1 : stop + 1], t[start + width : stop + width]
    r0, r1, d0, d1 = r[0, start:stop], r[1, start:stop], d[0, width + start :], d[1, width + start :]
    e0, e1, c, v = direction[0, start:stop], direction[1, start:stop], compliance[start:stop], v[start:stop]
    for j in range(stop - start):
        g0 = below[j] - here[j]
        g1 = (right[j] - here[j]) * mask[j]
        s0 = r0[j] - alpha * (g0 + c[j] * d0[j])
        s1 = r1[j] - alpha * (g1 + c[j] * d1[j])
        r0[j] = s0
        r1[j] = s1
        along[j] += e0[j] * s0 + e1[j] * s1
        image = v[j] - alpha * here[j]
        v[j] = image
        square += image * image
    return square


@compiled_freely
def _restrict_residual_rows(r, direction, compliance, start, stop, along):
    """Take from r what is along the direction at some rows of one plane; return ⟨r, M r⟩, M = 1 / (2 + c)."""
    number = r.dtype.type
    product = number(0)
    r0, r1 = r[0, start:stop], r[1, start:stop]
    e0, e1, c = direction[0, start:stop], direction[1, start:stop], compliance[start:stop]
    for j in range(stop - start):
        s0 = r0[j] - along[j] * e0[j]
        s1 = r1[j] - along[j] * e1[j]
        r0[j] = s0
        r1[j] = s1
        product += (s0 * s0 + s1 * s1) / (number(2) + c[j])
    return product


@compiled_freely
def _search_rows(d, r, direction, compliance, start, stop, width, beta, along):
    """Turn the search direction, d ← M r + β d, of one plane at some rows, and add ⟨e, d⟩ to a line."""
    number = r.dtype.type
    r0, r1, d0, d1 = r[0, start:stop], r[1, start:stop], d[0, width + start :], d[1, width + start :]
    e0, e1, c = direction[0, start:stop], direction[1, start:stop], compliance[start:stop]
    for j in range(stop - start):
        scale = 1 / (number(2) + c[j])
        s0 = scale * r0[j] + beta * d0[j]
        s1 = scale * r1[j] + beta * d1[j]
        d0[j] = s0
        d1[j] = s1
        along[j] += e0[j] * s0 + e1[j] * s1


@compiled_freely
def _restrict_search_rows(d, direction, compliance, start, stop, width, along):
    """Take from d what is along the direction, which rounding leaves and which would grow; return ⟨d, c d⟩."""
    square = d.dtype.type(0)
    d0, d1 = d[0, width + start : width + stop], d[1, width + start : width + stop]
    e0, e1, c = direction[0, start:stop], direction[1, start:stop], compliance[start:stop]
    for j in range(stop - start):
        s0 = d0[j] - along[j] * e0[j]
        s1 = d1[j] - along[j] * e1[j]
        d0[j] = s0
        d1[j] = s1
        square += c[j] * (s0 * s0 + s1 * s1)
    return square


@inlined
def _residual(t, v, d, r, direction, compliance, width, mask, alpha, line):
    """Update the residual r ← E (r - α (∇t + c d)) and the images v ← v - α t; return ⟨r, M r⟩ and ‖v‖²."""
    planes, n = v.shape
    product, square = 0.0, 0.0
    for i in range(0, n, mask.size):
        j = min(i + mask.size, n)
        along = line[: j - i]
        along[:] = 0
        for c in range(planes):
            square += _residual_rows(t[c], v[c], d[c], r[c], direction[c], compliance, i, j, width, mask, alpha, along)
        for c in range(planes):
            product += _restrict_residual_rows(r[c], direction[c], compliance, i, j, along)
    return product, square


@compiled
def differentiate_groups(result, dual, grad_u, grad_f, start, stop, weights, tol, floor, most, delay, iterations):
    """Multiply gradients by the derivative of the minimiser, group by group, by conjugate gradients.

    Writes the number of steps taken; `most` of them mean that it has not converged.
    """
    planes, height, width = result.shape[1:]
    n = height * width
    mask = mask_of_block(result[0, 0])
    line = np.empty(mask.size, result.dtype)
    u, t = np.zeros((planes, n + width + 1), result.dtype), np.zeros((planes, n + width + 1), result.dtype)
    r, direction = np.empty((planes, 2, n), result.dtype), np.empty((planes, 2, n), result.dtype)
    d, compliance = np.empty((planes, 2, width + n), result.dtype), np.empty(n, result.dtype)
    v, gains = np.empty((planes, n), result.dtype), np.empty(delay)
    number = result.dtype.type
    least = number(floor)
    for m in range(start, stop):
        grad, limit = grad_u[m].reshape((planes, n)), weights[m]
        p = dual[m].reshape((planes, 2, n))
        for c in range(planes):
            copy(result[m, c].reshape(n), u[c, :n])
            finish(u[c], n, width)
        for i in range(0, n, mask.size):
            j = min(i + mask.size, n)
            scales = line[: j - i]
            scales[:] = 0
            for c in range(planes):
                _linearise_rows(u[c], p[c], i, j, width, mask, direction[c], scales)
            _to_compliance(scales, limit, least, compliance[i:j])
            for c in range(planes):
                _scale_rows(direction[c], i, j, scales)
        # The first residual is E ∇v: a step of -1 along v itself, from nothing.
        r[:] = 0
        d[:] = 0
        gains[:] = 0
        whole = 0.0
        for c in range(planes):
            copy(grad[c], v[c])
            copy(grad[c], t[c, :n])
            finish(t[c], n, width)
            whole += line_square_sum(v[c])
        product, _ = _residual(t, v, d, r, direction, compliance, width, mask, number(-1), line)
        for c in range(planes):
            copy(grad[c], v[c])
        beta = 0.0
        # Below this the residual is rounding.
        rounding = product * np.finfo(result.dtype).eps ** 2
        iterations[m] = most
        for k in range(most):
            energy = 0.0
            for i in range(0, n, mask.size):
                j = min(i + mask.size, n)
                along = line[: j - i]
                along[:] = 0
                for c in range(planes):
                    _search_rows(d[c], r[c], direction[c], compliance, i, j, width, number(beta), along)
                for c in range(planes):
                    energy += _restrict_search_rows(d[c], direction[c], compliance, i, j, width, along)
                    energy += divergence_rows(d[c], t[c], i, j, width)
            if not (energy > 0 and product > rounding):
                iterations[m] = k
                break
            for c in range(planes):
                finish(t[c], n, width)
            alpha, before = product / energy, product
            product, square = _residual(t, v, d, r, direction, compliance, width, mask, number(alpha), line)
            # What the last steps gained is, nearly, how far the steps before them were from the solution.
            gains[k % delay] = alpha * before
            if k + 1 >= delay and gains.sum() <= tol * (square + tol * whole):
                iterations[m] = k + 1
                break
            beta = product / before
        for c in range(planes):
            copy(v[c], grad_f[m, c].reshape(n))
