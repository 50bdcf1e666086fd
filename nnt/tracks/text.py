"""Text of track files: its layout, and its blocks of whole lines, decompressed.

Only a few blocks are in memory at a time, whatever the file holds.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from gzip import BadGzipFile
from io import BufferedIOBase, BufferedReader
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from zlib_ng import gzip_ng, zlib_ng

from nnt.errors import DataError
from nnt.tracks.table import Tracks
from nnt.types import F32, BoolArray

Columns = Mapping[str, npt.NDArray[Any]]
Check = tuple[str, BoolArray, str]
"""Column, rows that are wrong, and what was expected."""

T = TypeVar("T")
R = TypeVar("R")

DamagedError: type[Exception] = zlib_ng.error  # type: ignore[assignment]

BLOCK_BYTES = 1 << 21
"""Text in a block; no line is longer."""
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
"""What some editors of Windows put before the text."""
GZIP_MAGIC = b"\x1f\x8b"
MAX_EXPANSION = 100
"""Real tracks are text of two to six times their gzip data, a bomb of a thousand."""
FREE_TEXT_BYTES = 64 << 20
"""What a gzip file may expand to, however short it is."""


@dataclass(frozen=True, slots=True)
class Block:
    """Some lines of a file."""

    text: bytes
    """Its last byte ends a line."""
    first_line: int
    """Number of its first line in the file, from 1."""
    place: int
    """Bytes of the file that were read so far."""


def text_blocks(path: Path, file: BufferedReader) -> Iterator[Block]:
    """Read a plain or gzipped file from its start, a block of lines at a time.

    A gzip file may have any number of members; the path is for messages.

    Raises
    ------
    DataError
        It cannot be read, is damaged or cut off, expands to more than
        `MAX_EXPANSION` times its size, or has a line longer than a block.
    """
    file.seek(0)
    zipped = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
    file.seek(0)
    stream: BufferedIOBase = file
    if zipped:
        stream = gzip_ng.GzipNGFile(None, "rb", fileobj=file)  # type: ignore[no-untyped-call]
    size = os.fstat(file.fileno()).st_size
    limit = max(FREE_TEXT_BYTES, MAX_EXPANSION * size)
    line, done, rest, at_end = 1, 0, b"", False
    while not at_end:
        data = rest + _read(path, stream, BLOCK_BYTES - len(rest))
        at_end = len(data) < BLOCK_BYTES
        if line == 1:
            data = data.removeprefix(BYTE_ORDER_MARK)
        if at_end and data and not data.endswith(b"\n"):
            data += b"\n"
        end = data.rfind(b"\n") + 1
        done += end
        if zipped and done > limit:
            raise DataError(
                f"{path}: expands to more than {limit:,} bytes, {MAX_EXPANSION} times "
                "its size; split the file"
            )
        if data and not end:
            raise DataError(
                f"{path}, line {line}: expected columns, found a line of more than "
                f"{BLOCK_BYTES:,} bytes"
            )
        if end:
            yield Block(data[:end], line, file.tell())
            line += data.count(b"\n", 0, end)
        rest = data[end:]


def _read(path: Path, stream: BufferedIOBase, n_bytes: int) -> bytes:
    """Read so many bytes, or all that are left."""
    try:
        return stream.read(n_bytes)
    except EOFError as err:
        raise DataError(
            f"{path}: the gzip file ends in the middle of its data; it was cut off; "
            "copy it again"
        ) from err
    except (BadGzipFile, DamagedError) as err:
        if str(err).startswith("Not a gzipped file"):
            raise DataError(f"{path}: found other data after the gzip data") from err
        raise DataError(
            f"{path}: the gzip data are damaged ({err}); copy the file again"
        ) from err
    except OSError as err:
        raise DataError(f"{path}: cannot be read ({err.strerror})") from err


def ahead(items: Iterator[T]) -> Generator[T]:
    """Make the next item in another thread while the last one is used."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        following = pool.submit(next, items, None)
        while (item := following.result()) is not None:
            following = pool.submit(next, items, None)
            yield item


def side_by_side(
    function: Callable[[T], R], items: Iterator[T], n_threads: int
) -> Iterator[R]:
    """Apply a function in threads, a few items ahead; results come in order."""
    with ThreadPoolExecutor(n_threads) as pool:
        waiting: deque[Future[R]] = deque()
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > n_threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Layout:
    """The text format of one chain: its columns, and what they may hold."""

    required: Callable[[Sequence[str]], Sequence[str]]
    """Columns that a header of these names must have."""
    headless: tuple[str, ...] = ()
    """Columns of files without a header, if there are such files."""
    integers: frozenset[str]
    """Columns of integers; all others hold numbers."""
    whole: frozenset[str] = frozenset()
    """Columns of integers that some programs write as ``1822.000000``."""
    checks: Callable[[Columns], Iterator[Check]]
    """What values may be."""
    table: Callable[[Columns], Tracks]
    """The rows as a table; columns that it does not know are left out."""


def beyond(
    columns: Columns, names: Sequence[str], limit: float, expected: str = ""
) -> Iterator[Check]:
    """Find numbers beyond a limit on either side, NaN too."""
    for name in names:
        wrong = ~(np.abs(columns[name]) <= limit)
        yield name, wrong, expected or f"a number in [-{limit:g}, {limit:g}]"


def infinite(columns: Columns, names: Sequence[str]) -> Iterator[Check]:
    """Find what is no finite number in those of the columns that a file has."""
    for name, values in picked(columns, names).items():
        yield name, ~np.isfinite(values), "a finite number"


def picked(columns: Columns, names: Sequence[str]) -> dict[str, npt.NDArray[Any]]:
    """Those of the named columns that a file has."""
    return {name: columns[name] for name in names if name in columns}


def stacked(columns: Columns, names: Sequence[str]) -> F32:
    """Columns side by side, shape (N, len(names))."""
    table = np.empty((len(columns[names[0]]), len(names)), dtype=np.float32)
    for i, name in enumerate(names):
        table[:, i] = columns[name]
    return table
