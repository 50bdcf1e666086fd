"""What a network costs in the firmware, counted from its integer weights.

``hardware/multiplications``: weights that are not 0 as integers.
``hardware/weight_bits``: weights and biases, times the bits of the word that holds the
largest of them, sign included.
``hardware/bit_operations``: sum over the multiplications of the bits of the weight (its
own digits and a sign) times the bits of the node's word.
``hardware/table_entries``: entries of the tanh table.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nnt.errors import DataError
from nnt.fixedpoint.arithmetic import Layers, checked_layers, whole_numbers
from nnt.fixedpoint.integers import (
    NODE_BITS,
    TABLE_SIZE,
    tanh_half_table,
    weight_fraction_bits,
)
from nnt.networks import DEFAULT_PRECISION, Form, check_precision
from nnt.networks.firmware import CLASSIC_ACT, HOUGH3D_ACT
from nnt.types import I64

__all__ = ["HardwareCost", "hardware_cost"]

HardwareCost = dict[str, float]

HOUGH3D_INPUT_BITS = NODE_BITS + 2
"""A sign, one bit before the point and twelve after: inputs reach 2."""


def hardware_cost(
    form: Form, layers: Layers, precision: Sequence[int] = DEFAULT_PRECISION
) -> HardwareCost:
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
        The figures that `nnt.fixedpoint.cost` describes.

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
    if form.activation == CLASSIC_ACT:
        bits = check_precision(precision)
        fraction, node_bits = bits[4], bits[3] + 1
        input_bits = node_bits
        table_entries = len(tanh_half_table(*bits[3:])) - 1
    elif form.activation == HOUGH3D_ACT:
        fraction, node_bits = weight_fraction_bits(floats), NODE_BITS + 1
        input_bits, table_entries = HOUGH3D_INPUT_BITS, TABLE_SIZE
    else:
        raise DataError(f"hardware: the firmware has no {form.activation}")
    whole = [
        (whole_numbers(w, fraction), whole_numbers(b, fraction)) for w, b in floats
    ]
    digits = [_bits(weight[weight != 0]) for weight, _ in whole]
    nodes = [input_bits, *[node_bits] * (len(whole) - 1)]
    word = max(int(_bits(part).max(initial=0)) for pair in whole for part in pair)
    operations = sum(int(w.sum()) * n for w, n in zip(digits, nodes, strict=True))
    return {
        "hardware/multiplications": float(sum(len(of_layer) for of_layer in digits)),
        "hardware/weight_bits": float(word * sum(w.size + b.size for w, b in whole)),
        "hardware/bit_operations": float(operations),
        "hardware/table_entries": float(table_entries),
    }


def _bits(value: I64) -> I64:
    """Binary digits of magnitudes and one for the sign."""
    # The exponent of a float64 is exact for integers below 2**53.
    return np.frexp(np.abs(value).astype(np.float64))[1].astype(np.int64) + 1
