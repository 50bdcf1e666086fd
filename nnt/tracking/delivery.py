"""Delivery of an outbox to its store: by a thread of the training, or later.

Only this thread talks to MLflow while a training goes on. What a process has left on
local disk is found and delivered by `sync`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

from nnt.errors import TrackingError
from nnt.tracking.local_runs import LOCK, OUTBOX, lock_run, runs_directory
from nnt.tracking.outbox import Entry, Outbox
from nnt.tracking.sender import Sender, grouped, is_file, is_refusal
from nnt.tracking.store import connect, reason_of
from nnt.tracking.store_uri import hide_passwords, whole_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

FLUSH_EVERY_S = 10.0
"""MLflow's pages ask for what is new every 30 seconds."""
FLUSH_AT_END_S = 0.3
"""How often what has come is delivered: at the end soon, since nothing else waits."""
SAVE_EVERY_S = 1.0
FIRST_PAUSE_S = 1.0
LAST_PAUSE_S = 30.0
"""Between attempts on a store that fails: twice as long each time, up to this."""
CLOSING_PAUSE_S = 1.0
PATIENCE_S = 15.0
"""How long the end waits for a store that takes nothing."""
HURRY_S = 2.5
"""How long it waits when the training was asked to stop."""

NAMES = {False: "metrics, parameters and tags", True: "artifacts"}
"""By whether they are files."""
SOME = "one or more metrics, parameters or tags"

BY_DEFAULT = "*"
"""The experiment that is the default when the runs are made."""
SYNC_ATTEMPTS = 3
SYNC_PAUSE_S = 1.0


