# The public names: type checkers read them here, and so does the package when it is imported.
from .attacks import SGDUAP as SGDUAP
from .attacks import BestPGD as BestPGD
from .attacks import DeepFoolUAP as DeepFoolUAP
from .attacks import Perturbation as Perturbation
from .attacks import SharedForwardDeepFool as SharedForwardDeepFool
from .attacks import UniversalNoise as UniversalNoise
from .attacks import as_module as as_module
from .attacks import load_perturbation as load_perturbation
from .data import load_photographs as load_photographs
from .defences import AsAugmentation as AsAugmentation
from .defences import AsFlat as AsFlat
from .defences import AsNumPy as AsNumPy
from .defences import AsPyTorch as AsPyTorch
from .defences import Compose as Compose
from .defences import DefensiveNoiseDefence as DefensiveNoiseDefence
from .defences import NLMeansDefence as NLMeansDefence
from .defences import ROFDefence as ROFDefence
from .defences import check_chain as check_chain
from .evaluation.defence import evaluate_defence as evaluate_defence
from .filters import NLMeansDenoise as NLMeansDenoise
from .filters import ROFDenoise as ROFDenoise
from .filters import nl_means_denoise as nl_means_denoise
from .filters import rof_denoise as rof_denoise
from .filters._warm_up import warm_up as warm_up
from .models import inception_v1 as inception_v1
from .models import vgg16 as vgg16
from .models import vgg19 as vgg19

__version__: str
