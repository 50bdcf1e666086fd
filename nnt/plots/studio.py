"""Many plots at once, in a process for every core.

Plots go to each process by a pipe, and pictures come back. Importing matplotlib takes
as long as twenty plots: one process does it, and forks the others. They are none of
`multiprocessing`, which would run the script of the user once more in each.
"""

from __future__ import annotations

import gc
import itertools
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any, Generic, TypeVar

from matplotlib.figure import Figure

from nnt.machine import IS_FORKED, usable_cores
from nnt.plots.defaults import default_style
from nnt.plots.style import describe, png

log = logging.getLogger(__name__)

Key = TypeVar("Key", bound=Hashable)

PLOTS_PER_COLLECTION = 10
"""Plots after which memory that nothing refers to any more is looked for."""

MAX_WORKERS = 4
MANY_PLOTS = 24
CODE = """\
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from nnt.plots.studio import main
main(*map(int, sys.argv[2:]))
"""

T = TypeVar("T")

_FAILED: set[str] = set()
"""Plots that have been warned of: a picture of each expert may fail for one reason."""
_LOCK = threading.Lock()


@dataclass(frozen=True, slots=True, eq=False)
class Drawing:
    """A plot that is ready to be drawn, here or in another process."""

    name: str
    plot: Callable[[Any], Figure]
    data: Any
    """What the plot takes."""
    description: str = ""
    """Which run, rows and experts are shown."""

    def figure(self) -> Figure:
        """Draw in the look of all plots; what fails is raised."""
        with default_style():
            figure = self.plot(self.data)
            if self.description:
                describe(figure, self.description)
            return figure

    def png(self) -> bytes:
        """Draw and render; what fails is raised."""
        return png(self.figure())


def picture(
    name: str, plot: Callable[[], Figure], description: str = ""
) -> bytes | None:
    """Draw and render one plot; None, after a warning with its name, if it fails."""
    return attempt(name, Drawing(name, lambda _: plot(), None, description).png)


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
    """Say which plot is missing, and why, once until a studio opens again."""
    with _LOCK:
        is_new = name not in _FAILED
        _FAILED.add(name)
    if is_new:
        log.warning("plot %s cannot be drawn and is left out: %s", name, why)


def work(pipe: Connection) -> None:
    """Draw until nothing more comes: a picture, or the reason why there is none."""
    for n_drawn in itertools.count(1):
        if n_drawn % PLOTS_PER_COLLECTION == 0:
            gc.collect()
        try:
            drawing = pipe.recv()
        except EOFError:
            return
        try:
            answer: bytes | str = drawing.png()
        except Exception as err:  # noqa: BLE001 (the parent says so)
            answer = reason(err)
        pipe.send(answer)


def main(*numbers: int) -> None:
    """Draw what comes by the pipes of these numbers, in a process for each."""
    # Figures are full of circles; to look for them all the time costs a tenth.
    gc.freeze()
    gc.disable()
    pipes = [Connection(number) for number in numbers]
    mine, forked = pipes[0], list[int]()
    for pipe in pipes[1:]:
        child = os.fork()
        if not child:
            mine, forked = pipe, []
            break
        forked.append(child)
    for pipe in pipes:
        if pipe is not mine:
            pipe.close()
    work(mine)
    for child in forked:
        os.waitpid(child, 0)


class Studio(Generic[Key]):
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
        _FAILED.clear()
        cores = min(usable_cores(), MAX_WORKERS)
        many = cores > 1 and n_plots >= MANY_PLOTS
        self._processes, self._pipes = _start(cores if many and sys.executable else 0)
        self._idle = list(self._pipes)
        self._pool = ThreadPoolExecutor(max(len(self._pipes), 1), "studio")
        self._asked = deque[tuple[Key, Future[bytes | None]]]()

    def __enter__(self) -> Studio[Key]:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Draw what was asked for, or after an error leave it; end the processes."""
        self._pool.shutdown(wait=kind is None, cancel_futures=kind is not None)
        for process in self._processes if kind is not None else ():
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.wait()

    def add(self, key: Key, drawing: Drawing) -> None:
        """Ask for a plot, which is drawn meanwhile."""
        self._asked.append((key, self._pool.submit(self._draw, drawing)))

    def drawn(self) -> Iterator[tuple[Key, bytes]]:
        """Wait for the pictures, PNGs in their order, without those that fail."""
        while self._asked:
            key, future = self._asked.popleft()
            if (data := future.result()) is not None:
                yield key, data

    def _draw(self, drawing: Drawing) -> bytes | None:
        pipe = None
        if _is_of_nnt(drawing.plot):
            with suppress(IndexError):
                pipe = self._idle.pop()
        if pipe is not None:
            # It may have ended, of too little memory for instance: go on without it.
            with suppress(OSError, EOFError, ValueError):
                pipe.send(drawing)
                answer: bytes | str = pipe.recv()
                self._idle.append(pipe)
                if isinstance(answer, bytes):
                    return answer
                warn_of(drawing.name, answer)
                return None
        return attempt(drawing.name, drawing.png)


def _start(n: int) -> tuple[list[subprocess.Popen[bytes]], list[Connection]]:
    """Start processes that draw, and others by them; none where that fails."""
    path = json.dumps([entry or str(Path.cwd()) for entry in sys.path])
    pipes = [Pipe() for _ in range(n)]
    numbers = [theirs.fileno() for _, theirs in pipes]
    groups = [numbers] if IS_FORKED and n else [[number] for number in numbers]
    try:
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", CODE, path, *map(str, group)],
                pass_fds=group,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
                # Ctrl-C is for this process, which ends the others.
                start_new_session=True,
            )
            for group in groups
        ]
    except (OSError, ValueError):  # the latter where pipes cannot be handed on
        return [], []
    finally:
        for _, theirs in pipes:
            theirs.close()
    return processes, [ours for ours, _ in pipes]


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
    with Studio[Key](n_plots) as studio:
        for key, drawing in drawings:
            studio.add(key, drawing)
        return dict(studio.drawn())
