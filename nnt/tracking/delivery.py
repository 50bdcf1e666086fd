"""Delivery of an outbox to its store, by the one thread that talks to MLflow."""

from __future__ import annotations

import logging
import threading
import time
from threading import Event

from nnt.tracking.outbox import Entry, Outbox
from nnt.tracking.sender import Sender, grouped, is_file, is_refusal
from nnt.tracking.store import reason_of
from nnt.tracking.store_uri import hide_passwords

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

NAMES = {False: "metrics, parameters and tags", True: "artifacts"}
"""By whether they are files."""


class Delivery:
    """Carries entries from an outbox to a store, as far as the store takes them.

    An entry that fails stays in the outbox, and those after it wait: files for files,
    all else for all else. One that the store refuses for what it is would fail for
    ever; it is left out with a warning.

    Parameters
    ----------
    outbox : Outbox
        What is to be delivered.
    sender : Sender
        Calls the store; used by the thread only, once it runs.
    uri : str
        Of the store, for messages.
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
        self.n_refused += len(call)
        reason, first = reason_of(err), call[0]
        if reason not in self._refused:
            self._refused.add(reason)
            log.warning(
                "tracking: %s of run %s cannot be delivered: %s",
                first.values.get("path") or first.kind,
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
            return self._closing.wait(FLUSH_EVERY_S)
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
