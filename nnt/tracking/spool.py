"""Journals that processes have left on local disk, and their delivery."""

from __future__ import annotations

import json
import logging
import re
import shlex
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nnt.errors import TrackingError
from nnt.files import write_atomically
from nnt.tracking.delivery import Courier
from nnt.tracking.environment import base_directory, default_uri
from nnt.tracking.experiments import find_experiment
from nnt.tracking.journal import JOURNAL, Journal, Record, read_header
from nnt.tracking.process import lock_run
from nnt.tracking.sender import Sender
from nnt.tracking.store import connect
from nnt.tracking.store_uri import hide_passwords

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = [
    "Delivered",
    "Spool",
    "deliver_left",
    "find_spool",
    "find_spools",
    "is_offline",
    "read_ids",
    "runs_directory",
    "spool_of",
    "sync",
    "tell_left",
]

log = logging.getLogger(__name__)

IDS = "synced.json"
"""In the directory of an offline run: its IDs in the store."""
BY_DEFAULT = "*"
"""The experiment that is the default when the runs are made."""
LOCAL_ID = "nnt.offline_id"
SAFE_ID = re.compile(r"[\w-]{1,64}")
ATTEMPTS = 3
PAUSE_S = 1.0


def runs_directory(base: Path) -> Path:
    """Directory that holds the local files of every run."""
    return base / ".nnt" / "runs"


def spool_of(run_directory: Path) -> Path:
    """Where the journal of a run is."""
    return run_directory / "spool"


