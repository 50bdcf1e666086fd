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
from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

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
    """Draw and render one plot; None, after a warning with its name, if it fails."""
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
            answer: bytes | str = render(drawing)
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
        many = cores > 1 and n_plots >= MANY_PLOTS
        self._processes, self._pipes = _start(cores if many and sys.executable else 0)
        self._idle = list(self._pipes)
        self._pool = ThreadPoolExecutor(max(len(self._pipes), 1), "studio")

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
        for process in self._processes if not wait else ():
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.wait()

    def _render(self, drawing: Drawing) -> bytes | None:
        pipe = None
        if _is_of_nnt(drawing.plot):
            with suppress(IndexError):
                pipe = self._idle.pop()
        if pipe is None:
            return attempt(drawing.name, lambda: render(drawing))
        try:
            pipe.send(drawing)
            answer: bytes | str = pipe.recv()
        except (OSError, EOFError, ValueError):
            # It has ended, of too little memory for instance: go on without it.
            return attempt(drawing.name, lambda: render(drawing))
        self._idle.append(pipe)
        if isinstance(answer, bytes):
            return answer
        warn_of(drawing.name, answer)
        return None


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
    with Studio(n_plots) as studio:
        asked = {key: studio.submit(drawing) for key, drawing in drawings}
        drawn = {key: future.result() for key, future in asked.items()}
    return {key: data for key, data in drawn.items() if data is not None}
