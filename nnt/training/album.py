"""The plots of a training or an evaluation, drawn side by side and logged in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from pathlib import PurePath
from typing import TYPE_CHECKING

from nnt.config import Config
from nnt.tracking import Run

if TYPE_CHECKING:  # matplotlib would delay the start of a training
    from nnt.plots import Drawing, Studio

__all__ = ["Album", "data_of", "description_of"]


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


def description_of(run_id: str, name: str, data: str, expert: int | None) -> str:
    """Say which run, rows and experts a plot shows.

    Parameters
    ----------
    run_id, name : str
        Of the run.
    data : str
        The rows, in a few words.
    expert : int or None
        None: all experts.
    """
    who = "all experts" if expert is None else f"expert {expert}"
    return f"{name} {run_id[:6]} · {data} · {who}"


def data_of(config: Config, split: str) -> str:
    """The rows of a split, in a few words."""
    files = config.data.files
    if files is None:
        return f"{split}, simulated tracks"
    names = files[split] if isinstance(files, Mapping) else files
    listed = [PurePath(name).name for name in names]
    more = f" and {len(listed) - 1} more" if len(listed) > 1 else ""
    return f"{split}, {listed[0]}{more}" if listed else split
