"""What is attacked and classified: the offline photographs and their disjoint splits."""

from art_denoise.data.photographs import PHOTOGRAPHS, Crops, load_photographs

__all__ = ["PHOTOGRAPHS", "Crops", "load_photographs"]
