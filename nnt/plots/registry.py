"""Plots by name, those of users included."""

from __future__ import annotations

from collections.abc import Callable

from matplotlib.figure import Figure

from nnt.metrics import Predictions

__all__ = ["Plot", "draw", "figures", "register"]

Plot = Callable[[Predictions], Figure]

_PLOTS: dict[str, tuple[Plot, Callable[[Predictions], bool]]] = {}


def _always(predicted: Predictions) -> bool:
    return len(predicted) > 0


def register(
    name: str, when: Callable[[Predictions], bool] = _always
) -> Callable[[Plot], Plot]:
    """Add a plot under a name.

    Parameters
    ----------
    name : str
        Name of the file, without ending.
    when : callable
        Whether the plot makes sense for some predictions.
    """

    def add(plot: Plot) -> Plot:
        _PLOTS[name] = (plot, when)
        return plot

    return add


def draw(name: str, predicted: Predictions) -> Figure:
    """Draw one registered plot."""
    return _PLOTS[name][0](predicted)


def figures(predicted: Predictions) -> dict[str, Figure]:
    """Draw every registered plot that makes sense."""
    return {
        name: plot(predicted)
        for name, (plot, when) in _PLOTS.items()
        if when(predicted)
    }
