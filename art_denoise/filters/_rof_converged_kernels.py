"""The inner loops of the converged ROF solver on the CPU. See `_rof_converged` for the mathematics."""

from __future__ import annotations

import numpy as np

from art_denoise.filters._compiled import compiled, compiled_freely, inlined
from art_denoise.filters._planes import copy, line_square_sum, mask_of_block


@compiled_freely
def _dual_rows(ahead, p, start, stop, width, mask, weight, sigma):
    """Take the dual step p ← Π(p + σ ∇ū) at the pixels `start` to `stop`, where Π shortens to at most `weight`."""
    size = stop - start
    p0, p1 = p[0, width + start : width + stop], p[1, width + start : width + stop]
    here, right, below = ahead[start:stop], ahead[start + 1 : stop + 1], ahead[start + width : stop + width]
    for j in range(size):
        z0 = p0[j] + sigma * (below[j] - here[j])
        z1 = p1[j] + sigma * ((right[j] - here[j]) * mask[j])
        scale = weight / max(weight, np.sqrt(z0 * z0 + z1 * z1))
        p0[j] = scale * z0
        p1[j] = scale * z1


@compiled_freely
def primal_rows(f, u, ahead, p, start, stop, width, tau, theta):
    """Take the primal step u ← (u + τ (f - ∇ᵀp)) / (1 + τ) at some rows, and extrapolate it to ū."""
    p0, p1 = p[0, width + start : width + stop], p[1, width + start : width + stop]
    above, left = p[0, start:stop], p[1, width + start - 1 : width + stop - 1]
    f, u, ahead = f[start:stop], u[start:stop], ahead[start:stop]
    old, new = 1 / (1 + tau), tau / (1 + tau)
    for j in range(stop - start):
        image = f[j] + (p0[j] + p1[j] - above[j] - left[j])
        image = old * u[j] + new * image
        ahead[j] = image + theta * (image - u[j])
        u[j] = image


@compiled_freely
def _gap_rows(f, u, p, start, stop, width, mask, weight):
    """Return the parts of the gap and of the energy of some rows: ½‖u - w‖², weight |∇u| - ⟨∇u, p⟩, ½‖u - f‖²."""
    number = f.dtype.type
    apart, slack, fidelity, variation = number(0), number(0), number(0), number(0)
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
        length = weight * np.sqrt(down * down + across * across)
        variation += length
        slack += length - (down * p0[j] + across * p1[j])
    half = number(0.5)
    return half * apart + slack, half * fidelity + variation


@inlined
def finish(line, n, width):
    """Write the last row of an image once more after it."""
    copy(line[n - width : n], line[n : n + width])


@inlined
def _gap(f, u, p, mask, width, weight):
    """Return the duality gap of the image u and the dual field p, and the energy of u."""
    gap, energy = 0.0, 0.0
    finish(u, f.size, width)
    for start in range(0, f.size, mask.size):
        some = _gap_rows(f, u, p, start, min(start + mask.size, f.size), width, mask, weight)
        gap += some[0]
        energy += some[1]
    return gap, energy


