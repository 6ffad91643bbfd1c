"""What type checkers tell a user of this package. No test: `make lint` runs mypy and pyright on it.

Each line marked with `type: ignore` is wrong, and both checkers say so if it becomes right for them.
"""

from __future__ import annotations

import numpy as np
import torch

from art_denoise import (
    SGDUAP,
    DefensiveNoiseDefence,
    NLMeansDefence,
    Perturbation,
    ROFDefence,
    ROFDenoise,
    load_perturbation,
    nl_means_denoise,
    rof_denoise,
)

images = torch.zeros(2, 3, 8, 8)
denoised: torch.Tensor = rof_denoise(images, weight=0.1)
denoised = nl_means_denoise(images, h=0.05, mode="centred", patch_size=3)
defences = [ROFDefence(weight=5 / 255), NLMeansDefence(h=0.05)]
model = torch.nn.Sequential(ROFDenoise(weight=5 / 255))
noise = DefensiveNoiseDefence(np.zeros((3, 8, 8), dtype=np.float32))
perturbation: Perturbation = load_perturbation("file.npy")
attack: type = SGDUAP

rof_denoise(images, weight="strong")  # type: ignore
ROFDefence(solver="exact")  # type: ignore
NLMeansDefence(mode="centered")  # type: ignore
number: int = rof_denoise(images)  # type: ignore
