from .find import Model, find_model
from .networks import RECIPES, Recipe, build_network, inception_v1, vgg16, vgg19, wrap
from .weights import load_weights

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
