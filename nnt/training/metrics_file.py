"""``metrics.csv`` of an expert."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Iterable
from pathlib import Path

from nnt.engine import History
from nnt.files import write_atomically

__all__ = ["MetricsFile"]

log = logging.getLogger(__name__)


class MetricsFile:
    """One line per epoch, every epoch, on the disk as soon as it is done.

    A disk that is full meanwhile costs nothing: the file is then rewritten when it
    is closed.

    Parameters
    ----------
    path : Path
        The file; what was there is replaced.
    history : History
        Of the expert; others add epochs to it.
    """

    def __init__(self, path: Path, history: History) -> None:
        self.path = path
        self._history = history
        self._file = path.open("wb", buffering=0)
        self._is_whole = True

    def write_last(self) -> None:
        """Write the last epoch of the history."""
        number = len(self._history)
        lines = self._lines([number])
        try:
            self._is_whole &= self._file.write(lines) == len(lines)
        except OSError as err:
            if self._is_whole:
                log.warning("%s: not written for now: %s", self.path, err)
            self._is_whole = False

    def _lines(self, numbers: Iterable[int]) -> bytes:
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        for number in numbers:
            if number == 1:
                writer.writerow(["epoch", *self._history.names])
            writer.writerow([number, *self._history[number - 1].values()])
        return text.getvalue().encode()

    def close(self) -> None:
        """Write what is missing.

        Raises
        ------
        OSError
            The disk is still full.
        """
        self._file.close()
        if not self._is_whole:
            numbers = range(1, len(self._history) + 1)
            write_atomically(self.path, self._lines(numbers))
