"""Compile the kernels of Triton for two kinds of GPU, which needs none: `python gpu_kernels.py` prints them one by one.

In a process of its own, as the tests have Triton interpret its kernels, for good.
"""

from __future__ import annotations

from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from art_denoise.filters import _nl_means_triton as nl_means
from art_denoise.filters import _rof_chambolle_triton as rof

#: What arguments point to, where it is not the images' kind of numbers.
POINTERS = {"iterations": "*i64", "energies": "*fp64", "kept": "*fp64", "eps": "*fp64"}

INTEGERS = {
    *("k", "height", "width", "high", "wide", "tiles", "planes", "max_iter"),
    *("channels", "pad", "distance", "before", "shifts"),
}

FAST = {"SIDE": 2, "OUTSIDE": True, "EXACT": False}
CENTRED = {"SIDE": 3, "OUTSIDE": False, "EXACT": True}

KERNELS: list[tuple[Any, dict[str, Any]]] = [
    (rof._step, {"UNTIL": False, "SUMMED": True}),
    (rof._step, {"UNTIL": True, "SUMMED": False}),
    (rof._settle, {"TILES": 64}),
    (rof._result, {}),
    (rof._whole_planes, {}),
    (rof._step_adjoint, {}),
    (rof._spread, {}),
    (nl_means._average, {**FAST, "TOGETHER": 4}),
    (nl_means._average, {**CENTRED, "TOGETHER": 1}),
    (nl_means._weights_and_slopes, FAST),
    (nl_means._weights_and_slopes, CENTRED),
    (nl_means._gather, {**FAST, "TOGETHER": 4}),
    (nl_means._gather, {**CENTRED, "TOGETHER": 1}),
]


def compile_kernel(kernel: Any, number: str, capability: int, constants: dict[str, Any]) -> Any:
    """Compile a kernel for images of a kind of number and for GPUs of a capability."""
    types, values = {}, {}
    for place, parameter in enumerate(kernel.params):
        name = parameter.name
        if parameter.is_constexpr:
            types[name], values[place,] = "constexpr", constants[name]
        else:
            types[name] = "i32" if name in INTEGERS else POINTERS.get(name, f"*{number}")
    return triton.compile(
        ASTSource(fn=kernel, signature=types, constexprs=values),
        target=GPUTarget("cuda", capability, 32),
        options={"enable_fp_fusion": False},
    )


def main() -> None:
    for number, capability in (("fp32", 80), ("fp64", 90)):
        for kernel, constants in KERNELS:
            made = compile_kernel(kernel, number, capability, {"ROWS": 8, "COLUMNS": 64, **constants})
            kind = number.replace("fp", "f")
            print(
                kernel.__name__,
                number,
                len(made.asm["cubin"]) > 0,
                *(made.asm["ptx"].count(f"{name}.{kind}") for name in ("div.rn", "sqrt.rn", "fma.rn")),
            )


if __name__ == "__main__":
    main()
