"""What is attacked and classified: images in disjoint splits, and the sources that they come from."""

import lazy_loader

from art_denoise._extras import require

require("photographs", "art_denoise.data")

# What the photographs are is wanted where no image is read.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