@compiled
def solve_planes(x, result, dual, start, stop, weights, tol, max_iter, every, tau, gamma, gaps, iterations):
    """Minimise the ROF energy of planes `start` to `stop` of x (M, H, W); write u, p, relative gap and iterations."""
    height, width = x.shape[1:]
    n = height * width
    mask = mask_of_block(x[0])
    number = x.dtype.type
    u, ahead = np.zeros(n + width + 1, x.dtype), np.zeros(n + width + 1, x.dtype)
    p = np.empty((2, width + n), x.dtype)
    for m in range(start, stop):
        weight = weights[m]
        f = x[m].reshape(n)
        p[:] = 0
        copy(f, u[:n])
        copy(f, ahead[:n])
        step = tau
        k = 0
        while True:
            if k % every == 0 or k == max_iter:
                gap, energy = _gap(f, u, p, mask, width, weight)
                gaps[m] = max(gap, 0.0) / energy if energy != 0 else 0.0
                if gaps[m] <= tol or k == max_iter or not np.isfinite(gaps[m]):
                    break
            k += 1
            theta = 1 / np.sqrt(1 + 2 * gamma * step)
            sigma, now, factor = number(1 / (8 * step)), number(step), number(theta)
            step *= theta
            finish(ahead, n, width)
            for i in range(0, n, mask.size):
                j = min(i + mask.size, n)
                _dual_rows(ahead, p, i, j, width, mask, weight, sigma)
                primal_rows(f, u, ahead, p, i, j, width, now, factor)
        iterations[m] = k
        copy(u, result[m].reshape(n))
        copy(p[0, width:], dual[m, 0].reshape(n))
        copy(p[1, width:], dual[m, 1].reshape(n))


@compiled_freely
def _linearise_rows(u, p, start, stop, width, mask, weight, floor, direction, compliance):
    """Write what the fixed point p = Π(p + ∇u) is like to first order at some rows.

    Where |z| > weight, z = p + ∇u, `direction` is z / |z| and `compliance` (|z| - weight) / weight; elsewhere the
    direction is 0, and so, but for the floor, is the compliance: ∇u stays 0 there.
    """
    p0, p1 = p[0, start:stop], p[1, start:stop]
    here, right, below = u[start:stop], u[start + 1 : stop + 1], u[start + width : stop + width]
    e0, e1, c = direction[0, start:stop], direction[1, start:stop], compliance[start:stop]
    zero = u.dtype.type(0)
    for j in range(stop - start):
        z0 = p0[j] + (below[j] - here[j])
        z1 = p1[j] + (right[j] - here[j]) * mask[j]
        size = np.sqrt(z0 * z0 + z1 * z1)
        inverse = 1 / size if size > weight else zero
        e0[j] = z0 * inverse
        e1[j] = z1 * inverse
        c[j] = max((size - weight) / weight, floor)


@compiled_freely
def _residual_rows(t, v, d, r, direction, compliance, start, stop, width, mask, alpha):
    """Update the residual r ← E (r - α (∇t + c d)) and the image v ← v - α t at some rows; return ⟨r, M r⟩ and ‖v‖².

    E takes away what is along `direction`; M = 1 / (2 + c) is the preconditioner.
    """
    number = t.dtype.type
    product, square = number(0), number(0)
    here, right, below = t[start:stop], t[start + 1 : stop + 1], t[start + width : stop + width]
    r0, r1, d0, d1 = r[0, start:stop], r[1, start:stop], d[0, width + start :], d[1, width + start :]
    e0, e1, c, v = direction[0, start:stop], direction[1, start:stop], compliance[start:stop], v[start:stop]
    for j in range(stop - start):
        g0 = below[j] - here[j]
        g1 = (right[j] - here[j]) * mask[j]
        s0 = r0[j] - alpha * (g0 + c[j] * d0[j])
        s1 = r1[j] - alpha * (g1 + c[j] * d1[j])
        along = e0[j] * s0 + e1[j] * s1
        s0 -= along * e0[j]
        s1 -= along * e1[j]
        r0[j] = s0
        r1[j] = s1
        image = v[j] - alpha * here[j]
        v[j] = image
        product += (s0 * s0 + s1 * s1) / (number(2) + c[j])
        square += image * image
    return product, square


