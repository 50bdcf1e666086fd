"""What experts that train side by side share: threads, logs, the mean of metrics."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event
from typing import Any, TypeVar

import numpy as np

from nnt.engine import History
from nnt.progress import Progress, silent

__all__ = [
    "LogFile",
    "MeanOverExperts",
    "Turns",
    "expert_log",
    "run_side_by_side",
    "training_log",
]

WAKE_EVERY_S = 0.5
EPOCHS_PER_TURN = 10

T = TypeVar("T")


def run_side_by_side(
    tasks: Mapping[int, Callable[[], T]], jobs: int, crashed: Event
) -> dict[int, T]:
    """Run tasks in threads.

    Parameters
    ----------
    tasks : mapping of int to callable
        What to do for each expert; begun in this order.
    jobs : int
        How many at the same time.
    crashed : threading.Event
        Set when a task raises, or this thread is interrupted: tasks under way are to
        end soon, and others are not begun.

    Returns
    -------
    dict
        What each task returned.

    Raises
    ------
    BaseException
        The first error that a task raised, as soon as the others have ended.
    """
    with ThreadPoolExecutor(jobs) as pool:
        futures = {expert: pool.submit(task) for expert, task in tasks.items()}
        try:
            _wait(futures.values(), FIRST_EXCEPTION)
            failed = [f for f in futures.values() if f.done() and f.exception()]
            if failed:
                failed[0].result()
        except BaseException:
            for future in futures.values():
                future.cancel()
            crashed.set()
            _wait(futures.values(), "ALL_COMPLETED")
            raise
        return {expert: future.result() for expert, future in futures.items()}


def _wait(futures: Collection[Future[Any]], until: str) -> None:
    """Wait, and wake often.

    Who waits without end does not hear a signal that the system gave to another thread.
    """
    left = set(futures)
    while left:
        done, left = wait(left, WAKE_EVERY_S, until)
        if until == FIRST_EXCEPTION and any(future.exception() for future in done):
            return


class LogFile(logging.FileHandler):
    """A log that a full disk leaves with gaps, without an error for each line."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Leave out a line that cannot be written."""

    def close(self) -> None:
        """Close the file, whether or not it takes its last lines."""
        with suppress(OSError):
            super().close()


@contextmanager
def _writing_to(path: Path, form: str, thread_name: str = "") -> Iterator[None]:
    """Send what NNT logs to a file; of one thread, or of all."""
    handler = LogFile(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter(form))
    if thread_name:
        handler.addFilter(lambda record: record.threadName == thread_name)
    logger = logging.getLogger("nnt")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        handler.close()


@contextmanager
def training_log(path: Path) -> Iterator[None]:
    """Keep the log of a whole training; the level of the log is put back after it."""
    logger = logging.getLogger("nnt")
    level = logger.level
    if level == logging.NOTSET:
        logger.setLevel(logging.INFO)
    try:
        with _writing_to(path, "%(asctime)s %(levelname)s %(threadName)s %(message)s"):
            yield
    finally:
        logger.setLevel(level)


@contextmanager
def expert_log(path: Path, thread_name: str) -> Iterator[None]:
    """Keep the log of the thread of one expert."""
    form = "%(asctime)s %(levelname)s %(name)s %(message)s"
    with _writing_to(path, form, thread_name):
        yield


class Turns:
    """Let the threads of experts take turns: one trains, the others wait.

    Parameters
    ----------
    histories : mapping of int to History
        Of each expert; the shortest one is next.
    """

    def __init__(self, histories: Mapping[int, History]) -> None:
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
        lengths = {k: len(self._histories[k]) for k in self._left}
        return min(self._left, key=lambda k: lengths[k] // EPOCHS_PER_TURN)


class MeanOverExperts:
    """Average the metrics of experts that train side by side, and count their epochs.

    An epoch is reported once every expert has reached it or has finished; one that
    has finished or failed counts with its last value, one without any not at all.
    So the mean depends neither on who is faster nor on who is interrupted.

    Parameters
    ----------
    histories : mapping of int to History
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
        histories: Mapping[int, History],
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
            rows = [
                history[min(number, len(history) - 1)]
                for history in self._histories.values()
                if len(history)
            ]
            shared = [name for name in rows[0] if all(name in row for row in rows)]
            means = {n: float(np.mean([row[n] for row in rows])) for n in shared}
            self._reported = number + 1
            self._report(means, self._reported)
        done = sum(lengths.values()) - self._earlier
        left = sum(self._most_epochs.get(k, 0) - lengths[k] for k in self._running)
        self._progress(done, done + left)
