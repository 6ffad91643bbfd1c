"""Who attacks: DeepFool, universal perturbations and controls, and the perturbation as a file."""

from art_denoise.attacks.as_module import as_module
from art_denoise.attacks.best_pgd import BestPGD
from art_denoise.attacks.deepfool import SharedForwardDeepFool
from art_denoise.attacks.deepfool_uap import DeepFoolUAP
from art_denoise.attacks.perturbation import Perturbation
from art_denoise.attacks.perturbation_files import load_perturbation
from art_denoise.attacks.sgd_uap import SGDUAP
from art_denoise.attacks.universal_noise import UniversalNoise, random_direction, random_signs

__all__ = [
    "SGDUAP",
    "BestPGD",
    "DeepFoolUAP",
    "Perturbation",
    "SharedForwardDeepFool",
    "UniversalNoise",
    "as_module",
    "load_perturbation",
    "random_direction",
    "random_signs",
]
