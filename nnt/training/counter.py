"""Epochs done by all experts together, for the progress display."""

from __future__ import annotations

from threading import Lock

from nnt.progress import Progress

__all__ = ["EpochCounter"]


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
