"""The process of a command: how it is asked to stop, and streams that take any text.

A scheduler may close the standard streams, and a terminal may know plain characters
only. The death of `mlflow run` asks a training to stop, as signals do.
"""

from __future__ import annotations

import codecs
import io
import os
import signal
import sys
import threading
import time
import unicodedata
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    import psutil

__all__ = ["Stopper", "open_streams"]

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
CHECK_EVERY_S = 1.0

PLAIN = {
    "–": "-", "—": "-", "−": "-", "…": "...", "±": "+-", "×": "x", "·": "*",
    "→": "->", "≤": "<=", "≥": ">=", "•": "*", "█": "#", "━": "-", "╸": "-",
    "“": '"', "”": '"', "‘": "'", "’": "'", "°": " deg", "▲": "^", "▼": "v",
}  # fmt: skip
"""What is shown where a terminal does not have a character."""

FILES = (io.BufferedWriter, io.FileIO)
"""What is below a stream of the process; tests and notebooks have others."""
STREAMS = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))


class Stopper:
    """Turns the first signal into an ordered end, the second into one at once.

    Attributes
    ----------
    event : threading.Event
        Set when the training shall stop.
    """

    def __init__(self) -> None:
        self.event = threading.Event()
        self._has_begun = False
        self._may_echo = False

    def watch(self) -> None:
        """Listen from now on; under `mlflow run` also to its end."""
        for number in SIGNALS:
            # `nohup` asks to ignore the end of the terminal.
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._handle)
        if "MLFLOW_RUN_ID" in os.environ:
            # MLflow that is terminated or killed does not tell its children.
            chain = _up_to_mlflow()
            self._may_echo = bool(chain)
            threading.Thread(
                target=self._end_with, args=(chain,), name="ancestors", daemon=True
            ).start()

    def begin(self, run_id: str) -> None:
        """From now on there is something to keep before the end, in this run."""
        self._has_begun = True
        click.echo(
            f"run {run_id}; Ctrl-C stops it; continue with --resume {run_id}", err=True
        )

    def _handle(self, number: int, frame: object) -> None:
        if self.event.is_set():
            if self._may_echo and number == signal.SIGTERM:
                self._may_echo = False
                return
            os._exit(128 + number)
        # MLflow answers the Ctrl-C that it shares with us by one SIGTERM to us.
        self._may_echo = self._may_echo and number == signal.SIGINT
        self.event.set()
        if not self._has_begun:
            raise KeyboardInterrupt
        click.echo("Stopping; press Ctrl-C again to stop immediately", err=True)

    def _end_with(self, chain: list[psutil.Process]) -> None:
        """Ask this process to stop once one of the others has gone."""
        while chain and all(map(_lives, chain)):
            time.sleep(CHECK_EVERY_S)
        # Whoever has asked both of us to stop has asked once.
        if chain and not self.event.is_set():
            os.kill(os.getpid(), signal.SIGTERM)


def _up_to_mlflow() -> list[psutil.Process]:
    """Processes from the parent of this one up to that of `mlflow run`."""
    import psutil

    chain = []
    for ancestor in psutil.Process().parents():
        chain.append(ancestor)
        try:
            words = ancestor.cmdline()
        except psutil.Error:
            return []
        if any("mlflow" in word for word in words):
            return chain
    return []


def _lives(process: psutil.Process) -> bool:
    import psutil

    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def open_streams() -> None:
    """Give the process all three standard streams, and make them take any text.

    A stream that is closed reads nothing and forgets what is written: otherwise the
    next file that is opened would get its number, and error messages with it.
    """
    codecs.register_error("nnt", _plain)
    for number, (name, mode) in enumerate(STREAMS):
        _occupy(number)
        stream = getattr(sys, name)
        if stream is None or stream.closed:
            setattr(sys, name, io.open(number, mode, closefd=False))  # noqa: SIM115, UP020
        elif mode == "w" and isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="nnt")
            if name == "stderr" and isinstance(stream.buffer, FILES):
                sys.stderr = _messages(stream)


class _Messages(io.FileIO):
    """Standard error: what it does not take is lost, and nothing else.

    Its reader may die, the terminal be closed, or the disk of a log be full.
    """

    def write(self, data: Any, /) -> int:
        """Write what can be written."""
        try:
            return super().write(data) or 0
        except OSError:
            return memoryview(data).nbytes


def _messages(stream: io.TextIOWrapper) -> io.TextIOWrapper:
    """Give a stream like this one whose writing never fails."""
    raw = _Messages(stream.fileno(), "wb", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors="nnt",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def forget_output() -> None:
    """Drop what standard output does not take: Python would try again at its end."""
    try:
        sys.stdout.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _occupy(number: int) -> None:
    try:
        os.fstat(number)
    except OSError:
        handle = os.open(os.devnull, os.O_RDWR)
        if handle != number:
            os.dup2(handle, number)
            os.close(handle)
        os.set_inheritable(number, True)


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = ""
    for character in error.object[error.start : error.end]:
        near = PLAIN.get(character) or unicodedata.normalize("NFKD", character)
        text += near.encode("ascii", errors="replace").decode()
    return text, error.end
