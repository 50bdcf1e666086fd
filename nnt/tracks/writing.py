"""Write a table in the text form of BASF2."""

from __future__ import annotations

import gzip
import itertools
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from nnt.detector import CLASSIC
from nnt.errors import DataError
from nnt.files import check_writable, is_replaceable, open_whole, remedy
from nnt.progress import Progress, silent
from nnt.tracks.layouts import Columns
from nnt.tracks.table import (
    NEW_COLUMNS,
    NEW_RAW_COLUMNS,
    Source,
    SourceFile,
    Tracks,
    version_of,
)
from nnt.tracks.text import between_headers, read_header, text_blocks
from nnt.types import F32, I64, BoolArray

log = logging.getLogger(__name__)

Part = tuple[bytes | memoryview, int]
"""Text of some rows, and how many."""

ALL_NEW_COLUMNS = (*NEW_COLUMNS.values(), *NEW_RAW_COLUMNS.values())
CHUNK = 1 << 16
"""Rows that are turned to text at once."""
GOLDEN = (5**0.5 - 1) / 2
COMPRESSION = 2
"""Five times faster than the default of gzip, files a fifth larger."""


def check_outputs(
    outputs: Sequence[Path], sources: Iterable[Path] = (), *, overwrite: bool = False
) -> None:
    """Find out before any long work whether files can be written.

    Pipes and devices take what they are given; none of the sources, which are read, is
    ever an output, under whatever name.

    Raises
    ------
    DataError
        A file is read from, is there already, is named twice or cannot be written.
    """
    read = list(sources)
    for i, path in enumerate(outputs):
        if any(_is_same(path, source) for source in read):
            raise DataError(f"{path} is also an input; choose another output")
        if any(_is_same(path, other) for other in outputs[:i]):
            raise DataError(f"{path}: is the same file as another output")
        if not path.parent.is_dir():
            raise DataError(
                f"{path.parent}: there is no such directory; create it first"
            )
        try:
            there = is_replaceable(path)
            if not there or overwrite:
                check_writable(path)
        except OSError as err:
            raise DataError(
                f"{path}: cannot be written ({err.strerror}); {remedy(err)}"
            ) from err
        if there and not overwrite:
            raise DataError(
                f"{path}: exists already; choose another output, or give --overwrite "
                "to replace it"
            )


def _is_same(path: Path, other: Path) -> bool:
    try:
        return path == other or path.samefile(other)
    except OSError:
        return False


def write_tracks(
    tracks: Tracks,
    path: str | Path,
    *,
    new: Mapping[str, F32] | None = None,
    new_raw: Mapping[str, I64] | None = None,
    as_read: bool = False,
    progress: Progress = silent,
) -> None:
    """Write header, blank line and rows; a file of the same name is replaced whole.

    Parameters
    ----------
    path : str or Path
        Compressed if it ends in ``.gz``. Numbers have as many digits as it takes
        to read back the same value.
    new : mapping of str to float32 array, shape (N,), optional
        Scaled outputs of new networks by name (``z``, ``theta``, ``nnt``, ``stt``),
        appended as ``NewZ`` and the like in place of those that the table holds.
    new_raw : mapping of str to int64 array, shape (N,), optional
        The same as integers, appended as ``NewRawZ`` and the like.
    as_read : bool
        Take the rows from the files that the table was read from, where these are as
        they were: every cell comes out as it went in, columns that NNT does not know
        among them.
    progress : Progress
        Called with rows done and rows in all.

    Raises
    ------
    OSError
        The file cannot be written.
    """
    more: dict[str, npt.NDArray[Any]] = {}
    if new is not None:
        more |= {NEW_COLUMNS[name]: values for name, values in new.items()}
    if new_raw is not None:
        more |= {NEW_RAW_COLUMNS[name]: values for name, values in new_raw.items()}
    without = ALL_NEW_COLUMNS if new is not None else ()
    place, end, n_rows = Path(path), _end(tracks), len(tracks)
    if as_read and tracks.source is not None and tracks.source.is_in_order:
        try:
            names, blocks = _source_lines(tracks.source, without)
            parts = _parts_of_lines(blocks, more, end)
            _write(place, [*names, *more], parts, progress, n_rows)
        except DataError as err:
            log.warning(
                "%s; %s holds the numbers to the precision of float32", err, path
            )
        else:
            return
    columns = {n: v for n, v in tracks.columns().items() if n not in without} | more
    _write(place, columns, _parts(columns, n_rows, end), progress, n_rows)


def write_shares(
    tracks: Tracks,
    paths: Sequence[Path],
    shares: Sequence[float],
    *,
    progress: Progress = silent,
) -> list[int]:
    """Spread the events over files by their numbers, and give the rows in each.

    Events have numbers of their own, whatever their run. Each file gets its share of
    them, evenly along the table. Only a block of rows is in memory at a time.

    Raises
    ------
    DataError
        No event is left for one of the files; none is written.
    OSError
        A file cannot be written.
    """
    # Multiples of the golden ratio fill the circle evenly, however many there are.
    place = (tracks.ids["Event"] * GOLDEN) % 1
    turn = np.searchsorted(np.cumsum(shares), place, side="right")
    rows: list[int] = np.bincount(turn, minlength=len(paths))[: len(paths)].tolist()
    for path, n_rows in zip(paths, rows, strict=True):
        if not n_rows:
            raise DataError(f"{path}: no events are left for this file; give more data")
    columns = tracks.columns()
    for number, path in enumerate(paths):
        parts = _parts(columns, len(tracks), _end(tracks), turn == number)
        _write(path, columns, parts, progress, len(tracks), sum(rows[:number]))
    return rows


