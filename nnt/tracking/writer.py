"""The one thread that talks to MLflow."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

__all__ = ["Writer"]

log = logging.getLogger(__name__)

FLUSH_EVERY_S = 5.0
BATCH = 996
"""Metrics in one call; the server refuses more than 1,000."""
ATTEMPTS = 3
WAIT_S = 1.0
GIVE_UP_S = 60.0
"""How long a store may fail without a break before the end no longer waits."""


class Writer:
    """Delivers calls in their order; metrics are gathered to batches per run.

    Parameters
    ----------
    client : MlflowClient
        Used by this thread only, once it runs.
    """

    def __init__(self, client: MlflowClient) -> None:
        self._client = client
        self._calls: queue.SimpleQueue[Callable[[], object] | None] = (
            queue.SimpleQueue()
        )
        self._points: dict[str, list[Metric]] = {}
        self._lock = threading.Lock()
        self._closing = False
        self._failing_since: float | None = None
        self.lost = 0
        self._thread = threading.Thread(target=self._work, name="tracking", daemon=True)
        self._thread.start()

    def call(self, what: str, action: Callable[[], object]) -> None:
        """Do something after all that was asked for before."""
        self._calls.put(partial(self._deliver, what, action))

    def metrics(self, run_id: str, points: list[Metric]) -> None:
        """Add points to the next batch of a run."""
        with self._lock:
            self._points.setdefault(run_id, []).extend(points)

    def flush(self, run_id: str) -> None:
        """Send the points of a run before the calls that come now."""
        self._calls.put(partial(self._send_run, run_id))

    def close(self) -> None:
        """Deliver all that is left unless the store has gone, then end the thread."""
        self._closing = True
        self._calls.put(None)
        self._thread.join()

    def _work(self) -> None:
        last = time.monotonic()
        while True:
            try:
                item = self._calls.get(timeout=FLUSH_EVERY_S)
            except queue.Empty:
                self._send_all()
                last = time.monotonic()
                continue
            if item is None:
                self._send_all()
                self.lost += sum(bool(points) for points in self._points.values())
                return
            item()
            if time.monotonic() - last > FLUSH_EVERY_S:
                self._send_all()
                last = time.monotonic()

    def _deliver(self, what: str, action: Callable[[], object]) -> None:
        if not self._attempt(what, action):
            self.lost += 1

    def _attempt(self, what: str, action: Callable[[], object]) -> bool:
        reason = "the store has not answered for too long"
        for attempt in range(ATTEMPTS):
            if self._has_given_up():
                break
            time.sleep(WAIT_S * attempt)
            try:
                action()
            except Exception as err:  # noqa: BLE001 (whatever a store may raise)
                reason = (str(err).splitlines() or [type(err).__name__])[0]
                self._failing_since = self._failing_since or time.monotonic()
            else:
                self._failing_since = None
                return True
        log.warning("tracking: %s could not be delivered: %s", what, reason)
        return False

    def _has_given_up(self) -> bool:
        since = self._failing_since
        return (
            self._closing and since is not None and time.monotonic() - since > GIVE_UP_S
        )

    def _send_all(self) -> None:
        with self._lock:
            runs = [run_id for run_id, points in self._points.items() if points]
        for run_id in runs:
            self._send_run(run_id)

    def _send_run(self, run_id: str) -> None:
        # What cannot be sent stays for the next time, so it is not lost yet.
        self._attempt(f"metrics of run {run_id}", partial(self._send, run_id))

    def _send(self, run_id: str) -> None:
        while True:
            with self._lock:
                waiting = self._points.get(run_id, [])
                batch = waiting[:BATCH]
            if not batch:
                return
            self._client.log_batch(run_id, metrics=batch)
            with self._lock:
                del waiting[: len(batch)]
