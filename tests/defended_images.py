"""Images and defences where another process finds them: a module of tests has another name there."""

from __future__ import annotations

import numpy as np
import torch

from art_denoise import Compose, NLMeansDefence, ROFDefence

X = np.random.default_rng(0).uniform(0, 1, (4, 3, 20, 18)).astype(np.float32)
DEFENCES = [ROFDefence(0.1), NLMeansDefence(0.2), Compose([NLMeansDefence(0.2), ROFDefence(0.1)])]


def called(defence: object) -> np.ndarray:
    """Call a defence, in whatever process this is."""
    return defence(X)[0]


class Images(torch.utils.data.Dataset):
    """Images that are denoised by those who load them."""

    def __init__(self, defence: object) -> None:
        self.defence = defence

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, k: int) -> np.ndarray:
        return self.defence(X[k : k + 1])[0][0]
