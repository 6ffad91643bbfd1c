"""Who is attacked: the paper's three networks, any network of torchvision, and any user's own, as ART classifiers."""

from art_denoise.classifiers.models import Model, find_model
from art_denoise.classifiers.networks import RECIPES, Recipe, build_network, inception_v1, vgg16, vgg19, wrap
from art_denoise.classifiers.weights import load_weights

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
