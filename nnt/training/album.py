"""The plots of a training: live images while it runs, all others at its end."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from pathlib import PurePath
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from nnt import metrics
from nnt.config import Config
from nnt.tracking import Run

if TYPE_CHECKING:  # matplotlib would delay the start of a training
    from nnt.plots import Drawing, Studio

__all__ = ["LIVE_PLOTS", "Album", "Painter", "data_of", "description_of"]

log = logging.getLogger(__name__)

LIVE_PLOTS = ("z_against_reco", "z_residual")

REST_FACTOR = 9
"""Rest after each drawing, in units of its time: a tenth of one core at most."""

Predicted = Mapping[str, metrics.Predictions]
"""Rows with the outputs of each network, by its name."""
Picture = tuple[Run, int, Callable[[], Predicted]]


class Album:
    """Plots that are being drawn, and where each of them goes.

    Parameters
    ----------
    studio : Studio
        Draws.
    """

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        self._waiting: list[tuple[Run, str, Future[bytes | None]]] = []

    def add(self, run: Run, folder: str, drawings: Iterable[Drawing]) -> None:
        """Have plots drawn for a folder of a run."""
        for drawing in drawings:
            path = f"{folder}/{drawing.name}.png"
            self._waiting.append((run, path, self.studio.submit(drawing)))

    def log(self, check: Callable[[], None]) -> None:
        """Log all plots, in the order in which they were added.

        Parameters
        ----------
        check : callable
            Raises where there is no use in waiting any more.
        """
        for run, path, future in self._waiting:
            check()
            data = future.result()
            if data is not None:
                run.log_bytes(data, path)
        self._waiting.clear()


def description_of(title: str, data: str, expert: int | None) -> str:
    """Say which run, rows and experts a plot shows, by short names of them."""
    who = "all experts" if expert is None else f"expert {expert}"
    return f"{title} · {data} · {who}"


def data_of(config: Config, split: str) -> str:
    """The rows of a split, in a few words."""
    files = config.data.files
    if files is None:
        return f"{split}, simulated tracks"
    names = files[split] if isinstance(files, Mapping) else files
    listed = [PurePath(name).name for name in names]
    more = f" and {len(listed) - 1} more" if len(listed) > 1 else ""
    return f"{split}, {listed[0]}{more}" if listed else split


class Painter:
    """One thread that draws; of each run, the latest epoch offered wins."""

    def __init__(self) -> None:
        self._waiting: dict[str, Picture] = {}
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="painter", daemon=True)
        self._thread.start()

    def offer(self, run: Run, epoch: int, predicted: Callable[[], Predicted]) -> None:
        """Ask for the images of an epoch; returns at once.

        Parameters
        ----------
        run : Run
            Gets the images.
        epoch : int
            Their step.
        predicted : callable
            Gives what is drawn; called in the thread that draws.
        """
        with self._changed:
            self._waiting[run.run_id] = (run, epoch, predicted)
            self._changed.notify()

    def close(self, *, draw: bool = True) -> None:
        """Draw what is waiting, without rest, or leave it, and end."""
        with self._changed:
            self._closed = True
            if not draw:
                self._waiting.clear()
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if not self._waiting:
                    return
                # The run that was offered longest ago comes first.
                picture = self._waiting.pop(next(iter(self._waiting)))
            start = time.monotonic()
            self._draw(*picture)
            rest_s = REST_FACTOR * (time.monotonic() - start)
            with self._changed:
                self._changed.wait_for(lambda: self._closed, timeout=rest_s)

    def _draw(self, run: Run, epoch: int, predicted: Callable[[], Predicted]) -> None:
        try:
            from nnt import plots

            shown = predicted()
            if not next(iter(shown.values())).has_z:
                return  # they are of z
            description = f"run {run.run_id[:6]} · validation rows · epoch {epoch}"
            for name in LIVE_PLOTS:
                figure = plots.draw(name, shown, description)
                image: npt.NDArray[np.uint8] = plots.pixels(figure)
                run.log_image(image, name, epoch)
        except Exception:  # an image is not worth a training
            log.exception("the live images of epoch %d could not be drawn", epoch)
