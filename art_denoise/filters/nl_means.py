"""Non-local means on batches of images."""

from __future__ import annotations

from typing import get_args

import torch

from art_denoise._checks import check_choice, check_filter_input, check_integer, check_number
from art_denoise.choices import NLMeansMode, PatchWeights
from art_denoise.filters._nl_means import LEAST_H, MOST_DISTANCE, average, window_side
from art_denoise.filters._one_image import takes_one_image
from art_denoise.filters._strengths import check_strength, for_operator


@takes_one_image
def nl_means_denoise(
    x: torch.Tensor,
    h: float | torch.Tensor,
    *,
    patch_size: int = 2,
    patch_distance: int = 3,
    mode: NLMeansMode = "fast",
    patch_weights: PatchWeights = "uniform",
    sigma: float = 0.0,
) -> torch.Tensor:
    r"""Remove noise by averaging each pixel with the pixels nearby whose surroundings look alike.

    .. math::

        u(p) = \frac{1}{Z(p)} \sum_{\lVert t \rVert_\infty \le \mathrm{patch\_distance}} f(p, t) \, v(p + t), \qquad
        f(p, t) = e^{-\max(d(p, t) - 2 \sigma^2, 0) / h^2}, \qquad
        Z(p) = \sum_t f(p, t)

    where d(p, t) is the mean over a patch and the C channels of the squared differences of v(p + o) and v(p + t + o).
    All channels share their weights.

    `mode="centred"` is this definition: o runs over a square centred on p, t only to pixels of the image, and the
    exponential is exact. The result follows flips of the image.

    `mode="fast"` is the filter that the paper's authors ran, scikit-image's `denoise_nl_means(fast_mode=True)`, with
    its peculiarities: with s the `patch_size`, raised to the next odd number, o runs over a window that is smaller by
    one, hence even, and off-centre: from 1 − s//2 to s//2 along each axis, while the sum of squared differences, less
    2σ² for each, is still divided by s² C. So `patch_size=2` compares 2×2 pixels and divides by 3², and `patch_size=1`
    compares nothing: it averages the whole search window. t also runs to pixels beyond the border. The exponential is
    Schraudolph's approximation, off by up to 4 %, and weights below exp(−5) are dropped. It is not symmetric under
    flips.

    :param x: Images, float tensor (N, C, H, W), in units of the value range (0 to 1); or one image (C, H, W) of 1, 3 or
        4 channels, as a transform of a data set has it. float32 and float64 are computed as they are, float16 and
        bfloat16 in float32.
    :param h: Filter strength (the paper's "cut-off distance") in units of the value range, > 0, ≤ 1e6. The
        greater, the more unlike patches may be and still count, and the smoother the result. The paper uses 0.05. A
        float tensor (N,) has one for each image; there is no gradient for it.
    :param patch_size: Side of the patches in pixels, ≥ 1; odd for "centred", as scikit-image reads it (above) for
        "fast". At most 1000, and no larger than the image, along axes of more than one pixel. The paper uses 2.
    :param patch_distance: Greatest distance to a patch, per axis, in pixels, 0 to 1000. The paper uses 3.
    :param mode: "fast" or "centred".
    :param patch_weights: For "centred": "uniform", or "gaussian" for differences weighted by a Gaussian of standard
        deviation (s − 1) / 4 about the centre of the patch, with weights below exp(−5) dropped, which is scikit-image's
        `fast_mode=False`, to 1e-2 (its exponential is Schraudolph's, and its cut-off looks at part of a patch).
    :param sigma: Standard deviation of the noise in units of the value range, ≥ 0: what two patches differ by on
        account of it, 2σ², is not counted. With it, a smaller `h` (0.6 to 0.8 σ) is usual. As in scikit-image.
    :return: Denoised images, of the shape of `x`, same dtype and device, each value between the least and greatest of
        its channel, but for rounding. An image depends on nothing but itself.
    :raises TypeError: If `x` is not a float tensor or an argument is not a number.
    :raises ValueError: If `x` is not (N, C, H, W) with C, H, W ≥ 1 or not finite or beyond ±1e14 (in float64
        ±1e149), an argument is outside its interval, or a patch is larger than the image.

    Differentiable once: exactly what is computed, the approximate exponential included; a weight that crosses the
    cut-off jumps. The backward pass computes the weights again, shift by shift, and keeps a few planes.

    Cost: O(N C H W · patch_distance²) for small patches; the sum over a patch adds O(N H W · patch_distance² · s).
    CPU tensors are filtered by compiled code on as many threads as torch uses (`torch.set_num_threads`), CUDA tensors
    by kernels of Triton (3.0 or later), which PyTorch's builds for CUDA bring; their backward pass takes up to 1 GiB.

    Limitations: borders are continued by reflection without repeating the edge (NumPy *reflect*), as often as needed
    for images smaller than the window.

    Source: A. Buades, B. Coll, J.-M. Morel, "A non-local algorithm for image denoising", CVPR 2005,
    doi:10.1109/CVPR.2005.38; J. Froment, IPOL 4 (2014), doi:10.5201/ipol.2014.120, for sharing the squared
    differences of a shift between all pixels; J. Darbon et al., ISBI 2008, doi:10.1109/ISBI.2008.4541250, for `sigma`.

    Example::

        >>> import torch
        >>> from skimage import data
        >>> from art_denoise import nl_means_denoise
        >>> photograph = torch.from_numpy(data.astronaut()).permute(2, 0, 1)[None] / 255
        >>> noisy = photograph + 0.1 * torch.randn(photograph.shape, generator=torch.Generator().manual_seed(0))
        >>> denoised = nl_means_denoise(noisy, h=0.08, patch_size=5, patch_distance=6, sigma=0.1)
        >>> denoised.shape
        torch.Size([1, 3, 512, 512])
        >>> bool(torch.dist(denoised, photograph) < torch.dist(noisy, photograph) / 2)
        True
    """
    check_filter_input(x)
    check_nl_means_arguments(h, patch_size, patch_distance, mode, patch_weights, sigma, x.shape[0])
    if x.numel() == 0:
        return x.clone()
    side = window_side(patch_size, mode)
    for axis, size in zip(("high", "wide"), x.shape[2:], strict=True):
        if 1 < size < side:
            raise ValueError(
                f"`patch_size` {patch_size} compares {side}×{side} pixels, but the images are {size} {axis}: use a "
                "smaller one, or larger images"
            )
    if not isinstance(h, torch.Tensor) and h < LEAST_H:
        return x.clone()
    v = x.to(torch.promote_types(x.dtype, torch.float32))
    strength = for_operator(h)
    return average(v, *strength, patch_size, patch_distance, mode, patch_weights, float(sigma))[0].to(x.dtype)