class Delivery:
    """Carries entries from an outbox to a store, as far as the store takes them.

    An entry that fails stays in the outbox, and those after it wait: files for files,
    all else for all else. One that the store refuses for what it is would fail for
    ever; it is left out with a warning.
    Once the thread runs, it alone uses the sender; `uri` is that of the store, for
    messages.
    """

    def __init__(self, outbox: Outbox, sender: Sender, uri: str) -> None:
        self._outbox = outbox
        self._sender = sender
        self._uri = hide_passwords(uri)
        self._failing: set[bool] = set()
        self._refused: set[str] = set()
        self._last_save_s = time.monotonic()
        self._is_hurried = False
        self._closing = Event()
        self._thread: threading.Thread | None = None
        self.n_delivered = 0
        self.n_refused = 0

    def deliver_waiting(self) -> bool:
        """Deliver all that waits; return whether the store has taken all of it."""
        entries = self._outbox.waiting()
        if self._failing:
            self._sender.forget()
        was_hurried = self._is_hurried
        if was_hurried:
            # How the run ended goes before its files, should time not do for both.
            entries.sort(key=is_file)
        failing: set[bool] = set()
        for call in grouped(entries):
            kind = is_file(call[0])
            if kind in failing:
                continue
            if self._is_hurried and not was_hurried:
                return False  # the order has changed
            err = self._deliver(call)
            if err is not None:
                failing.add(kind)
                self._warn(kind, call[0], err)
                if not kind:
                    break
        self._outbox.write()
        if False not in failing:
            for kind in self._failing - failing:
                log.info("tracking: %s takes %s again", self._uri, NAMES[kind])
            self._failing &= failing
        return not failing

    def _deliver(self, call: list[Entry]) -> Exception | None:
        """Send, and leave out what is refused; return why the rest has to wait."""
        try:
            self._sender.send(call)
        except Exception as err:  # noqa: BLE001 (whatever a store may raise)
            if not is_refusal(err):
                return err
            self._refuse(call, err)
        else:
            self.n_delivered += len(call)
        self._outbox.settle(call)
        if time.monotonic() - self._last_save_s > SAVE_EVERY_S:
            self._last_save_s = time.monotonic()
            self._outbox.write()
        return None

    def _refuse(self, call: list[Entry], err: Exception) -> None:
        # Of what was sent together, all else has been delivered.
        self.n_refused += 1
        self.n_delivered += len(call) - 1
        reason, first = reason_of(err), call[0]
        if reason not in self._refused:
            self._refused.add(reason)
            log.warning(
                "tracking: %s of run %s cannot be delivered: %s",
                first.values.get("path") or (first.kind if len(call) == 1 else SOME),
                first.run_id,
                reason,
            )

    def _warn(self, kind: bool, entry: Entry, err: Exception) -> None:
        if kind in self._failing:
            return
        self._failing.add(kind)
        path = self._outbox.path
        log.warning(
            "tracking: %s does not take %s of run %s (%s); the training goes on, what "
            "it logs is kept%s and delivered when the store takes it",
            self._uri,
            NAMES[kind],
            entry.run_id,
            reason_of(err),
            f" in {path}" if path else "",
        )

    def start(self) -> None:
        """Deliver every few seconds from now on, and never stop a training."""
        self._thread = threading.Thread(target=self._work, name="tracking", daemon=True)
        self._thread.start()

    def close(self, stop: Event | None = None) -> None:
        """Deliver what is left, unless the store has gone or time is short.

        While `stop` is set, only a few seconds are left.
        """
        self._closing.set()
        self._outbox.is_ending.set()
        end_s: float | None = None
        while self._thread is not None and self._thread.is_alive():
            if end_s is None and stop is not None and stop.is_set():
                self._is_hurried = True
                end_s = time.monotonic() + HURRY_S
            if end_s is not None and time.monotonic() > end_s:
                return  # the thread ends with the process
            self._thread.join(0.05)

    def _work(self) -> None:
        n_failures = 0
        while not self._wait(n_failures):
            self._outbox.sync()
            n_failures = 0 if self.deliver_waiting() else n_failures + 1
        self._finish()

    def _wait(self, n_failures: int) -> bool:
        """Wait for the next round; return whether there is none."""
        if n_failures:
            pause_s = FIRST_PAUSE_S * 2.0 ** min(n_failures - 1, 10)
            return self._closing.wait(min(pause_s, LAST_PAUSE_S))
        if self._outbox.is_ending.is_set():
            return self._closing.wait(FLUSH_AT_END_S)
        # While the last metrics are computed, a core has time for what is here.
        self._outbox.is_ending.wait(FLUSH_EVERY_S)
        return self._closing.is_set()

    def _finish(self) -> None:
        last_success_s = time.monotonic()
        while True:
            before = self.n_delivered
            self._outbox.sync()
            if self.deliver_waiting() and not self._outbox.waiting():
                return
            if self.n_delivered > before:
                last_success_s = time.monotonic()
            elif time.monotonic() - last_success_s > PATIENCE_S:
                return
            else:
                time.sleep(0.1 if self._is_hurried else CLOSING_PAUSE_S)


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
    for path in sorted(runs_directory(base).glob(f"*/{OUTBOX}")):
        # A run has a second name once a store has given it one.
        if path.parent.is_symlink():
            continue
        try:
            yield find_waiting(path.parent)
        except TrackingError as err:
            log.warning("%s", err)


def is_delivered(directory: Path) -> bool:
    """Whether nothing waits any more in what is the directory of a run."""
    return (directory / LOCK).is_file() and not (directory / OUTBOX).is_file()


def find_waiting(directory: Path) -> Waiting:
    """Read what waits in the directory of a run.

    Raises
    ------
    TrackingError
        Nothing waits there, or it is damaged.
    """
    path = directory / OUTBOX
    if not path.is_file():
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

    If the store has moved, `uri` is where it is now.

    Raises
    ------
    TrackingError
        The store does not answer, or a process works on the run.
    """
    uri = uri or whole_uri(waiting.uri)
    if "***" in uri:
        raise TrackingError(
            f"the address of the store is kept without its password, as {uri}; set "
            "MLFLOW_TRACKING_URI to the whole address, or name it with --to"
        )
    with lock_run(waiting.directory, waiting.run_id):
        return _deliver(waiting, connect(uri))


def deliver_left(run_directory: Path, client: MlflowClient) -> bool:
    """Deliver what a dead process has left of a run; return whether there was any."""
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
        for attempt in range(SYNC_ATTEMPTS):
            time.sleep(SYNC_PAUSE_S * attempt)
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
