"""Files that are whole or not there, whenever the process or the machine dies.

What must not be replaced is written through: pipes, devices, and the files that
symbolic links point to.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import platformdirs

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
REMEDIES = {
    errno.ENOSPC: "make room and try again",
    errno.EDQUOT: "make room within your quota and try again",
    errno.EROFS: "this disk can only be read; choose another place",
    errno.EACCES: "check the permissions, or choose another place",
    errno.EPERM: "check the permissions, or choose another place",
    errno.EMFILE: "allow more open files (ulimit -n)",
    errno.ENAMETOOLONG: "choose a shorter name",
}
NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL
MODE = 0o666
"""Of new files, less what the umask takes away."""


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


def read_text(path: Path, error: type[Exception], most: int = 1_000_000) -> str:
    """Read a small file of text in UTF-8.

    Raises
    ------
    error
        It cannot be read, has more than `most` bytes, or is no such text.
    """
    try:
        if (size := path.stat().st_size) > most:
            raise error(
                f"{path}: expected at most {most:,} bytes of text, found {size:,}; "
                "check the path"
            )
        return path.read_text(encoding="utf-8-sig")
    except OSError as err:
        raise error(f"{path}: cannot be read ({err.strerror}); check the path") from err
    except UnicodeDecodeError as err:
        line = err.object.count(b"\n", 0, err.start) + 1
        raise error(
            f"{path}: line {line}: expected UTF-8, found the byte "
            f"{err.object[err.start]:#04x}; save the file as UTF-8"
        ) from err


def is_full(error: OSError) -> bool:
    """Whether a disk takes no more, which a person can mend."""
    return error.errno in FULL


def remedy(error: OSError) -> str:
    """What a person can do about an error of the system."""
    return REMEDIES.get(error.errno or 0, "check the path")


def previous_of(path: Path) -> Path:
    """Where `write_atomically` keeps the version before the last one."""
    return path.with_name(f"{path.name}.previous")


def is_replaceable(path: Path) -> bool:
    """Whether writing to a path would replace a file, not a pipe or a device.

    Raises
    ------
    OSError
        The path cannot be looked at.
    """
    return _descriptor(path) is None and stat.S_ISREG(_mode(path))


def is_standard_output(path: Path) -> bool:
    """Whether standard output goes to a path, such as ``/dev/stdout``."""
    return _descriptor(path) == 1


def make_folder(path: Path) -> None:
    """Make a folder, and those above it, unless it is there.

    Raises
    ------
    OSError
        It cannot be made; `NotADirectoryError` where there is something else.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError as err:
        raise _error(errno.ENOTDIR, path) from err


def cache_dir() -> Path:
    """Directory of the cache; the variable ``NNT_CACHE_DIR`` moves it.

    An account without a home gets one under the temporary directory.
    """
    if given := os.environ.get("NNT_CACHE_DIR"):
        return Path(expand_path(given))
    place = Path(platformdirs.user_cache_dir("nnt"))
    if place.is_absolute():
        return place
    return Path(tempfile.gettempdir(), f"nnt-cache-{os.getuid()}")


def check_writable(path: Path) -> None:
    """Find out before any long work whether a file can be written.

    Raises
    ------
    OSError
        It cannot.
    """
    if path.is_dir():
        raise _error(errno.EISDIR, path)
    if _is_written_through(path):
        if _descriptor(path) is None and not os.access(path, os.W_OK):
            raise _error(errno.EACCES, path)
        return
    handle, draft = _draft(_target(path))
    os.close(handle)
    draft.unlink()


@contextmanager
def open_whole(path: Path, *, keep_previous: bool = False) -> Iterator[BinaryIO]:
    """Open a file whose new content takes its place when the block ends.

    Parameters
    ----------
    path : Path
        Its directory must exist. A symbolic link stays, and the file that it points
        to is replaced; a pipe or a device is written to as it is.
    keep_previous : bool
        Keep the version before under the name that `previous_of` gives.

    Yields
    ------
    BinaryIO
        Where to write. If the block raises, a file is as it was. A new file has the
        mode that the umask allows; one that was there keeps its mode.

    Raises
    ------
    OSError
        The disk is full or not writable; the old file is as it was.
    """
    if _is_written_through(path):
        number = _descriptor(path)
        with open(path if number is None else os.dup(number), "wb") as file:  # noqa: PTH123
            yield file
        return
    target = _target(path)
    handle, draft = _draft(target)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileNotFoundError):
            draft.chmod(stat.S_IMODE(target.stat().st_mode))
        if keep_previous and target.exists():
            target.replace(previous_of(target))
        _move(draft, target)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    _sync_directory(target.parent)


def write_atomically(path: Path, data: bytes, *, keep_previous: bool = False) -> None:
    """Replace a file by new bytes, whole or not at all, as `open_whole` does."""
    with open_whole(path, keep_previous=keep_previous) as file:
        file.write(data)


def _error(number: int, path: Path) -> OSError:
    return OSError(number, os.strerror(number), str(path))


def _is_written_through(path: Path) -> bool:
    if _descriptor(path) is not None:
        return True
    mode = _mode(path)
    if not stat.S_ISREG(mode):
        return mode != 0
    # A file that may be written in a folder that takes no other file.
    folder = _target(path).parent
    return not os.access(folder, os.W_OK) and os.access(path, os.W_OK)


def _mode(path: Path) -> int:
    """Type and permissions of what a path leads to; 0 where there is nothing."""
    try:
        return path.stat().st_mode
    except FileNotFoundError:
        return 0


def _descriptor(path: Path) -> int | None:
    """1 or 2 for what standard output or error goes to, such as ``/dev/stdout``.

    Opening such a path anew would begin at the front of the file behind it, and
    overwrite what the process has written there.
    """
    for number in (1, 2):
        with suppress(OSError):
            if os.path.samestat(path.stat(), os.fstat(number)):
                return number
    return None


def _target(path: Path) -> Path:
    """The file itself, behind any symbolic links."""
    return Path(os.path.realpath(path))


def _draft(target: Path) -> tuple[int, Path]:
    """A new file next to a target, with the permissions of new files."""
    # The name is as short as need be, however long that of the target is.
    draft = target.with_name(f".{target.name[:40]}.{secrets.token_hex(4)}")
    try:
        return os.open(draft, NEW_FILE, MODE), draft
    except OSError as err:
        err.filename = str(target)
        raise


def _move(draft: Path, target: Path) -> None:
    try:
        draft.replace(target)
    except OSError as err:
        if err.errno != errno.EBUSY:
            raise
        # A file that is mounted by itself, as containers do, cannot be replaced.
        shutil.copyfile(draft, target)
        draft.unlink()


def _sync_directory(directory: Path) -> None:
    # A new name is on the disk only when its directory is. A folder may be one that can
    # be written to, but not listed.
    with suppress(PermissionError):
        handle = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
