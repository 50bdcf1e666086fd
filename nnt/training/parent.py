"""The mean over experts, epoch by epoch, for the parent run."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

import numpy as np

__all__ = ["MeanOverExperts"]


class MeanOverExperts:
    """Average the metrics of experts that run side by side.

    An epoch is told once every expert has reached it or has finished; one that
    has finished or failed counts with its last value, one without any not at all.
    So the mean depends neither on who is faster nor on who is interrupted.

    Parameters
    ----------
    experts : iterable of int
        All experts of the training.
    tell : callable
        ``tell(metrics, epoch)``; called in the order of the epochs.
    """

    def __init__(
        self, experts: Iterable[int], tell: Callable[[dict[str, float], int], None]
    ) -> None:
        self._history: dict[int, list[dict[str, float]]] = {k: [] for k in experts}
        self._finished: set[int] = set()
        self._told = 0
        self._tell = tell
        self._lock = threading.Lock()

    @property
    def history(self) -> dict[int, list[dict[str, float]]]:
        """Metrics of every epoch of each expert that has any."""
        with self._lock:
            return {k: list(rows) for k, rows in self._history.items() if rows}

    def add(self, expert: int, metrics: dict[str, float]) -> None:
        """Take the metrics of the next epoch of an expert."""
        with self._lock:
            self._history[expert].append(metrics)
            self._tell_complete()

    def finish(self, expert: int) -> None:
        """Expect no further epoch of an expert."""
        with self._lock:
            self._finished.add(expert)
            self._tell_complete()

    def _tell_complete(self) -> None:
        while self._history:
            running = [k for k in self._history if k not in self._finished]
            reached = [len(self._history[k]) for k in running or self._history]
            last = min(reached) if running else max(reached)
            if self._told >= last:
                return
            rows = [h[min(self._told, len(h) - 1)] for h in self._history.values() if h]
            names = rows[0].keys() if rows else ()
            shared = [name for name in names if all(name in row for row in rows)]
            self._told += 1
            self._tell(
                {name: float(np.mean([row[name] for row in rows])) for name in shared},
                self._told,
            )
