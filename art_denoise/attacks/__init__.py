"""Who attacks: DeepFool, universal perturbations and controls, and the perturbation as a file."""

import lazy_loader

from art_denoise._extras import require

require("attacks", "art_denoise.attacks")

# Lazily, as the other packages: who reads a file of a perturbation does not load the attacks.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
