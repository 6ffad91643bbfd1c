"""Non-local means as an ART preprocessing defence."""

from __future__ import annotations

from typing import ClassVar

import torch

from art_denoise.choices import DeviceType, Gradient, NLMeansMode, PatchWeights
from art_denoise.defences._base import ImageDefence
from art_denoise.filters.nl_means import check_nl_means_arguments, nl_means_denoise


class NLMeansDefence(ImageDefence):
    """Remove adversarial noise by non-local means, D_nlm in the paper.

    | Paper: Lee, Park & Lee (2018), "Defensive denoising methods against adversarial attack".
    | The filter, its definition and its source: :func:`art_denoise.filters.nl_means_denoise`.

    Limitation: a denoiser is no security by itself. An attacker who differentiates through it (`gradient="exact"` is
    there for that) defeats most of it.

    :param h: Filter strength in units of the value range, > 0; greater is smoother. The paper's 0.05.
    :param patch_size: Side of the patches in pixels, 1 to 1000, as scikit-image reads it: 2 compares 2×2 pixels. Odd
        for "centred".
    :param patch_distance: Greatest distance to a patch in the search window, per axis, in pixels, 0 to 1000.
    :param mode: "fast": scikit-image's fast filter with its peculiarities, as in the paper. "centred": the definition,
        which follows flips of the image; it needs an odd `patch_size`.
    :param patch_weights: For "centred": "uniform" or "gaussian".
    :param sigma: Standard deviation of the noise that is not counted as a difference, in units of the value range, ≥ 0.
    :param clip_values: Least and greatest value of the images, e.g. (0, 1) or (0, 255). `h` acts the same on both.
    :param channels_first: True for (N, C, H, W), False for (N, H, W, C).
    :param gradient: "exact" differentiates the filter, and lets the gradient through the clip to `clip_values`;
        "identity" passes the gradient through unchanged (BPDA).
    :param chunk_size: Images filtered at a time; None chooses from a memory budget (512 MiB, on a GPU 2 GiB). Halved as
        often as a GPU's memory does not suffice. The result does not depend on it.
    :param verbose: Whether to show a progress bar.
    :param apply_fit: Whether ART applies the defence while a model is trained.
    :param apply_predict: Whether ART applies the defence at prediction.
    :param device_type: "gpu" (falls back to the CPU) or "cpu": where arrays are filtered. Tensors stay on their device.
    :raises TypeError: If a parameter is of the wrong type.
    :raises ValueError: If a parameter is outside its interval.

    Example::

        >>> import numpy as np
        >>> from art_denoise import NLMeansDefence
        >>> defence = NLMeansDefence(h=0.05, clip_values=(0, 255), channels_first=False)
        >>> images = np.random.default_rng(0).uniform(0, 255, (4, 32, 32, 3)).astype(np.float32)
        >>> denoised, _ = defence(images)  # ART calls it so, if it is one of a classifier's `preprocessing_defences`
        >>> denoised.shape
        (4, 32, 32, 3)
    """

    params: ClassVar[list[str]] = [
        "h",
        "patch_size",
        "patch_distance",
        "mode",
        "patch_weights",
        "sigma",
        *ImageDefence.shared_params,
    ]

    def __init__(
        self,
        h: float = 0.05,
        *,
        patch_size: int = 2,
        patch_distance: int = 3,
        mode: NLMeansMode = "fast",
        patch_weights: PatchWeights = "uniform",
        sigma: float = 0.0,
        clip_values: tuple[float, float] = (0.0, 1.0),
        channels_first: bool = True,
        gradient: Gradient = "exact",
        chunk_size: int | None = None,
        verbose: bool = False,
        apply_fit: bool = False,
        apply_predict: bool = True,
        device_type: DeviceType = "gpu",
    ) -> None:
        self.h = h
        self.patch_size = patch_size
        self.patch_distance = patch_distance
        self.mode = mode
        self.patch_weights = patch_weights
        self.sigma = sigma
        super().__init__(
            clip_values=clip_values,
            channels_first=channels_first,
            gradient=gradient,
            chunk_size=chunk_size,
            verbose=verbose,
            apply_fit=apply_fit,
            apply_predict=apply_predict,
            device_type=device_type,
        )

    def _filter(self, x: torch.Tensor) -> torch.Tensor:
        return nl_means_denoise(
            x,
            self.h,
            patch_size=self.patch_size,
            patch_distance=self.patch_distance,
            mode=self.mode,
            patch_weights=self.patch_weights,
            sigma=self.sigma,
        )

    def _check_own_params(self) -> None:
        check_nl_means_arguments(
            self.h, self.patch_size, self.patch_distance, self.mode, self.patch_weights, self.sigma
        )
