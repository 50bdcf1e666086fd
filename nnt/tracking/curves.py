"""Curves of a bounded number of points, thinned evenly while a training goes on."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping

__all__ = ["MAX_POINTS", "Curves"]

MAX_POINTS = 128
"""Points of a curve, and a few; ``metrics.csv`` holds every epoch.

MLflow takes 70 us for each of them: with 400, tracking would cost a fast training of
1,000 epochs a tenth of its time.
"""
N_LAST = 2
"""Of each curve: the last epoch, and the value of the best weights after it."""

Row = tuple[int, int, dict[str, float]]
"""Step, Unix time in ms, and values."""


def stride(n_points: int) -> int:
    """Distance of the points that are kept of so many: a power of two."""
    every = 1
    while n_points > every * MAX_POINTS:
        every *= 2
    return every


class Curves:
    """Chooses which points of the curves of a run are sent.

    While a training goes on, as many as its expected length allows; at its end, when
    its length is known, those that are missing. The choice depends on the length alone,
    not on interruptions.

    Parameters
    ----------
    expected_points : int
        Of each curve, if known.
    """

    def __init__(self, expected_points: int) -> None:
        self._every = stride(expected_points)
        self._n_points = 0
        self._skipped: list[Row] = []
        self._pruned_at = 1
        self._last: dict[str, deque[tuple[int, int, float, bool]]] = {}

    def add(
        self,
        metrics: Mapping[str, float],
        step: int,
        time_ms: int,
        *,
        is_sent: bool = False,
    ) -> bool:
        """Take points of one step; return whether they are to be sent at once."""
        if self._every == 1 and step <= MAX_POINTS:
            return True
        every = max(self._every, stride(step))
        is_sent = is_sent or step <= 1 or step % every == 0
        for name, value in metrics.items():
            last = self._last.setdefault(name, deque(maxlen=N_LAST))
            last.append((step, time_ms, value, is_sent))
        self._n_points = max(self._n_points, step)
        if not is_sent:
            self._skipped.append((step, time_ms, dict(metrics)))
            self._prune()
        return is_sent

    def _prune(self) -> None:
        """Forget what will not be sent, however the training ends."""
        every = stride(self._n_points - N_LAST)
        if every > self._pruned_at:
            self._pruned_at = every
            self._skipped = [row for row in self._skipped if row[0] % every == 0]
        elif self._skipped[-1][0] % every:
            self._skipped.pop()

    def rest(self) -> Iterator[Row]:
        """Give the points that are missing at the end."""
        every = stride(self._n_points - 1)
        sent: set[tuple[str, int]] = set()
        for step, time_ms, values in self._skipped:
            if step % every == 0:
                sent |= {(name, step) for name in values}
                yield step, time_ms, values
        for name, points in self._last.items():
            for step, time_ms, value, is_sent in points:
                if not is_sent and (name, step) not in sent:
                    yield step, time_ms, {name: value}
