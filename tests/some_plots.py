"""All plots that are registered, drawn."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.figure import Figure

from nnt import plots
from nnt.metrics import Predictions

Networks = Predictions | Mapping[str, Predictions]


def figures(predicted: Networks, where: str = plots.TRAINING) -> dict[str, Figure]:
    return {d.name: d.figure() for d in plots.drawings_of_rows(predicted, where)}


def pictures(predicted: Networks) -> dict[str, bytes]:
    """As PNG; a plot that fails is left out."""
    return plots.draw_all(0, ((d.name, d) for d in plots.drawings_of_rows(predicted)))
