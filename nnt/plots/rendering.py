"""Figures as PNG, one by one: a plot that fails costs itself alone."""

from __future__ import annotations

import logging
from collections.abc import Callable

from matplotlib.figure import Figure

from nnt.plots.defaults import default_style
from nnt.plots.style import png

__all__ = ["picture"]

log = logging.getLogger(__name__)


def picture(name: str, plot: Callable[[], Figure | None]) -> bytes | None:
    """Draw and render one plot; a warning names one that fails.

    Parameters
    ----------
    name : str
        What the plot is called.
    plot : callable
        Draws it, or returns None where it makes no sense.

    Returns
    -------
    bytes or None
        The PNG; None if there is nothing to draw, or the plot failed.
    """
    try:
        with default_style():
            figure = plot()
            return None if figure is None else png(figure)
    except Exception as err:  # no plot is worth a training or an evaluation
        reason = str(err).strip().splitlines()
        log.warning(
            "plot %s cannot be drawn and is left out: %s",
            name,
            f"{type(err).__name__}: {reason[0]}" if reason else type(err).__name__,
        )
        log.debug("plot %s", name, exc_info=True)
        return None
