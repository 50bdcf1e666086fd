"""The mean over experts, epoch by epoch, for the parent run."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

import numpy as np

from nnt.engine import History

__all__ = ["MeanOverExperts"]


class MeanOverExperts:
    """Average the metrics of experts that train side by side.

    An epoch is reported once every expert has reached it or has finished; one that
    has finished or failed counts with its last value, one without any not at all.
    So the mean depends neither on who is faster nor on who is interrupted.

    Parameters
    ----------
    histories : mapping of int to History
        Of each expert; others add epochs to them.
    report : callable
        ``report(metrics, epoch)``; called in the order of the epochs.
    """

    def __init__(
        self,
        histories: Mapping[int, History],
        report: Callable[[dict[str, float], int], None],
    ) -> None:
        self._histories = histories
        self._running = set(histories)
        self._reported = 0
        self._report = report
        self._lock = threading.Lock()

    def update(self) -> None:
        """Report what has become complete."""
        with self._lock:
            self._report_complete()

    def finish(self, expert: int) -> None:
        """Expect no further epoch of an expert."""
        with self._lock:
            self._running.discard(expert)
            self._report_complete()

    def _report_complete(self) -> None:
        lengths = {k: len(history) for k, history in self._histories.items()}
        running = [lengths[k] for k in self._running]
        last = min(running) if running else max(lengths.values(), default=0)
        for number in range(self._reported, last):
            rows = [
                history[min(number, len(history) - 1)]
                for history in self._histories.values()
                if len(history)
            ]
            shared = [name for name in rows[0] if all(name in row for row in rows)]
            means = {n: float(np.mean([row[n] for row in rows])) for n in shared}
            self._reported = number + 1
            self._report(means, self._reported)
