"""The classic network in integers (``NeuroTrigger::runMLPFix`` of BASF2)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from nnt.fixedpoint.arithmetic import (
    Arithmetic,
    Layer,
    Layers,
    checked_inputs,
    checked_layers,
    round_half_away,
    run_layers,
)
from nnt.networks import DEFAULT_PRECISION, check_precision
from nnt.networks.precision import dropped_bits
from nnt.types import F64, I64

__all__ = [
    "classic",
    "classic_hidden",
    "classic_layers",
    "tanh_half_table",
]


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

    Parameters
    ----------
    inputs : array_like, shape (N, n_in)
        Scaled inputs, as of `classic_layers`.
    w1, b1 : array_like, shapes (n_hidden, n_in) and (n_hidden,)
        First layer of a network with activation tanh(x / 2).
    w2, b2 : array_like, shapes (n_out, n_hidden) and (n_out,)
        Second layer.
    precision, saturate_13_bit
        As of `classic_layers`.

    Returns
    -------
    int64 array, shape (N, n_out)
        Outputs times ``2**precision[3]``.

    Raises
    ------
    DataError
        As of `classic_layers`.
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
        Scaled inputs. They are truncated, so those read from text must first
        go through `snap_text_inputs`.
    layers : sequence of (weight, bias)
        Shapes (out, in) and (out,), for the activation tanh(x / 2) everywhere.
    precision : sequence of 6 int
        Fractional bits, see `DEFAULT_PRECISION`; the last three matter here.
    saturate_13_bit : bool
        Keep outputs in a signed word of ``precision[3] + 1`` bits. The
        software can return +1.0 (4096), which such a word cannot hold.

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
    Inputs and weights are float32, as in BASF2. Inputs are truncated toward
    zero, weights rounded with halves away from zero. The bits of a sum below
    the argument of the table are dropped from its magnitude; the table holds
    the tanh at the middle of the dropped range, computed from a float32.
    """
    output = _run(inputs, layers, precision)
    return np.minimum(output, 2 ** precision[3] - 1) if saturate_13_bit else output


def classic_hidden(
    inputs: npt.ArrayLike,
    layers: Layers,
    precision: Sequence[int] = DEFAULT_PRECISION,
) -> I64:
    """Compute the hidden nodes of `classic_layers`, one layer after the other.

    Returns
    -------
    int64 array, shape (N, n_hidden of all layers)
        Times ``2**precision[3]``; that number itself where the table ends, for
        pre-activations beyond 9.7 at the default precision.

    Raises
    ------
    DataError
        As of `classic_layers`.
    """
    return _run(inputs, layers, precision, hidden=True)


def _run(
    inputs: npt.ArrayLike,
    layers: Layers,
    precision: Sequence[int],
    *,
    hidden: bool = False,
) -> I64:
    bits = check_precision(precision)
    node_bits, weight_bits = bits[3], bits[4]
    floats = checked_layers(layers)
    x = checked_inputs(inputs, floats[0][0].shape[1])
    table = tanh_half_table(*bits[3:])
    # Powers of two scale exactly: the sums come out in units of a table bin.
    per_bin = 2.0 ** -dropped_bits(bits)
    whole = [
        Layer(
            round_half_away(w * 2.0**weight_bits).T * per_bin,
            round_half_away(b * 2.0**weight_bits) * 2.0**node_bits * per_bin + 0.0,
        )
        for w, b in floats
    ]

    def to_nodes(value: F64) -> F64:
        value *= 2.0**node_bits
        return np.trunc(value, out=value)

    def activate(sums: F64) -> F64:
        bins = np.abs(sums).astype(np.int64)
        magnitude: F64 = table.take(bins, mode="clip")
        return np.copysign(magnitude, sums, out=magnitude)

    arithmetic = Arithmetic(to_nodes, activate, 2.0**node_bits, 1 / per_bin)
    return run_layers(x, whole, arithmetic, hidden=hidden)


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
