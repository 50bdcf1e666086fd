"""Rows of a block of text to a checked table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nnt.detector import EXPERTS, N_INPUTS
from nnt.errors import DataError, shorten
from nnt.tracks.parsing import DONE, HARD_CELLS_FULL, WRONG_COUNT, parse_rows
from nnt.tracks.table import (
    EXTRA_FLOATS,
    EXTRA_INTS,
    ID_COLUMNS,
    INPUT_COLUMNS,
    REFERENCE_COLUMNS,
    SIZE_COLUMNS,
    TARGET_COLUMNS,
    Tracks,
    make_ids,
)
from nnt.tracks.text import Block
from nnt.types import F32, I64

__all__ = ["RowReader"]


INTEGERS = {*ID_COLUMNS, *SIZE_COLUMNS, *EXTRA_INTS}
HARD_CELLS = 4096
"""Cells that are left to Python at a time."""


class RowReader:
    """Reads the rows of one file.

    Parameters
    ----------
    path : Path
        Its name, for messages.
    names : sequence of str
        Its columns, each once.
    """

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        self._path = path
        self._names = list(names)
        # The inputs first: they are one part of the array, in their order.
        order = [*INPUT_COLUMNS, *TARGET_COLUMNS, *REFERENCE_COLUMNS, *ID_COLUMNS]
        ranked = sorted(names, key=lambda n: order.index(n) if n in order else 99)
        self._integers = [name for name in ranked if name in INTEGERS]
        self._reals = [name for name in ranked if name not in INTEGERS]
        self._is_integer = np.array([name in INTEGERS for name in names])
        self._slots = np.array(
            [
                (self._integers if name in INTEGERS else self._reals).index(name)
                for name in names
            ],
            dtype=np.int64,
        )

    def read(self, block: Block, start: int) -> Tracks:
        """Read the rows of a block from a byte on; threads may do so side by side.

        Returns
        -------
        Tracks
            `reference` may be all zero; extras as the file has them.

        Raises
        ------
        DataError
            The first row that is wrong, by line and column.
        """
        n_lines = block.n_lines
        integers = np.empty((n_lines, len(self._integers)), dtype=np.int64)
        reals = np.empty((n_lines, len(self._reals)), dtype=np.float32)
        lines, starts = np.empty((2, n_lines), dtype=np.int64)
        hard = np.empty((max(HARD_CELLS, len(self._names)), 4), dtype=np.int64)
        place, row, line = start, 0, block.first_line + bool(start)
        reason = HARD_CELLS_FULL
        while reason != DONE:
            first = row
            reason, place, row, line, n_hard = parse_rows(
                block.text, place, row, line, self._is_integer, self._slots,
                integers, reals, lines, starts, hard,
            )  # fmt: skip
            columns = self._columns(integers[:row], reals[:row])
            wrong = self._read_hard(block.text, hard[:n_hard], columns)
            last = row if wrong is None else wrong
            self._check(block.text, columns, lines, starts, slice(first, last))
            if wrong is not None or reason == WRONG_COUNT:
                raise self._told(block.text, int(lines[last]), int(starts[last]))
        return self._table(integers[:row], reals[:row], columns)

    def _columns(self, integers: I64, reals: F32) -> dict[str, npt.NDArray[Any]]:
        named: dict[str, npt.NDArray[Any]]
        named = dict(zip(self._integers, integers.T, strict=True))
        return named | dict(zip(self._reals, reals.T, strict=True))

    def _read_hard(
        self,
        text: npt.NDArray[np.uint8],
        cells: I64,
        columns: Mapping[str, npt.NDArray[Any]],
    ) -> int | None:
        """Let Python read cells of rows that are done; the first row it cannot."""
        for row, column, start, stop in cells.tolist():
            name = self._names[column]
            if row == len(columns[name]):
                return None
            value = _number(text[start:stop], whole=name in INTEGERS)
            if value is None:
                return int(row)
            columns[name][row] = value
        return None

    def _check(
        self,
        text: npt.NDArray[np.uint8],
        columns: Mapping[str, npt.NDArray[Any]],
        lines: I64,
        starts: I64,
        rows: slice,
    ) -> None:
        """Raise an error for the first of some rows with a value that cannot be."""
        bad = _bad_place({name: values[rows] for name, values in columns.items()})
        if bad is None:
            return
        after, name, expected = bad
        row = rows.start + after
        cell = _line(text, int(starts[row])).split("\t")[self._names.index(name)]
        raise DataError(
            f"{self._path}, line {lines[row]}, column {name}: expected {expected}, "
            f"found {shorten(cell)}; mend or remove the row"
        )

    def _told(self, text: npt.NDArray[np.uint8], number: int, start: int) -> DataError:
        """What is wrong with a row that cannot be read."""
        cells = _line(text, start).rstrip("\t").split("\t")
        if len(cells) != len(self._names):
            return DataError(
                f"{self._path}, line {number}: expected {len(self._names)} columns, "
                f"found {len(cells)}; mend or remove the row"
            )
        for name, cell in zip(self._names, cells, strict=True):
            if _number(cell.encode(), whole=name in INTEGERS) is None:
                kind = "an integer" if name in INTEGERS else "a number"
                return DataError(
                    f"{self._path}, line {number}, column {name}: expected {kind}, "
                    f"found {shorten(cell)}; mend or remove the row"
                )
        return DataError(f"{self._path}, line {number}: cannot be read")

    def _table(
        self, integers: I64, reals: F32, columns: Mapping[str, npt.NDArray[Any]]
    ) -> Tracks:
        extras: dict[str, npt.NDArray[Any]] = {
            name: columns[name].copy()
            for name in (*EXTRA_FLOATS, *EXTRA_INTS)
            if name in columns
        }
        ids = {name: columns[name] for name in ID_COLUMNS if name in columns}
        last = N_INPUTS + len(TARGET_COLUMNS)
        reference = None
        if set(REFERENCE_COLUMNS) <= columns.keys():
            reference = np.ascontiguousarray(reals[:, last : last + 2])
        return Tracks(
            ids=make_ids(ids, len(integers)),
            inputs=np.ascontiguousarray(reals[:, :N_INPUTS]),
            targets=np.ascontiguousarray(reals[:, N_INPUTS:last]),
            reference=reference,
            extras=extras,
        )


def _line(text: npt.NDArray[np.uint8], start: int) -> str:
    """Text of the line that begins at a byte."""
    stop = start + int(np.argmax(text[start:] == ord("\n")))
    return text[start:stop].tobytes().decode("ascii", errors="replace").rstrip("\r")


def _number(cell: npt.NDArray[np.uint8] | bytes, *, whole: bool) -> float | None:
    """Value of a cell by Python's rules, but for ``1_000`` and ``+1``."""
    text = bytes(cell).decode("ascii", errors="replace")
    if "_" in text or (whole and text.startswith("+")):
        return None
    try:
        value = int(text) if whole else float(text)
    except ValueError:
        return None
    return value if not whole or -(2**63) <= value < 2**63 else None


def _bad_place(
    columns: Mapping[str, npt.NDArray[Any]],
) -> tuple[int, str, str] | None:
    """First row and column with a value that cannot be, and what was expected."""
    checks: list[tuple[str, npt.NDArray[np.bool_], str]] = [
        (name, ~(np.abs(columns[name]) <= 1), "a number in [-1, 1]")
        for name in (*INPUT_COLUMNS, *TARGET_COLUMNS)
    ]
    checks += [
        (name, ~np.isfinite(columns[name]), "a finite number")
        for name in sorted(set(columns) & {*REFERENCE_COLUMNS, *EXTRA_FLOATS})
    ]
    experts = f"an expert {EXPERTS[0]} .. {EXPERTS[-1]}"
    checks.append(("Expert", ~np.isin(columns["Expert"], EXPERTS), experts))
    checks.append(("iNodes", columns["iNodes"] != N_INPUTS, f"{N_INPUTS} inputs"))
    checks.append(("oNodes", columns["oNodes"] != 2, "2 targets"))
    found = [(int(np.argmax(bad)), n, text) for n, bad, text in checks if bad.any()]
    return min(found) if found else None
