"""Workers on this machine: one process and one thread each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, Protocol

from nnt.sweep.record import Message

__all__ = ["ENDS", "Executor", "LocalExecutor", "TrainingProcess"]

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
CLOSE_S = 60.0
ENDS = ("ended", "died")
"""Messages after which a trial sends no more."""


class Executor(Protocol):
    """Something that trains trials."""

    @property
    def n_slots(self) -> int:
        """How many at the same time; workers may come and go."""
        ...

    def start(self, number: int, task: Mapping[str, Any]) -> None:
        """Begin a trial; there is a free slot."""

    def messages(self, timeout: float) -> list[tuple[int, Message]]:
        """Wait for messages of trials; of one whose worker died, ``died``."""
        ...

    def answer(self, number: int, reason: str) -> None:
        """Answer an epoch of a trial: why it is cut, or nothing."""

    def stop(self) -> None:
        """Ask all trials to end in order."""

    def close(self) -> None:
        """End the workers."""


class TrainingProcess:
    """A process that trains one trial after the other, and a pipe to it.

    Parameters
    ----------
    directory : Path, optional
        Where it works; default: here.
    """

    def __init__(self, directory: Path | None = None) -> None:
        self.directory = directory
        self.pipe, theirs = Pipe()
        environment = dict.fromkeys(THREADS, "1")
        environment |= {k: v for k, v in os.environ.items() if k != "MLFLOW_RUN_ID"}
        # A session of its own: Ctrl-C at the terminal reaches the sweep alone.
        self.process = subprocess.Popen(
            [sys.executable, "-m", "nnt.sweep.process", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            env=environment,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        theirs.close()

    def send(self, message: Mapping[str, Any]) -> None:
        """Send a message; one that has died is noticed when it is listened to."""
        with suppress(OSError):
            self.pipe.send_bytes(json.dumps(message).encode())

    def receive(self) -> Message:
        """Take a message; the end of the pipe is that of the process."""
        try:
            message: Message = json.loads(self.pipe.recv_bytes())
        except (EOFError, OSError):
            self.end()
            status = self.process.returncode
            how = f"by signal {-status}" if status < 0 else f"with status {status}"
            return {"kind": "died", "reason": f"its process ended {how}"}
        return message

    def end(self) -> None:
        """Close the pipe, which ends the training in order, and wait."""
        self.pipe.close()
        try:
            self.process.wait(CLOSE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class _Worker:
    """A process and the trial that it trains."""

    def __init__(self) -> None:
        self.process = TrainingProcess()
        self.trial: int | None = None


class LocalExecutor:
    """Processes of this machine.

    Parameters
    ----------
    n_slots : int
        How many.
    """

    def __init__(self, n_slots: int) -> None:
        self._n_slots = n_slots
        # Now, because they take seconds to start.
        self._workers = [_Worker() for _ in range(n_slots)]

    @property
    def n_slots(self) -> int:
        """As many as there are processes."""
        return self._n_slots

    def start(self, number: int, task: Mapping[str, Any]) -> None:
        """Give a trial to a worker that is idle, or to a new one."""
        idle = [worker for worker in self._workers if worker.trial is None]
        if not idle:
            idle = [_Worker()]
            self._workers += idle
        idle[0].trial = number
        idle[0].process.send({"task": dict(task)})

    def messages(self, timeout: float) -> list[tuple[int, Message]]:
        """Wait for messages."""
        found: list[tuple[int, Message]] = []
        ready = wait([worker.process.pipe for worker in self._workers], timeout)
        for worker in [w for w in self._workers if w.process.pipe in ready]:
            message = worker.process.receive()
            if message["kind"] == "died":
                self._workers.remove(worker)
            if worker.trial is None:
                continue
            found.append((worker.trial, message))
            if message["kind"] in ENDS:
                worker.trial = None
        return found

    def answer(self, number: int, reason: str) -> None:
        """Answer the worker of a trial."""
        for worker in self._workers:
            if worker.trial == number:
                worker.process.send({"answer": reason})

    def stop(self) -> None:
        """Ask all workers to end their trials in order."""
        for worker in self._workers:
            worker.process.send({"stop": True})

    def close(self) -> None:
        """Close the pipes, and wait for the processes."""
        for worker in self._workers:
            worker.process.end()
        self._workers = []
