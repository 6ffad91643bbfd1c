"""The denoisers as modules of PyTorch, for a network of one's own or a chain of torchvision's transforms."""

from __future__ import annotations

from typing import Any

import torch

from art_denoise._checks import check_filter_input
from art_denoise.choices import NLMeansMode, PatchWeights, ROFCoupling, ROFSolver
from art_denoise.filters.nl_means import check_nl_means_arguments, nl_means_denoise
from art_denoise.filters.rof import check_rof_arguments, rof_denoise


class _Denoiser(torch.nn.Module):
    """Filters images (..., C, H, W), each by itself."""

    _names: tuple[str, ...] = ()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Denoise images.

        :param x: Float tensor (..., C, H, W): one image, a batch, or batches of frames (N, F, C, H, W).
        :return: Denoised images, same shape, dtype and device.
        :raises TypeError: If it is no float tensor.
        :raises ValueError: If it has fewer than three axes, no channel or no pixel, or is not finite.
        """
        if not isinstance(x, torch.Tensor) or x.ndim < 3:
            check_filter_input(x)
            raise ValueError(f"`x` must be (..., C, H, W), got {tuple(x.shape)}: give one grey image as `x[None]`")
        images = x.reshape(-1, *x.shape[-3:]) if x.numel() else x.new_empty((0, *x.shape[-3:]))
        return self._filter(images).reshape(x.shape)

    def _filter(self, x: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError

    def _given(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self._names}

    def extra_repr(self) -> str:
        """Return the parameters, for `print(module)`."""
        return ", ".join(f"{name}={value!r}" for name, value in self._given().items())


class ROFDenoise(_Denoiser):
    """Total-variation denoising as a module: :func:`rof_denoise` of images (..., C, H, W).

    Before a network it is part of it, with its exact gradient; in `torchvision.transforms.v2` it stands behind
    `ToDtype(torch.float32, scale=True)`. It has no weights to be learnt, nothing in its state, and is the same while a
    network is trained.

    :param weight: TV weight in units of the value range, 0 to 1e6. The paper's is 10 of 255.
    :param solver: "chambolle" or "converged".
    :param eps: For "chambolle": relative change of the energy at which an image channel stops.
    :param tol: For "converged": relative duality gap at which an image channel stops.
    :param max_iter: Most iterations.
    :param coupling: "none": each channel by itself. "channels": those of an image together.
    :raises TypeError: If a parameter is of the wrong type.
    :raises ValueError: If a parameter is outside its interval.

    Example::

        >>> import torch
        >>> from art_denoise import ROFDenoise
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 10))
        >>> defended = torch.nn.Sequential(ROFDenoise(weight=5 / 255), network)
        >>> defended(torch.rand(4, 3, 32, 32)).shape
        torch.Size([4, 10])
    """

    _names = ("weight", "solver", "eps", "tol", "max_iter", "coupling")

    def __init__(
        self,
        weight: float = 10 / 255,
        *,
        solver: ROFSolver = "chambolle",
        eps: float | None = None,
        tol: float | None = None,
        max_iter: int | None = None,
        coupling: ROFCoupling = "none",
    ) -> None:
        super().__init__()
        check_rof_arguments(weight, solver, eps, tol, max_iter, coupling)
        self.weight, self.solver, self.eps, self.tol, self.max_iter = weight, solver, eps, tol, max_iter
        self.coupling = coupling

    def _filter(self, x: torch.Tensor) -> torch.Tensor:
        return rof_denoise(x, **self._given())


class NLMeansDenoise(_Denoiser):
    """Non-local means as a module: :func:`nl_means_denoise` of images (..., C, H, W).

    As :class:`ROFDenoise`. The channels of an image share their weights.

    :param h: Filter strength in units of the value range, > 0, ≤ 1e6. The paper's is 0.05.
    :param patch_size: Side of the patches in pixels.
    :param patch_distance: Greatest distance to a patch, per axis, in pixels.
    :param mode: "fast" or "centred".
    :param patch_weights: For "centred": "uniform" or "gaussian".
    :param sigma: Standard deviation of the noise in units of the value range.
    :raises TypeError: If a parameter is of the wrong type.
    :raises ValueError: If a parameter is outside its interval.

    Example::

        >>> import torch
        >>> from torchvision.transforms import Compose
        >>> from art_denoise import NLMeansDenoise
        >>> transform = Compose([NLMeansDenoise(h=0.03), lambda image: 2 * image - 1])
        >>> transform(torch.rand(3, 32, 32)).shape
        torch.Size([3, 32, 32])
    """

    _names = ("h", "patch_size", "patch_distance", "mode", "patch_weights", "sigma")

    def __init__(
        self,
        h: float = 0.05,
        *,
        patch_size: int = 2,
        patch_distance: int = 3,
        mode: NLMeansMode = "fast",
        patch_weights: PatchWeights = "uniform",
        sigma: float = 0.0,
    ) -> None:
        super().__init__()
        check_nl_means_arguments(h, patch_size, patch_distance, mode, patch_weights, sigma)
        self.h, self.patch_size, self.patch_distance = h, patch_size, patch_distance
        self.mode, self.patch_weights, self.sigma = mode, patch_weights, sigma

    def _filter(self, x: torch.Tensor) -> torch.Tensor:
        return nl_means_denoise(x, **self._given())
