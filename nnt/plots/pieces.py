"""The pieces that plots are made of: histograms, bands, points, ratios."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FormatStrFormatter, NullLocator

from nnt.metrics import AXES, CoreFit, std, trimmed_std
from nnt.metrics.clusters import event_jackknife, paired_ratio, share_errors
from nnt.metrics.inbins import bin_numbers
from nnt.plots.style import (
    Look,
    canvas,
    canvas_with_ratio,
    label_in_two_lines,
    legend,
    log_counts,
)
from nnt.types import F64, I64, BoolArray, FloatArray

MIN_TRACKS = 5
"""Tracks below which a bin shows neither width, share nor ratio."""
RATIO_LIMIT = 2.5
SHARE = (0.0, 1.0)
"""Between which every share lies."""
PT_TICKS_GEV = (0.2, 0.3, 0.5, 0.7, 1, 2, 3, 5, 10)


def bin_edges(lower: float, upper: float, most: int, n_rows: int) -> F64:
    """Even bins, fewer for few rows: about twice the root of their number.

    Any fewer ones are whole bins of those for many rows (`most`).
    """
    enough = 2 * sqrt(max(n_rows, 1))
    widths = [k for k in range(1, most // 8 + 1) if most % k == 0]
    chosen = next((k for k in widths if most / k <= enough), widths[-1])
    return np.linspace(lower, upper, most // chosen + 1)


def counts_of(values: FloatArray, edges: F64, *, clip: bool = False) -> F64:
    """Rows in even bins; if clipped, what lies beyond counts in the outer ones."""
    if clip:
        values = np.clip(values, edges[0], edges[-1])
    found = np.histogram(values, len(edges) - 1, (edges[0], edges[-1]))[0]
    return found.astype(np.float64)


def share_beyond(values: FloatArray, edges: F64) -> str:
    """Say how many values lie outside the plot, if any do."""
    n_beyond = np.count_nonzero((values < edges[0]) | (values > edges[-1]))
    return f", {n_beyond / len(values):.1%} beyond" if n_beyond else ""


def numbers(values: FloatArray, unit: str, fit: CoreFit | None = None) -> str:
    """Count, mean and widths, and a fit of the core, for a legend."""
    if not len(values):
        return "no tracks"
    unit = f" {unit}" if unit else ""
    lines = [
        f"{len(values):,} tracks",
        f"mean {np.mean(values, dtype=np.float64):.2f}, std {std(values):.2f}, "
        f"trimmed std {trimmed_std(values):.2f}{unit}",
    ]
    if fit is not None:
        lines.append(
            f"core: mean {fit.mean:.2f}, std {fit.std:.2f}{unit} ({fit.share:.0%})"
        )
    return "\n".join(lines)


@dataclass(frozen=True, slots=True, eq=False)
class Histogram:
    """Counts of one network in even bins, and their ratio to those of another."""

    edges: F64
    counts: F64
    numbers: str
    ratio: Points | None
    """None where there is nothing to compare with."""


def histogram(
    values: FloatArray,
    edges: F64,
    text: str,
    of: FloatArray | None,
    event: I64,
    *,
    clip: bool = False,
) -> Histogram:
    """Count values, and compare with others (`of`) of the same rows; shape (N,) each.

    The text is what a legend says of the values.
    """
    counts = counts_of(values, edges, clip=clip)
    if of is None:
        return Histogram(edges, counts, text, None)
    n_bins = len(edges) - 1
    upper, lower = (_even_bins(rows, edges, clip=clip) for rows in (values, of))
    ratio, error = paired_ratio(upper, lower, event, n_bins)
    below = np.bincount(lower[lower >= 0], minlength=n_bins)
    ratio[below < MIN_TRACKS] = np.nan
    return Histogram(edges, counts, text, Points(edges, ratio, error, below))


def _even_bins(values: FloatArray, edges: F64, *, clip: bool) -> npt.NDArray[np.int64]:
    n_bins = len(edges) - 1
    scaled = (values - edges[0]) * (n_bins / (edges[-1] - edges[0]))
    # The last bin holds its upper edge, as in numpy's histograms.
    scaled = np.where(values == edges[-1], n_bins - 0.5, scaled)
    if clip:
        scaled = np.clip(scaled, 0, n_bins - 0.5)
    inside = (scaled >= 0) & (scaled < n_bins)
    return np.where(inside, scaled, -1).astype(np.int64)


class Bars(NamedTuple):
    """A histogram as it is drawn."""

    look: Look
    label: str | None
    counts: F64
    ratio: Points | None = None
    scale: float = 1.0
    """Of the counts, where they are drawn."""


def draw_histograms(
    title: str,
    edges: F64,
    drawn: Sequence[Bars],
    x: str,
    y: str,
    *,
    over: str = "",
    log: bool = False,
) -> tuple[Figure, Axes]:
    """Draw histograms, and below their ratios, if any, to that which `over` names.

    Returns the figure and the axes of the histograms.
    """
    if any(bars.ratio is not None for bars in drawn):
        figure, axes, below = canvas_with_ratio(title)
        label_in_two_lines(below, f"over\n{over}")
    else:
        figure, axes = canvas(title)
        below = axes
    for look, label, counts, ratio, scale in drawn:
        if look.in_legend:
            band(axes, edges, counts * scale, np.sqrt(counts) * scale, look.colour)
        style = {"color": look.colour, "lw": look.width, "zorder": look.order}
        steps(axes, edges, counts * scale, label=label, **style)
        if ratio is not None:
            plot_points(below, ratio, look, bins=False)
    if below is not axes:
        below.axhline(1, color="0.5", lw=0.8)
        below.set_ylim(0, RATIO_LIMIT)
    if log:
        log_counts(axes)
    else:
        axes.set_ylim(bottom=0)
    axes.set(xlim=(edges[0], edges[-1]), ylabel=y)
    below.set_xlabel(x)
    legend(axes)
    return figure, axes


def steps(axes: Axes, edges: F64, values: FloatArray | I64, **how: Any) -> None:
    """Draw a value in each bin as a line, which takes a tenth of ``Axes.stairs``."""
    how |= {"solid_joinstyle": "miter", "solid_capstyle": "butt"}
    axes.plot(*_stairs(edges, values), **how)


def filled(axes: Axes, edges: F64, values: FloatArray | I64, colour: str) -> None:
    """Fill the area below a histogram, behind all else."""
    axes.fill_between(*_stairs(edges, values), color=colour, lw=0, zorder=0.9)


def band(axes: Axes, edges: F64, values: F64, errors: F64, colour: str) -> None:
    """Draw a band of errors around values in bins; NaN leaves a gap."""
    there = np.isfinite(values) & np.isfinite(errors)
    low = np.where(there, values - errors, np.nan)
    high = np.where(there, values + errors, np.nan)
    axes.fill_between(*_stairs(edges, low, high), color=colour, alpha=0.25, lw=0)


def _stairs(edges: F64, *values: Any) -> Any:
    """Both ends of each bin, and its values there."""
    return np.repeat(edges, 2)[1:-1], *(np.repeat(own, 2) for own in values)


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """Values in bins, NaN where there is nothing to show; shape (B,) each."""

    edges: F64
    values: FloatArray
    errors: FloatArray
    n_tracks: I64
    """In each bin, shown or not."""


def shares_in_bins(
    passing: BoolArray, event: I64, at: FloatArray, edges: F64
) -> Points:
    """Shares of the rows that pass, in bins of another quantity; shape (N,) each."""
    share, error, n_tracks = share_errors(
        passing, event, bin_numbers(at, edges), len(edges) - 1
    )
    shown = np.where(n_tracks >= MIN_TRACKS, share, np.nan)
    return Points(edges, shown, error, n_tracks)


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """Shares along an axis, with their errors; shape (C,) each."""

    at: F64
    share: F64
    error: F64

    @classmethod
    def of(cls, at: F64, statistic: Callable[[BoolArray], F64], event: I64) -> Line:
        """Compute shares of the rows that a mask of shape (N,) keeps, and errors."""
        every = np.ones(len(event), dtype=np.bool_)
        return cls(at, statistic(every), event_jackknife(statistic, event))


def plot_line(
    axes: Axes, line: Line, look: Look, style: str = "-", label: str | None = None
) -> None:
    """Draw shares as a line, with a band of errors within 0 and 1."""
    axes.plot(
        line.at, line.share, style, color=look.colour, lw=look.width, ms=3.2,
        zorder=look.order, label=label,
    )  # fmt: skip
    if look.in_legend:
        low, high = line.share - line.error, line.share + line.error
        axes.fill_between(
            line.at, np.maximum(low, 0), np.minimum(high, 1), color=look.colour,
            alpha=0.2, lw=0,
        )  # fmt: skip


def plot_points(
    axes: Axes,
    points: Points,
    look: Look,
    label: str | None = None,
    *,
    limits: tuple[float, float] = (-np.inf, np.inf),
    marker: str = "o",
    bins: bool = True,
) -> None:
    """Draw values in bins with bars: errors within the limits, and the bins.

    In few artists, as each costs more than what it draws.
    """
    there = np.isfinite(points.values) & np.isfinite(points.errors)
    at = ((points.edges[:-1] + points.edges[1:]) / 2)[there]
    half = (np.diff(points.edges) / 2)[there]
    values, error = points.values[there], points.errors[there]
    ends = (np.clip(values + sign * error, *limits) for sign in (-1, 1))
    gap = np.full(len(at), np.nan)
    x, y = [at, at, gap], [*ends, gap]
    if bins:
        x += [at - half, at + half, gap]
        y += [values, values, gap]
    if look.in_legend:
        xy = (np.array(own).T.ravel() for own in (x, y))
        axes.plot(*xy, color=look.colour, lw=0.9, zorder=look.order)
    shape = marker if look.in_legend else "."
    # Another marker is another decision of the same network: hollow.
    axes.plot(
        at, values, shape, ms=3.2, color=look.colour, zorder=look.order, label=label,
        mfc=look.colour if marker == "o" else "white",
    )  # fmt: skip


def set_axis(axes: Axes, name: str) -> None:
    """Label and scale a horizontal axis, one of `AXES`."""
    axis = AXES[name]
    axes.set_xlabel(axis.title)
    if name == "pt":
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(FixedLocator(PT_TICKS_GEV))
        axes.xaxis.set_major_formatter(FormatStrFormatter("%g"))
        axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(axis.edges[0], axis.edges[-1])
