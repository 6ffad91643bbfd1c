"""The paper's three classifiers as ART `PyTorchClassifier`s: Inception V1 (GoogLeNet), VGG-16 and VGG-19.

The networks are torchvision's. Every classifier takes images (N, 3, H, W) in [0, 1], returns logits, and standardises
*after* the preprocessing defences, through ART's `preprocessing=`. So a defence always sees an image.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from art.estimators.classification import PyTorchClassifier

from art_denoise._checks import check_integer
from art_denoise.choices import DeviceType
from art_denoise.models.weights import fetch_published, load_weights

if TYPE_CHECKING:
    from art.defences.preprocessor import Preprocessor


@dataclass(frozen=True)
class Recipe:
    """What a network expects: `mean` and `std` per channel in units of [0, 1], and torchvision's name of weights."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    weights: str | None = None


#: One line for each architecture. torchvision's GoogLeNet weights were trained on [-1, 1]; with `transform_input=True`
#: torchvision maps ImageNet-standardised input to that range in the network. We switch that off and standardise once.
RECIPES = {
    "inception_v1": Recipe((0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "GoogLeNet_Weights.IMAGENET1K_V1"),
    "vgg16": Recipe((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "VGG16_Weights.IMAGENET1K_V1"),
    "vgg19": Recipe((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "VGG19_Weights.IMAGENET1K_V1"),
}

_VGG_LAYERS = {"vgg16": "D", "vgg19": "E"}


def build_network(
    architecture: str, *, num_classes: int = 1000, width: float = 1.0, batch_norm: bool = False
) -> torch.nn.Module:
    """Build an untrained network in evaluation mode; its weights follow torch's global seed.

    :param architecture: "inception_v1", "vgg16" or "vgg19".
    :param num_classes: Number of logits.
    :param width: VGG only: factor on the number of channels of every layer. Below 1 the three fully connected layers,
        made for 512 channels of 7×7, give way to global average pooling and one linear layer.
    :param batch_norm: VGG only: batch normalisation after every convolution.
    :return: Network on standardised images (N, 3, H, W), H and W ≥ 32, returning logits (N, `num_classes`).
    :raises ValueError: For another architecture, or for `width` or `batch_norm` with Inception V1.
    """
    # torchvision takes a second to import, which nobody should wait for who builds nothing.
    from torchvision import models
    from torchvision.models import vgg as torchvision_vgg

    if architecture not in RECIPES:
        raise ValueError(f"`architecture` must be one of {', '.join(RECIPES)}, got {architecture!r}")
    if not 0 < width <= 1:
        raise ValueError(f"`width` must be above 0 and at most 1, got {width}")
    if architecture == "inception_v1":
        if width != 1 or batch_norm:
            raise ValueError(
                "`width` and `batch_norm` are options of the VGG networks: leave them out for inception_v1"
            )
        network: torch.nn.Module = models.googlenet(
            weights=None, num_classes=num_classes, aux_logits=False, init_weights=False, transform_input=False
        )
    else:
        layers: list[Any] = [
            c if isinstance(c, str) else round(c * width) for c in torchvision_vgg.cfgs[_VGG_LAYERS[architecture]]
        ]
        network = models.VGG(torchvision_vgg.make_layers(layers, batch_norm=batch_norm), num_classes=num_classes)
        if width < 1:
            network.avgpool = torch.nn.AdaptiveAvgPool2d(1)
            network.classifier = torch.nn.Linear(layers[-2], num_classes)
    return network.eval()


def wrap(
    network: torch.nn.Module,
    recipe: Recipe | None,
    *,
    num_classes: int,
    input_size: int,
    preprocessing_defences: Preprocessor | Sequence[Preprocessor] | None = None,
    device_type: DeviceType = "gpu",
) -> PyTorchClassifier:
    """Make an ART classifier of a network: images in [0, 1], defences, then standardisation, then logits.

    :param network: Network on standardised images (N, 3, H, W), returning logits (N, `num_classes`).
    :param recipe: Mean and standard deviation that the network expects; None: it takes images in [0, 1] as they are.
    :param input_size: Height and width of the images in pixels.
    :param preprocessing_defences: ART defences, applied in order before standardisation.
    :param device_type: "gpu" (falls back to the CPU) or "cpu".
    """
    if preprocessing_defences is not None and not hasattr(preprocessing_defences, "apply_predict"):
        preprocessing_defences = list(preprocessing_defences)
    preprocessing = None
    if recipe is not None:
        preprocessing = tuple(np.array(v, dtype=np.float32).reshape(3, 1, 1) for v in (recipe.mean, recipe.std))
    return PyTorchClassifier(
        # The memory layout changes no result and makes convolutions about twice as fast on a CPU.
        model=network.to(memory_format=torch.channels_last).eval(),
        loss=torch.nn.CrossEntropyLoss(),
        input_shape=(3, input_size, input_size),
        nb_classes=num_classes,
        clip_values=(0.0, 1.0),
        preprocessing_defences=preprocessing_defences,
        preprocessing=preprocessing,
        device_type=device_type,
    )


def _classifier(
    architecture: str,
    weights: str | os.PathLike[str] | None,
    num_classes: int | None,
    input_size: int,
    wrapping: dict[str, Any],
    **build: Any,
) -> PyTorchClassifier:
    recipe = RECIPES[architecture]
    if num_classes is not None:
        check_integer("num_classes", num_classes, low=2)
    check_integer("input_size", input_size, low=32)
    classes = 1000 if num_classes is None else num_classes
    if weights == "imagenet":
        if num_classes not in (None, 1000) or build.get("width", 1.0) != 1 or build.get("batch_norm"):
            raise ValueError(
                "`weights` = 'imagenet' is for the full network with 1000 classes: leave out `num_classes`, `width` "
                "and `batch_norm`, or give a file or None as `weights`"
            )
        network = published_network(architecture)
    else:
        network = build_network(architecture, num_classes=classes, **build)
        if weights is not None:
            load_weights(network, weights)
    return wrap(network, recipe, num_classes=classes, input_size=input_size, **wrapping)


def published_network(architecture: str, folder: str | os.PathLike[str] | None = None) -> torch.nn.Module:
    """Build a network with torchvision's published weights, which are downloaded on first use.

    :param architecture: "inception_v1", "vgg16" or "vgg19".
    :param folder: Folder of the files of weights; None: where torchvision keeps them.
    """
    # Shapes without numbers, which the file has: VGG-16 takes seconds and half a gigabyte to be given random ones.
    with torch.device("meta"):
        network = build_network(architecture)
    weights = RECIPES[architecture].weights
    assert weights is not None
    load_weights(network, fetch_published(weights, folder))
    return network


def inception_v1(
    *,
    weights: str | os.PathLike[str] | None = "imagenet",
    num_classes: int | None = None,
    input_size: int = 224,
    preprocessing_defences: Preprocessor | Sequence[Preprocessor] | None = None,
    device_type: DeviceType = "gpu",
) -> PyTorchClassifier:
    """Build Inception V1 (GoogLeNet), the paper's target model, as an ART classifier.

    :param weights: "imagenet": torchvision's published weights, downloaded on first use. A path: a state dict, as
        safetensors or from `torch.save`. None: random weights, from torch's global seed.
    :param num_classes: Number of classes; None is 1000.
    :param input_size: Height and width of the images in pixels, ≥ 32.
    :param preprocessing_defences: ART defences, applied in order, before standardisation.
    :param device_type: "gpu" (falls back to the CPU) or "cpu".
    :return: Classifier of images (N, 3, `input_size`, `input_size`) in [0, 1], `clip_values=(0, 1)`, logits out.
    :raises OSError: If the published weights cannot be downloaded; the message says which file to put where.
    :raises ValueError: If the weights are of another network.

    Source: C. Szegedy et al., "Going deeper with convolutions", CVPR 2015, arXiv:1409.4842. Deviation: torchvision's
    network has batch normalisation, and 3×3 where the paper has 5×5 convolutions.

    Example::

        >>> import numpy as np
        >>> from art_denoise import ROFDefence, inception_v1
        >>> classifier = inception_v1(
        ...     weights=None,  # random ones; "imagenet" downloads published ones
        ...     num_classes=10,
        ...     input_size=64,
        ...     preprocessing_defences=[ROFDefence()],
        ... )
        >>> classifier.predict(np.random.default_rng(0).random((2, 3, 64, 64), dtype=np.float32)).shape
        (2, 10)
    """
    wrapping = {"preprocessing_defences": preprocessing_defences, "device_type": device_type}
    return _classifier("inception_v1", weights, num_classes, input_size, wrapping)


def vgg16(
    *,
    weights: str | os.PathLike[str] | None = "imagenet",
    num_classes: int | None = None,
    input_size: int = 224,
    width: float = 1.0,
    batch_norm: bool = False,
    preprocessing_defences: Preprocessor | Sequence[Preprocessor] | None = None,
    device_type: DeviceType = "gpu",
) -> PyTorchClassifier:
    """Build VGG-16, a source of black-box transfer attacks in the paper, as an ART classifier.

    Parameters, result and errors as :func:`inception_v1`, and:

    :param width: Factor on the number of channels of every layer, above 0, at most 1; see :func:`build_network`.
    :param batch_norm: Batch normalisation after every convolution. The paper's network has none.

    Source: K. Simonyan, A. Zisserman, "Very deep convolutional networks for large-scale image recognition", ICLR 2015,
    arXiv:1409.1556, configuration D.

    Example::

        >>> import numpy as np
        >>> from art_denoise import vgg16
        >>> classifier = vgg16(weights=None, num_classes=10, input_size=32, width=1 / 4, batch_norm=True)
        >>> classifier.predict(np.random.default_rng(0).random((2, 3, 32, 32), dtype=np.float32)).shape
        (2, 10)
    """
    wrapping = {"preprocessing_defences": preprocessing_defences, "device_type": device_type}
    return _classifier("vgg16", weights, num_classes, input_size, wrapping, width=width, batch_norm=batch_norm)


def vgg19(
    *,
    weights: str | os.PathLike[str] | None = "imagenet",
    num_classes: int | None = None,
    input_size: int = 224,
    width: float = 1.0,
    batch_norm: bool = False,
    preprocessing_defences: Preprocessor | Sequence[Preprocessor] | None = None,
    device_type: DeviceType = "gpu",
) -> PyTorchClassifier:
    """Build VGG-19, a source of black-box transfer attacks in the paper, as an ART classifier.

    Parameters, result and errors as :func:`vgg16`; configuration E of the same source.

    Example::

        >>> import numpy as np
        >>> from art_denoise import vgg19
        >>> classifier = vgg19(weights=None, num_classes=10, input_size=32, width=1 / 4, batch_norm=True)
        >>> classifier.predict(np.random.default_rng(0).random((2, 3, 32, 32), dtype=np.float32)).shape
        (2, 10)
    """
    wrapping = {"preprocessing_defences": preprocessing_defences, "device_type": device_type}
    return _classifier("vgg19", weights, num_classes, input_size, wrapping, width=width, batch_norm=batch_norm)
