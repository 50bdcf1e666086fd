"""Read the text generations of BASF2 into a checked table.

37 columns without header; 42, 45 with header; and those that NNT writes itself,
which append ``NewZ`` and ``NewTheta``. Every row may end in a tab; the line after
the header is blank; a gzip file may hold one member per row.
"""

from __future__ import annotations

import hashlib
import io
import logging
import stat
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil

from nnt.detector import EXPERTS, N_INPUTS
from nnt.errors import DataError, shorten
from nnt.progress import Progress, silent
from nnt.tracks import cache
from nnt.tracks.table import (
    EXTRA_FLOATS,
    EXTRA_INTS,
    ID_COLUMNS,
    INPUT_COLUMNS,
    REFERENCE_COLUMNS,
    SIZE_COLUMNS,
    TARGET_COLUMNS,
    Tracks,
    concatenate,
    make_ids,
)

__all__ = ["read_tracks"]

log = logging.getLogger(__name__)

HEADLESS_COLUMNS = (
    *(name for name in ID_COLUMNS if name != "nTracks"),
    *SIZE_COLUMNS,
    *INPUT_COLUMNS,
    *TARGET_COLUMNS,
)
"""The 37 columns of the generation that has no header."""

INTEGERS = {*ID_COLUMNS, *SIZE_COLUMNS, *EXTRA_INTS}
REQUIRED = {*HEADLESS_COLUMNS}

GZIP_MAGIC = b"\x1f\x8b"
MAX_EXPANSION = 100
"""Real tracks are text of two to six times their gzip data, a bomb of a thousand."""
FREE_TEXT_BYTES = 64 << 20
"""What a gzip file may expand to, however short it is."""
CHUNK_BYTES = 1 << 24
SLICE_BYTES = 2048
"""Fed at once: what follows the end of a member is copied, so it is kept short."""
GZIP_HEADER = 16 + zlib.MAX_WBITS


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
        Keep the parsed table in `cache_dir` and use it the next time.
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
    paths = [Path(files)] if isinstance(files, str | Path) else [Path(f) for f in files]
    if not paths:
        raise DataError("no track file is named; expected at least one")
    done, tables = 0, []
    sizes = [_size(path) for path in paths]
    for path, size in zip(paths, sizes, strict=True):
        tables.append(_read_file(path, use_cache))
        done += size
        progress(done, sum(sizes))
    return concatenate(tables)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except (OSError, ValueError):
        return 0  # reading it tells why


def _read_file(path: Path, use_cache: bool) -> Tracks:
    content = _content(path)
    digest = hashlib.sha256(content).hexdigest()
    tracks = cache.load(digest) if use_cache else None
    if tracks is None:
        tracks = _parse(_text(path, content), path)
        if use_cache:
            cache.store(digest, tracks)
    return tracks


def _content(path: Path) -> bytes:
    """Bytes of a file; neither a pipe nor a device, which may have no end."""
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise DataError(f"{path}: expected a file, found a pipe or a device")
        return path.read_bytes()
    except (OSError, ValueError, MemoryError) as err:
        reason = getattr(err, "strerror", None) or str(err) or "memory is full"
        told = f"cannot be read ({reason}); check the path"
        raise DataError(f"{shorten(str(path), 300)[1:-1]}: {told}") from err


def _text(path: Path, content: bytes) -> bytes:
    text = _inflate(path, content) if content[:2] == GZIP_MAGIC else content
    if not text.strip():
        raise DataError(f"{path}: expected rows of tracks, found an empty file")
    head = text[:4096]
    if b"\0" in head or not head.isascii():
        raise DataError(
            f"{path}, line 1: expected text, found binary data {shorten(head[:16])}; "
            "give a file that BASF2's neuro trigger data module wrote"
        )
    return text


def _inflate(path: Path, content: bytes) -> bytes:
    """Decompress all members; refuse a bomb before the memory is full."""
    parts, size, place, view = [], 0, 0, memoryview(content)
    limit = _text_limit(len(content))
    stream = zlib.decompressobj(GZIP_HEADER)
    try:
        while place < len(view):
            if stream.eof:
                if _is_padding(path, view[place : place + SLICE_BYTES]):
                    break
                stream = zlib.decompressobj(GZIP_HEADER)
            piece = view[place : place + SLICE_BYTES]
            part = stream.decompress(piece, CHUNK_BYTES)
            place += len(piece) - len(stream.unconsumed_tail or stream.unused_data)
            parts.append(part)
            size += len(part)
            if size > limit:
                raise DataError(
                    f"{path}: expands to more than {limit:,} bytes, which is more than "
                    f"{MAX_EXPANSION} times its size or half of the free memory; split "
                    "the file"
                )
    except zlib.error as err:
        raise DataError(
            f"{path}: the gzip data are damaged near byte {place} ({err}); copy the "
            "file anew"
        ) from err
    if not stream.eof:
        raise DataError(
            f"{path}: the gzip file ends in the middle of its data; it was cut off, "
            "copy it anew"
        )
    return b"".join(parts)


