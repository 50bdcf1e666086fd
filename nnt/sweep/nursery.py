"""One process that imports what trainings need, and forks workers.

Importing takes seconds, and hundreds of megabytes: workers share both in this way. It
gets a pipe for each worker, and says how a worker has ended when it is asked.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
LENGTH = 4
"""Bytes of the number of a worker, which asks for its end, and of its exit status."""
CLOSE_S = 60.0
"""After so long a worker that does not end is killed."""
CHECK_EVERY_S = 0.01
CODE = "from nnt.sweep.nursery import main; main()"
IS_FORKED = sys.platform != "darwin"
"""Libraries of macOS do not survive a fork: there, each worker imports by itself."""
WORKER = "worker"
NEEDED = ("nnt.sweep.worker", "nnt.engine.compiled", "nnt.plots", "numba")


class Nursery:
    """A process that starts workers.

    Parameters
    ----------
    directory : Path, optional
        Where its workers work; default: here.
    """

    def __init__(self, directory: Path | None = None) -> None:
        self.directory = directory
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
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        theirs.close()

    def begin(self, pipe: Connection) -> Callable[[], int | None]:
        """Have a worker listen to a pipe; do not wait for it.

        Returns
        -------
        callable
            Waits for the end of the worker, if it takes too long kills it, and
            returns its exit status; None if that has been lost with this process.
        """
        try:
            return self._send(pipe)
        except OSError:  # it was killed
            self.close()
            self._start()
            return self._send(pipe)

    def _send(self, pipe: Connection) -> Callable[[], int | None]:
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
    from nnt.sweep.process import serve

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
