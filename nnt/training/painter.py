"""Live images of the training, drawn while it runs and never in its way."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from nnt import metrics
from nnt.tracking import Run

__all__ = ["LIVE_PLOTS", "Painter"]

log = logging.getLogger(__name__)

LIVE_PLOTS = ("z_against_reco", "z_residual")

REST_FACTOR = 9
"""Rest after each drawing, in units of its time: a tenth of one core at most."""

Picture = tuple[Run, int, Callable[[], metrics.Predictions]]


class Painter:
    """One thread that draws; of each run, the latest epoch offered wins."""

    def __init__(self) -> None:
        self._waiting: dict[str, Picture] = {}
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="painter", daemon=True)
        self._thread.start()

    def offer(
        self, run: Run, epoch: int, predicted: Callable[[], metrics.Predictions]
    ) -> None:
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

    def _draw(
        self, run: Run, epoch: int, predicted: Callable[[], metrics.Predictions]
    ) -> None:
        try:
            from nnt import plots

            shown = predicted()
            description = f"run {run.run_id[:6]} · validation rows · epoch {epoch}"
            for name in LIVE_PLOTS:
                figure = plots.draw(name, shown, description)
                image: npt.NDArray[np.uint8] = plots.pixels(figure)
                run.log_image(image, name, epoch)
        except Exception:  # an image is not worth a training
            log.exception("the live images of epoch %d could not be drawn", epoch)
