"""Networks in the integers of BASF2, bit for bit.

The classic chain is ``NeuroTrigger::runMLPFix``, the other ``NeuroTrigger3DH``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from nnt.errors import DataError
from nnt.networks import DEFAULT_PRECISION, check_precision
from nnt.types import F32, F64, I64, BoolArray, FloatArray

Layers = Sequence[tuple[npt.ArrayLike, npt.ArrayLike]]
"""Weights (out, in) and biases (out,) of each layer."""

CHUNK = 1024
"""Rows at a time: 1024 x 81 sums stay in the cache of one core."""
EXACT = float(2**53)
"""Below it a float64 holds every integer, so sums of integers are exact."""

NODE_BITS = 12
WEIGHT_BITS = 17
"""Magnitude bits of the 18-bit signed words of the weights."""
WINDOW_BITS = 18
TABLE_SIZE = 4096
TABLE_SHIFT = 2
"""The table covers sums below 4.0 = 2**14 in node units: 2**14 / 4096 = 2**2."""
LARGEST = 4095


@dataclass(frozen=True, slots=True, eq=False)
class Arithmetic:
    """What a chain makes of inputs, weights and sums."""

    weight_bits: int
    """Fractional bits of the weights."""
    node_bits: int
    input_bits: int
    """Of the word of an input, sign included."""
    table: F64
    """Nodes of sums from 0 on; the last one is the saturation."""
    to_nodes: Callable[[F64], F64]
    """Takes float64 inputs to integer nodes."""
    place: Callable[[F64], I64]
    """Takes integer sums to their place in the table, or beyond its end."""
    wraps: Callable[[F64], BoolArray] | None = None
    """Whether sums do not fit into their word; None where all do."""
    per_bin: float = 1.0
    """A power of two, by which sums are multiplied before they are looked up."""


def classic(
    inputs: npt.ArrayLike,
    w1: npt.ArrayLike,
    b1: npt.ArrayLike,
    w2: npt.ArrayLike,
    b2: npt.ArrayLike,
    precision: Sequence[int] = DEFAULT_PRECISION,
    *,
    saturate_13_bit: bool = False,
) -> I64:
    """Run a network of one hidden layer as the firmware does.

    `classic_layers` for two layers; the first has weights (n_hidden, n_in) and biases
    (n_hidden,), the second (n_out, n_hidden) and (n_out,).
    """
    layers = [(w1, b1), (w2, b2)]
    return classic_layers(inputs, layers, precision, saturate_13_bit=saturate_13_bit)


def classic_layers(
    inputs: npt.ArrayLike,
    layers: Layers,
    precision: Sequence[int] = DEFAULT_PRECISION,
    *,
    saturate_13_bit: bool = False,
) -> I64:
    """Run a network of any depth as the firmware of the classic chain does.

    Parameters
    ----------
    inputs : array_like, shape (N, n_in)
        Scaled. They are truncated, so those read from text must first go through
        `snap_text_inputs`.
    layers : sequence of (weight, bias)
        Shapes (out, in) and (out,), for the activation tanh(x / 2) everywhere.
    precision : sequence of 6 int
        Fractional bits, see `DEFAULT_PRECISION`; the last three matter here.
    saturate_13_bit : bool
        Keep outputs in a signed word of ``precision[3] + 1`` bits, which cannot hold
        the +1.0 (4096) of the software.

    Returns
    -------
    int64 array, shape (N, n_out)
        Outputs times ``2**precision[3]``.

    Raises
    ------
    DataError
        Shapes do not fit, numbers are not finite, or the precision is none.

    Notes
    -----
    Inputs and weights are float32, as in BASF2, truncated and rounded with halves away
    from zero. The bits of a sum below the argument of the table are dropped from its
    magnitude; the table holds the tanh at the middle of the dropped range.
    """
    output = run_classic(inputs, layers, precision).outputs
    return np.minimum(output, 2 ** precision[3] - 1) if saturate_13_bit else output


def run_classic(
    inputs: npt.ArrayLike, layers: Layers, precision: Sequence[int] = DEFAULT_PRECISION
) -> Computed:
    """Outputs of `classic_layers`, not kept in a word, and shares of its nodes.

    The table ends for pre-activations beyond 9.7 at the default precision.
    """
    return _run(inputs, checked_layers(layers), classic_arithmetic(precision))


def classic_arithmetic(precision: Sequence[int]) -> Arithmetic:
    """Give that of the classic chain."""
    bits = check_precision(precision)

    def to_nodes(value: F64) -> F64:
        value *= 2.0 ** bits[3]
        return np.trunc(value, out=value)

    return Arithmetic(
        weight_bits=bits[4],
        node_bits=bits[3],
        input_bits=bits[3] + 1,
        table=tanh_half_table(*bits[3:]),
        to_nodes=to_nodes,
        place=lambda sums: np.abs(sums).astype(np.int64),
        per_bin=2.0 ** (bits[5] - bits[3] - bits[4]),
    )


@lru_cache(maxsize=8)
def tanh_half_table(node_bits: int, weight_bits: int, table_bits: int) -> F64:
    """Values of tanh(x / 2) in node units; the last one is the saturation."""
    dropped = node_bits + weight_bits - table_bits
    size = math.ceil(math.atanh(1 - 2.0 ** -(node_bits + 1)) * 2.0 ** (table_bits + 1))
    middle = np.arange(size) + 0.5 - 2.0 ** -(dropped + 1)
    argument = (middle / 2.0**table_bits).astype(np.float32).astype(np.float64)
    table = np.append(
        round_half_away(np.tanh(argument / 2) * 2.0**node_bits), 2.0**node_bits
    )
    table.setflags(write=False)
    return table


def hough3d(inputs: npt.ArrayLike, layers: Layers) -> I64:
    """Run a network of any depth as the firmware of the 3D Hough chain does.

    Parameters
    ----------
    inputs : array_like, shape (N, n_in)
        Scaled; n_in is 27 or 126 in BASF2.
    layers : sequence of (weight, bias)
        Shapes (out, in) and (out,), for the activation tanh(x) everywhere.

    Returns
    -------
    int64 array, shape (N, n_out)
        Outputs times 2**12, within -4095 .. 4095.

    Raises
    ------
    DataError
        Shapes do not fit, or numbers are not finite or too large.

    Notes
    -----
    Inputs are rounded to 12 bits. All weights share the scale that makes the
    largest fill an 18-bit word. Of each sum an 18-bit window is kept: it is
    floored, and wraps at a magnitude of 32. Its magnitude addresses the tanh
    table; the sign is that of the whole sum.
    """
    return run_hough3d(inputs, layers).outputs


def run_hough3d(inputs: npt.ArrayLike, layers: Layers) -> Computed:
    """Outputs of `hough3d`, and shares of its nodes.

    The table ends for pre-activations beyond 4; sums wrap at a magnitude of 32.
    """
    floats = checked_layers(layers)
    return _run(inputs, floats, hough3d_arithmetic(floats))


def hough3d_arithmetic(layers: Sequence[tuple[F64, F64]]) -> Arithmetic:
    """Give that of the 3D Hough chain, whose weights share the bits that are left."""
    fraction = weight_fraction_bits(layers)
    half = 1 << (WINDOW_BITS - 1)

    def whole(sums: F64) -> I64:
        return np.floor(sums * 2.0**-fraction).astype(np.int64)

    def place(sums: F64) -> I64:
        window = ((whole(sums) + half) & (2 * half - 1)) - half
        shifted: I64 = np.abs(window) >> TABLE_SHIFT
        return shifted

    return Arithmetic(
        weight_bits=fraction,
        node_bits=NODE_BITS,
        # A sign, one bit before the point and twelve after: inputs reach 2.
        input_bits=NODE_BITS + 2,
        table=tanh_table(),
        to_nodes=lambda value: round_half_away(value * 2.0**NODE_BITS),
        place=place,
        wraps=lambda sums: np.abs(whole(sums) + 0.5) > half,
    )


def weight_fraction_bits(layers: Sequence[tuple[F64, F64]]) -> int:
    """Fractional bits that all weights and biases share; see `fraction_bits_for`."""
    return fraction_bits_for(
        max(float(np.abs(part).max(initial=0)) for layer in layers for part in layer)
    )


def fraction_bits_for(largest: float) -> int:
    """Fractional bits of weights of which this is the largest, if any bit is left."""
    if largest == 0:
        return WEIGHT_BITS
    mantissa, exponent = math.frexp(largest)
    shift = exponent - 1 if mantissa == 0.5 else exponent  # ceil(log2), exact
    if shift > WEIGHT_BITS:
        raise DataError(
            f"weights: the largest is {largest:.6g}, expected at most "
            f"{1 << WEIGHT_BITS}; at most 4 keeps 15 fractional bits"
        )
    return WEIGHT_BITS - shift


@lru_cache(maxsize=1)
def tanh_table() -> F64:
    """Values of tanh in node units; the last one is the saturation."""
    steps = np.arange(TABLE_SIZE + 1, dtype=np.float64)
    values = np.tanh(steps * 2.0**TABLE_SHIFT / 2.0**NODE_BITS) * 2.0**NODE_BITS
    table = np.minimum(round_half_away(values), LARGEST)
    table[TABLE_SIZE] = LARGEST
    table.setflags(write=False)
    return table


@dataclass(frozen=True, slots=True, eq=False)
class Computed:
    """What integer layers make of N rows."""

    outputs: I64  # (N, n_out)
    saturated_share: F64
    """Shape (N,): hidden nodes at the end of the table; 0 without hidden nodes."""
    wrapped_share: F64
    """Shape (N,): sums of all layers that wrap."""


def round_half_away(value: F64) -> F64:
    """Round as C does: halves away from zero."""
    whole = np.trunc(value)
    rounded: F64 = whole + np.copysign(np.abs(value - whole) >= 0.5, value)
    return rounded


def checked_layers(layers: Layers) -> list[tuple[F64, F64]]:
    """Round weights to float32, in which BASF2 holds them, and check the shapes.

    Raises
    ------
    DataError
        A layer is not (out, in) weights and (out,) biases, does not follow
        the one before it, or holds a number that is not finite.
    """
    if not layers:
        raise DataError("layers: expected at least one pair of weights and biases")
    checked: list[tuple[F64, F64]] = []
    for i, layer in enumerate(layers):
        w, b = (float32(part).astype(np.float64) for part in layer)
        if w.ndim != 2 or b.shape != w.shape[:1]:
            raise DataError(
                f"layer {i}: expected weights (out, in) and biases (out,), found "
                f"shapes {w.shape} and {b.shape}"
            )
        if checked and w.shape[1] != len(checked[-1][1]):
            raise DataError(
                f"layer {i}: expected {len(checked[-1][1])} inputs as the layer "
                f"before has outputs, found {w.shape[1]}"
            )
        if not (np.isfinite(w).all() and np.isfinite(b).all()):
            raise DataError(f"layer {i}: expected finite weights and biases")
        checked.append((w, b))
    return checked


def _checked_inputs(inputs: npt.ArrayLike, size: int) -> F32:
    x = float32(inputs)
    if x.ndim != 2 or x.shape[1] != size:
        raise DataError(f"inputs: expected shape (N, {size}), found {x.shape}")
    if not np.isfinite(x).all():
        raise DataError("inputs: expected finite numbers; drop the rows without")
    return x


def whole_numbers(value: FloatArray, bits: int) -> I64:
    """Round to integers with so many fractional bits, halves away from zero."""
    return round_half_away(value.astype(np.float64) * 2.0**bits).astype(np.int64)


@np.errstate(over="ignore")
def float32(value: npt.ArrayLike) -> F32:
    """Round to float32; what is too large becomes infinite."""
    return np.asarray(value, dtype=np.float32)


def _run(
    inputs: npt.ArrayLike,
    layers: Sequence[tuple[F64, F64]],
    arithmetic: Arithmetic,
) -> Computed:
    """Run rows in chunks; `layers` as `checked_layers` gives them.

    Raises
    ------
    DataError
        Inputs do not fit, or a sum may reach 2**53, so that it could be wrong.
    """
    x = _checked_inputs(inputs, layers[0][0].shape[1])
    table, per_bin = arithmetic.table, arithmetic.per_bin
    units = 2.0**arithmetic.weight_bits
    # Powers of two scale exactly. A bias of +0 also turns a sum of -0 into +0, whose
    # sign is plus.
    whole = [
        (
            round_half_away(w * units).T * per_bin,
            round_half_away(b * units) * 2.0**arithmetic.node_bits * per_bin + 0.0,
        )
        for w, b in layers
    ]
    outputs = np.empty((len(x), len(layers[-1][1])), np.int64)
    saturated, wrapped = np.zeros((2, len(x)))
    for start in range(0, len(x), CHUNK):
        rows = slice(start, start + CHUNK)
        nodes = arithmetic.to_nodes(x[rows].astype(np.float64))
        largest = float(np.abs(nodes).max(initial=0))
        for i, (weight, bias) in enumerate(whole):
            bound = np.abs(weight).sum(axis=0) * largest + np.abs(bias)
            if (reached := bound.max(initial=0) / per_bin) >= EXACT:
                raise DataError(
                    f"layer {i}: sums may reach {reached:.3g}, expected below 2**53; "
                    "use smaller weights or fewer fractional bits"
                )
            sums = nodes @ weight
            sums += bias
            if arithmetic.wraps is not None:
                wrapped[rows] += arithmetic.wraps(sums).sum(axis=1)
            nodes = table.take(arithmetic.place(sums), mode="clip")
            np.copysign(nodes, sums, out=nodes)
            largest = float(table[-1])
            if i < len(whole) - 1:
                saturated[rows] += (np.abs(nodes) >= largest).sum(axis=1)
        outputs[rows] = nodes
    n_nodes = sum(len(bias) for _, bias in whole)
    n_hidden = max(n_nodes - outputs.shape[1], 1)
    return Computed(outputs, saturated / n_hidden, wrapped / n_nodes)
