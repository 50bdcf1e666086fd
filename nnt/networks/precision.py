"""How many fractional bits the integers of the classic chain have."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nnt.errors import DataError, shorten

__all__ = ["DEFAULT_PRECISION", "MAX_BITS", "check_precision", "dropped_bits"]

DEFAULT_PRECISION = (12, 8, 8, 12, 10, 10)
"""Fractional bits of phi and alpha, the factor from radians to wires, the
reference ID, the nodes, the weights, and the argument of the tanh table."""

MAX_BITS = 30
MAX_TABLE_BITS = 20
"""The table has about ten times two to the power of these entries."""


def check_precision(precision: Sequence[int]) -> tuple[int, ...]:
    """Six counts of fractional bits, checked.

    Raises
    ------
    DataError
        There are not six, one is outside 0 .. 30 (0 .. 20 for the table), or there
        are more for the table than a sum has.
    """
    bits = tuple(precision)
    whole = all(isinstance(b, int | np.integer) for b in bits)
    if len(bits) != 6 or not whole or not all(0 <= b <= MAX_BITS for b in bits):
        raise DataError(
            f"precision: expected 6 counts of bits from 0 to {MAX_BITS}, found "
            f"{shorten(bits)}"
        )
    if dropped_bits(bits) < 0:
        raise DataError(
            f"precision: expected at most {bits[3] + bits[4]} bits for the table "
            f"(nodes + weights), found {bits[5]}"
        )
    if bits[5] > MAX_TABLE_BITS:
        raise DataError(
            f"precision: expected at most {MAX_TABLE_BITS} bits for the table, found "
            f"{bits[5]}"
        )
    return tuple(int(b) for b in bits)


def dropped_bits(bits: Sequence[int]) -> int:
    """Bits of a sum below the argument of the table."""
    return int(bits[3]) + int(bits[4]) - int(bits[5])
