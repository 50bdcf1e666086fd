"""Plots as PNG, one by one: a plot that fails costs itself alone."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from matplotlib.figure import Figure

from nnt.plots.defaults import default_style
from nnt.plots.style import describe, png

__all__ = ["Drawing", "attempt", "picture", "reason", "render", "warn_of"]

log = logging.getLogger(__name__)

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
