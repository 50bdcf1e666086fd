"""The one thread that talks to MLflow."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
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


class Writer:
    """Delivers calls in their order; metrics are gathered to batches per run.

    Parameters
    ----------
    client : MlflowClient
        Used by this thread only, once it runs.
    """

    def __init__(self, client: MlflowClient) -> None:
        self._client = client
        self._calls: queue.SimpleQueue[tuple[str, Callable[[], object]] | None] = (
            queue.SimpleQueue()
        )
        self._points: dict[str, list[Metric]] = {}
        self._lock = threading.Lock()
        self.lost = 0
        self._thread = threading.Thread(target=self._work, name="tracking", daemon=True)
        self._thread.start()

    def call(self, what: str, action: Callable[[], object]) -> None:
        """Do something after all that was asked for before."""
        self._calls.put((what, action))

    def metrics(self, run_id: str, points: list[Metric]) -> None:
        """Add points to the next batch of a run."""
        with self._lock:
            self._points.setdefault(run_id, []).extend(points)

    def flush(self, run_id: str) -> None:
        """Send the points of a run before the calls that come now."""
        self.call("metrics", lambda: self._send(run_id))

    def close(self) -> None:
        """Deliver all that is left, then end the thread."""
        self._calls.put(None)
        self._thread.join()

    def _work(self) -> None:
        last = time.monotonic()
        while True:
            try:
                item = self._calls.get(timeout=FLUSH_EVERY_S)
            except queue.Empty:
                item = ("metrics", self._send_all)
                last = time.monotonic()
            if item is None:
                self._attempt("metrics", self._send_all)
                return
            self._attempt(*item)
            if time.monotonic() - last > FLUSH_EVERY_S:
                self._attempt("metrics", self._send_all)
                last = time.monotonic()

    def _attempt(self, what: str, action: Callable[[], object]) -> None:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                action()
            except Exception as err:  # noqa: BLE001 (whatever a store may raise)
                reason = (str(err).splitlines() or [type(err).__name__])[0]
                if attempt == ATTEMPTS:
                    self.lost += 1
                    log.warning("tracking: %s could not be delivered: %s", what, reason)
                else:
                    time.sleep(WAIT_S * attempt)
            else:
                return

    def _send_all(self) -> None:
        with self._lock:
            runs = list(self._points)
        for run_id in runs:
            self._send(run_id)

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
