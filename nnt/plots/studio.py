"""Many plots at once, in a process for every core.

In each process plots come in by standard input, and pictures go out. They are none of
`multiprocessing`, which would run the script of the user once more in each. Only the
process that has started one can write to it.
"""

from __future__ import annotations

import gc
import itertools
import json
import logging
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, BinaryIO, TypeVar, cast

from matplotlib.figure import Figure

from nnt.machine import usable_cores
from nnt.plots.defaults import default_style
from nnt.plots.style import describe, png

__all__ = [
    "LENGTH",
    "Drawing",
    "Studio",
    "attempt",
    "draw_all",
    "picture",
    "reason",
    "receive",
    "render",
    "send",
    "work",
]

log = logging.getLogger(__name__)

Key = TypeVar("Key", bound=Hashable)

LENGTH = 8
"""Bytes of the number before each message."""
PLOTS_PER_COLLECTION = 10
"""Plots after which memory that nothing refers to any more is looked for."""

MAX_WORKERS = 4
MANY_PLOTS = 24
CODE = """\
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from nnt.plots.studio import main
main()
"""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class Drawing:
    """A plot that is ready to be drawn, here or in another process."""

    name: str
    plot: Callable[[Any], Figure]
    data: Any
    """What the plot takes."""
    description: str = ""
    """Which run, rows and experts are shown."""


def render(drawing: Drawing) -> bytes:
    """Draw and render, in the look of all plots; what fails is raised."""
    with default_style():
        figure = drawing.plot(drawing.data)
        if drawing.description:
            describe(figure, drawing.description)
        return png(figure)


def picture(
    name: str, plot: Callable[[], Figure], description: str = ""
) -> bytes | None:
    """Draw and render one plot; a warning names one that fails.

    Parameters
    ----------
    name : str
        What the plot is called.
    plot : callable
        Draws it.
    description : str
        Which run, rows and experts are shown.

    Returns
    -------
    bytes or None
        The PNG; None if the plot failed.
    """
    drawing = Drawing(name, lambda _: plot(), None, description)
    return attempt(name, lambda: render(drawing))


def attempt(name: str, do: Callable[[], T]) -> T | None:
    """Do something for a plot; a warning names one that fails."""
    try:
        return do()
    except Exception as err:  # no plot is worth a training or an evaluation
        warn_of(name, reason(err))
        log.debug("plot %s", name, exc_info=True)
        return None


def reason(err: Exception) -> str:
    """Kind and first line of an error."""
    lines = str(err).strip().splitlines()
    return f"{type(err).__name__}: {lines[0]}" if lines else type(err).__name__


def warn_of(name: str, why: str) -> None:
    """Say which plot is missing, and why."""
    log.warning("plot %s cannot be drawn and is left out: %s", name, why)


def send(stream: BinaryIO, data: bytes) -> None:
    """Write one message."""
    stream.write(len(data).to_bytes(LENGTH, "little") + data)
    stream.flush()


def receive(stream: BinaryIO) -> bytes:
    """Read one message.

    Raises
    ------
    EOFError
        The other end is closed.
    """
    head = stream.read(LENGTH)
    if len(head) < LENGTH:
        raise EOFError
    size = int.from_bytes(head, "little")
    data = stream.read(size)
    if len(data) < size:
        raise EOFError
    return data


def work(incoming: BinaryIO, outgoing: BinaryIO) -> None:
    """Draw until nothing more comes.

    Every answer begins with ``1`` and the picture, or ``0`` and the reason why there
    is none.
    """
    # Figures are full of circles; to look for them all the time costs a tenth.
    gc.freeze()
    gc.disable()
    for n_drawn in itertools.count(1):
        if n_drawn % PLOTS_PER_COLLECTION == 0:
            gc.collect()
        try:
            drawing = pickle.loads(receive(incoming))  # noqa: S301 (of the parent)
        except EOFError:
            return
        try:
            answer = b"1" + render(drawing)
        except Exception as err:  # noqa: BLE001 (the parent says so)
            answer = b"0" + reason(err).encode()
        send(outgoing, answer)


