"""Workers on this machine: processes of one thread, forked where imports are done.

Importing takes seconds, and hundreds of megabytes: one process does it, and forks the
workers, which share both. It gets a pipe for each worker, and says how a worker has
ended when it is asked.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from importlib import import_module
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Protocol

from nnt.machine import IS_FORKED
from nnt.sweep.record import Message

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
LENGTH = 4
"""Bytes of the number of a worker, which asks for its end, and of its exit status."""
CLOSE_S = 60.0
"""After so long a worker that does not end is killed."""
CHECK_EVERY_S = 0.01
CODE = "from nnt.sweep.local import main; main()"
WORKER = "worker"
NEEDED = ("nnt.sweep.worker", "nnt.engine.compiled", "nnt.plots", "numba")
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


class Nursery:
    """A process that starts workers, which work in a directory; None: here."""

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory
        self._start()

    def _start(self) -> None:
        self._socket, theirs = socket.socketpair()
        self._n_begun = 0
        environment = dict.fromkeys(THREADS, "1")
        environment |= {k: v for k, v in os.environ.items() if k != "MLFLOW_RUN_ID"}
        # A session of its own: Ctrl-C at the terminal reaches the sweep alone.
        self._process = subprocess.Popen(
            [sys.executable, "-c", CODE, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            env=environment,
            cwd=self._directory,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        theirs.close()

    def begin(self, pipe: Connection) -> Callable[[], int | None]:
        """Have a worker listen to a pipe; do not wait for it.

        What is returned waits for the end of the worker, kills it if that takes too
        long, and gives its exit status; None if that has been lost with this process.
        """
        try:
            return self._begin(pipe)
        except OSError:  # it was killed
            self.close()
            self._start()
            return self._begin(pipe)

    def _begin(self, pipe: Connection) -> Callable[[], int | None]:
        number = self._n_begun.to_bytes(LENGTH, "big")
        socket.send_fds(self._socket, [number], [pipe.fileno()])
        self._n_begun += 1
        return partial(_ask, self._socket, number)

    def close(self) -> None:
        """End it; workers go on until their pipes are closed."""
        self._socket.close()
        self._process.wait()


def _ask(nursery: socket.socket, number: bytes) -> int | None:
    try:
        nursery.sendall(number)
        answer = nursery.recv(LENGTH)
    except OSError:
        return None
    return int.from_bytes(answer, "big", signed=True) if answer else None


class TrainingProcess:
    """A process that trains one trial after the other, and a pipe to it."""

    def __init__(self, nursery: Nursery) -> None:
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
    """Processes of this machine, so many at the same time, in a directory."""

    def __init__(self, n_slots: int, directory: Path | None = None) -> None:
        self.n_slots = n_slots
        self.directory = directory
        self._nursery = Nursery(directory)
        self._workers: list[TrainingProcess] = []

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


# What follows runs in processes that are started here.


def main() -> None:
    """Start workers, or be one, as the arguments say."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.basicConfig(stream=sys.stderr, format="%(levelname).1s %(message)s")
    logging.getLogger("nnt").setLevel(logging.WARNING)
    descriptor = int(sys.argv[1])
    if WORKER in sys.argv:
        _work(descriptor)
    else:
        _nurse(socket.socket(fileno=descriptor))


def _nurse(control: socket.socket) -> None:
    """Start workers, and wait for their ends, until the other end is closed."""
    if IS_FORKED:
        _import_all()
    pids: list[int] = []
    while True:
        number, descriptors, _, _ = socket.recv_fds(control, LENGTH, 1)
        if not number:
            return
        if not descriptors:
            status = _wait_for(pids[int.from_bytes(number, "big")])
            control.sendall(status.to_bytes(LENGTH, "big", signed=True))
            continue
        pid = _start(descriptors[0])
        if pid == 0:
            control.close()
            _work(descriptors[0])
            return
        os.close(descriptors[0])
        pids.append(pid)


def _import_all() -> None:
    from nnt.tracking.store import import_mlflow

    import_mlflow()
    for name in NEEDED:
        import_module(name)
    # What there is now stays, and is to stay shared.
    gc.collect()
    gc.freeze()


def _start(descriptor: int) -> int:
    """Start a worker; return 0 in that."""
    if IS_FORKED:
        return os.fork()
    command = [sys.executable, "-c", CODE, str(descriptor), WORKER]
    return subprocess.Popen(command, pass_fds=[descriptor]).pid


def _work(descriptor: int) -> None:
    from nnt.sweep.worker import serve

    serve(Connection(descriptor))


def _wait_for(pid: int) -> int:
    """Wait for the end of a worker; return its exit status."""
    end_s = time.monotonic() + CLOSE_S
    while time.monotonic() < end_s:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(CHECK_EVERY_S)
    os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
