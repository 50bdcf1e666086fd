"""From text to a checked table: the header, then rows of a block of text, by pyarrow.

Whatever pyarrow does not take, and every error, is left to plain Python, which goes
through the block row by row.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import csv

from nnt.errors import DataError, shorten
from nnt.tracks.classic import CLASSIC_LAYOUT
from nnt.tracks.hough3d import HOUGH3D_LAYOUT
from nnt.tracks.table import Source, SourceFile, Tracks, concatenate, version_of
from nnt.tracks.text import Block, Columns, Layout, text_blocks

LAYOUTS = (CLASSIC_LAYOUT, HOUGH3D_LAYOUT)
"""All formats of text; a file is of the one whose columns it has."""
OTHER_FILES = {
    b"BZh": "data compressed by bzip2; unpack it with bunzip2",
    b"\xfd7zXZ": "data compressed by xz; unpack it with unxz",
    b"\x28\xb5\x2f\xfd": "data compressed by zstd; unpack it with unzstd",
    b"PK\x03\x04": "a zip archive; unpack it",
    b"root": "a ROOT file; write its rows as text",
    b"PAR1": "a Parquet file; write its rows as text",
    b"\xff\xfe": "text in UTF-16; save it as ASCII or UTF-8",
    b"\xfe\xff": "text in UTF-16; save it as ASCII or UTF-8",
}
"""What files of other kinds begin with."""
OTHER_SEPARATORS = {",": "commas", ";": "semicolons", "|": "bars"}
NO_TEXT = re.compile(rb"[\0\x80-\xff]")
HEAD_BYTES = 4096
"""Where text is distinguished from other data."""

END = "\t"
"""Name of the empty column behind the tab that ends a row; no other has a tab."""
MAX_BYTES = 2**31 - 1


def read_header(path: Path, text: bytes) -> tuple[list[str], Layout]:
    """Tell columns and format from the beginning of a file: at least its first line.

    Raises
    ------
    DataError
        It is no text, or has other columns than any format.
    """
    _check_kind(path, text)
    line = text.partition(b"\n")[0].decode("ascii", errors="replace").strip()
    if not line:
        raise DataError(
            f"{path}, line 1: expected a header of BASF2's neuro trigger data, found a "
            "blank line; remove it"
        )
    if "\r" in line:
        raise DataError(
            f"{path}: expected lines that end in a line feed, found carriage returns "
            "alone; convert it, for example with: tr '\\r' '\\n'"
        )
    # No name holds a blank; an earlier trainer separated them by several.
    names = line.split()
    if names[0].lstrip("-").isdigit():
        return _headless(path, names)
    layout = min(LAYOUTS, key=lambda layout: len(_missing(names, layout)))
    missing = _missing(names, layout)
    if missing:
        for separator, name in OTHER_SEPARATORS.items():
            others = line.replace(separator, " ").split()
            if not all(_missing(others, own) for own in LAYOUTS):
                raise DataError(
                    f"{path}, line 1: expected columns that are separated by tabs, "
                    f"found {name}; replace them by tabs"
                )
        raise DataError(
            f"{path}, line 1: expected a header of BASF2's neuro trigger data, "
            f"found {shorten(line)}; missing: {', '.join(missing[:4])}"
        )
    for name, count in Counter(names).items():
        if count > 1:
            raise DataError(
                f"{path}, line 1: expected each column once, found {shorten(name)} "
                f"{count} times"
            )
    return names, layout


def _check_kind(path: Path, text: bytes) -> None:
    """Refuse what is no text."""
    head = text[:HEAD_BYTES]
    if not text.strip():
        raise DataError(f"{path}: expected rows of tracks, found an empty file")
    for magic, found in OTHER_FILES.items():
        if head.startswith(magic):
            raise DataError(f"{path}: expected plain or gzipped text, found {found}")
    if odd := NO_TEXT.search(head):
        number = head.count(b"\n", 0, odd.start()) + 1
        raise DataError(
            f"{path}, line {number}: expected text, found binary data "
            f"{shorten(head[odd.start() :][:16])}; give a file that BASF2's neuro "
            "trigger data module wrote"
        )


def _headless(path: Path, cells: list[str]) -> tuple[list[str], Layout]:
    sizes = {len(layout.headless): layout for layout in LAYOUTS if layout.headless}
    if len(cells) not in sizes:
        expected = " or ".join(map(str, sizes))
        raise DataError(
            f"{path}, line 1: expected {expected} columns in a file without header, "
            f"found {len(cells)}"
        )
    layout = sizes[len(cells)]
    return list(layout.headless), layout


def _missing(names: list[str], layout: Layout) -> list[str]:
    return sorted({*layout.required(names)} - {*names})


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
            (int(np.argmax(wrong)), name, expected)
            for name, wrong, expected in self._layout.checks(columns)
            if wrong.any()
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


def between_headers(block: Block, names: Sequence[str]) -> Iterator[Block]:
    """Cut a block at lines that repeat the header, as in files joined by `cat`."""
    text, line = block.text, block.first_line
    start = place = 0
    while (place := text.find(names[0].encode(), place)) >= 0:
        end = text.find(b"\n", place) + 1
        is_line = place == 0 or text[place - 1 : place] == b"\n"
        if is_line and text[place:end].decode("ascii", "replace").split() == [*names]:
            yield Block(text[start:place], line, block.place)
            line += text.count(b"\n", start, end)
            start = end
        place = end
    yield Block(text[start:], line, block.place)


def source_lines(
    source: Source, without: Sequence[str] = ()
) -> tuple[list[str], Iterator[list[bytes]]]:
    """Give the rows of a table cell by cell, as they stand in its files.

    Returns
    -------
    names : list of str
        Columns that all files have, in the order of the first, but for `without`.
    blocks : iterator of lists of bytes
        Some rows at a time, their cells separated by tabs.

    Raises
    ------
    DataError
        A file cannot be read any more, or has changed since it was read; the iterator
        raises it, too.
    """
    headers = [_source_header(file) for file in source.files]
    shared = set.intersection(*map(set, headers)) - set(without)
    names = [name for name in headers[0] if name in shared]
    return names, _source_cells(source, headers, names)


def _source_cells(
    source: Source, headers: list[list[str]], names: list[str]
) -> Iterator[list[bytes]]:
    start = 0
    for file, header in zip(source.files, headers, strict=True):
        place = [header.index(name) for name in names]
        for lines in _source_rows(file, header):
            chosen = lines
            if (rows := source.rows) is not None:
                first, last = np.searchsorted(rows, [start, start + len(lines)])
                chosen = [lines[row] for row in (rows[first:last] - start).tolist()]
            start += len(lines)
            if names == header:
                # A tab may end them.
                yield [line.rstrip(b"\t") for line in chosen]
            else:
                cells = (line.split(b"\t") for line in chosen)
                yield [b"\t".join([row[i] for i in place]) for row in cells]


def _source_header(file: SourceFile) -> list[str]:
    for block in _source_blocks(file):
        return read_header(file.path, block.text)[0]
    raise _changed(file.path)


def _source_rows(file: SourceFile, names: list[str]) -> Iterator[list[bytes]]:
    """Rows of each block of text, headers and empty lines left out."""
    n_rows = 0
    for block in _source_blocks(file):
        parts = between_headers(block, names)
        lines = [line for part in parts for line in part.text.splitlines() if line]
        n_rows += len(lines)
        yield lines
    if n_rows != file.n_rows:
        raise _changed(file.path)


def _source_blocks(file: SourceFile) -> Iterator[Block]:
    try:
        with file.path.open("rb") as opened:
            if version_of(opened.fileno()) != file.version:
                raise _changed(file.path)
            yield from text_blocks(file.path, opened)
    except OSError as err:
        raise DataError(f"{file.path}: cannot be read ({err.strerror})") from err


def _changed(path: Path) -> DataError:
    return DataError(f"{path}: has changed since it was read")