def main() -> None:
    """Draw what the process that has started this one asks for."""
    work(sys.stdin.buffer, sys.stdout.buffer)


class Studio:
    """Draws plots in separate processes; use it as a context.

    Plots of users, which other processes do not know, are drawn in this one, and so
    are all where a process cannot be started or has ended.

    Parameters
    ----------
    n_plots : int
        About how many plots are to come; a few are drawn without other processes,
        whose start takes as long.
    """

    def __init__(self, n_plots: int) -> None:
        cores = min(usable_cores(), MAX_WORKERS)
        n_workers = cores if cores > 1 and n_plots >= MANY_PLOTS else 0
        self._workers: list[subprocess.Popen[bytes]] = []
        self._idle: SimpleQueue[subprocess.Popen[bytes]] = SimpleQueue()
        for _ in range(n_workers if sys.executable else 0):
            worker = _start()
            if worker is not None:
                self._workers.append(worker)
                self._idle.put(worker)
        self._pool = ThreadPoolExecutor(max(len(self._workers), 1), "studio")

    def __enter__(self) -> Studio:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close(wait=kind is None)

    def submit(self, drawing: Drawing) -> Future[bytes | None]:
        """Ask for a plot; its result is None, after a warning, where it fails."""
        return self._pool.submit(self._render, drawing)

    def close(self, *, wait: bool = True) -> None:
        """Draw what was asked for, or leave it, and end the processes."""
        self._pool.shutdown(wait=wait, cancel_futures=not wait)
        for worker in self._workers:
            if not wait:
                worker.kill()
            for stream in (worker.stdin, worker.stdout):
                # What was written to a process that has ended is not read any more.
                with suppress(OSError):
                    cast(BinaryIO, stream).close()
            worker.wait()

    def _render(self, drawing: Drawing) -> bytes | None:
        worker = self._idle_worker() if _is_of_nnt(drawing.plot) else None
        if worker is None:
            return attempt(drawing.name, lambda: render(drawing))
        try:
            send(cast(BinaryIO, worker.stdin), pickle.dumps(drawing))
            answer = receive(cast(BinaryIO, worker.stdout))
        except (OSError, EOFError, ValueError):
            # It has ended, of too little memory for instance: go on without it.
            return attempt(drawing.name, lambda: render(drawing))
        self._idle.put(worker)
        if answer[:1] == b"1":
            return answer[1:]
        warn_of(drawing.name, answer[1:].decode())
        return None

    def _idle_worker(self) -> subprocess.Popen[bytes] | None:
        try:
            return self._idle.get_nowait()
        except Empty:
            return None


def _start() -> subprocess.Popen[bytes] | None:
    path = json.dumps([entry or str(Path.cwd()) for entry in sys.path])
    one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    try:
        return subprocess.Popen(
            [sys.executable, "-c", CODE, path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | one_thread,
            # Ctrl-C is for this process, which ends the others.
            start_new_session=True,
        )
    except OSError:
        return None


def _is_of_nnt(plot: Callable[[Any], Any]) -> bool:
    while isinstance(plot, partial):
        plot = plot.func
    name = getattr(plot, "__qualname__", "<")
    return getattr(plot, "__module__", "").startswith("nnt.plots.") and "<" not in name


def draw_all(n_plots: int, drawings: Iterable[tuple[Key, Drawing]]) -> dict[Key, bytes]:
    """Draw plots side by side, each under its key; those that fail are left out.

    Parameters
    ----------
    n_plots : int
        About how many there are.
    drawings : iterable of key and Drawing
        While one is prepared, those before it are drawn.
    """
    with Studio(n_plots) as studio:
        asked = {key: studio.submit(drawing) for key, drawing in drawings}
        drawn = {key: future.result() for key, future in asked.items()}
    return {key: data for key, data in drawn.items() if data is not None}
