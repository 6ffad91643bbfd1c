"""Everything that filters compile at their first call, compiled beforehand."""

from __future__ import annotations

import torch

from art_denoise.filters.nl_means import nl_means_denoise
from art_denoise.filters.rof import rof_denoise


def warm_up() -> None:
    """Compile the filters and their gradients, or load what is kept of them, so that no later call has to.

    Takes up to a minute where nothing is kept, and a second else. For images of containers, where each start would
    compile anew: `RUN python -c "import art_denoise; art_denoise.warm_up()"`. What is compiled is kept beside the
    package, or in the user's cache, or in the folder that the variable NUMBA_CACHE_DIR names, for this kind of
    processor.

    Example::

        >>> from art_denoise import warm_up
        >>> warm_up()
    """
    for dtype in (torch.float32, torch.float64):
        for channels in (1, 3):
            x = torch.linspace(0, 1, channels * 12 * 13, dtype=dtype).reshape(1, channels, 12, 13).requires_grad_()
            for denoised in (
                rof_denoise(x, 0.1),
                rof_denoise(x, 0.1, coupling="channels"),
                rof_denoise(x, 0.1, solver="converged"),
                rof_denoise(x, 0.1, solver="converged", coupling="channels"),
                nl_means_denoise(x, 0.1),
                nl_means_denoise(x, 0.1, mode="centred", patch_size=3),
            ):
                denoised.sum().backward()
