"""Log files of a training and of its experts."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["LogFile", "expert_log", "training_log"]


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
