"""What torch has to know of a filter: how to differentiate it, batch it, and put it into a graph.

A filter is compiled code, or a loop that stops when it is done: nothing can look into it. So that `torch.compile`,
`torch.export`, tracing, `torch.func` and batched gradients give what a plain call gives, it is an operator of torch's
library, with a rule for each, and a function of autograd that `torch.func` can transform. Plain calls go past both,
which would cost as much as filtering a small image.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch

#: From PyTorch 2.5 on, operators can be given all the rules. Before, `torch.compile` breaks its graph at a filter.
_LIBRARY = torch.library.Library("art_denoise", "FRAGMENT") if hasattr(torch.library, "register_vmap") else None

#: How many modes watch over torch's operators (fake tensors, tracing of graphs), and whether `torch.func` is at work.
#: No PyTorch promises these functions: without them calls take the ways that always work, and longer.
_count_of_modes: Callable[[], int] = getattr(torch._C, "_len_torch_dispatch_stack", lambda: 1)
_is_transformed: Callable[[], bool] = getattr(torch._C, "_are_functorch_transforms_active", lambda: True)

#: Whether a tensor holds several, in the way of `torch.autograd.grad(is_grads_batched=True)`, not of `torch.func`.
_is_batched_of_old: Callable[[torch.Tensor], bool] = getattr(
    torch._C._functorch, "is_legacy_batchedtensor", lambda x: False
)

Tensors = tuple[torch.Tensor, ...]

#: Greatest absolute value, of float32 and of float64: of a thousand million such values the squares still have a sum.
_MOST_VALUE, _MOST_VALUE_OF_DOUBLE = 1e14, 1e149


class Operator:
    """A filter of images (N, …), each by itself, as torch knows it; it can be differentiated once.

    Called as `forward` is.

    :param name: Its name in torch's library, after `art_denoise::`.
    :param arguments: What follows the images, as torch's schemas write it. A tensor has an entry for each image.
    :param results: How many tensors `forward` returns.
    :param public: Name of the function that people call, for messages.
    :param forward: `forward(x, *arguments)` returns the filtered images and what else the adjoint needs: contiguous
        tensors with an entry for each image, none of them x or part of it.
    :param shapes: `shapes(x, *arguments)` returns empty tensors like those; it sees no values.
    :param kept: Which of x and what `forward` returns, counted in this order, the adjoint needs.
    :param adjoint: `adjoint(grad, *kept, *arguments)` multiplies gradients by the transposed derivative.
    """

    def __init__(
        self,
        name: str,
        arguments: str,
        results: int,
        *,
        public: str,
        forward: Callable[..., Tensors],
        shapes: Callable[..., Tensors],
        kept: tuple[int, ...],
        adjoint: Callable[..., Tensors],
    ) -> None:
        def remember(ctx: Any, inputs: tuple[Any, ...], output: Tensors | torch.Tensor) -> None:
            x, *ctx.arguments = inputs
            found = _together(output)
            ctx.save_for_backward(*[(x, *found)[k] for k in kept])
            ctx.mark_non_differentiable(*found[1:])
            ctx.set_materialize_grads(False)

        def backward(ctx: Any, grad: torch.Tensor | None, *_: Any) -> tuple[torch.Tensor | None, ...]:
            none = [None] * len(ctx.arguments)
            return (None if grad is None else adjoint_rule(grad, *ctx.saved_tensors, *ctx.arguments)[0], *none)

        def nothing(ctx: Any, inputs: Any, output: Any) -> None:
            pass

        def refuse(*_: Any) -> Any:
            raise RuntimeError(f"`{public}` can be differentiated once, not twice: it has no second derivatives")

        def like(grad: torch.Tensor, *_: Any) -> Tensors:
            return (torch.empty(grad.shape, dtype=grad.dtype, device=grad.device),)

        saved = ", ".join(f"Tensor kept{k}" for k in kept)
        adjoint_rule = _Rule(f"{name}_adjoint", f"Tensor grad, {saved}, {arguments}", 1, adjoint, like, nothing, refuse)
        self._rule = _Rule(name, f"Tensor x, {arguments}", results, forward, shapes, remember, backward)

    def __call__(self, *inputs: Any) -> Tensors:
        return self._rule(*inputs)


def as_array(values: torch.Tensor) -> np.ndarray:
    """Return a tensor on the CPU as a contiguous array, with its signs where torch has only noted to turn them."""
    return values.detach().resolve_neg().contiguous().numpy()


def check_finite(x: torch.Tensor) -> None:
    """Raise `ValueError` if there is a value that is not finite, or whose square is not.

    One of them would change all pixels that it is compared with, in other channels too, or keep a filter from its end.
    """
    most = _MOST_VALUE if x.dtype is torch.float32 else _MOST_VALUE_OF_DOUBLE
    # No square is greater than their sum, which may overflow, though, or be that of very many values.
    if _square_sum(x) <= most * most:
        return
    if not bool(torch.isfinite(x).all()):
        kinds = [name for name, which in (("NaN", torch.isnan), ("infinity", torch.isinf)) if which(x).any()]
        raise ValueError(f"`x` must be finite, got {' and '.join(kinds)}: replace them, `torch.nan_to_num(x)`")
    if float(x.abs().max()) > most:
        raise ValueError(
            f"`x` must be within ±{most:g} in {str(x.dtype).removeprefix('torch.')}, as squares are summed, got values "
            f"from {float(x.min()):g} to {float(x.max()):g}: scale it to 0 to 1"
        )


def _square_sum(x: torch.Tensor) -> float:
    if not x.is_cpu:
        return float(torch.linalg.vector_norm(x)) ** 2
    # PyTorch's sums take a sixth of the time that a small image does.
    return _compiled_square_sum()(as_array(x).reshape(-1))


@cache
def _compiled_square_sum() -> Callable[[np.ndarray], float]:
    from art_denoise.filters._planes import line_square_sum  # with Numba, where it is needed

    found: Callable[[np.ndarray], float] = line_square_sum
    return found


class _Rule:
    """A function of tensors, and its derivative, for plain calls and in torch's library."""

    def __init__(
        self,
        name: str,
        arguments: str,
        results: int,
        function: Callable[..., Tensors],
        shapes: Callable[..., Tensors],
        remember: Callable[[Any, tuple[Any, ...], Any], None],
        backward: Callable[..., Any],
    ) -> None:
        def batched(info: Any, in_dims: tuple[int | None, ...], *inputs: Any) -> tuple[Tensors, tuple[int, ...]]:
            size, joined, count = info.batch_size, [], 0
            for value, axis in zip(inputs, in_dims, strict=True):
                if isinstance(value, torch.Tensor):
                    many = value.expand(size, *value.shape) if axis is None else value.movedim(axis, 0)
                    count, value = many.shape[1], many.reshape(-1, *many.shape[2:])
                joined.append(value)
            found = self(*joined)
            return tuple(result.unflatten(0, (size, count)) for result in found), (0,) * len(found)

        def forward(ctx: Any, *inputs: Any) -> Tensors:
            found = function(*inputs)
            remember(ctx, inputs, found)
            return found

        self._plain = _of_autograd(name, forward=forward, backward=backward)
        self._transformed = _of_autograd(
            name, forward=function, setup_context=remember, backward=backward, vmap=batched
        )
        self._in_graph: Callable[..., Tensors | torch.Tensor]
        if _LIBRARY is None:
            from torch._dynamo import disable  # half a second, where there is no other way

            self._plain = self._in_graph = disable(self._plain)
        else:
            full = f"art_denoise::{name}"
            _LIBRARY.define(f"{name}({arguments}) -> ({', '.join(['Tensor'] * results)})")
            _LIBRARY.impl(name, _as_returned(function), "CompositeExplicitAutograd")
            torch.library.register_fake(full, _as_returned(shapes))
            torch.library.register_autograd(full, backward, setup_context=remember)
            torch.library.register_vmap(full, lambda *given: tuple(map(_alone, batched(*given))))
            self._in_graph = getattr(torch.ops.art_denoise, name).default

    def __call__(self, *inputs: Any) -> Tensors:
        if _is_for_graph(inputs[0]):
            return _together(self._in_graph(*inputs))
        if _is_transformed():
            return self._transformed(*inputs)
        return self._plain(*inputs)


def _of_autograd(name: str, **members: Callable[..., Any]) -> Callable[..., Tensors]:
    """Return a function of autograd. One with `setup_context` can be mapped, but takes 0.1 ms to look at its inputs."""
    made: Any = type(name, (torch.autograd.Function,), {key: staticmethod(member) for key, member in members.items()})
    apply: Callable[..., Tensors] = made.apply
    return apply


def _together(found: Tensors | torch.Tensor) -> Tensors:
    """Return what the library returns as a tuple: it knows no tuples of one."""
    return (found,) if isinstance(found, torch.Tensor) else found


def _alone(found: Any) -> Any:
    """Do the opposite."""
    return found[0] if len(found) == 1 else found


def _as_returned(function: Callable[..., Tensors]) -> Callable[..., Any]:
    return lambda *inputs: _alone(function(*inputs))


def _is_for_graph(x: torch.Tensor) -> bool:
    """Return whether a call is to be recorded, not only computed."""
    if hasattr(torch, "compiler") and torch.compiler.is_compiling():
        return True
    return (
        type(x) not in (torch.Tensor, torch.nn.Parameter)
        or _count_of_modes() > 0
        or _is_batched_of_old(x)
        or torch.jit.is_tracing()  # type: ignore[attr-defined]
    )
