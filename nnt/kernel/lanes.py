"""What numba lacks: instructions of the processor for the compiled loops.

Lanes are a row of float32 held in vector registers.

LLVM turns simple loops into vector instructions by itself, but a sum of products over
the rows of a matrix it loads and stores once for every product. Held in registers from
the first product to the last, such sums take less than half the time.

The dividers of Intel's processors take 16 cycles and more for a vector of 16 numbers,
as long as some thirty multiplications. There, `quotient` and `root` guess from the bits
of a number, come near by Newton's method, and correct the last bit by what is left
over, in a fused multiply-add that rounds once. The result is the one that the divider
would have rounded to, but for less than one quotient in a million.

Compiled code alone can use what is here. Arrays are flat and contiguous float32; places
in them are counted from their beginning and never checked.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import extending, types
from numba.core import cgutils
from numba.extending import models, register_model

OPTIONS: dict[str, Any] = {
    "error_model": "numpy",
    "fastmath": {"reassoc", "contract", "nsz"},  # a NaN must reach the loss
}
"""Of every compiled function of the kernel; only the outermost are cached."""
IN_ORDER = OPTIONS | {"fastmath": {"contract", "nsz"}}
"""Of those where the order of factors decides the rounding. Numba optimises a function
once where it has just been compiled, but twice in the cache, which reorders them."""
ZERO, HALF, ONE, TWO = map(np.float32, (0, 0.5, 1, 2))

_FORCED = os.environ.get("NUMBA_CPU_FEATURES")
FEATURES = _FORCED or binding.get_host_cpu_features().flatten()
LANES = 32 if "+avx512f" in FEATURES else 16
"""Four sums and a row of weights fit the registers: 32 of 16 numbers, 16 of 8, or 32
of 4."""

BLOCK = 4
"""Sums that are held in registers at the same time."""

SQUARE = 16
"""Rows and columns of what `turn_square` turns at once."""

FLOAT_BYTES = 4
CONTRACT = ("contract",)  # not the flags of the loops: sums keep their order
VECTOR = ir.VectorType(ir.FloatType(), LANES)
UNDEFINED = ir.Constant(VECTOR, ir.Undefined)
WORD = ir.IntType(32)


class _Lanes(types.Type):
    def __init__(self) -> None:
        super().__init__(name=f"float32x{LANES}")


@register_model(_Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: _Lanes) -> None:
        super().__init__(manager, kind, VECTOR)  # type: ignore[no-untyped-call]


_lanes = _Lanes()


_intrinsic: Callable[[Any], Any] = extending.intrinsic
"""Makes it callable by compiled code, which leaves out its first argument."""


def _choice(of: Iterable[int]) -> ir.Constant:
    """Name the numbers to take out of a vector."""
    numbers = list(of)
    return ir.Constant(ir.VectorType(WORD, len(numbers)), numbers)


def _element(context: Any, builder: Any, kind: Any, array: Any, k: Any) -> Any:
    """Point to number `k` of a flat array."""
    held = context.make_array(kind)(context, builder, array)
    return builder.gep(held.data, [k])


def _vector(*where: Any, of: ir.VectorType = VECTOR) -> Any:
    """Point to numbers from `k` on; the first arguments are those of `_element`."""
    return where[1].bitcast(_element(*where), of.as_pointer())


def _all_equal(builder: Any, number: Any) -> Any:
    one = builder.insert_element(UNDEFINED, number, ir.Constant(WORD, 0))
    return builder.shuffle_vector(one, UNDEFINED, _choice([0] * LANES))


@_intrinsic
def load(_: Any, array: Any, k: Any) -> Any:
    """Read ``array[k : k + LANES]``."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = _vector(context, builder, signature.args[0], *args)
        return builder.load(place, align=FLOAT_BYTES)

    return _lanes(array, types.intp), generate


