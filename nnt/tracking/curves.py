"""Curves of a bounded number of points, thinned evenly while a training goes on."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping

from nnt.tracking.outbox import Points

MAX_POINTS = 128
"""Points of a curve, and a few; ``metrics.csv`` holds every epoch.

MLflow takes 70 us for each of them: with 400, tracking would cost a fast training of
1,000 epochs a tenth of its time.
"""
N_LAST = 2
"""Of each curve: the last epoch, and the value of the best weights after it."""


def stride(n_points: int) -> int:
    """Distance of the points that are kept of so many: a power of two."""
    every = 1
    while n_points > every * MAX_POINTS:
        every *= 2
    return every


class Curves:
    """Chooses which points of the curves of a run are sent.

    While a training goes on, as many as its expected length allows, if that is known;
    at its end, when its length is known, those that are missing. The choice depends on
    the length alone, not on interruptions.
    """

    def __init__(self, expected_points: int) -> None:
        self._every = stride(expected_points)
        self._n_points = 0
        self._skipped: list[Points] = []
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
            if len(self._skipped) > 4 * MAX_POINTS:
                # However the training ends, the others will not be sent.
                self._keep_every(stride(self._n_points - N_LAST))
        return is_sent

    def _keep_every(self, every: int) -> None:
        self._skipped = [row for row in self._skipped if row[0] % every == 0]

    def rest(self) -> Iterator[Points]:
        """Give the points that are missing at the end."""
        self._keep_every(stride(self._n_points - 1))
        yield from self._skipped
        sent = {(name, step) for step, _, values in self._skipped for name in values}
        for name, points in self._last.items():
            for step, time_ms, value, is_sent in points:
                if not is_sent and (name, step) not in sent:
                    yield step, time_ms, {name: value}
