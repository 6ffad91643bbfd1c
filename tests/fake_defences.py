"""Defences that only look strong, each in its own way, and a model that does, by the rule that tells of them."""

from __future__ import annotations

import torch
from art.defences.preprocessor import Preprocessor, TotalVarMin
from art.defences.preprocessor.preprocessor import PreprocessorPyTorch

from art_denoise._autograd import StraightThrough


class Fake(PreprocessorPyTorch):
    """Does something to images, tensors."""

    def __init__(self) -> None:
        super().__init__(device_type="cpu")

    def forward(self, x, y=None):
        return self.change(x), y

    def change(self, x):
        raise NotImplementedError


class Rounds(Fake):
    def change(self, x):
        return torch.round(8 * x) / 8


class RoundsAndPassesTheGradientOn(Fake):
    def change(self, x):
        return StraightThrough.apply(x, torch.round(8 * x) / 8)


class Detaches(Fake):
    def change(self, x):
        return x.detach()


class DrawsInSecret(Fake):
    def __init__(self):
        super().__init__()
        self.generator = torch.Generator()

    def change(self, x):
        return x + 0.2 * torch.randn(x.shape, generator=self.generator)


class Draws(Fake):
    def __init__(self, size=0.2):
        super().__init__()
        self.size = size

    def change(self, x):
        return x + self.size * torch.randn_like(x)


class Plateau(Fake):
    """Is flat everywhere, but where it jumps."""

    def change(self, x):
        return (8 * x).floor() / 8 + 0 * x


class _Scaled(torch.autograd.Function):
    """The identity, with a gradient that is a multiple of what it should be."""

    @staticmethod
    def forward(ctx, x, factor):
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx, grad):
        return grad * ctx.factor, None


class Underflows(Fake):
    def change(self, x):
        return _Scaled.apply(x, 1e-44)


class Weakens(Fake):
    def change(self, x):
        return _Scaled.apply(x, 1e-9)


class NotANumber(Fake):
    def change(self, x):
        return x + 0 * (x - x.detach()).sqrt()


class Reverses(Fake):
    """Its gradient leads the wrong way."""

    def change(self, x):
        return 2 * x.detach() - x


class Solves(Fake):
    """Solves a problem for each image while it goes through."""

    def change(self, x):
        result = x.detach().clone().requires_grad_()
        with torch.enable_grad():
            optimizer = torch.optim.SGD([result], lr=0.1)
            ((result - x.detach()) ** 2).sum().backward()
            optimizer.step()
        return StraightThrough.apply(x, result.detach())


class TotalVariationMinimisation(Preprocessor):
    """ART's own, which takes images with the channels last only."""

    def __init__(self):
        super().__init__()
        self.inner = TotalVarMin(max_iter=2, clip_values=(0.0, 1.0))

    def __call__(self, x, y=None):
        return self.inner(x.transpose(0, 2, 3, 1))[0].transpose(0, 3, 1, 2), y


#: What is told of each.
FAKES = {
    Rounds: "The gradient through the defence is zero, though the prediction changes",
    RoundsAndPassesTheGradientOn: "The gradient through the defence is not the slope of what is predicted",
    Detaches: "No gradient gets through the defence",
    DrawsInSecret: "What is predicted is another thing each time",
    Draws: "What is predicted is another thing each time",
    Plateau: "The gradient through the defence is zero, though the prediction changes",
    Underflows: "The gradient through the defence is zero, though the prediction changes",
    Weakens: "The gradient through the defence vanishes or explodes",
    NotANumber: "The gradient through the defence is not finite",
    Reverses: "The gradient through the defence is not the slope of what is predicted",
    Solves: "The defence solves a problem for each image",
    TotalVariationMinimisation: "The defence solves a problem for each image",
}
