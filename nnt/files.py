"""Files that are whole or not there, whenever the process or the machine dies."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

__all__ = ["expand_path", "is_full", "previous_of", "write_atomically"]

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def expand_path(path: str | os.PathLike[str]) -> str:
    """Expand ``~``, ``~user``, ``$NAME`` and ``${NAME}``, as a shell does.

    The one rule for every path that a person writes, on the command line, in a
    configuration or in Python: a path that exists as it is written stays, and so does
    what cannot be expanded. Spaces are part of the path.

    Examples
    --------
    >>> import os
    >>> os.environ["PERIOD"] = "run 42"
    >>> expand_path("data/$PERIOD/tracks.gz")
    'data/run 42/tracks.gz'
    """
    text = os.fspath(path)
    if os.path.exists(text):  # noqa: PTH110 (Path.exists raises on a NUL)
        return text
    return os.path.expanduser(os.path.expandvars(text))  # noqa: PTH111


def is_full(error: OSError) -> bool:
    """Whether a disk takes no more, which a person can mend."""
    return error.errno in FULL


def previous_of(path: Path) -> Path:
    """Where `write_atomically` keeps the version before the last one."""
    return path.with_name(f"{path.name}.previous")


def write_atomically(path: Path, data: bytes, *, keep_previous: bool = False) -> None:
    """Replace a file by new bytes, whole and on the disk, or not at all.

    Parameters
    ----------
    path : Path
        Its directory must exist.
    data : bytes
        The new content.
    keep_previous : bool
        Keep the version before under the name that `previous_of` gives.

    Raises
    ------
    OSError
        The disk is full or not writable; the old file is as it was.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if keep_previous and path.exists():
            path.replace(previous_of(path))
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    _sync_directory(path.parent)


def _sync_directory(directory: Path) -> None:
    # A new name is on the disk only when its directory is.
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