@compiled_freely
def _search_rows(d, r, direction, compliance, start, stop, width, beta):
    """Turn the search direction, d ← E (M r + β d), at some rows; return ⟨d, c d⟩.

    But for rounding E changes nothing there. What rounding leaves along `direction` grows from step to step, though.
    """
    number = r.dtype.type
    square = number(0)
    r0, r1, d0, d1 = r[0, start:stop], r[1, start:stop], d[0, width + start :], d[1, width + start :]
    e0, e1, c = direction[0, start:stop], direction[1, start:stop], compliance[start:stop]
    for j in range(stop - start):
        scale = 1 / (number(2) + c[j])
        s0 = scale * r0[j] + beta * d0[j]
        s1 = scale * r1[j] + beta * d1[j]
        along = e0[j] * s0 + e1[j] * s1
        s0 -= along * e0[j]
        s1 -= along * e1[j]
        d0[j] = s0
        d1[j] = s1
        square += c[j] * (s0 * s0 + s1 * s1)
    return square


@compiled_freely
def divergence_rows(d, t, start, stop, width):
    """Write t = ∇ᵀd at some rows, and return ‖t‖²."""
    square = t.dtype.type(0)
    d0, d1 = d[0, width + start : width + stop], d[1, width + start : width + stop]
    above, left, t = d[0, start:stop], d[1, width + start - 1 : width + stop - 1], t[start:stop]
    for j in range(stop - start):
        term = above[j] + left[j] - d0[j] - d1[j]
        t[j] = term
        square += term * term
    return square


@compiled
def differentiate_planes(result, dual, grad_u, grad_f, start, stop, weights, tol, floor, most, delay, iterations):
    """Multiply gradients by the derivative of the minimiser, plane by plane, by conjugate gradients.

    Writes the number of steps taken; `most` of them mean that it has not converged.
    """
    height, width = result.shape[1:]
    n = height * width
    mask = mask_of_block(result[0])
    u, t = np.zeros(n + width + 1, result.dtype), np.zeros(n + width + 1, result.dtype)
    r, direction = np.empty((2, n), result.dtype), np.empty((2, n), result.dtype)
    d, compliance = np.empty((2, width + n), result.dtype), np.empty(n, result.dtype)
    v, gains = np.empty(n, result.dtype), np.empty(delay)
    number = result.dtype.type
    least = number(floor)
    for m in range(start, stop):
        grad, limit = grad_u[m].reshape(n), weights[m]
        copy(result[m].reshape(n), u[:n])
        finish(u, n, width)
        p = dual[m].reshape((2, n))
        for i in range(0, n, mask.size):
            _linearise_rows(u, p, i, min(i + mask.size, n), width, mask, limit, least, direction, compliance)
        # The first residual is E ∇v: a step of -1 along v itself, from nothing.
        r[:] = 0
        d[:] = 0
        gains[:] = 0
        copy(grad, v)
        copy(grad, t[:n])
        finish(t, n, width)
        whole = line_square_sum(v)
        product = 0.0
        for i in range(0, n, mask.size):
            j = min(i + mask.size, n)
            product += _residual_rows(t, v, d, r, direction, compliance, i, j, width, mask, number(-1))[0]
        copy(grad, v)
        beta = 0.0
        # Below this the residual is rounding.
        rounding = product * np.finfo(result.dtype).eps ** 2
        iterations[m] = most
        for k in range(most):
            energy = 0.0
            for i in range(0, n, mask.size):
                j = min(i + mask.size, n)
                energy += _search_rows(d, r, direction, compliance, i, j, width, number(beta))
                energy += divergence_rows(d, t, i, j, width)
            if not (energy > 0 and product > rounding):
                iterations[m] = k
                break
            finish(t, n, width)
            alpha, before, product, square = product / energy, product, 0.0, 0.0
            for i in range(0, n, mask.size):
                j = min(i + mask.size, n)
                some = _residual_rows(t, v, d, r, direction, compliance, i, j, width, mask, number(alpha))
                product += some[0]
                square += some[1]
            # What the last steps gained is, nearly, how far the steps before them were from the solution.
            gains[k % delay] = alpha * before
            if k + 1 >= delay and gains.sum() <= tol * (square + tol * whole):
                iterations[m] = k + 1
                break
            beta = product / before
        copy(v, grad_f[m].reshape(n))
