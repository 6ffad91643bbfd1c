"""What is attacked and classified: images in disjoint splits, and the sources that they come from."""

from art_denoise.data.imagenet import FolderImages, find_images
from art_denoise.data.photographs import PHOTOGRAPHS, Photographs, load_photographs
from art_denoise.data.sets import ImageSet, ImageSource, Split

__all__ = [
    "PHOTOGRAPHS",
    "FolderImages",
    "ImageSet",
    "ImageSource",
    "Photographs",
    "Split",
    "find_images",
    "load_photographs",
]
