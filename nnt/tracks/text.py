"""Text of track files: its format, and its blocks of whole lines, decompressed.

Only a few blocks are in memory at a time, whatever the file holds.
"""

from __future__ import annotations

import os
import re
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from gzip import BadGzipFile
from io import BufferedIOBase, BufferedReader
from pathlib import Path
from typing import TypeVar

from zlib_ng import gzip_ng, zlib_ng

from nnt.errors import DataError, shorten
from nnt.tracks.layouts import LAYOUTS, Layout

T = TypeVar("T")
R = TypeVar("R")

DamagedError: type[Exception] = zlib_ng.error  # type: ignore[assignment]

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
