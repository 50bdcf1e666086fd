"""Write a table in the text form of BASF2."""

from __future__ import annotations

import gzip
import os
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nnt.progress import Progress, silent
from nnt.tracks.table import Tracks

__all__ = ["write_tracks"]

CHUNK = 50_000


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
        Compressed if it ends in ``.gz``.
    new : float32 array, shape (N, 1) or (N, 2), optional
        Scaled outputs of new networks, appended as ``NewZ`` and ``NewTheta``.
    progress : Progress
        Called with rows done and rows in all.
    """
    path = Path(path)
    columns = tracks.columns()
    if new is not None:
        columns |= dict(zip(("NewZ", "NewTheta"), new.T, strict=False))
    form = "\t".join("%d" if v.dtype.kind == "i" else "%.9g" for v in columns.values())
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as raw:
            # No name and no time in the gzip header: same table, same bytes.
            out = (
                gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0)
                if path.suffix == ".gz"
                else raw
            )
            out.write(("\t".join(columns) + "\n\n").encode())
            for start in range(0, len(tracks), CHUNK):
                rows = zip(
                    *(v[start : start + CHUNK].tolist() for v in columns.values()),
                    strict=True,
                )
                text = "".join([form % row + "\t\n" for row in rows])
                out.write(text.encode())
                progress(min(start + CHUNK, len(tracks)), len(tracks))
            if out is not raw:
                out.close()
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
