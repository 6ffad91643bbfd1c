"""Total-variation denoising: the Rudin–Osher–Fatemi (ROF) model on batches of images."""

from __future__ import annotations

from typing import Literal, get_args, overload

import torch

from art_denoise._checks import check_choice, check_filter_input, check_flag, check_integer, check_number
from art_denoise.choices import ROFCoupling, ROFSolver
from art_denoise.filters._one_image import takes_one_image
from art_denoise.filters._rof_chambolle import chambolle
from art_denoise.filters._rof_converged import converged
from art_denoise.filters._rof_operators import LEAST_WEIGHT, most_precise
from art_denoise.filters._strengths import MOST, check_strength, for_operator

#: What each solver takes for `max_iter=None`.
_MAX_ITER: dict[ROFSolver, int] = {"chambolle": 200, "converged": 10_000}

_EPS, _TOL = 2e-4, 1e-4

#: A relative gap below this is lost in the rounding of float32.
_LEAST_TOL_OF_FLOAT32 = 1e-6


@overload
def rof_denoise(
    x: torch.Tensor,
    weight: float | torch.Tensor,
    *,
    solver: ROFSolver = ...,
    eps: float | None = ...,
    tol: float | None = ...,
    max_iter: int | None = ...,
    coupling: ROFCoupling = ...,
    return_gap: Literal[False] = ...,
) -> torch.Tensor: ...


@overload
def rof_denoise(
    x: torch.Tensor,
    weight: float | torch.Tensor,
    *,
    solver: ROFSolver = ...,
    eps: float | None = ...,
    tol: float | None = ...,
    max_iter: int | None = ...,
    coupling: ROFCoupling = ...,
    return_gap: Literal[True],
) -> tuple[torch.Tensor, torch.Tensor]: ...


