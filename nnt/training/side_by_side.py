"""What experts that train side by side share: threads, a count of epochs, a mean."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from threading import Event, Lock
from typing import Any, TypeVar

import numpy as np
import torch

from nnt.engine import History
from nnt.progress import Progress

__all__ = [
    "EpochCounter",
    "MeanOverExperts",
    "Turns",
    "one_torch_thread",
    "run_side_by_side",
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


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Let PyTorch compute in one thread; experts run side by side themselves."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


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


class EpochCounter:
    """Count the epochs of experts that run side by side.

    Parameters
    ----------
    epochs : dict of int to int
        Epochs that each expert may do.
    progress : Progress
        Called with epochs done and epochs in all.
    """

    def __init__(self, epochs: dict[int, int], progress: Progress) -> None:
        self._left = dict(epochs)
        self._done = 0
        self._progress = progress
        self._lock = Lock()

    def add(self, expert: int) -> None:
        """Count one epoch."""
        with self._lock:
            self._done += 1
            self._left[expert] -= 1
            self._show()

    def finish(self, expert: int) -> None:
        """Expect no more of an expert."""
        with self._lock:
            self._left[expert] = 0
            self._show()

    def _show(self) -> None:
        self._progress(self._done, self._done + sum(self._left.values()))


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
