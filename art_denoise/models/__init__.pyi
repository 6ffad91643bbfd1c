# The names of this package: type checkers read them here, and so does the package when it is imported.
from .find import Model as Model
from .find import find_model as find_model
from .networks import RECIPES as RECIPES
from .networks import Recipe as Recipe
from .networks import build_network as build_network
from .networks import inception_v1 as inception_v1
from .networks import vgg16 as vgg16
from .networks import vgg19 as vgg19
from .networks import wrap as wrap
from .weights import load_weights as load_weights
