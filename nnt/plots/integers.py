"""What the firmware's integers change."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from nnt.plots.pieces import bin_edges, counts_of, outline
from nnt.plots.shown import Look
from nnt.plots.style import COLOURS, canvas, legend, log_counts
from nnt.types import FloatArray

__all__ = ["fixed_point_difference"]

N_BINS = 100


def fixed_point_difference(difference: FloatArray, quantity: str, unit: str) -> Figure:
    """Draw by how much fixed-point and floating-point outputs differ.

    Parameters
    ----------
    difference : float array, shape (N,)
        Output of the integer network minus that of the float network; not empty.
    quantity, unit : str
        ``"z"`` and ``"cm"``, or ``"theta"`` and ``"deg"``.
    """
    figure, axes = canvas(f"{quantity}: fixed point minus floating point")
    limit = max(float(np.abs(difference).max(initial=0)), 1e-9)
    label = (
        f"{len(difference):,} tracks: mean {np.mean(difference):.3g} {unit}, "
        f"std {np.std(difference):.3g} {unit}, largest {limit:.3g} {unit}"
    )
    edges = bin_edges(-limit, limit, N_BINS, len(difference))
    outline(axes, edges, counts_of(difference, edges), Look(COLOURS[0]), label)
    log_counts(axes)
    axes.set_xlim(-limit, limit)
    axes.set_xlabel(f"difference of {quantity} ({unit})")
    axes.set_ylabel(f"tracks per {edges[1] - edges[0]:.2g} {unit}")
    legend(axes)
    return figure
