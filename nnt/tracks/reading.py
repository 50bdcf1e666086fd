"""Read the text generations of BASF2 into a checked table.

37 columns without header; 42, 45 with header; and those that NNT writes itself,
which append ``NewZ`` and ``NewTheta``. Every row may end in a tab; the line after
the header is blank; a gzip file may hold one member per row.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import os
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BufferedReader
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from nnt.errors import DataError, shorten
from nnt.files import expand_path
from nnt.machine import usable_cores
from nnt.progress import Progress, silent
from nnt.tracks import cache
from nnt.tracks.table import (
    ID_COLUMNS,
    INPUT_COLUMNS,
    SIZE_COLUMNS,
    TARGET_COLUMNS,
    Tracks,
    concatenate,
)

if TYPE_CHECKING:
    from nnt.tracks.text import Block

__all__ = ["read_tracks"]

log = logging.getLogger(__name__)

HEADLESS_COLUMNS = (
    *(name for name in ID_COLUMNS if name != "nTracks"),
    *SIZE_COLUMNS,
    *INPUT_COLUMNS,
    *TARGET_COLUMNS,
)
"""The 37 columns of the generation that has no header."""

REQUIRED = {*HEADLESS_COLUMNS}
MAX_THREADS = 4
"""Threads that parse; more would wait for the one that decompresses."""
HASHED_BYTES = 1 << 20
HEAD_BYTES = 4096
"""Where a look tells text from other data."""


def read_tracks(
    files: str | Path | Sequence[str | Path],
    *,
    use_cache: bool = True,
    progress: Progress = silent,
) -> Tracks:
    """Read one or several track files.

    Parameters
    ----------
    files : path or sequence of paths
        Plain or gzipped text.
    use_cache : bool
        Keep the parsed table in `cache_dir` and use it the next time; one that is
        kept is mapped from the disk, a block of rows being in memory at a time.
    progress : Progress
        Called with bytes done and bytes in all.

    Returns
    -------
    Tracks
        All rows, in the order of the files.

    Raises
    ------
    DataError
        A file cannot be read, or a row is wrong; names file, line and column.
    """
    named = [files] if isinstance(files, str | Path) else files
    paths = [Path(expand_path(file)) for file in named]
    if not paths:
        raise DataError("no track file is named; expected at least one")
    done, tables = 0, []
    sizes = [_size(path) for path in paths]

    def told(place: int, _: int) -> None:
        progress(done + place, sum(sizes))

    for path, size in zip(paths, sizes, strict=True):
        with _opened(path) as file:
            tables.append(_read_file(path, file, use_cache, told))
        done += size
        progress(done, sum(sizes))
    return concatenate(tables)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except (OSError, ValueError):
        return 0  # reading it tells why


def _opened(path: Path) -> BufferedReader:
    """Open a file; neither a pipe nor a device, which may have no end."""
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise DataError(f"{path}: expected a file, found a pipe or a device")
        return path.open("rb")
    except (OSError, ValueError) as err:
        reason = getattr(err, "strerror", None) or str(err)
        place = "" if path.is_absolute() else f", looked for in {Path.cwd()}"
        told = f"cannot be read ({reason}){place}; check the path"
        raise DataError(f"{shorten(str(path), 300)[1:-1]}: {told}") from err


def _read_file(
    path: Path, file: BufferedReader, use_cache: bool, progress: Progress
) -> Tracks:
    version = _version(file)
    if not use_cache:
        return _joined(_parts(path, file, progress))
    # No need to wait for the hash to know that a file of this size was never parsed.
    size = f"-{version[0]}"
    with ThreadPoolExecutor(1, "hash") as pool:
        digest = pool.submit(_digest, file)

        def key() -> str:
            found = digest.result()
            if _version(file) != version:
                raise DataError(
                    f"{path}: was written to while it was read; try again when it is "
                    "whole"
                )
            return found + size

        tracks = cache.load(key()) if cache.may_hold(size) else None
        if tracks is None and cache.store_parts(key, _parts(path, file, progress)):
            tracks = cache.load(key())
    return _joined(_parts(path, file, progress)) if tracks is None else tracks


def _digest(file: BufferedReader) -> str:
    """Hash of the whole file, wherever another thread is reading it."""
    sha, place = hashlib.sha256(), 0
    while part := os.pread(file.fileno(), HASHED_BYTES, place):
        sha.update(part)
        place += len(part)
    return sha.hexdigest()


def _joined(parts: Iterator[Tracks]) -> Tracks:
    """One table in memory; outputs that are all zero were never computed."""
    tracks = concatenate(list(parts))
    if tracks.reference is not None and not tracks.reference.any():
        return dataclasses.replace(tracks, reference=None)
    return tracks


def _version(file: BufferedReader) -> tuple[int, int]:
    status = os.fstat(file.fileno())
    return status.st_size, status.st_mtime_ns


def _parts(path: Path, file: BufferedReader, progress: Progress) -> Iterator[Tracks]:
    """Rows of a file, a block of text at a time."""
    # Imported here: a table from the cache needs no compiled code.
    from nnt.tracks.rows import RowReader
    from nnt.tracks.text import ahead, side_by_side, text_blocks

    total, n_rows = _size(path), 0
    blocks = ahead(text_blocks(path, file))
    first = next(blocks, None)
    if first is None:
        raise DataError(f"{path}: expected rows of tracks, found an empty file")
    names, after_header = _header(path, first)
    reader = RowReader(path, names)

    def read(block: Block) -> tuple[Tracks, int]:
        return reader.read(block, after_header if block is first else 0), block.place

    n_threads = min(usable_cores(), MAX_THREADS)
    for tracks, place in side_by_side(read, chain([first], blocks), n_threads):
        n_rows += len(tracks)
        if len(tracks):
            yield tracks
        progress(place, total)
    if not n_rows:
        raise DataError(f"{path}: expected rows after the header, found none")


def _header(path: Path, block: Block) -> tuple[list[str], int]:
    """Column names, and the byte after the header; 0 in a file without one."""
    text = block.text.tobytes()
    head = text[:HEAD_BYTES]
    if not text.strip():
        raise DataError(f"{path}: expected rows of tracks, found an empty file")
    if b"\0" in head or not head.isascii():
        raise DataError(
            f"{path}, line 1: expected text, found binary data {shorten(head[:16])}; "
            "give a file that BASF2's neuro trigger data module wrote"
        )
    line = text.split(b"\n", 1)[0]
    first = line.decode("ascii", errors="replace").rstrip("\r\t")
    names = first.split("\t")
    if names[0].lstrip("-").isdigit():
        if len(names) != len(HEADLESS_COLUMNS):
            raise DataError(
                f"{path}, line 1: expected {len(HEADLESS_COLUMNS)} columns in a file "
                f"without header, found {len(names)}"
            )
        return list(HEADLESS_COLUMNS), 0
    missing = sorted(REQUIRED - set(names))
    twice = [name for name, n in Counter(names).items() if n > 1]
    if twice and not missing:
        raise DataError(
            f"{path}, line 1: expected each column once, found {shorten(twice[0])} "
            f"{names.count(twice[0])} times"
        )
    if missing:
        raise DataError(
            f"{path}, line 1: expected a header of BASF2's neuro trigger data, "
            f"found {shorten(first)}; missing: {', '.join(missing[:4])}"
        )
    return names, len(line) + 1
