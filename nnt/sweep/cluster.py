"""Workers of a Dask scheduler: each of their threads has one process that trains.

A worker gets tasks as plain JSON and sends messages back through the scheduler, so that
nothing but the address of the scheduler has to be reachable from anywhere. What trains
is the same process as on one machine; it ends in order once its worker has gone.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from nnt.config import Config
from nnt.errors import NNTError, TrainingError
from nnt.sweep.local import ENDS, LocalExecutor
from nnt.sweep.record import Message
from nnt.tracking.store import connect_to_read
from nnt.version import __version__

log = logging.getLogger(__name__)

CONNECT_S = 20.0
LOOK_EVERY_S = 1.0
"""How often it is looked which workers there are."""
POLL_S = 0.5
"""How often a worker looks whether its trial is still wanted."""


@dataclass
class _Running:
    """A trial that a worker trains."""

    number: int
    worker: str
    future: Any


class DaskExecutor:
    """The workers of a Dask scheduler, such as ``tcp://host:8786``; they come and go.

    They must see the data of the configuration, and reach the tracking store. If one
    lacks something, or the scheduler does not answer, this raises `TrainingError`.
    """

    def __init__(self, address: str, config: Config, uri: str) -> None:
        self._needs = {
            "directory": str(Path.cwd()), "version": __version__, "uri": uri,
            "files": _sizes(config),
        }  # fmt: skip
        self._address = address
        self._client = _connected(address)
        self._topic = f"nnt-sweep-{uuid4().hex}"
        self._messages: queue.Queue[tuple[str, Message]] = queue.Queue()
        self._running: dict[str, _Running] = {}
        self._n_threads: dict[str, int] = {}
        self._refused: set[str] = set()
        self._looked = -LOOK_EVERY_S
        self._client.subscribe_topic(self._topic, self._listen)
        lacking = self._look_at_workers()
        if lacking:
            self._client.close()
            shown = "\n".join(f"worker {name}: {lacks}" for name, lacks in lacking)
            raise TrainingError(f"not all workers can train this sweep:\n{shown}")
        if not self._n_threads:
            log.warning("%s has no worker yet; the sweep waits for one", address)

    def _listen(self, event: tuple[float, tuple[str, Message]]) -> None:
        self._messages.put(event[1])

    @property
    def n_slots(self) -> int:
        """Threads of all workers that can train."""
        return sum(self._n_threads.values())

    def start(self, number: int, task: Mapping[str, Any]) -> None:
        """Give a trial to the worker with most threads that are free."""
        free = dict(self._n_threads)
        for running in self._running.values():
            if running.worker in free:
                free[running.worker] -= 1
        worker = max(free, key=lambda name: free[name])
        key = f"trial-{number}-{uuid4().hex[:8]}"
        future = self._client.submit(
            serve_trial, dict(task), self._needs["directory"], key, self._topic,
            key=key, workers=[worker], pure=False, retries=0,
        )  # fmt: skip
        self._running[key] = _Running(number, worker, future)

    def messages(self, timeout: float) -> list[tuple[int, Message]]:
        """Wait for messages; a worker that has gone is a message, too."""
        received: list[tuple[str, Message]] = []
        with suppress(queue.Empty):
            received.append(self._messages.get(timeout=timeout))
            while True:
                received.append(self._messages.get_nowait())
        found = []
        for key, message in received:
            if key not in self._running:
                continue  # of a worker that was thought to be gone
            found.append((self._running[key].number, message))
            if message["kind"] in ENDS:
                del self._running[key]
        if time.monotonic() - self._looked > LOOK_EVERY_S:
            for worker, lacks in self._look_at_workers():
                log.warning("worker %s is left out: %s", worker, lacks)
            found += self._deaths()
        return found

    def _look_at_workers(self) -> list[tuple[str, str]]:
        """See which workers there are; name new ones that lack something, and what."""
        self._looked = time.monotonic()
        try:
            present = dict(self._client.nthreads())
        except (OSError, RuntimeError, TimeoutError) as err:
            raise TrainingError(
                f"the Dask scheduler {self._address} is gone ({err}); restart it and "
                "its workers, then continue with --resume"
            ) from err
        self._n_threads = {w: n for w, n in present.items() if w in self._n_threads}
        lacking = []
        for worker in present.keys() - self._n_threads.keys() - self._refused:
            lacks = self._lacks_of(worker)
            if lacks:
                self._refused.add(worker)
                lacking.append((worker, lacks))
            elif lacks is not None:
                self._n_threads[worker] = present[worker]
        return lacking

    def _lacks_of(self, worker: str) -> str | None:
        """What a worker lacks; None if it has gone meanwhile."""
        try:
            found = self._client.run(what_is_missing, self._needs, workers=[worker])
        except ImportError as err:
            return f"it cannot import NNT ({err}); install it there"
        except OSError:
            return None
        return str(found[worker])

    def _deaths(self) -> list[tuple[int, Message]]:
        found: list[tuple[int, Message]] = []
        for key, running in list(self._running.items()):
            reason = ""
            if running.worker not in self._n_threads:
                reason = f"its worker {running.worker} is gone"
            elif running.future.status in ("error", "cancelled", "lost"):
                reason = f"its task is {running.future.status}"
            if reason:
                running.future.cancel()
                del self._running[key]
                found.append((running.number, {"kind": "died", "reason": reason}))
        return found

    def answer(self, number: int, reason: str) -> None:
        """Answer the worker of a trial."""
        for key, running in self._running.items():
            if running.number == number:
                self._call(running.worker, answer_trial, key, number, reason)

    def stop(self) -> None:
        """Ask all workers to end their trials in order."""
        for key, running in self._running.items():
            self._call(running.worker, stop_trial, key)

    def _call(self, worker: str, function: Callable[..., None], *values: Any) -> None:
        # One that has gone is noticed when its workers are looked at.
        with suppress(OSError):
            self._client.run(function, *values, workers=[worker], on_error="ignore")

    def close(self) -> None:
        """Let processes end that wait for trials, and leave the workers alone."""
        with suppress(OSError, RuntimeError, TimeoutError):
            self._client.run(end_idle, on_error="ignore")
        self._client.close()


def _connected(address: str) -> Any:
    try:
        import distributed
    except ImportError as err:
        raise NNTError(
            "a Dask scheduler needs distributed; install it with: pip install "
            "'nnt[cluster]'"
        ) from err
    client: Any = distributed.Client
    try:
        return client(address, timeout=CONNECT_S, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as err:
        raise TrainingError(
            f"no Dask scheduler answers at {address} ({err}); start one with: dask "
            "scheduler, and give the address that it prints"
        ) from err


def _sizes(config: Config) -> dict[str, int | None]:
    """Files of the data with their sizes; None for one that is not here."""
    files = config.data.files or ()
    listed = files.values() if isinstance(files, Mapping) else [files]
    paths = {name: Path(name) for names in listed for name in names}
    return {k: p.stat().st_size if p.is_file() else None for k, p in paths.items()}


# What follows runs on a worker.

_training: dict[str, LocalExecutor] = {}
"""Of one process each, by the key of their task."""
_idle: list[LocalExecutor] = []
_lock = threading.Lock()


def what_is_missing(needs: Mapping[str, Any]) -> str:
    """Say what this worker lacks for a sweep; empty if nothing."""
    if needs["version"] != __version__:
        return f"it has NNT {__version__}, the sweep has {needs['version']}"
    directory = Path(needs["directory"])
    here = directory if directory.is_dir() else Path.cwd()
    for name, size in needs["files"].items():
        path = here / name
        if not path.is_file():
            return (
                f"it cannot see {path}; put the data where every worker sees them, "
                "and give their absolute path"
            )
        found = path.stat().st_size
        if size not in (None, found):
            return f"its {path} has {found:,} bytes, that of the sweep {size:,}"
    if not os.access(here, os.W_OK):
        return (
            f"it cannot write to {here}; start it in a directory that you can write to"
        )
    try:
        connect_to_read(needs["uri"])
    except NNTError as err:
        return str(err)
    return ""


def serve_trial(task: Mapping[str, Any], directory: str, key: str, topic: str) -> None:
    """Let a process train a trial, and pass on what it says under a topic.

    It works in the directory of the sweep if this worker sees it, too.
    """
    from distributed import get_worker

    worker = get_worker()
    executor = _training[key] = _take_idle(_place(directory, task["parent"]))
    is_over = False
    try:
        executor.start(task["trial"], task)
        while not is_over and _is_wanted(worker, key):
            for _, message in executor.messages(POLL_S):
                worker.log_event(topic, [key, message])
                is_over = message["kind"] in ENDS
    finally:
        del _training[key]
        if is_over:
            with _lock:
                _idle.append(executor)
        else:
            executor.close()


def _place(directory: str, sweep: str) -> Path:
    """The directory of the sweep if it is shared, else that of this worker."""
    place = Path(directory)
    return place if (place / ".nnt" / "runs" / sweep).is_dir() else Path.cwd()


def _take_idle(directory: Path) -> LocalExecutor:
    with _lock:
        fitting = [idle for idle in _idle if idle.directory == directory]
        if fitting:
            _idle.remove(fitting[0])
            return fitting[0]
    return LocalExecutor(1, directory)


def _is_wanted(worker: Any, key: str) -> bool:
    """Whether this worker goes on, and a sweep still waits for a task."""
    task = worker.state.tasks.get(key)
    is_running = worker.status.name == "running"
    return is_running and task is not None and task.state == "executing"


def answer_trial(key: str, number: int, reason: str) -> None:
    """Pass on the answer to an epoch."""
    if key in _training:
        _training[key].answer(number, reason)


def stop_trial(key: str) -> None:
    """Pass on that a trial shall end in order."""
    if key in _training:
        _training[key].stop()


def end_idle() -> None:
    """End processes that wait for trials."""
    with _lock:
        ended = [_idle.pop() for _ in range(len(_idle))]
    for executor in ended:
        executor.close()
