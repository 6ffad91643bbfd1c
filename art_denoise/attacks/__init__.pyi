# The names of this package: type checkers read them here, and so does the package when it is imported.
from .as_module import as_module as as_module
from .best_pgd import BestPGD as BestPGD
from .deepfool import SharedForwardDeepFool as SharedForwardDeepFool
from .deepfool_uap import DeepFoolUAP as DeepFoolUAP
from .perturbation import Perturbation as Perturbation
from .perturbation_files import load_perturbation as load_perturbation
from .sgd_uap import SGDUAP as SGDUAP
from .universal_noise import UniversalNoise as UniversalNoise
from .universal_noise import random_direction as random_direction
from .universal_noise import random_signs as random_signs