def check_nl_means_arguments(
    h: float | torch.Tensor,
    patch_size: int,
    patch_distance: int,
    mode: NLMeansMode,
    patch_weights: PatchWeights,
    sigma: float,
    images: int | None = None,
) -> None:
    """Raise unless the arguments of `nl_means_denoise` are fit for a number of images; None for any."""
    check_strength("h", h, images, positive=True)
    if check_integer("patch_size", patch_size, low=1) > MOST_DISTANCE:
        raise ValueError(f"`patch_size` must be <= {MOST_DISTANCE}, got {patch_size}")
    if check_integer("patch_distance", patch_distance, low=0) > MOST_DISTANCE:
        raise ValueError(
            f"`patch_distance` must be <= {MOST_DISTANCE}, got {patch_distance}: beyond an image are only its own "
            "pixels again"
        )
    check_number("sigma", sigma, low=0, high=1e6)
    check_choice("mode", mode, get_args(NLMeansMode))
    check_choice("patch_weights", patch_weights, get_args(PatchWeights))
    if mode == "centred" and patch_size % 2 == 0:
        raise ValueError(
            f"`patch_size` must be odd with mode='centred', got {patch_size}: a patch of {patch_size - 1} or "
            f"{patch_size + 1} has a centre"
        )
    if mode == "fast" and patch_weights != "uniform":
        raise ValueError(f"`patch_weights` needs mode='centred', got {patch_weights!r} with mode='fast': use 'uniform'")
