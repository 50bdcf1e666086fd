"""What stands side by side in a plot: a network, and its reference."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from nnt.metrics import CoreFit, Predictions, std, trimmed_std
from nnt.plots.style import COLOURS
from nnt.types import F64, FloatArray

__all__ = [
    "MIN_TRACKS",
    "Series",
    "band",
    "both",
    "counts_of",
    "leave_room",
    "name_lines",
    "numbers",
    "outline",
    "points",
    "share_beyond",
]


MIN_TRACKS = 5
"""Tracks below which a bin tells no width and no share."""


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """What one network says of all rows."""

    name: str
    z_cm: FloatArray
    theta_deg: FloatArray | None

    @property
    def colour(self) -> str:
        """Its colour in all plots."""
        return COLOURS[self.name]


def both(predicted: Predictions) -> Iterator[Series]:
    """The network and, where there is one, the reference."""
    yield Series("network", predicted.z_cm, predicted.theta_deg)
    if predicted.z_reference_cm is not None:
        yield Series(
            "reference", predicted.z_reference_cm, predicted.theta_reference_deg
        )


def counts_of(values: FloatArray, edges: F64, *, clip: bool = False) -> F64:
    """Rows in even bins.

    Parameters
    ----------
    values : float array, shape (N,)
        What is counted.
    edges : float64 array, shape (B + 1,)
        Even.
    clip : bool
        Count what lies beyond in the outer bins.
    """
    if clip:
        values = np.clip(values, edges[0], edges[-1])
    found = np.histogram(values, len(edges) - 1, (edges[0], edges[-1]))[0]
    return found.astype(np.float64)


def share_beyond(values: FloatArray, edges: F64) -> str:
    """Tell how many values lie outside the plot, if any do."""
    n_beyond = np.count_nonzero((values < edges[0]) | (values > edges[-1]))
    return f", {n_beyond / len(values):.1%} beyond" if n_beyond else ""


def numbers(
    name: str, values: FloatArray, unit: str, fit: CoreFit | None = None
) -> str:
    """Count, mean and widths, and a fit of the core, for a legend."""
    if not len(values):
        return f"{name} (no tracks)"
    unit = f" {unit}" if unit else ""
    lines = [
        f"{name}: {len(values):,} tracks",
        f"mean {np.mean(values, dtype=np.float64):.2f}{unit}, "
        f"std {std(values):.2f}{unit}",
        f"std of central 90 %: {trimmed_std(values):.2f}{unit}",
    ]
    if fit is not None:
        lines.append(
            f"core: mean {fit.mean:.2f}, std {fit.std:.2f}{unit} ({fit.share:.0%})"
        )
    return "\n".join(lines)


def outline(
    axes: Axes, edges: F64, counts: F64, colour: str, label: str | None = None
) -> None:
    """Draw a histogram as a line with a band of its statistical errors."""
    band(axes, edges, counts, np.sqrt(counts), colour)
    axes.stairs(counts, edges, color=colour, lw=1.2, baseline=None)
    if label is not None:
        # A line in the legend, not a box.
        axes.plot([], [], color=colour, lw=1.6, label=label)


def band(
    axes: Axes, edges: F64, values: F64, errors: F64, colour: str, *, line: bool = False
) -> None:
    """Draw values in bins with a band of their errors; NaN leaves a gap."""
    there = np.isfinite(values) & np.isfinite(errors)
    low = np.where(there, values - errors, np.nan)
    high = np.where(there, values + errors, np.nan)
    axes.fill_between(
        np.repeat(edges, 2)[1:-1], np.repeat(low, 2), np.repeat(high, 2),
        color=colour, alpha=0.25, lw=0,
    )  # fmt: skip
    if line:
        axes.stairs(values, edges, color=colour, lw=1.2, baseline=None)


def points(
    axes: Axes,
    edges: F64,
    values: FloatArray,
    errors: FloatArray,
    colour: str,
    label: str | None = None,
    marker: str = "o",
    highest: float = np.inf,
) -> None:
    """Draw values in bins as points with bars: errors, and the bins they are of.

    Errors end at the highest value that there can be.
    """
    there = np.isfinite(values) & np.isfinite(errors)
    centres, half = (edges[:-1] + edges[1:]) / 2, np.diff(edges) / 2
    shown, error = values[there], errors[there]
    axes.errorbar(
        centres[there], shown, yerr=(error, np.minimum(error, highest - shown)),
        xerr=half[there], fmt=marker, ms=3.5, lw=1, color=colour, label=label,
    )  # fmt: skip


def leave_room(axes: Axes, share: float = 0.45) -> None:
    """Leave a share of the height above the highest counts, for the legend."""
    top = axes.get_ylim()[1]
    if axes.get_yscale() == "log":
        # Of powers of ten, from half a track on.
        axes.set_ylim(top=0.5 * (2 * top) ** (1 / (1 - share)))
    else:
        axes.set_ylim(0, top / (1 - share))


def name_lines(axes: Axes, **where: Any) -> None:
    """Add a legend where there is something to tell."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(
            fontsize=7, title_fontsize=7, columnspacing=1.0, handlelength=1.4, **where
        )