@_intrinsic
def store(_: Any, array: Any, k: Any, lanes: Any) -> Any:
    """Write ``array[k : k + LANES]``."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = _vector(context, builder, signature.args[0], *args[:2])
        builder.store(args[2], place, align=FLOAT_BYTES)
        return context.get_dummy_value()

    return types.void(array, types.intp, _lanes), generate


@_intrinsic
def spread(_: Any, array: Any, k: Any) -> Any:
    """Read ``array[k]`` into all lanes."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        element = _element(context, builder, signature.args[0], *args)
        return _all_equal(builder, builder.load(element))

    return _lanes(array, types.intp), generate


@_intrinsic
def no_lanes(_: Any) -> Any:
    """Give `LANES` zeros, to begin sums with."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return ir.Constant(VECTOR, [0.0] * LANES)

    return _lanes(), generate


@_intrinsic
def add_product(_: Any, sums: Any, factor: Any, lanes: Any) -> Any:
    """Give ``sums + factor * lanes``; the factor is one float32, or lanes, too."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        sums, factor, lanes = args
        if signature.args[1] == types.float32:
            factor = _all_equal(builder, factor)
        product = builder.fmul(factor, lanes, flags=CONTRACT)
        return builder.fadd(sums, product, flags=CONTRACT)

    kind = _lanes if factor == _lanes else types.float32
    return _lanes(_lanes, kind, _lanes), generate


@_intrinsic
def total(_: Any, lanes: Any) -> Any:
    """Add up all lanes, half to half."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        (sums,) = args
        n = LANES
        while n > 1:
            n //= 2
            lower = builder.shuffle_vector(sums, sums, _choice(range(n)))
            upper = builder.shuffle_vector(sums, sums, _choice(range(n, 2 * n)))
            sums = builder.fadd(lower, upper)
        return builder.extract_element(sums, ir.Constant(WORD, 0))

    return types.float32(_lanes), generate


@_intrinsic
def prefetch(_: Any, array: Any, i: Any, h: Any) -> Any:
    """Have the line of ``array[i, h]`` brought to the cache, and go on meanwhile."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        held = context.make_array(signature.args[0])(context, builder, args[0])
        n_columns = builder.extract_value(held.shape, 1)
        place = builder.add(builder.mul(args[1], n_columns), args[2])
        pointer = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [pointer, WORD, WORD, WORD])
        ask = cgutils.get_or_insert_function(  # type: ignore[no-untyped-call]
            builder.module, kind, "llvm.prefetch.p0"
        )
        read, into_all_levels, data = (ir.Constant(WORD, n) for n in (0, 3, 1))
        element = builder.bitcast(builder.gep(held.data, [place]), pointer)
        builder.call(ask, [element, read, into_all_levels, data])
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp), generate


@_intrinsic
def turn_square(
    _: Any, source: Any, i: Any, step: Any, result: Any, k: Any, result_step: Any
) -> Any:
    """Copy a square of `SQUARE` rows, its rows as columns.

    Row r begins at ``i + r * step`` in the source, column r at ``k + r`` in the
    result, whose rows are `result_step` apart.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        square = ir.VectorType(ir.FloatType(), SQUARE)

        def places(kind: Any, array: Any, start: Any, step: Any) -> list[Any]:
            starts = [start]
            for _ in range(SQUARE - 1):
                starts.append(builder.add(starts[-1], step))
            return [
                _vector(context, builder, kind, array, s, of=square) for s in starts
            ]

        kinds = signature.args
        rows = [
            builder.load(place, align=FLOAT_BYTES)
            for place in places(kinds[0], *args[:3])
        ]
        # Rows r and r + 8 are merged number by number; after four times, each of
        # the results is a column.
        half = SQUARE // 2
        low = _choice(n // 2 + (n % 2) * SQUARE for n in range(SQUARE))
        high = _choice(half + n // 2 + (n % 2) * SQUARE for n in range(SQUARE))
        for _ in range(SQUARE.bit_length() - 1):
            pairs = list(zip(rows[:half], rows[half:], strict=True))
            rows = [
                builder.shuffle_vector(*pair, part)
                for pair in pairs
                for part in (low, high)
            ]
        for row, place in zip(rows, places(kinds[3], *args[3:]), strict=True):
            builder.store(row, place, align=FLOAT_BYTES)
        return context.get_dummy_value()

    whole = types.intp
    return types.void(source, whole, whole, result, whole, whole), generate


_NAME = os.environ.get("NUMBA_CPU_NAME") or binding.get_host_cpu_name()
HAS_SLOW_DIVIDER = "+avx512f" in FEATURES and not _NAME.startswith("znver")
"""Whether `quotient` and `root` go without the divider."""

FLOAT = ir.FloatType()
RECIPROCAL_GUESS, ROOT_GUESS = 0x7EF311C7, 0x5F3759DF
"""Less the bits of a number, or half of them: a guess within 12 or 4 %."""
STEPS = 3
"""Of Newton's method, each of which squares the error: to less than 2^-24."""
SMALLEST = ir.Constant(FLOAT, 2.0**-120)
"""Below it the steps would leave the normal numbers."""


