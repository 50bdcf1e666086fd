"""Arrays -> figures of one, two or many networks. Sole importer of matplotlib.

A plot of your own is one function under `register`; `docs/extending.md` shows one.
"""

from nnt.plots import defaults as _defaults  # noqa: F401 (first: it imports matplotlib)

# isort: split
from nnt.plots import cuts as _cuts  # noqa: F401 (fills the registry)
from nnt.plots import distributions as _distributions  # noqa: F401
from nnt.plots import residuals as _residuals  # noqa: F401
from nnt.plots import roc as _roc  # noqa: F401
from nnt.plots.curves import (
    learning_curves,
    learning_curves_of_runs,
    sampled_distribution,
)
from nnt.plots.defaults import default_style
from nnt.plots.distributions import fixed_point_difference
from nnt.plots.inputs import (
    drawings_of_profiles,
    input_histograms,
    target_histogram,
)
from nnt.plots.registry import (
    COMPARISON,
    EVALUATION,
    EVERYWHERE,
    NETWORK,
    REFERENCE,
    TRAINING,
    captions,
    curves,
    draw,
    drawings,
    drawings_of_rows,
    register,
    registered,
)
from nnt.plots.studio import Drawing, Studio, draw_all, picture
from nnt.plots.style import canvas, legend, looks, pixels, png
from nnt.plots.sweeps import (
    Coordinate,
    SweptMetric,
    front,
    importances,
    parallel_coordinates,
    sweep_history,
)

__all__ = [
    "COMPARISON",
    "EVALUATION",
    "EVERYWHERE",
    "NETWORK",
    "REFERENCE",
    "TRAINING",
    "Coordinate",
    "Drawing",
    "Studio",
    "SweptMetric",
    "canvas",
    "captions",
    "curves",
    "default_style",
    "draw",
    "draw_all",
    "drawings",
    "drawings_of_profiles",
    "drawings_of_rows",
    "fixed_point_difference",
    "front",
    "importances",
    "input_histograms",
    "learning_curves",
    "learning_curves_of_runs",
    "legend",
    "looks",
    "parallel_coordinates",
    "picture",
    "pixels",
    "png",
    "register",
    "registered",
    "sampled_distribution",
    "sweep_history",
    "target_histogram",
]
