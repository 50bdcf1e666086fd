"""Rows of text to numbers, compiled.

A number of at most 18 digits whose power of ten is within 10**22 is exact in one
division of doubles where its digits fit 53 bits (Clinger, "How to read floating
point numbers accurately", 1990). Where they do not, the quotient is still within
two roundings, which is enough unless the float32 below hangs on them. Any other
cell is left to Python.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

I64 = npt.NDArray[np.int64]

__all__ = ["DONE", "HARD_CELLS_FULL", "WRONG_COUNT", "parse_rows"]

DONE, HARD_CELLS_FULL, WRONG_COUNT = 0, 1, 2
"""Why `parse_rows` stopped."""

TAB, NEWLINE, RETURN = 9, 10, 13
PLUS, MINUS, POINT, ZERO = 43, 45, 46, 48
EXPONENT = (69, 101)
MAX_DIGITS = 18
MAX_POWER = 22
POWERS_OF_TEN = np.array([float(10**i) for i in range(MAX_POWER + 1)])
EXACT = 2**53
TWO_ROUNDINGS = 4e-16
"""More than two roundings of a double can do, relative."""


@njit(nogil=True, cache=True, error_model="numpy")
def _integer(text: npt.NDArray[np.uint8], i: int) -> tuple[int, int]:
    """Value of an integer, and the byte after it; that of a bad one is `i`."""
    start = i
    negative = text[i] == MINUS
    if negative:
        i += 1
    first, value = i, 0
    while ZERO <= text[i] < ZERO + 10:
        value = value * 10 + int(text[i] - ZERO)
        i += 1
    if not 1 <= i - first <= MAX_DIGITS:
        return 0, start
    return (-value if negative else value), i


@njit(nogil=True, cache=True, error_model="numpy")
def _real(text: npt.NDArray[np.uint8], i: int) -> tuple[np.float32, int]:
    """Value of a number as float32, and the byte after it; `i` if it is hard."""
    start = i
    nothing = np.float32(0)
    negative = text[i] == MINUS
    if negative:
        i += 1
    first, digits = i, 0
    while ZERO <= text[i] < ZERO + 10:
        digits = digits * 10 + int(text[i] - ZERO)
        i += 1
    n_digits, power = i - first, 0
    if text[i] == POINT:
        i += 1
        first = i
        while ZERO <= text[i] < ZERO + 10:
            digits = digits * 10 + int(text[i] - ZERO)
            i += 1
        power = first - i
        n_digits -= power
    if not 1 <= n_digits <= MAX_DIGITS:
        return nothing, start
    if text[i] in EXPONENT:
        i += 1
        if text[i] == PLUS and text[i + 1] != MINUS:
            i += 1
        exponent, end = _integer(text, i)
        if end == i or end - i > 4:
            return nothing, start
        i = end
        power += exponent
    value = np.float64(digits)
    if digits == 0:
        power = 0
    if power > MAX_POWER or power < -MAX_POWER:
        return nothing, start
    if power < 0:
        value /= POWERS_OF_TEN[-power]
    else:
        value *= POWERS_OF_TEN[power]
    if digits > EXACT:
        low = np.float32(value * (1 - TWO_ROUNDINGS))
        if low != np.float32(value * (1 + TWO_ROUNDINGS)):
            return nothing, start
    return np.float32(-value if negative else value), i


@njit(nogil=True, cache=True, error_model="numpy")
def parse_rows(
    text: npt.NDArray[np.uint8],
    place: int,
    row: int,
    line: int,
    is_integer: npt.NDArray[np.bool_],
    slots: I64,
    integers: I64,
    reals: npt.NDArray[np.float32],
    lines: I64,
    starts: I64,
    hard: I64,
) -> tuple[int, int, int, int, int]:
    """Parse rows until the text ends, a row is wrong, or `hard` is full.

    Parameters
    ----------
    text : uint8 array
        Ends with a newline.
    place, row, line : int
        Byte to begin at, number of the row there, and of its line.
    is_integer : bool array, shape (columns,)
        Which columns hold integers.
    slots : int64 array, shape (columns,)
        Column of `integers` or of `reals` that each one goes to.
    integers, reals : int64 and float32 arrays, shape (rows, ...)
        Filled.
    lines, starts : int64 arrays, shape (rows,)
        Filled with the line of each row, and with its first byte.
    hard : int64 array, shape (n, 4)
        Filled with row, column, first and last byte + 1 of cells left to Python.

    Returns
    -------
    reason, place, row, line, n_hard : int
        Where it stopped: after the text, or at the start of a row not done; rows
        that are done; cells in `hard`.
    """
    n_columns, n_hard = len(slots), 0
    while place < len(text):
        i = place
        if text[i] == RETURN:
            i += 1
        if text[i] == NEWLINE:
            place = i + 1
            line += 1
            continue
        if n_hard + n_columns > len(hard):
            return HARD_CELLS_FULL, place, row, line, n_hard
        i = place
        lines[row], starts[row] = line, place
        for column in range(n_columns):
            start = i
            if is_integer[column]:
                integer, i = _integer(text, i)
                integers[row, slots[column]] = integer
            else:
                real, i = _real(text, i)
                reals[row, slots[column]] = real
            if i == start or not (
                text[i] in (TAB, NEWLINE)
                or (text[i] == RETURN and text[i + 1] == NEWLINE)
            ):
                i = start
                while text[i] != TAB and text[i] != NEWLINE:
                    i += 1
                if text[i] == NEWLINE and i > start and text[i - 1] == RETURN:
                    i -= 1
                hard[n_hard, 0], hard[n_hard, 1] = row, column
                hard[n_hard, 2], hard[n_hard, 3] = start, i
                n_hard += 1
            if column < n_columns - 1:
                if text[i] != TAB:
                    return WRONG_COUNT, place, row, line, n_hard
                i += 1
        while text[i] == TAB:
            i += 1
        if text[i] == RETURN:
            i += 1
        if text[i] != NEWLINE:
            return WRONG_COUNT, place, row, line, n_hard
        place = i + 1
        row += 1
        line += 1
    return DONE, place, row, line, n_hard
