"""Quotients and square roots at the speed of products, on processors that need it.

The dividers of Intel's processors take 16 cycles and more for a vector of 16 numbers,
as long as some thirty multiplications. There, `quotient` and `root` guess from the bits
of a number, come near by Newton's method, and correct the last bit by what is left
over, in a fused multiply-add that rounds once. The result is the one that the divider
would have rounded to, but for less than one quotient in a million.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from llvmlite import binding, ir
from numba import extending, types

__all__ = [
    "HAS_SLOW_DIVIDER",
    "divided",
    "newton_quotient",
    "newton_root",
    "quotient",
    "root",
    "rooted",
]

_NAME = os.environ.get("NUMBA_CPU_NAME") or binding.get_host_cpu_name()
_FEATURES = (
    os.environ.get("NUMBA_CPU_FEATURES") or binding.get_host_cpu_features().flatten()
)
HAS_SLOW_DIVIDER = "+avx512f" in _FEATURES and not _NAME.startswith("znver")
"""Whether `quotient` and `root` go without the divider."""

F32, BITS = ir.FloatType(), ir.IntType(32)
RECIPROCAL_GUESS, ROOT_GUESS = 0x7EF311C7, 0x5F3759DF
"""Less the bits of a number, or half of them: a guess within 12 or 4 %."""
STEPS = 3
"""Of Newton's method, each of which squares the error: to less than 2^-24."""
SMALLEST = 2.0**-120
"""Below it the steps would leave the normal numbers."""
STRICT = ("contract",)  # keeps the flags of the loops away: nothing here may be fused


def _number(value: float) -> ir.Constant:
    return ir.Constant(F32, value)


def _fma(builder: Any, a: Any, b: Any, c: Any) -> Any:
    return builder.fma(a, b, c)


def _times(builder: Any, a: Any, b: Any) -> Any:
    return builder.fmul(a, b, flags=STRICT)


def _minus(builder: Any, a: Any) -> Any:
    return builder.fneg(a)


def _guess(builder: Any, number: Any, magic: int, shift: int) -> Any:
    bits = builder.bitcast(number, BITS)
    if shift:
        bits = builder.lshr(bits, ir.Constant(BITS, shift))
    return builder.bitcast(builder.sub(ir.Constant(BITS, magic), bits), F32)


def _quotient(builder: Any, over: Any, under: Any) -> Any:
    r = _guess(builder, under, RECIPROCAL_GUESS, 0)
    minus = _minus(builder, under)
    for _ in range(STEPS):
        r = _fma(builder, r, _fma(builder, minus, r, _number(1)), r)
    q = _times(builder, over, r)
    return _fma(builder, r, _fma(builder, minus, q, over), q)


def _root(builder: Any, number: Any) -> Any:
    too_small = builder.fcmp_ordered("<", number, _number(SMALLEST))
    v = builder.select(too_small, _number(SMALLEST), number)
    half = _times(builder, v, _number(-0.5))
    r = _guess(builder, v, ROOT_GUESS, 1)
    for _ in range(STEPS):
        square = _times(builder, r, r)
        r = _times(builder, r, _fma(builder, half, square, _number(1.5)))
    s = _times(builder, v, r)
    left = _fma(builder, _minus(builder, s), s, v)
    return _fma(builder, _times(builder, r, _number(0.5)), left, s)


def _divider(builder: Any, over: Any, under: Any) -> Any:
    return builder.fdiv(over, under, flags=STRICT)


def _rooter(builder: Any, number: Any) -> Any:
    kind = ir.FunctionType(F32, [F32])
    name = "llvm.sqrt.f32"
    found = builder.module.globals.get(name)
    take = found or ir.Function(builder.module, kind, name)
    return builder.call(take, [number])


def _function(recipe: Callable[..., Any], n_arguments: int) -> Any:
    """Make a function of so many float32 for compiled code."""

    def generate(_: Any, builder: Any, __: Any, args: Any) -> Any:
        return recipe(builder, *args)

    kinds = (types.float32,) * n_arguments
    if n_arguments == 1:

        def one(_: Any, a: Any) -> Any:
            return types.float32(*kinds), generate

        return extending.intrinsic(one)

    def two(_: Any, a: Any, b: Any) -> Any:
        return types.float32(*kinds), generate

    return extending.intrinsic(two)


divided, rooted = _function(_divider, 2), _function(_rooter, 1)
"""Quotient and root as the processor's divider gives them."""

quotient = _function(_quotient if HAS_SLOW_DIVIDER else _divider, 2)
"""``over / under`` for a normal `under` from 1e-30 to 1e30."""

root = _function(_root if HAS_SLOW_DIVIDER else _rooter, 1)
"""Square root; without a divider 2**-60 for all below 2**-120, and finite alone."""

newton_quotient, newton_root = _function(_quotient, 2), _function(_root, 1)
"""The same without the divider, on any processor."""