@takes_one_image
def rof_denoise(
    x: torch.Tensor,
    weight: float | torch.Tensor,
    *,
    solver: ROFSolver = "chambolle",
    eps: float | None = None,
    tol: float | None = None,
    max_iter: int | None = None,
    coupling: ROFCoupling = "none",
    return_gap: bool = False,
) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
    r"""Remove noise by total-variation denoising, each channel of each image by itself, or its channels together.

    The ROF model seeks the image `u` that minimises, for a noisy image `f`,

    .. math:: P(u) = \tfrac{1}{2} \lVert u - f \rVert_2^2 + \mathrm{weight} \cdot \sum_p \lvert (\nabla u)_p \rvert_2

    with forward differences, zero across the border, and the isotropic norm of the gradient at each pixel. `weight`
    stands before the total variation: the greater, the smoother the result. With `coupling="channels"` the gradients of
    all channels of an image have one length together at each pixel, the root of the sum of their squares: the vectorial
    total variation, which keeps edges at the same place in all channels and leaves fewer wrong colours. Where C
    channels are equal it smooths each as its own total variation does with weight / √C.

    `solver="chambolle"` computes what the paper's authors ran, scikit-image's `denoise_tv_chambolle`: Chambolle's dual
    fixed-point iteration from zero, ended when the energy changes by less than `eps` times its first value. With the
    default `eps` this ends after a dozen iterations, well before the minimiser is reached.
    `solver="converged"` computes the minimiser itself, by a primal–dual iteration that ends when the duality gap, which
    bounds P(u) - min P and ½‖u - u*‖², is at most `tol` times P(u).

    :param x: Images, float tensor (N, C, H, W), in units of the value range (0 to 1); or one image (C, H, W) of 1, 3 or
        4 channels, as a transform of a data set has it. float32 and float64 are computed as they are, float16 and
        bfloat16 in float32; float32 in float64 for `tol` < 1e-6.
    :param weight: TV weight in units of the value range, 0 to 1e6; 0 returns the images unchanged. The paper
        uses 10/255. A float tensor (N,) has one for each image; there is no gradient for it.
    :param solver: "chambolle" or "converged".
    :param eps: For "chambolle": relative change of the energy at which an image channel stops, 0 to 1e6. Smaller
        smooths more. With 0 all `max_iter` iterations are done. None is scikit-image's 2e-4.
    :param tol: For "converged": relative duality gap at which an image channel stops, > 0, ≤ 1/2. None is 1e-4.
    :param max_iter: Most iterations, ≥ 1; None is 200 for "chambolle", whose first only evaluates the energy of the
        input, and 10 000 for "converged".
    :param coupling: "none": each channel by itself, as in the paper. "channels": those of an image together.
    :param return_gap: For "converged": return the relative gaps as well.
    :return: Denoised images, of the shape of `x`, same dtype and device. Each channel depends on nothing but itself,
        or, with `coupling="channels"`, on nothing but its image. With `return_gap` also the gap of each channel as a
        share of P(u), (N, C) float64, before rounding to half precision; coupled channels have that of their image. On
        devices without float64 it is float32, and so is all that is computed.
    :raises TypeError: If `x` is not a float tensor or an argument is not a number.
    :raises ValueError: If `x` is not (N, C, H, W) with H, W ≥ 1 or not finite or beyond ±1e14 (in float64
        ±1e149), an argument is outside its interval, or belongs to the other solver.
    :warns RuntimeWarning: If "converged" has done `max_iter` iterations; names the greatest gap.

    Differentiable once. "chambolle": exactly the iterations done, the stop held fixed; the gradient of \|∇u\| where it
    vanishes is taken as 0. The backward pass computes the iterations again, one image channel at a time in each thread,
    and keeps all K of them if they take at most 32 MiB, else about 2 √K; on other devices it is 2 √K, for all images.
    "converged": the minimiser's own derivative by implicit differentiation, where ∇u is 0 or not being held fixed. It
    is as good as the solution: on photographs off by about 5 % at `tol` 1e-4 and 1 % at 1e-6, mostly because it is not
    yet known where ∇u is 0. Three times the images are kept for it, and conjugate gradients solve for it; where 10 000
    steps of them do not suffice, a `RuntimeWarning` says so.

    Cost: O(N C H W) an iteration; an image channel that has stopped costs nothing more. At weight 10/255 photographs
    take 10 to 20 iterations of "chambolle" and 60 to 150 of "converged", more for larger weights. CPU tensors are
    filtered by compiled code on as many threads as torch uses (`torch.set_num_threads`), CUDA tensors, for "chambolle",
    by kernels of Triton (3.0 or later), which PyTorch's builds for CUDA bring. Coupled channels are filtered by torch
    operations on CUDA.

    Source: A. Chambolle, "An algorithm for total variation minimization and applications", J. Math. Imaging Vis. 20
    (2004), doi:10.1023/B:JMIV.0000011325.36760.1e, Eq. (9). Deviations, all scikit-image's: step 1/4 rather than ≤ 1/8;
    stop on the change of the energy ``‖u − f‖² + weight · TV(u)``, which lacks the ½ of the energy that is minimised,
    rather than on the change of the dual variable. On a CPU the result is scikit-image's, with NumPy ≥ 2.3 bit for bit;
    elsewhere the energy is summed in another order, and a borderline stop can fall one iteration apart.
    "converged": A. Chambolle and T. Pock, "A first-order primal-dual algorithm for convex problems with applications to
    imaging", J. Math. Imaging Vis. 40 (2011), doi:10.1007/s10851-010-0251-1, Algorithm 2, with modulus 1/5 and first
    step 1/5. A weight so large that the minimiser is the channel's mean is recognised beforehand where a Poisson
    equation proves it. Coupled: X. Bresson and T. Chan, "Fast dual minimization of the vectorial total variation norm
    and applications to color image processing", Inverse Probl. Imaging 2 (2008), doi:10.3934/ipi.2008.2.455, with the
    same step and stop, the energy being that of the image.

    Example::

        >>> import torch
        >>> from skimage import data
        >>> from art_denoise import rof_denoise
        >>> photograph = torch.from_numpy(data.astronaut()).permute(2, 0, 1)[None] / 255
        >>> noisy = photograph + 0.1 * torch.randn(photograph.shape, generator=torch.Generator().manual_seed(0))
        >>> denoised = rof_denoise(noisy, weight=0.1)
        >>> denoised.shape
        torch.Size([1, 3, 512, 512])
        >>> bool(torch.dist(denoised, photograph) < torch.dist(noisy, photograph) / 2)
        True
    """
    check_filter_input(x)
    check_rof_arguments(weight, solver, eps, tol, max_iter, coupling, x.shape[0])
    coupled = coupling == "channels"
    if check_flag("return_gap", return_gap) and solver != "converged":
        raise ValueError("`return_gap` needs solver='converged', got solver='chambolle'")
    max_iter = _MAX_ITER[solver] if max_iter is None else max_iter
    eps, tol = _EPS if eps is None else eps, _TOL if tol is None else tol
    if x.numel() == 0 or (not isinstance(weight, torch.Tensor) and weight < LEAST_WEIGHT):
        return (x.clone(), x.new_zeros(x.shape[:2], dtype=most_precise(x.device))) if return_gap else x.clone()
    dtype = torch.promote_types(x.dtype, torch.float32)
    if solver == "converged" and tol < _LEAST_TOL_OF_FLOAT32:
        dtype = most_precise(x.device)
    if solver == "chambolle":
        return chambolle(x.to(dtype), *for_operator(weight), eps, max_iter, coupled)[0].to(x.dtype)
    u, gaps, *_ = converged(x.to(dtype), *for_operator(weight), tol, max_iter, coupled)
    return (u.to(x.dtype), gaps) if return_gap else u.to(x.dtype)


def check_rof_arguments(
    weight: float | torch.Tensor,
    solver: ROFSolver,
    eps: float | None,
    tol: float | None,
    max_iter: int | None,
    coupling: ROFCoupling,
    images: int | None = None,
) -> None:
    """Raise unless the arguments of `rof_denoise` are fit; None stands for the default, or any number of images."""
    check_strength("weight", weight, images, positive=False)
    check_choice("solver", solver, get_args(ROFSolver))
    check_choice("coupling", coupling, get_args(ROFCoupling))
    if eps is not None:
        check_number("eps", eps, low=0, high=MOST)
    if tol is not None:
        check_number("tol", tol, low=0, low_open=True, high=0.5)
    if max_iter is not None:
        check_integer("max_iter", max_iter, low=1)
    if solver == "converged" and eps is not None:
        raise ValueError(f"`eps` belongs to solver='chambolle', got {eps} with 'converged': use `tol`")
    if solver == "chambolle" and tol is not None:
        raise ValueError(f"`tol` belongs to solver='converged', got {tol} with 'chambolle': use `eps`")
