"""Plots of a training rather than of a network: what was drawn, what was learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nnt.detector import z_to_cm
from nnt.plots.overlay import Look, legend_of
from nnt.plots.style import (
    COLOURS,
    canvas,
    canvas_of_panels,
    legend_numbers,
    log_counts,
    plain_log_scale,
)

__all__ = ["learning_curves", "learning_curves_of_runs", "sampled_distribution"]

MAX_POINTS = 500
"""Points of one curve in a figure of many runs."""

Z_BINS_CM = np.linspace(-100, 100, 101)

EXPERT_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#444444")
"""Experts 0 to 4, from the palette of Okabe and Ito; the last is for expert -1."""


def sampled_distribution(
    z_scaled: npt.NDArray[np.floating], rows: npt.NDArray[np.int64]
) -> Figure:
    """Draw z as an epoch draws it over z as the data set holds it.

    Parameters
    ----------
    z_scaled : float array, shape (N,)
        Target of each row, in network units.
    rows : int64 array, shape (M,)
        Index stream of one epoch.
    """
    distinct = len(np.unique(rows)) / max(len(z_scaled), 1)
    figure, axes = canvas(
        f"z of the training tracks: one epoch uses {distinct:.0%} of them"
    )
    original_cm = z_to_cm(z_scaled)
    series = {"reconstruction": original_cm, "network": original_cm[rows]}
    names = {"reconstruction": "original", "network": "sampled"}
    for kind, z_cm in series.items():
        axes.hist(
            z_cm,
            bins=Z_BINS_CM.tolist(),
            histtype="step",
            color=COLOURS[kind],
            label=legend_numbers(names[kind], z_cm, "cm"),
        )
    log_counts(axes)
    axes.set_xlabel("z of the reconstruction (cm)")
    axes.set_ylabel("tracks per 2 cm")
    axes.legend(fontsize=7)
    return figure


def learning_curves(
    history: Mapping[int, Sequence[Mapping[str, float]]],
    best: Mapping[int, tuple[int, float]] | None = None,
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
        colour = EXPERT_COLOURS[expert % len(EXPERT_COLOURS)]
        for name, line in (("val/loss", "-"), ("train/loss", ":")):
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
    axes.set_ylabel("loss (network units)")
    if axes.lines:
        plain_log_scale(axes)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(title="lowest validation loss", fontsize=8)
    return figure


def _positive(
    epochs: Sequence[Mapping[str, float]], name: str
) -> npt.NDArray[np.float64]:
    points = [
        (number, metrics[name])
        for number, metrics in enumerate(epochs, start=1)
        if metrics.get(name, 0.0) > 0 and np.isfinite(metrics[name])
    ]
    return np.array(points, dtype=np.float64).reshape(-1, 2)


def learning_curves_of_runs(
    losses: Mapping[str, Mapping[int, npt.NDArray[np.float64]]],
    shown: Mapping[str, Look],
) -> Figure:
    """Draw the validation losses of several trainings, one panel per expert.

    Parameters
    ----------
    losses : mapping
        Name of the run to expert to float64 array, shape (E, 2): epochs and losses.
    shown : mapping
        How each run is drawn.
    """
    experts = sorted({expert for own in losses.values() for expert in own})
    figure, panels = canvas_of_panels(len(experts), "validation loss (network units)")
    for axes, expert in zip(panels, experts, strict=True):
        axes.set_title(f"expert {expert}", fontsize=9)
        for name, own in losses.items():
            if expert in own:
                _curve(axes, own[expert], name, shown[name])
        axes.set_xlabel("epoch", fontsize=8)
        if axes.lines:
            plain_log_scale(axes)
    handles, labels = legend_of(panels[0], shown)
    if handles:
        figure.legend(handles, labels, loc="lower center", ncols=4, fontsize=7)
    return figure


def _curve(axes: Axes, points: npt.NDArray[np.float64], name: str, look: Look) -> None:
    positive = points[(points[:, 1] > 0) & np.isfinite(points[:, 1])]
    thinned = positive[:: max(1, len(positive) // MAX_POINTS)]
    axes.plot(
        *thinned.T, color=look.colour, lw=look.width, zorder=look.order,
        marker="." if len(thinned) == 1 else None,
        label=name if look.in_legend else None,
    )  # fmt: skip
