"""Workers on this machine: one process and one thread each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import wait
from typing import Any, Protocol

from nnt.sweep.nursery import Nursery
from nnt.sweep.record import Message

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
    nursery : Nursery
        Where it comes from.
    """

    def __init__(self, nursery: Nursery) -> None:
        self.nursery = nursery
        self.trial: int | None = None
        self.pipe, theirs = Pipe()
        self._wait = nursery.begin(theirs)
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
            status = self.end()
            how = "" if status is None else f" with status {status}"
            if status is not None and status < 0:
                how = f" by signal {-status}"
            return {"kind": "died", "reason": f"its process ended{how}"}
        return message

    def end(self) -> int | None:
        """Close the pipe, which ends the training in order, and wait; exit status."""
        self.pipe.close()
        return self._wait()


class LocalExecutor:
    """Processes of this machine.

    Parameters
    ----------
    n_slots : int
        How many.
    """

    def __init__(self, n_slots: int) -> None:
        self._n_slots = n_slots
        self._nursery = Nursery()
        self._workers: list[TrainingProcess] = []

    @property
    def n_slots(self) -> int:
        """As many as there are processes."""
        return self._n_slots

    def start(self, number: int, task: Mapping[str, Any]) -> None:
        """Give a trial to a worker that is idle, or to a new one."""
        idle = [worker for worker in self._workers if worker.trial is None]
        if not idle:
            idle = [TrainingProcess(self._nursery)]
            self._workers += idle
        idle[0].trial = number
        idle[0].send({"task": dict(task)})

    def messages(self, timeout: float) -> list[tuple[int, Message]]:
        """Wait for messages."""
        found: list[tuple[int, Message]] = []
        ready = wait([worker.pipe for worker in self._workers], timeout)
        for worker in [w for w in self._workers if w.pipe in ready]:
            message = worker.receive()
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
        self._nursery.close()
