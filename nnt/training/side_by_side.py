"""Work of several experts in threads; the first one that crashes ends the others."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from threading import Event
from typing import Any, TypeVar

import torch

__all__ = ["one_torch_thread", "run_side_by_side"]

WAKE_EVERY_S = 0.5

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
