"""From text to a checked table: the rows of a block of text, by pyarrow.

Whatever pyarrow does not take, and every error, is left to plain Python, which goes
through the block row by row.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import csv

from nnt.errors import DataError, shorten
from nnt.tracks.layouts import Columns, Layout
from nnt.tracks.table import Tracks, concatenate
from nnt.tracks.text import Block, between_headers

END = "\t"
"""Name of the empty column behind the tab that ends a row; no other has a tab."""
MAX_BYTES = 2**31 - 1


class RowParser:
    """Parses the rows of one file: its path for messages, its columns, its format."""

    def __init__(self, path: Path, names: list[str], layout: Layout) -> None:
        self._path = path
        self._names = names
        self._layout = layout
        whole = layout.integers - layout.whole
        types = {n: pa.int64() if n in whole else pa.float64() for n in names}
        self._options = csv.ConvertOptions(
            column_types={**types, END: pa.null()},
            null_values=[""],
            strings_can_be_null=False,
            check_utf8=False,
        )

    def parse(self, block: Block) -> Tracks:
        """Parse the rows of a block; threads may do so side by side.

        Headers among the rows, of files that were joined, are left out.

        Raises
        ------
        DataError
            The first row that is wrong, by line and column.
        """
        parts = [self._parse(part) for part in between_headers(block, self._names)]
        return concatenate(parts)

    def _parse(self, block: Block) -> Tracks:
        columns = self._quickly(block.text)
        if columns is None:
            columns = self._row_by_row(block)
        self._check(columns, block)
        return self._layout.table(columns)

    def _quickly(self, text: bytes) -> Columns | None:
        """Columns of a text that pyarrow takes; None for one that it does not."""
        first = text.lstrip(b"\r\n").partition(b"\n")[0].rstrip(b"\r")
        names = [*self._names, END] if first.endswith(b"\t") else self._names
        try:
            table = csv.read_csv(
                pa.py_buffer(text),
                read_options=csv.ReadOptions(
                    column_names=names,
                    use_threads=False,
                    block_size=min(len(text) + 1, MAX_BYTES),
                ),
                parse_options=csv.ParseOptions(delimiter="\t", quote_char=False),
                convert_options=self._options,
            )
        except pa.ArrowInvalid:
            return None
        columns = {}
        for name, cells in zip(self._names, table.columns, strict=False):
            values = cells.to_numpy()
            if cells.null_count or (
                name in self._layout.whole and not _is_whole(values)
            ):
                return None
            columns[name] = self._typed(name, values)
        return columns

    def _typed(self, name: str, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        if name in self._layout.integers:
            return values.astype(np.int64, copy=False)
        # By way of float64, as any other reader: the same digests everywhere.
        with np.errstate(over="ignore"):
            return values.astype(np.float32)

    def _row_by_row(self, block: Block) -> Columns:
        """Columns of the rows before the first that cannot be read, which is raised."""
        rows: list[list[float]] = []
        problem = None
        for number, line in _lines(block):
            try:
                rows.append(self._values(number, line))
            except DataError as err:
                problem = err
                break
        cells = zip(*rows, strict=True) if rows else ((),) * len(self._names)
        columns = {
            name: self._typed(name, np.array(values))
            for name, values in zip(self._names, cells, strict=True)
        }
        if problem is not None:
            # A row before it may be wrong in another way.
            self._check(columns, block)
            raise problem
        return columns

    def _values(self, number: int, line: str) -> list[float]:
        cells = line.rstrip("\t").split("\t")
        if self._names[0] in line.split():
            raise DataError(
                f"{self._path}, line {number}: found a second header, with other "
                "columns than the first; read files of different columns one by one"
            )
        if len(cells) != len(self._names):
            by_spaces = len(cells) == 1 and len(line.split()) > 1
            expected = f"{len(self._names)} columns"
            expected += ", separated by tabs" if by_spaces else ""
            raise self._wrong(number, f"expected {expected}, found {len(cells)}")
        return [
            self._number(number, name, cell)
            for name, cell in zip(self._names, cells, strict=True)
        ]

    def _number(self, number: int, name: str, cell: str) -> float:
        """Value of a cell by Python's rules, but for ``1_000`` and ``+1``."""
        whole = name in self._layout.integers
        if "_" not in cell and not (whole and cell.startswith("+")):
            with suppress(ValueError):
                value = int(cell) if whole else float(cell)
                if not whole or -(2**63) <= value < 2**63:
                    return value
            with suppress(ValueError):
                if name in self._layout.whole and _is_whole(value := float(cell)):
                    return int(value)
        kind = "an integer" if whole else "a number"
        raise self._wrong(number, f"expected {kind}, found {shorten(cell)}", name)

    def _check(self, columns: Columns, block: Block) -> None:
        """Raise an error for the first row with a value that cannot be."""
        found = [
            (int(np.argmin(allowed)), name, expected)
            for name, (rule, expected) in self._layout.rules.items()
            if name in columns and not (allowed := rule(columns[name])).all()
        ]
        if not found:
            return
        row, name, expected = min(found)
        number, line = next(itertools.islice(_lines(block), row, None))
        cell = line.split("\t")[self._names.index(name)]
        raise self._wrong(number, f"expected {expected}, found {shorten(cell)}", name)

    def _wrong(self, number: int, message: str, name: str = "") -> DataError:
        column = f", column {name}" if name else ""
        return DataError(
            f"{self._path}, line {number}{column}: {message}; correct or remove the row"
        )


def _is_whole(values: npt.ArrayLike) -> bool:
    """Whether floats are integers, as those of ``1822.000000`` are."""
    return bool(np.all((np.abs(values) < 2**53) & (np.rint(values) == values)))


def _lines(block: Block) -> Iterator[tuple[int, str]]:
    """Lines that are not empty, with their numbers."""
    for number, line in enumerate(block.text.split(b"\n"), block.first_line):
        if text := line.rstrip(b"\r"):
            yield number, text.decode("ascii", errors="replace")
