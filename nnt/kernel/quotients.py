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

from nnt.kernel.lanes import FEATURES

_NAME = os.environ.get("NUMBA_CPU_NAME") or binding.get_host_cpu_name()
HAS_SLOW_DIVIDER = "+avx512f" in FEATURES and not _NAME.startswith("znver")
"""Whether `quotient` and `root` go without the divider."""

F32, BITS = ir.FloatType(), ir.IntType(32)
RECIPROCAL_GUESS, ROOT_GUESS = 0x7EF311C7, 0x5F3759DF
"""Less the bits of a number, or half of them: a guess within 12 or 4 %."""
STEPS = 3
"""Of Newton's method, each of which squares the error: to less than 2^-24."""
SMALLEST = ir.Constant(F32, 2.0**-120)
"""Below it the steps would leave the normal numbers."""
STRICT = ("contract",)  # keeps the flags of the loops away: nothing here may be fused


def _guess(builder: Any, number: Any, magic: int, shift: int) -> Any:
    bits = builder.bitcast(number, BITS)
    if shift:
        bits = builder.lshr(bits, ir.Constant(BITS, shift))
    return builder.bitcast(builder.sub(ir.Constant(BITS, magic), bits), F32)


def _quotient(builder: Any, over: Any, under: Any) -> Any:
    r = _guess(builder, under, RECIPROCAL_GUESS, 0)
    minus = builder.fneg(under)
    for _ in range(STEPS):
        r = builder.fma(r, builder.fma(minus, r, ir.Constant(F32, 1.0)), r)
    q = builder.fmul(over, r, flags=STRICT)
    return builder.fma(r, builder.fma(minus, q, over), q)


def _root(builder: Any, number: Any) -> Any:
    def times(a: Any, b: Any) -> Any:
        return builder.fmul(a, b, flags=STRICT)

    v = builder.select(builder.fcmp_ordered("<", number, SMALLEST), SMALLEST, number)
    half = times(v, ir.Constant(F32, -0.5))
    r = _guess(builder, v, ROOT_GUESS, 1)
    for _ in range(STEPS):
        r = times(r, builder.fma(half, times(r, r), ir.Constant(F32, 1.5)))
    s = times(v, r)
    left = builder.fma(builder.fneg(s), s, v)
    return builder.fma(times(r, ir.Constant(F32, 0.5)), left, s)


def _divider(builder: Any, over: Any, under: Any) -> Any:
    return builder.fdiv(over, under, flags=STRICT)


def _rooter(builder: Any, number: Any) -> Any:
    name = "llvm.sqrt.f32"
    found = builder.module.globals.get(name)
    kind = ir.FunctionType(F32, [F32])
    return builder.call(found or ir.Function(builder.module, kind, name), [number])


def _of_one(recipe: Callable[..., Any]) -> Any:
    """Make a function of a float32 for compiled code."""

    def function(_: Any, a: Any) -> Any:
        return types.float32(types.float32), lambda _, b, __, args: recipe(b, *args)

    return extending.intrinsic(function)


def _of_two(recipe: Callable[..., Any]) -> Any:
    """Make a function of two float32."""

    def function(_: Any, a: Any, b: Any) -> Any:
        kind = types.float32(types.float32, types.float32)
        return kind, lambda _, b, __, args: recipe(b, *args)

    return extending.intrinsic(function)


quotient = _of_two(_quotient if HAS_SLOW_DIVIDER else _divider)
"""``over / under`` for a normal `under` from 1e-30 to 1e30."""

root = _of_one(_root if HAS_SLOW_DIVIDER else _rooter)
"""Square root; without a divider 2**-60 for all below 2**-120, and finite alone."""

newton_quotient, newton_root = _of_two(_quotient), _of_one(_root)
"""The same without the divider, on any processor."""
