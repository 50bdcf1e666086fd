"""Lanes: a row of float32 held in vector registers, for the compiled loops.

LLVM turns simple loops into vector instructions by itself, but a sum of products over
the rows of a matrix it loads and stores once for every product. Held in registers from
the first product to the last, such sums take less than half the time.

Compiled code alone can use what is here. Numba looks only at the date of the calling
file when it decides whether its cache on disk is up to date: after a change here, touch
`nnt.kernel.loops`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

from llvmlite import binding, ir
from numba import extending, types
from numba.core import cgutils
from numba.extending import models, register_model

__all__ = ["LANES", "add_product", "load", "no_lanes", "prefetch", "store", "total"]

_FORCED = os.environ.get("NUMBA_CPU_FEATURES")
FEATURES = _FORCED or binding.get_host_cpu_features().flatten()
LANES = 32 if "+avx512f" in FEATURES else 16
"""Four sums and a row of weights fit the registers: 32 of 16 numbers, 16 of 8, or 32
of 4."""

FLOAT_BYTES = 4
CONTRACT = ("contract",)  # a product and its sum may be rounded once
VECTOR = ir.VectorType(ir.FloatType(), LANES)
UNDEFINED = ir.Constant(VECTOR, ir.Undefined)
INDEX = ir.IntType(32)


class _Lanes(types.Type):
    def __init__(self) -> None:
        super().__init__(name=f"float32x{LANES}")


@register_model(_Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: _Lanes) -> None:
        super().__init__(manager, kind, VECTOR)  # type: ignore[no-untyped-call]


_lanes = _Lanes()


def _intrinsic(generator: Callable[..., Any]) -> Any:
    """Make it callable by compiled code, which leaves out its first argument."""
    return extending.intrinsic(generator)


def _choice(of: Iterable[int]) -> ir.Constant:
    """Name the numbers to take out of a vector."""
    numbers = list(of)
    return ir.Constant(ir.VectorType(INDEX, len(numbers)), numbers)


def _element(context: Any, builder: Any, kind: Any, array: Any, i: Any, h: Any) -> Any:
    """Point to column `h` of row `i`."""
    held = context.make_array(kind)(context, builder, array)
    n_columns = builder.extract_value(held.shape, 1)
    return builder.gep(held.data, [builder.add(builder.mul(i, n_columns), h)])


def _place(context: Any, builder: Any, kind: Any, array: Any, i: Any, h: Any) -> Any:
    """Point to the lanes that begin there."""
    element = _element(context, builder, kind, array, i, h)
    return builder.bitcast(element, VECTOR.as_pointer())


@_intrinsic
def load(_: Any, array: Any, i: Any, h: Any) -> Any:
    """Read ``array[i, h : h + LANES]``; the array is C-contiguous float32."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = _place(context, builder, signature.args[0], *args)
        return builder.load(place, align=FLOAT_BYTES)

    return _lanes(array, types.intp, types.intp), generate


@_intrinsic
def store(_: Any, array: Any, i: Any, h: Any, lanes: Any) -> Any:
    """Write ``array[i, h : h + LANES]``; the array is C-contiguous float32."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = _place(context, builder, signature.args[0], *args[:3])
        builder.store(args[3], place, align=FLOAT_BYTES)
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp, _lanes), generate


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
            one = builder.insert_element(UNDEFINED, factor, ir.Constant(INDEX, 0))
            factor = builder.shuffle_vector(one, UNDEFINED, _choice([0] * LANES))
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
        return builder.extract_element(sums, ir.Constant(INDEX, 0))

    return types.float32(_lanes), generate


@_intrinsic
def prefetch(_: Any, array: Any, i: Any, h: Any) -> Any:
    """Have the line of ``array[i, h]`` brought to the cache, and go on meanwhile."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        element = _element(context, builder, signature.args[0], *args)
        pointer = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [pointer, INDEX, INDEX, INDEX])
        name = "llvm.prefetch.p0"
        ask = cgutils.get_or_insert_function(  # type: ignore[no-untyped-call]
            builder.module, kind, name
        )
        read, into_all_levels, data = (ir.Constant(INDEX, n) for n in (0, 3, 1))
        place = builder.bitcast(element, pointer)
        builder.call(ask, [place, read, into_all_levels, data])
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp), generate
