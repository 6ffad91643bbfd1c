"""The words that arguments are chosen from: signatures, type checkers and the checks of arguments go by the same ones.

Each is a `Literal`; `typing.get_args` returns its words. Nothing else is imported here, so that they cost nothing.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

__all__ = [
    "AcceptedDraw",
    "AxisOrder",
    "ChannelOrder",
    "CropMargin",
    "DeviceType",
    "FittedThrough",
    "Gradient",
    "ImageLoss",
    "Interpolation",
    "NLMeansMode",
    "NormName",
    "PatchWeights",
    "ROFCoupling",
    "ROFSolver",
    "WrappedGradient",
]

#: A new word changes no result of those that were there: for :mod:`art_denoise.evaluation.source`.
PART_OF_NO_RESULT = True

#: `solver` of ROF: scikit-image's iteration and stop, or the minimiser to a duality gap.
ROFSolver: TypeAlias = Literal["chambolle", "converged"]

#: `coupling` of ROF: each channel by itself, or all channels of an image by one total variation.
ROFCoupling: TypeAlias = Literal["none", "channels"]

#: `mode` of non-local means: scikit-image's fast filter, or the definition.
NLMeansMode: TypeAlias = Literal["fast", "centred"]

#: `patch_weights` of non-local means in "centred" mode: how the pixels of a patch count.
PatchWeights: TypeAlias = Literal["uniform", "gaussian"]

#: `accept` of the defensive noise: a draw that turns a wrong prediction into a right one, or that lowers the loss.
AcceptedDraw: TypeAlias = Literal["flip", "loss"]

#: `through` of the defensive noise: the classifier predicts through its own defences, or without any.
FittedThrough: TypeAlias = Literal["defences", "classifier"]

#: `gradient` of a defence: the filter's own, or the identity (BPDA).
Gradient: TypeAlias = Literal["exact", "identity"]

#: `loss` of an attack on single images: the cross-entropy, the margin of the label's logit, or one after the other.
ImageLoss: TypeAlias = Literal["cross-entropy", "margin", "both"]

#: `gradient` of a wrapped NumPy preprocessor: the identity (BPDA), or what its own `estimate_gradient` returns.
WrappedGradient: TypeAlias = Literal["identity", "estimate"]

#: `device_type`: a GPU if there is one, else the CPU; or the CPU. ART's words.
DeviceType: TypeAlias = Literal["gpu", "cpu"]

#: `norm` of a perturbation, by name.
NormName: TypeAlias = Literal["inf", "2"]

#: `layout` of a perturbation in a file: the order of its axes.
AxisOrder: TypeAlias = Literal["CHW", "HWC", "CWH", "WHC"]

#: `order` of the channels of a perturbation in a file.
ChannelOrder: TypeAlias = Literal["rgb", "bgr"]

#: `interpolation`: how images are resized; Pillow's words.
Interpolation: TypeAlias = Literal["nearest", "bilinear", "bicubic"]

#: `margin`: where a crop begins if half of what is cut off is no whole number: at the even number next to it, or at the
#: smaller one.
CropMargin: TypeAlias = Literal["even", "down"]
