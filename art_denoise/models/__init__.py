"""Who is attacked: the paper's three networks, any network of torchvision, and any user's own, as ART classifiers."""

import lazy_loader

from art_denoise._extras import require

require("evaluation", "art_denoise.models")

# Schedules of training are wanted where PyTorch is not.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
