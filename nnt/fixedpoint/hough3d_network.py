"""The network of the 3D Hough chain in integers (``NeuroTrigger3DH`` of BASF2)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from nnt.errors import DataError
from nnt.fixedpoint.arithmetic import (
    Arithmetic,
    Layer,
    Layers,
    checked_inputs,
    checked_layers,
    round_half_away,
    run_layers,
)
from nnt.types import F64, I64, BoolArray

__all__ = [
    "LARGEST",
    "NODE_BITS",
    "TABLE_SHIFT",
    "TABLE_SIZE",
    "WEIGHT_BITS",
    "WINDOW_BITS",
    "fraction_bits_for",
    "hough3d",
    "hough3d_hidden",
    "hough3d_wrapped",
    "tanh_table",
    "weight_fraction_bits",
]

NODE_BITS = 12
WEIGHT_BITS = 17
"""Magnitude bits of the 18-bit signed words of the weights."""
WINDOW_BITS = 18
TABLE_SIZE = 4096
TABLE_SHIFT = 2
"""The table covers sums below 4.0 = 2**14 in node units: 2**14 / 4096 = 2**2."""
LARGEST = 4095


def hough3d(
    inputs: npt.ArrayLike,
    layers: Layers,
) -> I64:
    """Run a network of any depth as the firmware of the 3D Hough chain does.

    Parameters
    ----------
    inputs : array_like, shape (N, n_in)
        Scaled inputs; n_in is 27 or 126 in BASF2.
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
    return _run(inputs, layers)


def hough3d_hidden(inputs: npt.ArrayLike, layers: Layers) -> I64:
    """Compute the hidden nodes of `hough3d`, one layer after the other.

    Returns
    -------
    int64 array, shape (N, n_hidden of all layers)
        Times 2**12; 4095 where the table ends, for pre-activations beyond 4.

    Raises
    ------
    DataError
        As of `hough3d`.
    """
    return _run(inputs, layers, hidden=True)


def hough3d_wrapped(inputs: npt.ArrayLike, layers: Layers) -> F64:
    """Find the sums that do not fit into the window of `hough3d`, and so wrap.

    Returns
    -------
    float64 array, shape (N,)
        Share of the sums of all layers of each row: of magnitudes of 32 and more.

    Raises
    ------
    DataError
        As of `hough3d`.
    """
    parts: list[BoolArray] = []
    n_rows = len(_run(inputs, layers, wraps=parts.append))
    share = np.zeros(n_rows)
    n_layers, start = len(layers), 0
    for first in range(0, len(parts), n_layers):
        wraps = np.concatenate(parts[first : first + n_layers], axis=1)
        share[start : start + len(wraps)] = wraps.mean(axis=1)
        start += len(wraps)
    return share


def _run(
    inputs: npt.ArrayLike,
    layers: Layers,
    *,
    hidden: bool = False,
    wraps: Callable[[BoolArray], None] | None = None,
) -> I64:
    floats = checked_layers(layers)
    x = checked_inputs(inputs, floats[0][0].shape[1])
    fraction = weight_fraction_bits(floats)
    whole = [
        Layer(
            round_half_away(w * 2.0**fraction).T,
            round_half_away(b * 2.0**fraction) * 2.0**NODE_BITS + 0.0,
        )
        for w, b in floats
    ]

    def to_nodes(value: F64) -> F64:
        return round_half_away(value * 2.0**NODE_BITS)

    def activate(sums: F64) -> F64:
        whole_sum = np.floor(sums * 2.0**-fraction).astype(np.int64)
        half = 1 << (WINDOW_BITS - 1)
        window = ((whole_sum + half) & (2 * half - 1)) - half
        if wraps is not None:
            wraps(window != whole_sum)
        index = np.abs(window) >> TABLE_SHIFT
        magnitude: F64 = tanh_table().take(index, mode="clip")
        return np.copysign(magnitude, sums, out=magnitude)

    arithmetic = Arithmetic(to_nodes, activate, LARGEST)
    return run_layers(x, whole, arithmetic, hidden=hidden)


def weight_fraction_bits(layers: Sequence[tuple[F64, F64]]) -> int:
    """Fractional bits that all weights and biases share.

    Raises
    ------
    DataError
        A weight is so large that no fractional bit is left.
    """
    largest = max(
        float(np.abs(part).max(initial=0)) for layer in layers for part in layer
    )
    return fraction_bits_for(largest)


def fraction_bits_for(largest: float) -> int:
    """Fractional bits that weights share of which this is the largest magnitude.

    Raises
    ------
    DataError
        It is so large that no fractional bit is left.
    """
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