def _text_limit(compressed: int) -> int:
    """Bytes of text that a gzip file may hold."""
    expected = max(FREE_TEXT_BYTES, MAX_EXPANSION * compressed)
    return min(expected, psutil.virtual_memory().available // 2)


def _is_padding(path: Path, following: memoryview) -> bool:
    """Whether a member is the last one: zeros may pad a file, nothing else."""
    if bytes(following[:2]) == GZIP_MAGIC:
        return False
    if bytes(following).strip(b"\0"):
        raise DataError(f"{path}: found other data after the gzip data")
    return True


def _header(text: bytes, path: Path) -> tuple[list[str], int]:
    """Column names, and the number of lines before the first row."""
    first = text.split(b"\n", 1)[0].decode("ascii", errors="replace").rstrip("\r\t")
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
    return names, 1


def _parse(text: bytes, path: Path) -> Tracks:
    import pyarrow as pa
    import pyarrow.csv as csv

    names, skip = _header(text, path)
    first_row = text.split(b"\n", skip + 2)[-2 if skip else 0]
    if skip:
        lines = [line for line in text.split(b"\n", 3)[1:3] if line.strip()]
        first_row = lines[0] if lines else b""
    padded = [*names, "_"] if first_row.rstrip(b"\r").endswith(b"\t") else names
    types = {n: pa.int64() if n in INTEGERS else pa.float64() for n in names}
    try:
        table = csv.read_csv(
            io.BytesIO(text),
            read_options=csv.ReadOptions(column_names=padded, skip_rows=skip),
            parse_options=csv.ParseOptions(delimiter="\t", quote_char=False),
            convert_options=csv.ConvertOptions(
                column_types=types, include_columns=names, null_values=[]
            ),
        )
    except pa.ArrowInvalid as err:
        raise _first_bad_row(text, names, skip, path, str(err)) from err
    if not len(table):
        raise DataError(f"{path}: expected rows after the header, found none")
    columns = {name: table.column(name).to_numpy() for name in names}
    bad = _bad_place(columns)
    if bad is not None:
        row, column, expected = bad
        line = _line_of_row(text, skip, row)
        raise DataError(
            f"{path}, line {line}, column {column}: expected {expected}, found "
            f"{columns[column][row]}; mend or remove the row"
        )
    return _table(columns)


def _bad_place(columns: dict[str, npt.NDArray[Any]]) -> tuple[int, str, str] | None:
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


def _line_of_row(text: bytes, skip: int, row: int) -> int:
    seen = -1
    for number, line in enumerate(text.split(b"\n")[skip:], start=skip + 1):
        seen += bool(line.strip())
        if seen == row:
            return number
    return skip


def _first_bad_row(
    text: bytes, names: list[str], skip: int, path: Path, reason: str
) -> DataError:
    """Find, line by line, what the fast reader stumbled over."""
    for number, raw in enumerate(text.split(b"\n")[skip:], start=skip + 1):
        line = raw.decode("ascii", errors="replace").rstrip("\r")
        if not line.strip():
            continue
        cells = line.rstrip("\t").split("\t")
        if len(cells) != len(names):
            return DataError(
                f"{path}, line {number}: expected {len(names)} columns, found "
                f"{len(cells)}; mend or remove the row"
            )
        for name, cell in zip(names, cells, strict=True):
            if not _is_number(cell, whole=name in INTEGERS):
                kind = "an integer" if name in INTEGERS else "a number"
                return DataError(
                    f"{path}, line {number}, column {name}: expected {kind}, found "
                    f"{shorten(cell)}; mend or remove the row"
                )
    return DataError(f"{path}: cannot be parsed: {shorten(reason, 200)}")


def _is_number(cell: str, *, whole: bool) -> bool:
    """Whether the fast reader takes a cell; Python takes 1_000 and +1, too."""
    if "_" in cell or (whole and cell.startswith("+")):
        return False
    try:
        value = int(cell) if whole else float(cell)
    except ValueError:
        return False
    return not whole or -(2**63) <= value < 2**63


def _table(columns: dict[str, npt.NDArray[Any]]) -> Tracks:
    n_rows = len(columns["Expert"])

    def stack(names: Sequence[str]) -> npt.NDArray[np.float32]:
        out = np.empty((n_rows, len(names)), dtype=np.float32)
        for i, name in enumerate(names):
            out[:, i] = columns[name]
        return out

    reference = None
    if set(REFERENCE_COLUMNS) <= columns.keys():
        reference = stack(REFERENCE_COLUMNS)
    extras: dict[str, npt.NDArray[Any]] = {
        name: columns[name].astype(np.float32)
        for name in EXTRA_FLOATS
        if name in columns
    }
    extras |= {name: columns[name] for name in EXTRA_INTS if name in columns}
    return Tracks(
        ids=make_ids({n: columns[n] for n in ID_COLUMNS if n in columns}, n_rows),
        inputs=stack(INPUT_COLUMNS),
        targets=stack(TARGET_COLUMNS),
        reference=reference if reference is not None and reference.any() else None,
        extras=extras,
    )
