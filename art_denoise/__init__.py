"""Denoising defences for the Adversarial Robustness Toolbox, and their evaluation against universal perturbations.

The public names are in the stub beside this file. They are imported when they are first used, so that
`import art_denoise` costs nothing.
"""

from __future__ import annotations

from typing import Any

import lazy_loader

__version__ = "0.1.0"

_find, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    try:
        return _find(name)
    except AttributeError as error:
        if name not in __all__:
            raise
        # Python would say "cannot import name", and not that something else is broken.
        raise ImportError(f"{name} cannot be imported, as something that it needs fails: {error}") from error