def _end(tracks: Tracks) -> bytes:
    """What ends a row: BASF2 writes a tab more in the classic chain."""
    return b"\t\n" if tracks.chain is CLASSIC else b"\n"


def _parts(
    columns: Columns, n_rows: int, end: bytes, mine: BoolArray | None = None
) -> Iterator[Part]:
    """Text of the rows, or of those that are chosen."""
    for start in range(0, n_rows, CHUNK):
        rows: slice | I64 = slice(start, start + CHUNK)
        if mine is not None:
            rows = start + np.flatnonzero(mine[rows])
        part = {name: values[rows] for name, values in columns.items()}
        yield _text(part, end), len(next(iter(part.values())))


def _parts_of_lines(
    blocks: Iterable[list[bytes]], more: Columns, end: bytes
) -> Iterator[Part]:
    """Rows as they were read, with further columns behind."""
    done = 0
    for cells in filter(None, blocks):
        rows = slice(done, done + len(cells))
        done += len(cells)
        if more:
            added = _text({n: v[rows] for n, v in more.items()}, b"\n")
            pairs = zip(cells, bytes(added).splitlines(), strict=True)
            cells = [b"\t".join(pair) for pair in pairs]
        yield end.join([*cells, b""]), len(cells)


def _source_lines(
    source: Source, without: Sequence[str] = ()
) -> tuple[list[str], Iterator[list[bytes]]]:
    """Give the rows of a table cell by cell, as they stand in its files.

    Returns the columns that all files have, in the order of the first, but for
    `without`; and some rows at a time, their cells separated by tabs. A file that
    cannot be read any more, or has changed, is a `DataError`, by the iterator too.
    """
    headers = [next(_source_rows(file))[0] for file in source.files]
    shared = set.intersection(*map(set, headers)) - set(without)
    names = [name for name in headers[0] if name in shared]
    return names, _source_cells(source, names)


def _source_cells(source: Source, names: list[str]) -> Iterator[list[bytes]]:
    start = 0
    for header, lines in itertools.chain.from_iterable(map(_source_rows, source.files)):
        chosen = lines
        if (rows := source.rows) is not None:
            first, last = np.searchsorted(rows, [start, start + len(lines)])
            chosen = [lines[row] for row in (rows[first:last] - start).tolist()]
        start += len(lines)
        if names == header:
            # A tab may end them.
            yield [line.rstrip(b"\t") for line in chosen]
        else:
            place = [header.index(name) for name in names]
            cells = (line.split(b"\t") for line in chosen)
            yield [b"\t".join([row[i] for i in place]) for row in cells]


def _source_rows(file: SourceFile) -> Iterator[tuple[list[str], list[bytes]]]:
    """Columns, and rows: none, then those of each block, without headers among them."""
    changed = DataError(f"{file.path}: has changed since it was read")
    names: list[str] = []
    n_rows = 0
    try:
        with file.path.open("rb") as opened:
            if version_of(opened.fileno()) != file.version:
                raise changed
            for block in text_blocks(file.path, opened):
                if not names:
                    names, _ = read_header(file.path, block.text)
                    yield names, []
                parts = between_headers(block, names)
                lines = [ln for part in parts for ln in part.text.splitlines() if ln]
                n_rows += len(lines)
                yield names, lines
    except OSError as err:
        raise DataError(f"{file.path}: cannot be read ({err.strerror})") from err
    if n_rows != file.n_rows:
        raise changed


def _write(
    path: Path,
    names: Iterable[str],
    parts: Iterable[Part],
    progress: Progress,
    n_rows: int,
    done: int = 0,
) -> None:
    """Write header, blank line and rows; report how many of all rows are done."""
    with open_whole(path) as raw:
        out: BinaryIO | gzip.GzipFile = raw
        if path.suffix == ".gz":
            # No name and no time in the header: same table, same bytes.
            out = gzip.GzipFile("", "wb", COMPRESSION, raw, mtime=0)
        out.write(("\t".join(names) + "\n\n").encode())
        for text, n_written in parts:
            out.write(text)
            done += n_written
            progress(done, n_rows)
        if out is not raw:
            out.close()


def _text(columns: Columns, end: bytes) -> memoryview:
    """Rows as BASF2 writes them."""
    import pyarrow as pa
    import pyarrow.csv as csv

    arrays = {n: pa.array(np.ascontiguousarray(v)) for n, v in columns.items()}
    if end.startswith(b"\t"):
        arrays[""] = pa.nulls(len(next(iter(arrays.values()))))
    out = pa.BufferOutputStream()
    options = csv.WriteOptions(
        include_header=False, delimiter="\t", quoting_style="none"
    )
    csv.write_csv(pa.table(arrays), out, options)
    return memoryview(out.getvalue())
