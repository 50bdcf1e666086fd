"""Networks in the integers of BASF2, and what they cost in the firmware.

The classic chain is ``NeuroTrigger::runMLPFix``, the other ``NeuroTrigger3DH``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from nnt.detector import CLASSIC, HOUGH3D
from nnt.errors import DataError
from nnt.fixedpoint.arithmetic import (
    Arithmetic,
    Computed,
    Layers,
    checked_layers,
    round_half_away,
    run_layers,
    whole_numbers,
)
from nnt.networks import DEFAULT_PRECISION, Form, check_precision
from nnt.networks.weights import dropped_bits
from nnt.types import F64, I64

NODE_BITS = 12
WEIGHT_BITS = 17
"""Magnitude bits of the 18-bit signed words of the weights."""
WINDOW_BITS = 18
TABLE_SIZE = 4096
TABLE_SHIFT = 2
"""The table covers sums below 4.0 = 2**14 in node units: 2**14 / 4096 = 2**2."""
LARGEST = 4095


HOUGH3D_INPUT_BITS = NODE_BITS + 2
"""A sign, one bit before the point and twelve after: inputs reach 2."""


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
    bits = check_precision(precision)
    table = tanh_half_table(*bits[3:])

    def to_nodes(value: F64) -> F64:
        value *= 2.0 ** bits[3]
        return np.trunc(value, out=value)

    def activate(sums: F64) -> F64:
        return _looked_up(table, np.abs(sums).astype(np.int64), sums)

    arithmetic = Arithmetic(
        weight_bits=bits[4],
        node_bits=bits[3],
        to_nodes=to_nodes,
        activate=activate,
        largest_node=2 ** bits[3],
        per_bin=2.0 ** -dropped_bits(bits),
    )
    return run_layers(inputs, checked_layers(layers), arithmetic)


def _looked_up(table: F64, place: I64, sums: F64) -> F64:
    """Take values of a table, the last one beyond its end; with the sign of sums."""
    magnitude: F64 = table.take(place, mode="clip")
    return np.copysign(magnitude, sums, out=magnitude)


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
    fraction = weight_fraction_bits(floats)
    half = 1 << (WINDOW_BITS - 1)

    def whole_sums(sums: F64) -> I64:
        return np.floor(sums * 2.0**-fraction).astype(np.int64)

    def activate(sums: F64) -> F64:
        window = ((whole_sums(sums) + half) & (2 * half - 1)) - half
        return _looked_up(tanh_table(), np.abs(window) >> TABLE_SHIFT, sums)

    arithmetic = Arithmetic(
        weight_bits=fraction,
        node_bits=NODE_BITS,
        to_nodes=lambda value: round_half_away(value * 2.0**NODE_BITS),
        activate=activate,
        largest_node=LARGEST,
        wraps=lambda sums: np.abs(whole_sums(sums) + 0.5) > half,
    )
    return run_layers(inputs, floats, arithmetic)


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


def hardware_cost(
    form: Form, layers: Layers, precision: Sequence[int] = DEFAULT_PRECISION
) -> dict[str, float]:
    """Count what the arithmetic of a network takes.

    Parameters
    ----------
    form : Form
        Its activation names the chain: tanh/2 the classic, tanh the 3D Hough one.
    layers : sequence of (weight, bias)
        Those of a `nnt.networks.FirmwareNetwork`.
    precision : sequence of 6 int
        Fractional bits of the classic chain; not used for the other.

    Returns
    -------
    dict
        ``hardware/multiplications``: weights that are not 0 as integers.
        ``hardware/weight_bits``: weights and biases, times the bits of the word that
        holds the largest of them, sign included.
        ``hardware/bit_operations``: sum over the multiplications of the bits of the
        weight (its own digits and a sign) times the bits of the node's word.
        ``hardware/table_entries``: entries of the tanh table.

    Raises
    ------
    DataError
        The firmware has no such activation, or the layers do not fit.

    Notes
    -----
    Biases are added after a shift, so they are stored but not multiplied. The bit
    operations follow the effective bit operations of C. Sun et al.
    (arXiv:2405.00645). Words of nodes have ``precision[3]`` bits and a sign; inputs of
    the 3D Hough chain, which reach 2, have one more.

    Examples
    --------
    >>> cost = hardware_cost(Form(2, (), ("z",)), [([[1.0, 0.0]], [-2.0])])
    >>> int(cost["hardware/multiplications"]), int(cost["hardware/weight_bits"])
    (1, 39)
    """
    floats = checked_layers(layers)
    if form.activation == CLASSIC.activation:
        bits = check_precision(precision)
        fraction, node_bits = bits[4], bits[3] + 1
        input_bits = node_bits
        table_entries = len(tanh_half_table(*bits[3:])) - 1
    elif form.activation == HOUGH3D.activation:
        fraction, node_bits = weight_fraction_bits(floats), NODE_BITS + 1
        input_bits, table_entries = HOUGH3D_INPUT_BITS, TABLE_SIZE
    else:
        raise DataError(f"hardware: the firmware has no {form.activation}")
    whole = [tuple(whole_numbers(p, fraction) for p in layer) for layer in floats]
    # Exponents of floats are the binary digits of integers; a sign is one more.
    bits_of = [[np.frexp(part * 1.0)[1] + 1 for part in layer] for layer in whole]
    digits = [
        of_weights[weight != 0]
        for (of_weights, _), (weight, _) in zip(bits_of, whole, strict=True)
    ]
    nodes = [input_bits, *[node_bits] * (len(whole) - 1)]
    word = max(int(of.max(initial=0)) for layer in bits_of for of in layer)
    operations = sum(int(w.sum()) * n for w, n in zip(digits, nodes, strict=True))
    return {
        "hardware/multiplications": float(sum(len(of_layer) for of_layer in digits)),
        "hardware/weight_bits": float(word * sum(w.size + b.size for w, b in whole)),
        "hardware/bit_operations": float(operations),
        "hardware/table_entries": float(table_entries),
    }
