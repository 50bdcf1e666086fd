"""Outboxes that processes have left on local disk, and their delivery."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nnt.errors import TrackingError
from nnt.tracking.delivery import Delivery
from nnt.tracking.local_runs import LOCK, OUTBOX, lock_run, runs_directory
from nnt.tracking.outbox import Outbox
from nnt.tracking.sender import Sender
from nnt.tracking.store import connect
from nnt.tracking.store_uri import default_uri, hide_passwords

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

BY_DEFAULT = "*"
"""The experiment that is the default when the runs are made."""
OLD_JOURNAL = Path("spool") / "journal.jsonl"
"""What NNT before 0.2 has left in place of an outbox."""
ATTEMPTS = 3
PAUSE_S = 1.0


@dataclass(frozen=True, slots=True)
class Waiting:
    """What has been logged to a run and its experts, and not been delivered."""

    directory: Path
    """Of the run."""
    run_id: str
    uri: str
    """Store that it is for, without a password, as that of what was delivered."""
    n_operations: int
    is_finished: bool = False
    """Whether the end of the run waits, too: its training is done."""
    experiment: str = ""
    """Name of the experiment of a run that no store knows yet."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """What became of it."""

    directory: Path
    run_id: str
    uri: str
    n_delivered: int
    n_refused: int
    """Operations that the store will never take."""
    n_left: int
    created: Mapping[str, str]
    """IDs that runs have got in the store, by those that they had before."""


def find_all_waiting(base: Path) -> Iterator[Waiting]:
    """Find what waits for delivery to a default store."""
    for path in sorted(runs_directory(base).glob("*/")):
        # A run has a second name once a store has given it one.
        if path.is_symlink() or not _has_left(path):
            continue
        try:
            yield find_waiting(path)
        except TrackingError as err:
            log.warning("%s", err)


def is_delivered(directory: Path) -> bool:
    """Whether nothing waits any more in what is the directory of a run."""
    return (directory / LOCK).is_file() and not _has_left(directory)


def _has_left(run_directory: Path) -> bool:
    return any((run_directory / name).is_file() for name in (OUTBOX, OLD_JOURNAL))


def find_waiting(directory: Path) -> Waiting:
    """Read what waits in the directory of a run.

    Raises
    ------
    TrackingError
        Nothing waits there, or it is damaged.
    """
    path = directory / OUTBOX
    if not path.is_file():
        if (directory / OLD_JOURNAL).is_file():
            raise TrackingError(
                f"{directory / OLD_JOURNAL} was written by an earlier version of NNT; "
                "upload it with nnt sync of that version"
            )
        raise TrackingError(
            f"{directory} holds nothing to upload: expected the directory of a run, "
            f".nnt/runs/ID, with {OUTBOX} in it"
        )
    outbox = Outbox.reopen(path)
    entries = outbox.waiting()
    outbox.abandon()
    ends = [e.values["status"] for e in entries if e.kind == "end"]
    return Waiting(
        directory=directory,
        run_id=outbox.about["run"],
        uri=outbox.about["uri"],
        n_operations=len(entries),
        is_finished=ends[-1:] == ["FINISHED"],
        experiment=outbox.about.get("experiment", ""),
    )


def sync(waiting: Waiting, uri: str | None = None) -> Delivered:
    """Deliver to the store, and remove the outbox when the store holds all of it.

    Parameters
    ----------
    waiting : Waiting
        As `find_waiting` gives it.
    uri : str, optional
        Where the store is now, if it has moved.

    Raises
    ------
    TrackingError
        The store does not answer, or a process works on the run.
    """
    uri = uri or _whole_uri(waiting.uri)
    with lock_run(waiting.directory, waiting.run_id):
        return _deliver(waiting, connect(uri))


def _whole_uri(noted: str) -> str:
    """Find the password that the address of a store has lost on the disk."""
    known = default_uri()
    if noted == hide_passwords(known):
        return known
    if "***" in noted:
        raise TrackingError(
            f"the address of the store is kept without its password, as {noted}; set "
            "MLFLOW_TRACKING_URI to the whole address, or name it with --to"
        )
    return noted


def deliver_left(run_directory: Path, client: MlflowClient) -> bool:
    """Deliver what a dead process has left of a run; return whether there was any.

    Raises
    ------
    TrackingError
        The store does not take it, or a process works on the run.
    """
    path = run_directory / OUTBOX
    if not path.is_file():
        return False
    try:
        waiting = find_waiting(run_directory)
    except TrackingError as err:
        # The power went, perhaps. A training that goes on logs what is missing.
        log.warning("%s", err)
        path.replace(path.with_name(f"{OUTBOX}.damaged"))
        return False
    with lock_run(run_directory, waiting.run_id):
        done = _deliver(waiting, client)
    if done.n_left:
        raise TrackingError(
            f"{done.uri} does not take {done.n_left} operations of run "
            f"{waiting.run_id}, which are kept in {path}; try again when it does"
        )
    return True


def _deliver(waiting: Waiting, client: MlflowClient) -> Delivered:
    directory, uri = waiting.directory, client.tracking_uri
    named = None if waiting.experiment in ("", BY_DEFAULT) else waiting.experiment
    outbox = Outbox.reopen(directory / OUTBOX)
    sender = Sender(client, directory.parent, directory, named)
    delivery = Delivery(outbox, sender, uri)
    try:
        for attempt in range(ATTEMPTS):
            time.sleep(PAUSE_S * attempt)
            if delivery.deliver_waiting():
                break
    finally:
        outbox.close()
    return Delivered(
        directory=directory,
        run_id=waiting.run_id,
        uri=hide_passwords(uri),
        n_delivered=delivery.n_delivered,
        n_refused=delivery.n_refused,
        n_left=len(outbox.waiting()),
        created=sender.ids,
    )