def _guess(builder: Any, number: Any, magic: int, shift: int) -> Any:
    bits = builder.bitcast(number, WORD)
    if shift:
        bits = builder.lshr(bits, ir.Constant(WORD, shift))
    return builder.bitcast(builder.sub(ir.Constant(WORD, magic), bits), FLOAT)


def _quotient(builder: Any, over: Any, under: Any) -> Any:
    r = _guess(builder, under, RECIPROCAL_GUESS, 0)
    minus = builder.fneg(under)
    for _ in range(STEPS):
        r = builder.fma(r, builder.fma(minus, r, ir.Constant(FLOAT, 1.0)), r)
    q = builder.fmul(over, r, flags=CONTRACT)
    return builder.fma(r, builder.fma(minus, q, over), q)


def _root(builder: Any, number: Any) -> Any:
    def times(a: Any, b: Any) -> Any:
        return builder.fmul(a, b, flags=CONTRACT)

    v = builder.select(builder.fcmp_ordered("<", number, SMALLEST), SMALLEST, number)
    half = times(v, ir.Constant(FLOAT, -0.5))
    r = _guess(builder, v, ROOT_GUESS, 1)
    for _ in range(STEPS):
        r = times(r, builder.fma(half, times(r, r), ir.Constant(FLOAT, 1.5)))
    s = times(v, r)
    left = builder.fma(builder.fneg(s), s, v)
    return builder.fma(times(r, ir.Constant(FLOAT, 0.5)), left, s)


def _divider(builder: Any, over: Any, under: Any) -> Any:
    return builder.fdiv(over, under, flags=CONTRACT)


def _rooter(builder: Any, number: Any) -> Any:
    name = "llvm.sqrt.f32"
    found = builder.module.globals.get(name)
    kind = ir.FunctionType(FLOAT, [FLOAT])
    return builder.call(found or ir.Function(builder.module, kind, name), [number])


def _of_one(recipe: Callable[..., Any]) -> Any:
    """Make a function of a float32 for compiled code."""

    def function(_: Any, a: Any) -> Any:
        return types.float32(types.float32), lambda _, b, __, args: recipe(b, *args)

    return _intrinsic(function)


def _of_two(recipe: Callable[..., Any]) -> Any:
    """Make a function of two float32."""

    def function(_: Any, a: Any, b: Any) -> Any:
        kind = types.float32(types.float32, types.float32)
        return kind, lambda _, b, __, args: recipe(b, *args)

    return _intrinsic(function)


quotient = _of_two(_quotient if HAS_SLOW_DIVIDER else _divider)
"""``over / under`` for a normal `under` from 1e-30 to 1e30."""

root = _of_one(_root if HAS_SLOW_DIVIDER else _rooter)
"""Square root; without a divider 2**-60 for all below 2**-120, and finite alone."""

newton_quotient, newton_root = _of_two(_quotient), _of_one(_root)
"""The same without the divider, on any processor."""
