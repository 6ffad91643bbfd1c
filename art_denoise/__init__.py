"""Denoising defences for the Adversarial Robustness Toolbox, and their evaluation against universal perturbations.

The public names are in the stub beside this file. They are imported when they are first used, so that
`import art_denoise` costs nothing.
"""

from __future__ import annotations

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
