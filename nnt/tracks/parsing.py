"""Rows of text to numbers, compiled.

Digits are read eight at a time: as bytes of one 64-bit word, of which a few operations
tell how many are digits and what number they are. So the length of a cell, which
changes from row to row, is no branch that the processor would guess wrong.

A number of at most 18 digits whose power of ten is within 10**22 is exact in one
division of doubles where its digits fit 53 bits (Clinger, "How to read floating
point numbers accurately", 1990). Where they do not, the quotient is still within
two roundings, which is enough unless the float32 below hangs on them. Any other
cell is left to Python.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import extending, types

from nnt.compiled import njit
from nnt.types import I64

__all__ = ["BYTES_BEYOND", "DONE", "HARD_CELLS_FULL", "WRONG_COUNT", "parse_rows"]

DONE, HARD_CELLS_FULL, WRONG_COUNT = 0, 1, 2
"""Why `parse_rows` stopped."""

TAB, NEWLINE, RETURN = 9, 10, 13
PLUS, MINUS, POINT, ZERO = 43, 45, 46, 48
EXPONENT = (69, 101)
BYTES_BEYOND = 8
"""Digits are read a word at a time, also the last ones."""
MAX_DIGITS = 18
MAX_POWER = 22
POWERS_OF_TEN = np.array([float(10**i) for i in range(MAX_POWER + 1)])
WHOLE_POWERS = np.array([10**i for i in range(MAX_DIGITS + 1)])
EXACT = 2**53

_U = np.uint64
ASCII_ZEROS = _U(0x3030303030303030)
BEYOND_NINE = _U(0x7676767676767676)  # added to a byte, sets the top bit from 10 on
TOP_BITS = _U(0x8080808080808080)
PAIRS, FOURS = _U(0x00FF00FF00FF00FF), _U(0x0000FFFF0000FFFF)
TENS, HUNDREDS, MYRIADS = _U(1 + (10 << 8)), _U(1 + (100 << 16)), _U(1 + (10000 << 32))
N2, N3, N8, N16, N32 = (_U(n) for n in (2, 3, 8, 16, 32))
TWO_ROUNDINGS = 4e-16
"""More than two roundings of a double can do, relative."""


def _reader(n_bits: int, kind: Any) -> Any:
    """Make a function of compiled code that reads memory, little-endian."""

    def read(_: Any, at: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            number = ir.IntType(n_bits)
            place = builder.inttoptr(args[0], number.as_pointer())
            value = builder.load(place, align=1)
            return value if sys.byteorder == "little" else builder.bswap(value)

        return kind(types.intp), generate

    return extending.intrinsic(read)


def _count_zeros(_: Any, word: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 0))

    return types.uint64(types.uint64), generate


_trailing_zeros: Any = extending.intrinsic(_count_zeros)
_byte, _word = _reader(8, types.uint8), _reader(64, types.uint64)


@njit(error_model="numpy")
def _digits(at: int) -> tuple[int, int]:
    """Value of the digits at an address, at most eight, and how many they are.

    Notes
    -----
    All within a word; the first byte is its lowest. A byte is a digit if it is below
    10 once the zero of ASCII is taken off. The digits are moved to the end of the
    word, behind zeros, and neighbours are joined: to pairs, fours, and eight.
    """
    word = _word(at) ^ ASCII_ZEROS
    others = ((word + BEYOND_NINE) | word) & TOP_BITS
    n = _trailing_zeros(others) >> N3
    # In two steps: no digit at all would be a shift by 64.
    half = (N8 - n) << N2
    word = (word << half) << half
    word = ((word * TENS) >> N8) & PAIRS
    word = ((word * HUNDREDS) >> N16) & FOURS
    word = (word * MYRIADS) >> N32
    return int(np.int64(word)), int(np.int64(n))


@njit(error_model="numpy")
def _run(at: int) -> tuple[int, int]:
    """Value of all digits at an address, and how many they are.

    The value of more than `MAX_DIGITS` is of no use.
    """
    value, n = _digits(at)
    if n == 8:
        while ZERO <= _byte(at + n) < ZERO + 10:
            value = value * 10 + int(_byte(at + n) - ZERO)
            n += 1
    return value, n


@njit(error_model="numpy")
def _integer(at: int) -> tuple[int, int]:
    """Value of an integer, and the address after it; that of a bad one is `at`."""
    negative = _byte(at) == MINUS
    value, n_digits = _run(at + negative)
    if not 1 <= n_digits <= MAX_DIGITS:
        return 0, at
    return (-value if negative else value), at + negative + n_digits


@njit(error_model="numpy")
def _real(at: int) -> tuple[np.float32, int]:
    """Value of a number as float32, and the address after it; `at` if it is hard."""
    nothing = np.float32(0)
    negative = _byte(at) == MINUS
    i = at + negative
    if _byte(i + 1) == POINT and ZERO <= _byte(i) < ZERO + 10:
        # The usual form; so the place of the fraction need not wait for a count.
        digits, n_digits = int(_byte(i) - ZERO), 1
    else:
        digits, n_digits = _run(i)
    i += n_digits
    power = 0
    if _byte(i) == POINT:
        fraction, n_fraction = _run(i + 1)
        i += 1 + n_fraction
        n_digits += n_fraction
        if n_digits > MAX_DIGITS:
            return nothing, at
        digits = digits * WHOLE_POWERS[n_fraction] + fraction
        power = -n_fraction
    if not 1 <= n_digits <= MAX_DIGITS:
        return nothing, at
    if _byte(i) in EXPONENT:
        i += 1
        if _byte(i) == PLUS and _byte(i + 1) != MINUS:
            i += 1
        exponent, end = _integer(i)
        if end == i or end - i > 4:
            return nothing, at
        i = end
        power += exponent
    value = np.float64(digits)
    if digits == 0:
        power = 0
    if power > MAX_POWER or power < -MAX_POWER:
        return nothing, at
    if power < 0:
        value /= POWERS_OF_TEN[-power]
    else:
        value *= POWERS_OF_TEN[power]
    if digits > EXACT:
        low = np.float32(value * (1 - TWO_ROUNDINGS))
        if low != np.float32(value * (1 + TWO_ROUNDINGS)):
            return nothing, at
    return np.float32(-value if negative else value), i


@njit(error_model="numpy")
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
        Ends with a newline; at least `BYTES_BEYOND` more of memory follow.
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
    # Addresses, since functions that get an array count who uses it, at every call.
    base = text.ctypes.data
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
                integer, end = _integer(base + i)
                integers[row, slots[column]] = integer
            else:
                real, end = _real(base + i)
                reals[row, slots[column]] = real
            i = end - base
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
