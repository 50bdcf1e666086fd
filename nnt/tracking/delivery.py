"""The one thread that talks to MLflow during a training."""

from __future__ import annotations

import logging
import threading
import time
from threading import Event

from nnt.tracking.journal import Journal, Record
from nnt.tracking.sender import Sender, is_file, is_refusal, plan
from nnt.tracking.store import reason_of
from nnt.tracking.store_uri import hide_passwords

__all__ = ["Courier", "Delivery"]

log = logging.getLogger(__name__)

FLUSH_EVERY_S = 5.0
SAVE_EVERY_S = 1.0
FIRST_PAUSE_S = 1.0
LAST_PAUSE_S = 30.0
"""Between attempts on a store that fails: twice as long each time, up to this."""
CLOSING_PAUSE_S = 1.0
PATIENCE_S = 15.0
"""How long the end waits for a store that takes nothing."""
HURRY_S = 2.5
"""How long it waits when the training was asked to stop."""

ENTRIES, FILES = False, True
NAMES = {ENTRIES: "metrics, parameters and tags", FILES: "artifacts"}


class Courier:
    """Carries operations from a journal to a store, as far as the store takes them.

    An operation that fails stays in the journal, and those after it wait: files for
    files, all else for all else. One that the store refuses for what it is would
    fail for ever; it is left out with a warning.

    Parameters
    ----------
    journal : Journal
        What is to be delivered.
    sender : Sender
        Calls the store.
    uri : str
        Of the store, for messages.
    """

    def __init__(self, journal: Journal, sender: Sender, uri: str) -> None:
        self._journal = journal
        self._sender = sender
        self._uri = hide_passwords(uri)
        self._told: set[bool] = set()
        self._refused: set[str] = set()
        self._last_save_s = time.monotonic()
        self.is_hurried = False
        self.n_delivered = 0
        self.n_refused = 0

    def round(self) -> bool:
        """Deliver all that waits; return whether the store has taken all of it."""
        records = self._journal.waiting()
        if not records:
            return True
        if self._told:
            self._sender.forget()
        was_hurried = self.is_hurried
        if was_hurried:
            # How the run ended is told before its files, should time not do for both.
            records.sort(key=is_file)
        failing: set[bool] = set()
        for call in plan(records, self._sender.max_points):
            kind = is_file(call[0])
            if kind in failing:
                continue
            if self.is_hurried and not was_hurried:
                return False  # the order has changed
            err = self._deliver(call)
            if err is not None:
                failing.add(kind)
                self._tell(kind, call[0], err)
                if kind is ENTRIES:
                    break
        self._journal.save_progress()
        if ENTRIES not in failing:
            for kind in self._told - failing:
                log.info("tracking: %s takes %s again", self._uri, NAMES[kind])
            self._told &= failing
        return not failing

    def _deliver(self, call: list[Record]) -> Exception | None:
        """Send, and leave out what is refused; return why the rest has to wait."""
        try:
            self._sender.call(call)
        except Exception as err:  # noqa: BLE001 (whatever a store may raise)
            if not is_refusal(err):
                return err
            if len(call) > 1:
                self._sender.forget()
                return next(filter(None, (self._deliver([one]) for one in call)), None)
            self._refuse(call[0], err)
        else:
            self.n_delivered += len(call)
        self._journal.settle(call)
        if time.monotonic() - self._last_save_s > SAVE_EVERY_S:
            self._last_save_s = time.monotonic()
            self._journal.save_progress()
        return None

    def _refuse(self, record: Record, err: Exception) -> None:
        self.n_refused += 1
        reason = reason_of(err)
        if reason not in self._refused:
            self._refused.add(reason)
            log.warning(
                "tracking: %s of run %s cannot be delivered: %s",
                record.values.get("path") or record.kind,
                record.run_id,
                reason,
            )

    def _tell(self, kind: bool, record: Record, err: Exception) -> None:
        if kind in self._told:
            return
        self._told.add(kind)
        log.warning(
            "tracking: %s does not take %s of run %s (%s); the training goes on, what "
            "it logs is kept%s and delivered when the store takes it",
            self._uri,
            NAMES[kind],
            record.run_id,
            reason_of(err),
            f" in {self._journal.place}" if self._journal.place else "",
        )


class Delivery:
    """A thread that delivers every few seconds, and never stops a training.

    Parameters
    ----------
    journal : Journal
        What runs log.
    sender : Sender
        Calls the store; used by this thread only, once it runs.
    uri : str
        Of the store.
    """

    def __init__(self, journal: Journal, sender: Sender, uri: str) -> None:
        self._journal = journal
        self.courier = Courier(journal, sender, uri)
        self._closing = Event()
        self._thread = threading.Thread(target=self._work, name="tracking", daemon=True)
        self._thread.start()

    def close(self, stop: Event | None = None) -> None:
        """Deliver what is left, unless the store has gone or time is short.

        Parameters
        ----------
        stop : threading.Event, optional
            While it is set, only a few seconds are left.
        """
        self._closing.set()
        self._journal.is_ending.set()
        end_s: float | None = None
        while self._thread.is_alive():
            if end_s is None and stop is not None and stop.is_set():
                self.courier.is_hurried = True
                end_s = time.monotonic() + HURRY_S
            if end_s is not None and time.monotonic() > end_s:
                return  # the thread ends with the process
            self._thread.join(0.05)

    def _work(self) -> None:
        n_failures = 0
        while not self._wait(n_failures):
            self._journal.sync()
            n_failures = 0 if self.courier.round() else n_failures + 1
        self._finish()

    def _wait(self, n_failures: int) -> bool:
        """Wait for the next round; return whether there is none."""
        if n_failures:
            return self._closing.wait(_pause_s(n_failures))
        if self._closing.is_set() or self._journal.is_ending.is_set():
            return self._closing.wait(FLUSH_EVERY_S)
        # While the last figures are computed, a core has time for what is here.
        self._journal.is_ending.wait(FLUSH_EVERY_S)
        return self._closing.is_set()

    def _finish(self) -> None:
        last_success_s = time.monotonic()
        while True:
            before = self.courier.n_delivered
            self._journal.sync()
            if self.courier.round() and not self._journal.waiting():
                return
            if self.courier.n_delivered > before:
                last_success_s = time.monotonic()
            elif time.monotonic() - last_success_s > PATIENCE_S:
                return
            else:
                time.sleep(0.1 if self.courier.is_hurried else CLOSING_PAUSE_S)


def _pause_s(n_failures: int) -> float:
    return min(FIRST_PAUSE_S * 2.0 ** min(n_failures - 1, 10), LAST_PAUSE_S)
