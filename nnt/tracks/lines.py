"""The text of rows as their files hold it, for tables that come out as they went in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import itemgetter
from pathlib import Path

import numpy as np

from nnt.errors import DataError
from nnt.tracks.parsing import between_headers, read_header
from nnt.tracks.table import Source, SourceFile, version_of
from nnt.tracks.text import Block, text_blocks

__all__ = ["SourceLines"]


class SourceLines:
    """Rows of a table, cell by cell as they stand in its files.

    Parameters
    ----------
    source : Source
        Files and rows.
    without : sequence of str
        Columns to leave out.

    Raises
    ------
    DataError
        A file cannot be read any more, or has changed since it was read.
    """

    def __init__(self, source: Source, without: Sequence[str] = ()) -> None:
        self._source = source
        self._names = [_names(file) for file in source.files]
        shared = set.intersection(*map(set, self._names)) - set(without)
        self.names = [name for name in self._names[0] if name in shared]
        """Columns that all files have, in the order of the first."""

    def blocks(self) -> Iterator[list[bytes]]:
        """Rows of some lines of a file, their cells separated by tabs.

        Raises
        ------
        DataError
            As for the class.
        """
        start = 0
        for file, names in zip(self._source.files, self._names, strict=True):
            place = [names.index(name) for name in self.names]
            for lines in _lines(file, names):
                yield _cells(self._chosen(lines, start), place, len(names))
                start += len(lines)

    def _chosen(self, lines: list[bytes], start: int) -> list[bytes]:
        rows = self._source.rows
        if rows is None:
            return lines
        first, last = np.searchsorted(rows, [start, start + len(lines)])
        return [lines[row] for row in (rows[first:last] - start).tolist()]


def _cells(lines: list[bytes], place: list[int], n_columns: int) -> list[bytes]:
    """Only some of the columns of each line, without the tab that may end it."""
    if place == list(range(n_columns)):
        return [line.rstrip(b"\t") for line in lines]
    if len(place) == 1:
        return [line.split(b"\t")[place[0]] for line in lines]
    chosen = itemgetter(*place)
    return [b"\t".join(chosen(line.split(b"\t"))) for line in lines]


def _names(file: SourceFile) -> list[str]:
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
