"""Read the text files of BASF2 into a checked table.

The columns tell the chain (`nnt.tracks.layouts`). Every row may end in a tab; the line
after the header is blank; a gzip file may hold one member per row, and be several files
joined.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from io import BufferedReader
from itertools import chain
from pathlib import Path

import numpy as np

from nnt.errors import DataError, shorten
from nnt.files import expand_path
from nnt.machine import usable_cores
from nnt.progress import Progress, silent
from nnt.tracks import cache
from nnt.tracks.table import Source, SourceFile, Tracks, concatenate, version_of
from nnt.tracks.text import Block, ahead, read_header, side_by_side, text_blocks

log = logging.getLogger(__name__)

MAX_THREADS = 4
"""Threads that parse; more would wait for the one that decompresses."""
HASHED_BYTES = 1 << 20
CHECK = "check the path"
MAX_ZEROS = 1e-3
"""Share of rows above which outputs of 0 and 0 are none."""


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
    seen: dict[tuple[int, int], Path] = {}
    sizes = [_size(path) for path in paths]

    def report(place: int) -> None:
        progress(done + place, sum(sizes))

    for path, size in zip(paths, sizes, strict=True):
        with _opened(path) as file:
            status = os.fstat(file.fileno())
            first = seen.setdefault((status.st_dev, status.st_ino), path)
            if first is not path:
                words = "%s: is the same file as %s; its rows count twice"
                log.warning(words, path, first)
            version = version_of(file.fileno())
            table = _read_file(path, file, use_cache, report)
        source = Source((SourceFile(path.absolute(), version, len(table)),))
        table = dataclasses.replace(table, source=source)
        tables.append(_with_reference(path, table))
        report(size)
        done += size
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
        is_pattern = any(character in str(path) for character in "*?[")
        remedy = "name each file, patterns are not expanded" if is_pattern else CHECK
        words = f"cannot be read ({reason}){place}; {remedy}"
        raise DataError(f"{shorten(str(path), 300)[1:-1]}: {words}") from err


def _read_file(
    path: Path, file: BufferedReader, use_cache: bool, report: Callable[[int], None]
) -> Tracks:
    version = version_of(file.fileno())
    parts = partial(_parts, path, file, report)
    if not use_cache:
        return concatenate(list(parts()))
    # No need to wait for the hash to know that a file of this size was never parsed.
    size = f"-{version[0]}"
    with ThreadPoolExecutor(1, "hash") as pool:
        digest = pool.submit(_digest, file)

        def key() -> str:
            found = digest.result()
            if version_of(file.fileno()) != version:
                raise DataError(
                    f"{path}: was written to while it was read; try again when it is "
                    "complete"
                )
            return found + size

        return cache.kept(key, parts, look=cache.may_hold(size))


def _digest(file: BufferedReader) -> str:
    """Hash of the whole file, wherever another thread is reading it."""
    sha, place = hashlib.sha256(), 0
    while part := os.pread(file.fileno(), HASHED_BYTES, place):
        sha.update(part)
        place += len(part)
    return sha.hexdigest()


def _parts(
    path: Path, file: BufferedReader, report: Callable[[int], None]
) -> Iterator[Tracks]:
    """Rows of a file, a block of text at a time."""
    # Imported here: a table from the cache needs no parser.
    from nnt.tracks.parsing import RowParser

    n_rows, n_threads = 0, min(usable_cores(), MAX_THREADS)
    # Closed at once where a row is wrong: not whenever its threads are garbage.
    with closing(ahead(text_blocks(path, file))) as blocks:
        first = next(blocks, None)
        if first is None:
            raise DataError(f"{path}: expected rows of tracks, found an empty file")
        parser = RowParser(path, *read_header(path, first.text))

        def parse(block: Block) -> tuple[Tracks, int]:
            return parser.parse(block), block.place

        for tracks, place in side_by_side(parse, chain([first], blocks), n_threads):
            n_rows += len(tracks)
            if len(tracks):
                yield tracks
            report(place)
    if not n_rows:
        raise DataError(f"{path}: expected rows after the header, found none")


def _with_reference(path: Path, tracks: Tracks) -> Tracks:
    """Take zeros for what they are, and say where rows have no reference.

    BASF2 writes 0 and 0 where no network has run. A network tells that once in a
    million rows, so that more of them are rows without one.
    """
    if tracks.reference is None:
        return tracks
    zeros = ~tracks.reference.any(axis=1)
    absent = np.isnan(tracks.reference[:, 0])
    if zeros.mean() > MAX_ZEROS:
        absent |= zeros
    n_absent = int(absent.sum())
    if not n_absent:
        return tracks
    if not zeros.all():
        first = tracks.ids[int(np.argmax(absent))]
        log.warning(
            "%s: %s of %s rows hold no output of the reference network (ScaleZ and "
            "ScaleTheta beyond [-1, 1], or both 0), first that of event %d; metrics of "
            "the reference need its output in every row: keep only rows that have "
            "one, with filter: RangeFilter('ScaleZ', -1, 1)",
            path, f"{n_absent:,}", f"{len(tracks):,}", first["Event"],
        )  # fmt: skip
    held = np.where(absent[:, None], np.float32(np.nan), tracks.reference)
    return dataclasses.replace(tracks, reference=None if absent.all() else held)
