"""Plots by name, those of users included."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from matplotlib.figure import Figure

from nnt.metrics import Predictions
from nnt.plots.defaults import default_style
from nnt.plots.rendering import picture

__all__ = ["Plot", "draw", "figures", "pictures", "register"]

Plot = Callable[[Predictions], Figure]

Condition = Callable[[Predictions], bool]

_PLOTS: dict[str, tuple[Plot, Condition, bool]] = {}


def _always(predicted: Predictions) -> bool:
    return len(predicted) > 0


def register(
    name: str, when: Condition = _always, *, detail: bool = False
) -> Callable[[Plot], Plot]:
    """Add a plot under a name.

    Parameters
    ----------
    name : str
        Name of the file, without ending.
    when : callable
        Whether the plot makes sense for some predictions.
    detail : bool
        Leave it out where many networks are drawn at once, as in a training.
    """

    def add(plot: Plot) -> Plot:
        _PLOTS[name] = (plot, when, detail)
        return plot

    return add


def draw(name: str, predicted: Predictions) -> Figure:
    """Draw one registered plot."""
    with default_style():
        return _PLOTS[name][0](predicted)


def figures(predicted: Predictions, *, detail: bool = False) -> dict[str, Figure]:
    """Draw every registered plot that makes sense.

    Parameters
    ----------
    predicted : Predictions
        What is drawn.
    detail : bool
        Also those that are registered as details.
    """
    with default_style():
        return {
            name: plot(predicted)
            for name, (plot, when, is_detail) in _PLOTS.items()
            if (detail or not is_detail) and when(predicted)
        }


def pictures(predicted: Predictions, *, detail: bool = False) -> dict[str, bytes]:
    """Draw and render what `figures` draws; a plot that fails is left out.

    Returns
    -------
    dict
        Name to PNG.
    """
    drawn = {
        name: picture(name, partial(_if_it_makes_sense, plot, when, predicted))
        for name, (plot, when, is_detail) in _PLOTS.items()
        if detail or not is_detail
    }
    return {name: data for name, data in drawn.items() if data is not None}


def _if_it_makes_sense(
    plot: Plot, when: Condition, predicted: Predictions
) -> Figure | None:
    return plot(predicted) if when(predicted) else None
