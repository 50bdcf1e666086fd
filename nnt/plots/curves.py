"""Plots of a training rather than of a network: what was drawn, what was learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from nnt.detector import z_to_cm
from nnt.plots.pieces import Bars, bin_edges, counts_of, draw_histograms, numbers
from nnt.plots.style import (
    COLOURS,
    RECONSTRUCTION,
    Look,
    add_room,
    canvas,
    canvas_of_panels,
    legend,
    plain_log_scale,
    readable,
)
from nnt.types import F64, I64, FloatArray

MAX_POINTS_PER_CURVE = 500
"""Of a figure of many runs."""

Losses = Mapping[int, Sequence[Mapping[str, float]]]


def sampled_distribution(z_scaled: FloatArray, rows: I64) -> Figure:
    """Draw z as an epoch draws it over z as the data set holds it.

    Parameters
    ----------
    z_scaled : float array, shape (N,)
        Target of each row, in network units.
    rows : int64 array, shape (M,)
        Index stream of one epoch.
    """
    distinct = len(np.unique(rows)) / max(len(z_scaled), 1)
    title = f"z of the training tracks: one epoch uses {distinct:.0%} of them"
    original_cm = z_to_cm(z_scaled)
    edges = bin_edges(-100, 100, 100, len(z_scaled))
    drawn = [
        Bars(Look(colour), f"{name}: {numbers(z_cm, 'cm')}", counts_of(z_cm, edges))
        for name, z_cm, colour in (
            ("original", original_cm, RECONSTRUCTION),
            ("sampled", original_cm[rows], COLOURS[0]),
        )
    ]
    x, y = "z of the reconstruction (cm)", f"tracks per {edges[1] - edges[0]:g} cm"
    return draw_histograms(title, edges, drawn, x, y, log=True)[0]


def learning_curves(
    history: Losses, best: Mapping[int, tuple[int, float]] | None = None
) -> Figure:
    """Draw the losses of all experts, epoch by epoch.

    Parameters
    ----------
    history : mapping
        Expert to the metrics of its epochs (``train/loss``, ``val/loss``), in
        order; the first is epoch 1. Losses that are not positive are left out.
    best : mapping of int to (int, float), optional
        Expert to the epoch whose weights are kept and their validation loss; epoch
        0 is before the first. If not given, the lowest point of each curve.
    """
    best = best or {}
    figure, axes = canvas("loss of every expert (solid: validation, dotted: training)")
    for expert, epochs in sorted(history.items()):
        # The last colour of experts 0 to 4 is free for expert -1, of all rows.
        colour = COLOURS[expert % 6]
        for name, line in (("train/loss", ":"), ("val/loss", "-")):
            points = _positive(epochs, name)
            if not len(points):
                continue
            # A line of one point would be invisible.
            marker = "." if len(points) == 1 else None
            axes.plot(*points.T, line, color=colour, lw=1.2, marker=marker)
            if name == "val/loss":
                number, value = best.get(expert, points[np.argmin(points[:, 1])])
                label = f"expert {expert}: {value:.4g} at epoch {number:.0f}"
                axes.plot(number, value, "o", color=colour, ms=5, label=label)
    axes.set_xlabel("epoch")
    axes.locator_params("x", integer=True)
    axes.set_ylabel("loss (network units)")
    if axes.lines:
        plain_log_scale(axes)
    legend(axes, title="validation loss of the weights that are kept")
    return figure


def _positive(epochs: Sequence[Mapping[str, float]], name: str) -> F64:
    points = [
        (number, metrics[name])
        for number, metrics in enumerate(epochs, start=1)
        if metrics.get(name, 0.0) > 0 and np.isfinite(metrics[name])
    ]
    return np.array(points, dtype=np.float64).reshape(-1, 2)


def learning_curves_of_runs(
    losses: Mapping[str, Mapping[int, F64]], look: Mapping[str, Look]
) -> Figure:
    """Draw the validation losses of several trainings, one panel per expert.

    Parameters
    ----------
    losses : mapping
        Name of the run to expert to float64 array, shape (E, 2): epochs and losses.
    look : mapping
        How each run is drawn.
    """
    experts = sorted({expert for of_run in losses.values() for expert in of_run})
    figure, panels = canvas_of_panels(len(experts), "validation loss (network units)")
    for axes, expert in zip(panels, experts, strict=True):
        axes.set_title(f"expert {expert}", fontsize=9)
        for name, of_run in losses.items():
            if expert in of_run:
                _curve(axes, of_run[expert], look[name])
        axes.set_xlabel("epoch", fontsize=8)
        axes.locator_params("x", integer=True)
        if axes.lines:
            plain_log_scale(axes)
    _legend_of_all(figure, [name for name in losses if losses[name]], look)
    return figure


def _curve(axes: Axes, points: F64, look: Look) -> None:
    positive = points[(points[:, 1] > 0) & np.isfinite(points[:, 1])]
    thinned = positive[:: max(1, len(positive) // MAX_POINTS_PER_CURVE)]
    axes.plot(
        *thinned.T, color=look.colour, lw=look.width, zorder=look.order,
        marker="." if len(thinned) == 1 else None,
    )  # fmt: skip


def _legend_of_all(
    figure: Figure, names: Sequence[str], look: Mapping[str, Look]
) -> None:
    """One legend for all panels, below the last row."""
    named = [name for name in names if look[name].in_legend]
    handles = [Line2D([], [], color=look[name].colour, lw=1.4) for name in named]
    labels = [readable(name) for name in named]
    if not labels:
        return
    columns = max(1, int(figure.get_figwidth() // 2.6))
    add_room(figure, below=0.17 * -(-len(labels) // columns) + 0.1)
    figure.legend(
        handles, labels, loc="lower center", ncols=columns, fontsize=7, frameon=False
    )
