"""Arrays -> matplotlib figures. Sole importer of matplotlib.

A plot of your own is one function under `register`::

    @plots.register("theta_against_z")
    def theta_against_z(predicted):
        figure, axes = plots.canvas("theta against z")
        axes.plot(predicted.z_cm, predicted.theta_deg, ".")
        return figure
"""

from nnt.plots import defaults as _defaults  # noqa: F401 (first: it imports matplotlib)

# isort: split
from nnt.plots import details as _details  # noqa: F401 (fills the registry)
from nnt.plots import figures as _figures  # noqa: F401 (fills the registry)
from nnt.plots import trigger as _trigger  # noqa: F401 (fills the registry)
from nnt.plots.curves import (
    learning_curves,
    learning_curves_of_runs,
    sampled_distribution,
)
from nnt.plots.defaults import default_style
from nnt.plots.inputs import input_histograms, target_histograms
from nnt.plots.integers import fixed_point_difference
from nnt.plots.overlay import looks, overlays
from nnt.plots.registry import draw, figures, pictures, register
from nnt.plots.rendering import picture
from nnt.plots.style import canvas, pixels, png

__all__ = [
    "canvas",
    "default_style",
    "draw",
    "figures",
    "fixed_point_difference",
    "input_histograms",
    "learning_curves",
    "learning_curves_of_runs",
    "looks",
    "overlays",
    "picture",
    "pictures",
    "pixels",
    "png",
    "register",
    "sampled_distribution",
    "target_histograms",
]
