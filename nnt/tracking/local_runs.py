"""The local files of runs: where they are, which process works on them, their IDs."""

from __future__ import annotations

import fcntl
import json
import os
import re
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import psutil

from nnt.errors import TrackingError
from nnt.files import write_atomically
from nnt.machine import user_name
from nnt.tracking.outbox import read_about
from nnt.tracking.store_uri import base_directory, hide_passwords

OUTBOX = "outbox.db"
"""In the directory of a run: what it has logged and its store has not confirmed."""
IDS = "synced.json"
"""In that of an offline run: its IDs in the store."""
LOCK = "lock"
SAFE_ID = re.compile(r"[\w-]{1,64}")
START_TOLERANCE_S = 2.0


def runs_directory(base: Path) -> Path:
    """Directory that holds the local files of every run."""
    return base / ".nnt" / "runs"


def project_of(run_directory: Path) -> Path:
    """Directory of the project of a run, which may have been copied out of it."""
    runs = run_directory.resolve().parent
    if len(runs.parts) > 2 and runs == runs_directory(runs.parent.parent):
        return runs.parent.parent
    return base_directory()


def is_offline(run_directory: Path) -> bool:
    """Whether a run, the parent of a training, waits to be made in its store."""
    path = run_directory / OUTBOX
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

    The directory is that of its parent, which may be itself; `ids` are those in the
    store by local IDs.
    """
    content = json.dumps({"uri": hide_passwords(uri), "runs": dict(ids)}, indent=2)
    runs = run_directory.parent
    for directory in {run_directory, runs / local_id}:
        if directory.is_dir():
            write_atomically(directory / IDS, content.encode())
    link = runs / ids[local_id]
    if SAFE_ID.fullmatch(ids[local_id]) and not link.exists():
        link.symlink_to(local_id, target_is_directory=True)


def process_tags() -> dict[str, str]:
    """Tags by which another process can see whether this one still lives."""
    return {
        "nnt.host": socket.gethostname(),
        "nnt.pid": str(os.getpid()),
        "nnt.process_start": f"{psutil.Process().create_time():.2f}",
    }


def run_tags(description: str, tags: Mapping[str, str]) -> dict[str, str]:
    """Tags that MLflow itself would set on a new run, and those that are given."""
    note = {"mlflow.note.content": description} if description else {}
    source = {"mlflow.source.name": "nnt", "mlflow.source.type": "LOCAL"}
    given = {key: hide_passwords(value) for key, value in {**note, **tags}.items()}
    return {"mlflow.user": user_name(), **source, **given}


def is_dead(tags: Mapping[str, str]) -> bool:
    """Whether the process that set these tags ran on this host and is gone."""
    if tags.get("nnt.host") != socket.gethostname():
        return False
    try:
        started = psutil.Process(int(tags["nnt.pid"])).create_time()
        noted = float(tags["nnt.process_start"])
    except psutil.NoSuchProcess:
        return True
    except (KeyError, ValueError, OverflowError, psutil.Error):
        return False
    # The number of a dead process is given to another one sooner or later.
    return abs(started - noted) > START_TOLERANCE_S


def lock_run(directory: Path, run_id: str) -> IO[str]:
    """Take a run for this process until the file is closed or the process ends."""
    file = (directory / LOCK).open("a+", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as err:
        file.seek(0)
        owner = file.read(200).strip()
        file.close()
        raise TrackingError(
            f"run {run_id} is in use by a process that is still running ({owner}); "
            "wait until it ends, or stop it first"
        ) from err
    file.truncate(0)
    file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
    file.flush()
    return file
