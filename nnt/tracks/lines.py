"""The text of rows as their files hold it, for tables that come out as they went in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from nnt.errors import DataError
from nnt.tracks.parsing import between_headers, read_header
from nnt.tracks.table import Source, SourceFile, version_of
from nnt.tracks.text import Block, text_blocks


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
    headers = [_header(file) for file in source.files]
    shared = set.intersection(*map(set, headers)) - set(without)
    names = [name for name in headers[0] if name in shared]
    return names, _cells(source, headers, names)


def _cells(
    source: Source, headers: list[list[str]], names: list[str]
) -> Iterator[list[bytes]]:
    start = 0
    for file, header in zip(source.files, headers, strict=True):
        place = [header.index(name) for name in names]
        for lines in _lines(file, header):
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


def _header(file: SourceFile) -> list[str]:
    for block in _blocks(file):
        return read_header(file.path, block.text)[0]
    raise _changed(file.path)


def _lines(file: SourceFile, names: list[str]) -> Iterator[list[bytes]]:
    """Rows of each block of text, headers and empty lines left out."""
    n_rows = 0
    for block in _blocks(file):
        parts = between_headers(block, names)
        lines = [line for part in parts for line in part.text.splitlines() if line]
        n_rows += len(lines)
        yield lines
    if n_rows != file.n_rows:
        raise _changed(file.path)


def _blocks(file: SourceFile) -> Iterator[Block]:
    try:
        with file.path.open("rb") as opened:
            if version_of(opened.fileno()) != file.version:
                raise _changed(file.path)
            yield from text_blocks(file.path, opened)
    except OSError as err:
        raise DataError(f"{file.path}: cannot be read ({err.strerror})") from err


def _changed(path: Path) -> DataError:
    return DataError(f"{path}: has changed since it was read")
