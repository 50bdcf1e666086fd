"""All plots that are registered, drawn."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.figure import Figure

from nnt import plots
from nnt.metrics import Predictions

Networks = Predictions | Mapping[str, Predictions]


def figures(predicted: Networks, where: str = plots.TRAINING) -> dict[str, Figure]:
    with plots.default_style():
        drawings = plots.drawings_of_rows(predicted, where)
        return {drawing.name: drawing.plot(drawing.data) for drawing in drawings}


def pictures(predicted: Networks) -> dict[str, bytes]:
    """As PNG; a plot that fails is left out."""
    with plots.Studio(0) as studio:
        drawn = {d.name: studio.submit(d) for d in plots.drawings_of_rows(predicted)}
    return {n: data for n, done in drawn.items() if (data := done.result()) is not None}
