"""Preprocessors each of which breaks a rule of a defence, by the rule."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch

from art_denoise import ROFDefence


class Broken(ROFDefence):
    """Works, but for what a subclass does to the images before, or to the result afterwards."""

    def forward(self, x, y=None):
        result, y = super().forward(self.before(x), y)
        return self.after(result, x), y

    def before(self, x):
        return x

    def after(self, result, x):
        return result


class Crops(Broken):
    def after(self, result, x):
        return result[..., :-1]


class Float64(Broken):
    def __call__(self, x, y=None):
        result, y = super().__call__(x, y)
        return result.astype(np.float64), y


class Overshoots(Broken):
    def after(self, result, x):
        return result + (self.clip_values[1] - self.clip_values[0]) / 2


class SpoilsTheInput(Broken):
    def __call__(self, x, y=None):
        result, y = super().__call__(x, y)
        x[...] = 0
        return result, y


class LosesLabels(Broken):
    def __call__(self, x, y=None):
        return super().__call__(x)[0], None


class LooksAtTheBatch(Broken):
    def after(self, result, x):
        return result + 0.01 * result.mean()


class LooksAtTheChunk(Broken):
    def _filter(self, x):
        return super()._filter(x) + 0.01 * x.mean()


class Remembers(Broken):
    calls = 0

    def after(self, result, x):
        self.calls += 1
        return result * (1 - 0.001 * self.calls)


class OtherOnArrays(Broken):
    def __call__(self, x, y=None):
        result, y = super().__call__(x, y)
        return result * np.float32(0.99), y


class ToTheCPU(Broken):
    def after(self, result, x):
        return result.cpu()


class OtherChannelsLast(Broken):
    def after(self, result, x):
        return result if self.channels_first else result * 0.99


class OneRangeOnly(Broken):
    def after(self, result, x):
        low, high = self.clip_values
        return result if (low, high) == (0, 1) else low + 0.99 * (result - low)


class TakesTheOvershoot(Broken):
    def after(self, result, x):
        low, high = self.clip_values
        return (result + 0.5 * (x - x.clamp(low, high))).clamp(low, high)


class LooksAtTheMemory(Broken):
    def __call__(self, x, y=None):
        return super().__call__(x.ravel(order="K").reshape(x.shape), y)


class NeedsRows(Broken):
    def before(self, x):
        if min(x.shape[2:]) < 2:
            raise IndexError("index 1 is out of bounds")
        return x


class SpoilsOneOfMany(Broken):
    def __call__(self, x, y=None):
        result, y = super().__call__(x, y)
        if x.dtype == object:
            result[0] = result[0] * np.float32(0.99)
        return result, y


class TakesSingleImages(Broken):
    def __call__(self, x, y=None):
        return (super().__call__(x[None])[0][0], y) if np.ndim(x) == 3 else super().__call__(x, y)


class TakesNaN(Broken):
    def before(self, x):
        return x.nan_to_num() if x.is_floating_point() else x


class TakesAnyLayout(Broken):
    def forward(self, x, y=None):
        return (x, y) if x.shape[1] > 4 and self.channels_first else super().forward(x, y)


class Talks(Broken):
    def after(self, result, x):
        print("filtered", len(x), "images")
        return result


class HidesAParameter(Broken):
    params = ROFDefence.params[:-1]


class DoublesTheWeight(Broken):
    def __init__(self, weight=0.02, **kwargs):
        super().__init__(2 * weight, **kwargs)


class IgnoresUnknownNames(Broken):
    def set_params(self, **kwargs):
        super().set_params(**{name: value for name, value in kwargs.items() if name in self.params})


class SetsOneByOne(Broken):
    def set_params(self, **kwargs):
        for name, value in kwargs.items():
            setattr(self, name, value)
        self._check_params()


class TakesAnyWeight(Broken):
    def _check_own_params(self):
        pass


class Nameless(Broken):
    def __repr__(self):
        return "a defence"


class Forgets(Broken):
    def __getstate__(self):
        return {**vars(self), "weight": 0.5}


class WritesIntoGrad(Broken):
    def before(self, x):
        if x.requires_grad:
            x.square().sum().backward()
        return x


class HalfOfTheSlope(Broken):
    def after(self, result, x):
        return result.detach() + 0.5 * (x - x.detach())


class NoIdentity(Broken):
    def estimate_gradient(self, x, grad):
        return 2 * super().estimate_gradient(x, grad)


class OneClassOnly(Broken):
    def estimate_gradient(self, x, grad):
        return grad if np.ndim(grad) > np.ndim(x) else super().estimate_gradient(x, grad)


class AlwaysApplied(Broken):
    apply_predict = property(lambda self: True, lambda self, value: None)


class HidesTheGradient(Broken):
    def after(self, result, x):
        # As a preprocessor that sets out to be differentiated by `estimate_forward`.
        return result.detach() + 0 * x


class NotFinite(Broken):
    def after(self, result, x):
        return result * torch.nan


ONE = ROFDefence()

BROKEN = {
    "make returns an ART preprocessor, a new one each time": lambda **kwargs: ONE,
    "the shape is kept": Crops,
    "noisy images are changed": partial(ROFDefence, weight=0),
    "the result is float32, whatever the numbers": Float64,
    "the result is within clip_values": Overshoots,
    "the input is left as it is": SpoilsTheInput,
    "labels pass through": LosesLabels,
    "an image alone is treated as in any batch": LooksAtTheBatch,
    "chunks do not matter": LooksAtTheChunk,
    "the same call gives the same result": Remembers,
    "arrays and tensors are treated alike": OtherOnArrays,
    "tensors stay on their device": ToTheCPU,
    "both layouts are treated alike": OtherChannelsLast,
    "the value range does not matter": OneRangeOnly,
    "images a little outside the range are clipped first": TakesTheOvershoot,
    "strides do not matter": LooksAtTheMemory,
    "images of any size are treated": NeedsRows,
    "images of different sizes are treated one by one, or refused": SpoilsOneOfMany,
    "arrays that are no images are refused": TakesSingleImages,
    "values that are no intensities are refused": TakesNaN,
    "images of the other layout are refused": TakesAnyLayout,
    "nothing is printed unless it is asked for": Talks,
    "params names every argument of the constructor": HidesAParameter,
    "params make an equal preprocessor": DoublesTheWeight,
    "unknown parameters are refused": IgnoresUnknownNames,
    "set_params changes what it is told, all or nothing": SetsOneByOne,
    "bad values are refused by name": TakesAnyWeight,
    "repr shows every parameter": Nameless,
    "it can be pickled": Forgets,
    "x.grad is left as it is": WritesIntoGrad,
    "the gradient is the slope": HalfOfTheSlope,
    "gradient='identity' passes the gradient on": NoIdentity,
    "gradients of several classes come back one by one": OneClassOnly,
    "ART applies it when it says so": AlwaysApplied,
    "attacks get the gradient through ART": HidesTheGradient,
    "ART attacks and trains through it": NotFinite,
    "an estimator with it can be copied and pickled": Forgets,
}
