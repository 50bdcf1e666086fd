"""What experts that train side by side share: threads, logs, the mean of metrics."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event
from typing import TypeVar

import numpy as np

from nnt.engine import Epoch
from nnt.progress import Progress, silent

WAKE_EVERY_S = 0.5
"""Who waits without end does not hear a signal that the system gave to another
thread."""
EPOCHS_PER_TURN = 10
FORM = "%(asctime)s %(levelname)s %(threadName)s %(name)s %(message)s"

T = TypeVar("T")


def run_side_by_side(
    tasks: Mapping[int, Callable[[], T]], jobs: int, crashed: Event
) -> dict[int, T]:
    """Run the task of each expert in a thread, in this order, so many at a time.

    `crashed` is set when a task raises, or this thread is interrupted: tasks under way
    are to end soon, and others are not begun.

    Raises
    ------
    BaseException
        The first error that a task raised, as soon as the others have ended.
    """
    with ThreadPoolExecutor(jobs) as pool:
        futures = {expert: pool.submit(task) for expert, task in tasks.items()}
        left = set(futures.values())
        try:
            while left:
                done, left = wait(left, WAKE_EVERY_S, FIRST_EXCEPTION)
                for future in done:
                    future.result()
        except BaseException:
            for future in left:
                future.cancel()
            crashed.set()
            while left:
                _, left = wait(left, WAKE_EVERY_S)
            raise
        return {expert: future.result() for expert, future in futures.items()}


class LogFile(logging.FileHandler):
    """A log that a full disk leaves with gaps, without an error for each line."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Leave out a line that cannot be written."""

    def close(self) -> None:
        """Close the file, whether or not it takes its last lines."""
        with suppress(OSError):
            super().close()


@contextmanager
def log_to(path: Path, thread_name: str = "") -> Iterator[None]:
    """Keep what NNT logs in a file: of one thread, or of all.

    The level of the log is put back after it.
    """
    handler = LogFile(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter(FORM))
    if thread_name:
        handler.addFilter(lambda record: record.threadName == thread_name)
    logger = logging.getLogger("nnt")
    level = logger.level
    logger.setLevel(level or logging.INFO)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        handler.close()


class Turns:
    """Let the threads of experts take turns: one trains, the others wait.

    The expert with the shortest history is next.
    """

    def __init__(self, histories: Mapping[int, Sequence[Epoch]]) -> None:
        self._histories = histories
        self._left = list(histories)
        self._changed = threading.Condition()

    def wait(self, expert: int) -> None:
        """Wait for the turn of an expert, which it has for some epochs."""
        with self._changed:
            if self._next() != expert:
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._next() == expert)

    @contextmanager
    def taken_by(self, expert: int) -> Iterator[None]:
        """Wait for the first turn of an expert, and give it no more at the end."""
        self.wait(expert)
        try:
            yield
        finally:
            with self._changed:
                self._left.remove(expert)
                self._changed.notify_all()

    def _next(self) -> int:
        return min(self._left, key=lambda k: len(self._histories[k]) // EPOCHS_PER_TURN)


class MeanOverExperts:
    """Average the metrics of experts that train side by side, and count their epochs.

    An epoch is reported once every expert has reached it or has finished; one that
    has finished or failed counts with its last value, one without any not at all.
    So the mean depends neither on who is faster nor on who is interrupted.

    Parameters
    ----------
    histories : mapping of int to sequence of Epoch
        Of each expert; others add epochs to them.
    report : callable
        ``report(metrics, epoch)``; called in the order of the epochs.
    progress : Progress, optional
        Called with epochs done and epochs in all; those of checkpoints do not count.
    most_epochs : mapping of int to int, optional
        Epochs that each expert may do.
    """

    def __init__(
        self,
        histories: Mapping[int, Sequence[Epoch]],
        report: Callable[[dict[str, float], int], None],
        progress: Progress = silent,
        most_epochs: Mapping[int, int] | None = None,
    ) -> None:
        self._histories = histories
        self._running = set(histories)
        self._reported = self._earlier = 0
        self._report = report
        self._progress = progress
        self._most_epochs = most_epochs or {}
        self._lock = threading.Lock()

    def update(self, *, is_new: bool = True) -> None:
        """Report what has become complete by an epoch, new or of a checkpoint."""
        with self._lock:
            self._earlier += not is_new
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
            histories = [h for h in self._histories.values() if len(h)]
            rows = [h[min(number, len(h) - 1)].metrics for h in histories]
            shared = [name for name in rows[0] if all(name in row for row in rows)]
            means = {n: float(np.mean([row[n] for row in rows])) for n in shared}
            self._reported = number + 1
            self._report(means, self._reported)
        done = sum(lengths.values()) - self._earlier
        left = sum(self._most_epochs.get(k, 0) - lengths[k] for k in self._running)
        self._progress(done, done + left)