@dataclass(frozen=True, slots=True)
class Spool:
    """What has been logged to a run and its experts, and not been delivered."""

    directory: Path
    """Of the run."""
    run_id: str
    uri: str
    """Store that it is for."""
    n_operations: int
    experiment: str = ""
    """Name of the experiment of a run that no store knows yet."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """What became of a spool."""

    directory: Path
    run_id: str
    uri: str
    n_delivered: int
    n_refused: int
    """Operations that the store will never take."""
    n_left: int
    created: Mapping[str, str]
    """IDs that runs have got in the store, by those that they had before."""


def find_spools(base: Path) -> Iterator[Spool]:
    """Find what waits for delivery beside a default store."""
    for path in sorted(runs_directory(base).glob(f"*/spool/{JOURNAL}")):
        directory = path.parent.parent
        # A run has a second name once a store has given it one.
        if directory.is_symlink():
            continue
        try:
            yield find_spool(directory)
        except TrackingError as err:
            log.warning("%s", err)


def find_spool(directory: Path) -> Spool:
    """Read what waits in the directory of a run.

    Raises
    ------
    TrackingError
        Nothing waits there, or it is damaged.
    """
    place = spool_of(directory)
    if not (place / JOURNAL).is_file():
        raise TrackingError(
            f"{directory} holds nothing to deliver: expected the directory of a run, "
            ".nnt/runs/ID, with a spool in it"
        )
    header = read_header(place)
    experiment = header.get("experiment", "")
    return Spool(
        directory=directory,
        run_id=header["run"],
        uri=header["uri"],
        n_operations=len(Journal.reopen(place).waiting()),
        experiment=experiment if isinstance(experiment, str) else "",
    )


def is_offline(run_directory: Path) -> bool:
    """Whether a run, the parent of a training, waits to be made in its store."""
    try:
        return bool(find_spool(run_directory).experiment)
    except TrackingError:
        return False


def sync(spool: Spool, uri: str | None = None) -> Delivered:
    """Deliver a spool to its store, and remove it when the store holds all of it.

    Parameters
    ----------
    spool : Spool
        As `find_spool` gives it.
    uri : str, optional
        Where the store is now, if it has moved.

    Raises
    ------
    TrackingError
        The store does not answer, or a process works on the run.
    """
    uri = uri or _whole_uri(spool.uri)
    with lock_run(spool.directory, spool.run_id):
        return _deliver(spool, connect(uri), uri)


def _whole_uri(noted: str) -> str:
    """Find the password that the address of a store has lost on the disk."""
    known = default_uri()
    if noted == hide_passwords(known):
        return known
    if hide_passwords(noted) != noted or "***" in noted:
        raise TrackingError(
            f"the address of the store is kept without its password, as {noted}; set "
            "MLFLOW_TRACKING_URI to the whole address, or name it with --to"
        )
    return noted


def _base_of(run_directory: Path) -> Path:
    """Directory of the project; a run may have been copied out of it."""
    runs = run_directory.resolve().parent
    is_in_project = runs == runs_directory(runs.parent.parent)
    return runs.parent.parent if is_in_project else base_directory()


def deliver_left(run_directory: Path, client: MlflowClient, uri: str) -> bool:
    """Deliver what a dead process has left of a run; tell whether there was any.

    Raises
    ------
    TrackingError
        The store does not take it, or a process works on the run.
    """
    place = spool_of(run_directory)
    if not (place / JOURNAL).is_file():
        return False
    spool = find_spool(run_directory)
    with lock_run(run_directory, spool.run_id):
        done = _deliver(spool, client, uri)
    if done.n_left:
        raise TrackingError(
            f"{hide_passwords(uri)} does not take {done.n_left} operations of run "
            f"{spool.run_id}, which are kept in {place}; try again when it does"
        )
    return True


def _deliver(spool: Spool, client: MlflowClient, uri: str) -> Delivered:
    place = spool_of(spool.directory)
    journal = Journal.reopen(place)
    maker = RunMaker(client, uri, spool)
    sender = Sender(client, spool.directory.parent, maker.make, maker.ids)
    courier = Courier(journal, sender, uri)
    for attempt in range(ATTEMPTS):
        time.sleep(PAUSE_S * attempt)
        if courier.round():
            break
    journal.close()
    return Delivered(
        directory=spool.directory,
        run_id=spool.run_id,
        uri=uri,
        n_delivered=courier.n_delivered,
        n_refused=courier.n_refused,
        n_left=len(journal.waiting()),
        created=maker.ids,
    )


class RunMaker:
    """Makes the runs of an offline training in a store, each once.

    Parameters
    ----------
    client : MlflowClient
        Of the store.
    uri : str
        Of the store.
    spool : Spool
        Of the training.
    """

    def __init__(self, client: MlflowClient, uri: str, spool: Spool) -> None:
        self._client = client
        self._uri = uri
        self._spool = spool
        self.ids = read_ids(spool.directory)

    def make(self, record: Record) -> str:
        """Make a run, unless the store has it; return its ID there."""
        base = _base_of(self._spool.directory)
        named = self._spool.experiment
        name = None if named in ("", BY_DEFAULT) else named
        experiment = find_experiment(self._client, self._uri, base, name)
        run_id = self._find(experiment, record.run_id) or self._create(
            experiment, record
        )
        self.ids[record.run_id] = run_id
        self._note(record.run_id, run_id)
        return run_id

    def _note(self, local_id: str, run_id: str) -> None:
        """Let the files of the run be found under either ID."""
        told = json.dumps(
            {"uri": hide_passwords(self._uri), "runs": self.ids}, indent=2
        ).encode()
        runs = self._spool.directory.parent
        for directory in {self._spool.directory, runs / local_id}:
            if directory.is_dir():
                write_atomically(directory / IDS, told)
        link = runs / run_id
        if SAFE_ID.fullmatch(run_id) and not link.exists():
            link.symlink_to(local_id, target_is_directory=True)

    def _find(self, experiment: str, local_id: str) -> str | None:
        chosen = f"tags.`{LOCAL_ID}` = '{local_id}'"
        found = self._client.search_runs([experiment], chosen, max_results=1)
        return str(found[0].info.run_id) if found else None

    def _create(self, experiment: str, record: Record) -> str:
        values = record.values
        tags = {**values["values"], LOCAL_ID: record.run_id}
        if values["parent"]:
            tags["mlflow.parentRunId"] = self.ids[values["parent"]]
        run = self._client.create_run(
            experiment,
            start_time=values["time_ms"],
            tags=tags,
            run_name=values["name"],
        )
        return str(run.info.run_id)


def read_ids(run_directory: Path) -> dict[str, str]:
    """IDs that an offline training and its experts have got in a store."""
    try:
        told = json.loads((run_directory / IDS).read_bytes())
        return {str(k): str(v) for k, v in told["runs"].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def tell_left(n_left: int, place: Path | None, uri: str) -> None:
    """Say what has not been delivered, where it is and how it gets to the store."""
    if place is None or not (place / JOURNAL).is_file():
        log.warning("tracking: %d operations are lost: %s did not take them, and the "
                    "disk had no room", n_left, hide_passwords(uri))  # fmt: skip
        return
    log.warning(
        "tracking: %s has not taken %d operations; they are kept in %s. Once it "
        "answers, deliver them by: nnt sync %s",
        hide_passwords(uri),
        n_left,
        place,
        shlex.quote(str(place.parent)),
    )
