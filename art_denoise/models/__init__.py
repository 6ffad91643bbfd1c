"""Who is attacked: the paper's three networks, any network of torchvision, and any user's own, as ART classifiers."""

from art_denoise.models.find import Model, find_model
from art_denoise.models.networks import RECIPES, Recipe, build_network, inception_v1, vgg16, vgg19, wrap
from art_denoise.models.weights import load_weights

__all__ = [
    "RECIPES",
    "Model",
    "Recipe",
    "build_network",
    "find_model",
    "inception_v1",
    "load_weights",
    "vgg16",
    "vgg19",
    "wrap",
]
