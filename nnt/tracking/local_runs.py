"""The local files of runs: where they are, and under which IDs a store knows them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from nnt.errors import TrackingError
from nnt.files import write_atomically
from nnt.tracking.environment import base_directory
from nnt.tracking.outbox import read_about
from nnt.tracking.store_uri import hide_passwords

__all__ = [
    "SAFE_ID",
    "is_offline",
    "keep_ids",
    "outbox_of",
    "project_of",
    "read_ids",
    "runs_directory",
]

OUTBOX = "outbox.db"
IDS = "synced.json"
"""In the directory of an offline run: its IDs in the store."""
SAFE_ID = re.compile(r"[\w-]{1,64}")


def runs_directory(base: Path) -> Path:
    """Directory that holds the local files of every run."""
    return base / ".nnt" / "runs"


def outbox_of(run_directory: Path) -> Path:
    """File of what a run has logged and its store has not confirmed."""
    return run_directory / OUTBOX


def project_of(run_directory: Path) -> Path:
    """Directory of the project of a run, which may have been copied out of it."""
    runs = run_directory.resolve().parent
    if len(runs.parts) > 2 and runs == runs_directory(runs.parent.parent):
        return runs.parent.parent
    return base_directory()


def is_offline(run_directory: Path) -> bool:
    """Whether a run, the parent of a training, waits to be made in its store."""
    path = outbox_of(run_directory)
    try:
        return path.is_file() and bool(read_about(path).get("experiment"))
    except TrackingError:
        return False


def read_ids(run_directory: Path) -> dict[str, str]:
    """IDs that an offline training and its experts have got in a store."""
    try:
        found = json.loads((run_directory / IDS).read_bytes())
        return {str(k): str(v) for k, v in found["runs"].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def keep_ids(
    run_directory: Path, local_id: str, ids: Mapping[str, str], uri: str
) -> None:
    """Let the files of a run that was made in a store be found under either ID.

    Parameters
    ----------
    run_directory : Path
        Of the parent run.
    local_id : str
        The run that has just been made.
    ids : mapping
        IDs in the store by local IDs.
    uri : str
        Of the store.
    """
    content = json.dumps({"uri": hide_passwords(uri), "runs": dict(ids)}, indent=2)
    runs = run_directory.parent
    for directory in {run_directory, runs / local_id}:
        if directory.is_dir():
            write_atomically(directory / IDS, content.encode())
    link = runs / ids[local_id]
    if SAFE_ID.fullmatch(ids[local_id]) and not link.exists():
        link.symlink_to(local_id, target_is_directory=True)
