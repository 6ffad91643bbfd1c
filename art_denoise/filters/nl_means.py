"""Non-local means on batches of images."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional

from art_denoise.filters._checks import check_filter_input, check_integer, check_number

#: Patches further apart than this, in units of h², get no weight: exp(-5) = 0.0067. scikit-image's cut-off.
_CUTOFF = 5.0

#: A filter strength so small that nothing is changed, and that the inverse of its square is no number in float32.
_LEAST_H = 1e-12


def nl_means_denoise(x: torch.Tensor, h: float, *, patch_size: int = 2, patch_distance: int = 3) -> torch.Tensor:
    r"""Remove noise by averaging each pixel with the pixels nearby whose surroundings look alike.

    .. math::

        u(p) = \frac{1}{Z(p)} \sum_{\lVert t \rVert_\infty \le \mathrm{patch\_distance}} f(p, t) \, v(p + t), \qquad
        f(p, t) = \exp\Bigl(-\frac{1}{s^2 C h^2} \sum_o \lVert v(p + o) - v(p + t + o) \rVert^2\Bigr), \qquad
        Z(p) = \sum_t f(p, t)

    This is the filter that the paper's authors ran, scikit-image's `denoise_nl_means(fast_mode=True)`, with its
    peculiarities: `s` is `patch_size`, raised to the next odd number; the sum over `o` runs over a window that is
    smaller by one than `s`, hence even, and off-centre: `o` from 1 − s//2 to s//2 along each axis. So `patch_size=2`
    compares 2×2 pixels and divides by 3², and `patch_size=1` compares nothing: it averages the whole search window.
    The exponential is Schraudolph's approximation, off by up to 4 %, and weights below exp(−5) are dropped. All
    channels share their weights.

    :param x: Images, float tensor (N, C, H, W), in units of the value range (0 to 1). float32 and float64 are computed
        as they are, float16 and bfloat16 in float32.
    :param h: Filter strength (the paper's "cut-off distance") in units of the value range, > 0, ≤ 1e6. The
        greater, the more unlike patches may be and still count, and the smoother the result. The paper uses 0.05.
    :param patch_size: Side of the patches in pixels, ≥ 1, as scikit-image reads it (above). The paper uses 2.
    :param patch_distance: Greatest distance to a patch, per axis, in pixels, ≥ 0. The paper uses 3.
    :return: Denoised images (N, C, H, W), same dtype and device, each value between the least and greatest of `x`'s
        channel. An image depends on nothing but itself.
    :raises TypeError: If `x` is not a float tensor or an argument is not a number.
    :raises ValueError: If `x` is not (N, C, H, W) with C, H, W ≥ 1 or an argument is outside its interval.

    Differentiable once: exactly what is computed, the approximate exponential included; a weight that crosses the
    cut-off jumps. For float32 on a CPU the backward pass computes the weights again and keeps a few planes in each
    thread; elsewhere autograd keeps those of every shift, and memory grows with the search window.

    Cost: O(N C H W · patch_distance²) for small patches; the sum over a patch adds O(N H W · patch_distance² · s²).
    float32 on a CPU is filtered by compiled code on as many threads as torch uses (`torch.set_num_threads`).

    Limitations: borders are continued by reflection without repeating the edge (NumPy *reflect*), as often as needed
    for images smaller than the window. Because the window is off-centre the filter is not symmetric under flips.

    Source: A. Buades, B. Coll, J.-M. Morel, "A non-local algorithm for image denoising", CVPR 2005,
    doi:10.1109/CVPR.2005.38, and J. Froment, IPOL 4 (2014), doi:10.5201/ipol.2014.120, for sharing the squared
    differences of a shift between all pixels.
    """
    check_filter_input(x)
    h = check_number("h", h, low=0, high=1e6, low_open=True)
    check_integer("patch_size", patch_size, low=1)
    check_integer("patch_distance", patch_distance, low=0)
    if h < _LEAST_H or x.numel() == 0:
        return x.clone()
    v = x.to(torch.promote_types(x.dtype, torch.float32))
    side = patch_size + 1 - patch_size % 2
    scale = side**2 * x.shape[1] * h**2
    if x.device.type == "cpu" and v.dtype == torch.float32:
        u: torch.Tensor = _ShiftLoopCPU.apply(v, side // 2, patch_distance, scale)
    else:
        u = _shift_loop(v, side // 2, patch_distance, scale)
    return u.to(x.dtype)


def _shift_loop(v: torch.Tensor, radius: int, distance: int, scale: float) -> torch.Tensor:
    """Average over all shifts of the search window; a shift and its opposite share one map of patch distances."""
    height, width = v.shape[2:]
    pad = radius + distance
    padded = _reflect(v, pad)

    def window(top: int, left: int, rows: int, columns: int) -> torch.Tensor:
        """Part of the padded images whose corner is (top, left) in coordinates of the unpadded image."""
        return padded[:, :, pad + top : pad + top + rows, pad + left : pad + left + columns]

    weights = _fast_exp(torch.zeros_like(v[:, :1]))  # the shift by nothing
    total = weights * v
    for down in range(-distance, distance + 1):
        for right in range(distance + 1):
            if right == 0 and down <= 0:
                continue  # the opposite shift is done with its partner
            # f(p, t) is needed at the pixels p of the image, and, for the opposite shift, at those of the image - t.
            top, rows = min(0, -down), height + abs(down)
            left, columns = -right, width + right
            grown = (rows + 2 * radius - 1, columns + 2 * radius - 1) if radius else (rows, columns)
            corner = (top - radius + 1, left - radius + 1) if radius else (top, left)
            square = (window(*corner, *grown) - window(corner[0] + down, corner[1] + right, *grown)).square()
            distances = square.sum(1, keepdim=True) / scale
            if radius:
                distances = functional.avg_pool2d(distances, 2 * radius, stride=1, divisor_override=1)
            else:
                distances = distances * 0
            weight = _fast_exp(-distances) * (distances <= _CUTOFF)
            here = weight[:, :, -top : -top + height, right : right + width]
            there = weight[:, :, -top - down : -top - down + height, :width]
            total = total + here * window(down, right, height, width) + there * window(-down, -right, height, width)
            weights = weights + here + there
    return total / weights


def _fast_exp(y: torch.Tensor) -> torch.Tensor:
    """Approximate exp(y) as scikit-image does: 2ⁿ (1 + r) where n + r, 0 ≤ r < 1, is y / ln 2 less a small offset.

    Source: N. N. Schraudolph, "A fast, compact approximation of the exponential function", Neural Computation 11
    (1999), doi:10.1162/089976699300016467, with the constant that minimises the root mean square relative error. He
    writes n and r into the bits of a float; here they are computed, so that autograd gives the derivative 2ⁿ / ln 2.
    """
    z = y * (1 / math.log(2)) - 60801 / 2**20
    n = z.detach().floor()
    return torch.exp2(n) * (1 + z - n)


def _reflect(v: torch.Tensor, pad: int) -> torch.Tensor:
    """Continue images by reflection without repeating the edge, also where `pad` exceeds the image (NumPy's rule)."""
    for axis in (2, 3):
        v = v.index_select(axis, torch.from_numpy(_reflected(v.shape[axis], pad)).to(v.device))
    return v


def _reflected(size: int, pad: int) -> np.ndarray:
    """Return where along an axis each pixel of the continued image comes from."""
    return np.pad(np.arange(size), pad, mode="reflect")


class _ShiftLoopCPU(torch.autograd.Function):
    """What `_shift_loop` does, for float32 images on the CPU, with its adjoint as its gradient."""

    @staticmethod
    def forward(ctx: Any, v: torch.Tensor, radius: int, distance: int, scale: float) -> torch.Tensor:
        from art_denoise.filters import _nl_means_kernels as kernels
        from art_denoise.filters._compiled import share_out

        images = v.detach().contiguous().numpy()
        out = np.empty_like(images)
        pad = radius + distance
        rows, columns = (_reflected(size, pad) for size in images.shape[2:])
        ctx.window = rows, columns, pad, radius, distance, scale, _CUTOFF

        def work(start: int, stop: int) -> None:
            kernels.nl_means_images(images, out, start, stop, *ctx.window)

        share_out(work, len(images), images[0].size)
        result = torch.from_numpy(out)
        if ctx.needs_input_grad[0]:
            ctx.save_for_backward(v, result)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        from art_denoise.filters import _nl_means_kernels as kernels
        from art_denoise.filters._compiled import share_out

        v, result = ctx.saved_tensors
        images, out, grad_out = (t.detach().contiguous().numpy() for t in (v, result, grad))
        grad_x = np.empty_like(images)

        def work(start: int, stop: int) -> None:
            kernels.nl_means_images_adjoint(images, out, grad_out, grad_x, start, stop, *ctx.window)

        share_out(work, len(images), images[0].size)
        return torch.from_numpy(grad_x), None, None, None
