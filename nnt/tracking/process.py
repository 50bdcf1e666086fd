"""Which process trains a run, and whether it still does."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import psutil

from nnt.errors import TrackingError
from nnt.machine import user_name
from nnt.tracking.store_uri import hide_passwords

__all__ = ["is_dead", "lock_run", "process_tags", "run_tags"]

LOCK = "lock"
START_TOLERANCE_S = 2.0


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
    """Take a run for this process until the file is closed or the process ends.

    Raises
    ------
    TrackingError
        Another process has it.
    """
    file = (directory / LOCK).open("a+", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as err:
        file.seek(0)
        owner = file.read(200).strip()
        file.close()
        raise TrackingError(
            f"run {run_id} is in the hands of a process that still works ({owner}); "
            "wait for its end, or stop it first"
        ) from err
    file.truncate(0)
    file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
    file.flush()
    return file
