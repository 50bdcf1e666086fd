"""Workers on this machine: one process and one thread each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from multiprocessing import Pipe
from multiprocessing.connection import wait
from typing import Any, Protocol

from nnt.sweep.worker import Message

__all__ = ["Executor", "LocalExecutor"]

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
CLOSE_S = 60.0


class Executor(Protocol):
    """Something that trains trials."""

    n_slots: int
    """How many at the same time."""

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


class _Worker:
    def __init__(self) -> None:
        self.pipe, theirs = Pipe()
        environment = dict.fromkeys(THREADS, "1")
        environment |= {k: v for k, v in os.environ.items() if k != "MLFLOW_RUN_ID"}
        # A session of its own: Ctrl-C at the terminal reaches the sweep alone.
        self.process = subprocess.Popen(
            [sys.executable, "-m", "nnt.sweep.process", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            env=environment,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        theirs.close()
        self.trial: int | None = None

    def send(self, message: Mapping[str, Any]) -> None:
        try:
            self.pipe.send_bytes(json.dumps(message).encode())
        except OSError:
            return  # it has died, which its pipe tells the next time

    def end(self) -> None:
        self.pipe.close()
        try:
            self.process.wait(CLOSE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class LocalExecutor:
    """Processes of this machine.

    Parameters
    ----------
    n_slots : int
        How many.
    """

    def __init__(self, n_slots: int) -> None:
        self.n_slots = n_slots
        self._workers: list[_Worker] = []

    def start(self, number: int, task: Mapping[str, Any]) -> None:
        """Give a trial to a worker that is idle, or to a new one."""
        idle = [worker for worker in self._workers if worker.trial is None]
        if not idle:
            idle = [_Worker()]
            self._workers += idle
        idle[0].trial = number
        idle[0].send({"task": dict(task)})

    def messages(self, timeout: float) -> list[tuple[int, Message]]:
        """Wait for messages; the end of a pipe is that of its worker."""
        found: list[tuple[int, Message]] = []
        ready = wait([worker.pipe for worker in self._workers], timeout)
        for worker in [w for w in self._workers if w.pipe in ready]:
            try:
                message = json.loads(worker.pipe.recv_bytes())
            except (EOFError, OSError):
                self._workers.remove(worker)
                worker.end()
                message = {"kind": "died", "reason": _death(worker.process.returncode)}
            if worker.trial is None:
                continue
            found.append((worker.trial, message))
            if message["kind"] in ("ended", "died"):
                worker.trial = None
        return found

    def answer(self, number: int, reason: str) -> None:
        """Answer the worker of a trial."""
        for worker in self._workers:
            if worker.trial == number:
                worker.send({"answer": reason})

    def stop(self) -> None:
        """Ask all workers to end their trials in order."""
        for worker in self._workers:
            worker.send({"stop": True})

    def close(self) -> None:
        """Close the pipes, and wait for the processes."""
        for worker in self._workers:
            worker.end()
        self._workers = []


def _death(status: int) -> str:
    how = f"by signal {-status}" if status < 0 else f"with status {status}"
    return f"its worker ended {how}"
