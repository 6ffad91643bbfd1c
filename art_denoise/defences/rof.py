"""Total-variation (ROF) denoising as an ART preprocessing defence."""

from __future__ import annotations

from typing import ClassVar, get_args

import torch

from art_denoise._checks import check_choice
from art_denoise.choices import DeviceType, Gradient, ROFCoupling, ROFSolver
from art_denoise.defences._base import ImageDefence
from art_denoise.filters.rof import check_rof_arguments, rof_denoise


class ROFDefence(ImageDefence):
    """Remove adversarial noise by total-variation (Rudin–Osher–Fatemi) denoising, D_ROF in the paper.

    | Paper: Lee, Park & Lee (2018), "Defensive denoising methods against adversarial attack".
    | The filter, its energy and its source: :func:`art_denoise.filters.rof_denoise`.

    Limitation: a denoiser is no security by itself. An attacker who differentiates through it (`gradient="exact"` is
    there for that) defeats most of it.

    :param weight: TV weight in units of the value range, ≥ 0; greater is smoother. The paper's 10 of 255.
    :param solver: "chambolle": scikit-image's iteration and stop rule, as in the paper. "converged": the minimiser of
        the energy, to a duality gap.
    :param eps: For "chambolle": relative change of energy at which an image channel stops, 0 to 1e6.
    :param tol: For "converged": relative duality gap at which an image channel stops, > 0.
    :param max_iter: Most iterations, ≥ 1; None is 200 for "chambolle" and 10 000 for "converged", which warns
        (`RuntimeWarning`) when it has done them.
    :param coupling: "none": each channel by itself, as in the paper. "channels": the vectorial total variation, which
        smooths the channels of an image together; images (N, 1, H, W) are the same by both.
    :param clip_values: Least and greatest value of the images, e.g. (0, 1) or (0, 255). `weight` acts the same on both.
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
        >>> import torch
        >>> from art.estimators.classification import PyTorchClassifier
        >>> from art_denoise import ROFDefence
        >>> classifier = PyTorchClassifier(
        ...     torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 10)),
        ...     loss=torch.nn.CrossEntropyLoss(),
        ...     input_shape=(3, 32, 32),
        ...     nb_classes=10,
        ...     clip_values=(0, 1),
        ...     preprocessing_defences=[ROFDefence(weight=10 / 255)],
        ... )
        >>> images = np.random.default_rng(0).random((4, 3, 32, 32), dtype=np.float32)
        >>> classifier.predict(images).shape
        (4, 10)
    """

    params: ClassVar[list[str]] = [
        "weight",
        "solver",
        "eps",
        "tol",
        "max_iter",
        "coupling",
        *ImageDefence.shared_params,
    ]

    def __init__(
        self,
        weight: float = 10 / 255,
        *,
        solver: ROFSolver = "chambolle",
        eps: float = 2e-4,
        tol: float = 1e-4,
        max_iter: int | None = None,
        coupling: ROFCoupling = "none",
        clip_values: tuple[float, float] = (0.0, 1.0),
        channels_first: bool = True,
        gradient: Gradient = "exact",
        chunk_size: int | None = None,
        verbose: bool = False,
        apply_fit: bool = False,
        apply_predict: bool = True,
        device_type: DeviceType = "gpu",
    ) -> None:
        self.weight = weight
        self.solver = solver
        self.eps = eps
        self.tol = tol
        self.max_iter = max_iter
        self.coupling = coupling
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
        eps, tol = (self.eps, None) if self.solver == "chambolle" else (None, self.tol)
        return rof_denoise(
            x, self.weight, solver=self.solver, eps=eps, tol=tol, max_iter=self.max_iter, coupling=self.coupling
        )

    def _check_own_params(self) -> None:
        # Both stops are kept, so that the solver can be changed and changed back.
        check_rof_arguments(self.weight, "chambolle", self.eps, None, self.max_iter, self.coupling)
        check_rof_arguments(self.weight, "converged", None, self.tol, self.max_iter, self.coupling)
        check_choice("solver", self.solver, get_args(ROFSolver))
