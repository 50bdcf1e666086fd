"""Write a table in the text form of BASF2."""

from __future__ import annotations

import gzip
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from nnt.progress import Progress, silent
from nnt.tracks.table import Tracks

__all__ = ["write_tracks"]

CHUNK = 1 << 16
"""Rows that are turned to text at once."""
COMPRESSION = 2
"""Five times faster than the default of gzip, files a fifth larger."""


def write_tracks(
    tracks: Tracks,
    path: str | Path,
    *,
    new: npt.NDArray[np.float32] | None = None,
    progress: Progress = silent,
) -> None:
    """Write header, blank line and rows; a file of the same name is replaced whole.

    Parameters
    ----------
    tracks : Tracks
        The table.
    path : str or Path
        Compressed if it ends in ``.gz``. Numbers have as many digits as it takes
        to read back the same value.
    new : float32 array, shape (N, 1) or (N, 2), optional
        Scaled outputs of new networks, appended as ``NewZ`` and ``NewTheta``.
    progress : Progress
        Called with rows done and rows in all.
    """
    path = Path(path)
    columns = tracks.columns()
    if new is not None:
        columns |= dict(zip(("NewZ", "NewTheta"), new.T, strict=False))
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as raw:
            out = _compressed(raw) if path.suffix == ".gz" else raw
            out.write(("\t".join(columns) + "\n\n").encode())
            for start in range(0, len(tracks), CHUNK):
                part = {n: v[start : start + CHUNK] for n, v in columns.items()}
                out.write(_text(part))
                progress(min(start + CHUNK, len(tracks)), len(tracks))
            if out is not raw:
                out.close()
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _compressed(raw: IO[bytes]) -> gzip.GzipFile:
    # No name and no time in the header: same table, same bytes.
    return gzip.GzipFile(
        filename="", fileobj=raw, mode="wb", mtime=0, compresslevel=COMPRESSION
    )


def _text(columns: Mapping[str, npt.NDArray[Any]]) -> memoryview:
    """Rows as BASF2 writes them, each with a tab at its end."""
    import pyarrow as pa
    import pyarrow.csv as csv

    n_rows = len(next(iter(columns.values())))
    arrays = [pa.array(np.ascontiguousarray(v)) for v in columns.values()]
    table = pa.table([*arrays, pa.nulls(n_rows)], names=[*columns, ""])
    out = pa.BufferOutputStream()
    options = csv.WriteOptions(
        include_header=False, delimiter="\t", quoting_style="none"
    )
    csv.write_csv(table, out, options)
    return memoryview(out.getvalue())
