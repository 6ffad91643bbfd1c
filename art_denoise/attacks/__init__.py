"""Who attacks: DeepFool, universal perturbations, and the perturbation as a file."""

from art_denoise.attacks.deepfool import SharedForwardDeepFool
from art_denoise.attacks.perturbation import Perturbation
from art_denoise.attacks.universal import craft_universal_perturbation

__all__ = ["Perturbation", "SharedForwardDeepFool", "craft_universal_perturbation"]
