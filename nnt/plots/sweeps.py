"""Plots of a sweep: which keys matter, how it went, which values are good."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log10

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from nnt.plots.style import (
    COLOURS,
    canvas,
    canvas_of_rows,
    legend,
    plain_log_scale,
    readable,
)
from nnt.types import F64, BoolArray

BAR, ROOM = 0.22, 0.35
"""Height of a bar, and around the bars of a key, in inches."""
MAX_NAMED = 12
"""Trials whose numbers are written into a plot."""
WIDE = 20
"""Ratio of ends from which an axis is logarithmic."""
TICKS = 4


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SweptMetric:
    """One metric that a sweep has searched for; shape (T,) for T trials."""

    name: str
    """As runs log it."""
    unit: str
    """Of its values; may be empty."""
    sign: int
    """1 where higher is better, -1 where lower is."""
    values: F64
    """NaN of trials that are not complete."""
    pruned: F64
    """After the last epoch of each trial that was cut; NaN of the others."""

    @property
    def title(self) -> str:
        """For an axis."""
        return f"{self.name} ({self.unit})" if self.unit else self.name

    @property
    def is_log(self) -> bool:
        """Whether its values span powers of ten."""
        there = self.values[np.isfinite(self.values)]
        return bool(len(there) and there.max() > WIDE * there.min() > 0)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Coordinate:
    """The values of one key: numbers, or names of which each has its place."""

    name: str
    values: F64
    """Of each trial, shape (T,); of names, their places in `names`."""
    names: tuple[str, ...] = ()
    """Empty for numbers."""
    is_log: bool = False
    """Whether it was searched by powers."""


def importances(shares: Mapping[str, Mapping[str, float]], n_trials: int) -> Figure:
    """Draw how much of what sets the best trials apart is due to each key.

    The shares are those of each key, 0 to 1, by metric, from so many complete trials.
    """
    keys = list(next(iter(shares.values())))[::-1]
    height = len(keys) * (BAR * len(shares) + ROOM)
    title = f"importance of each key, from {n_trials} complete trials"
    figure, (axes,) = canvas_of_rows(title, (height,))
    places = np.arange(len(keys)) * (BAR * len(shares) + ROOM)
    for i, (metric, by_key) in enumerate(shares.items()):
        at = places + BAR * (len(shares) - 1 - i)
        found = np.array([by_key[key] for key in keys])
        bars = axes.barh(
            at, found, 0.85 * BAR, color=COLOURS[i], label=readable(metric)
        )
        axes.bar_label(bars, fmt="{:.0%}", padding=3, fontsize=8)
    axes.set_yticks(places + BAR * (len(shares) - 1) / 2, [_broken(k) for k in keys])
    axes.set_ylim(-BAR / 2 - ROOM / 2, height - BAR / 2 - ROOM / 2)
    axes.tick_params(axis="y", labelsize=8)
    axes.set_xlim(0, 1.08)
    axes.set_xlabel("share of the key in what sets the best trials apart")
    widest = max(len(line) for key in keys for line in _broken(key).split("\n"))
    _move_left_edge(figure, axes, 0.3 + 0.066 * widest)
    if len(shares) > 1:
        legend(axes)
    return figure


def sweep_history(metrics: Sequence[SweptMetric]) -> Figure:
    """Draw the metrics of the trials in their order, and the best so far."""
    title = f"{len(metrics[0].values)} trials in their order"
    figure, panels = canvas_of_rows(
        title, (3.9 if len(metrics) == 1 else 2.6,) * len(metrics)
    )
    for axes, metric in zip(panels, metrics, strict=True):
        numbers = np.arange(len(metric.values))
        label = "complete" if axes is panels[0] else None
        axes.plot(numbers, metric.values, "o", ms=4, color=COLOURS[0], label=label)
        if np.isfinite(metric.pruned).any():
            axes.plot(
                numbers, metric.pruned, "o", ms=4, mfc="none", color=COLOURS[1],
                label="pruned, after its last epoch",
            )  # fmt: skip
        if np.isfinite(metric.values).any():
            best = np.fmax.accumulate(metric.sign * metric.values) * metric.sign
            number = int(np.nanargmax(metric.sign * metric.values))
            axes.plot(
                numbers, best, "-", lw=1.2, color=COLOURS[2], drawstyle="steps-post",
                label=f"best so far: {metric.values[number]:.5g} of trial {number}",
            )  # fmt: skip
        axes.set_ylabel(readable(metric.title), fontsize=9)
        if metric.is_log:
            plain_log_scale(axes)
    panels[-1].set_xlabel("trial")
    panels[-1].xaxis.set_major_locator(MaxNLocator(6, integer=True))
    legend(panels[0])
    return figure


def parallel_coordinates(
    coordinates: Sequence[Coordinate], metric: SweptMetric
) -> Figure:
    """Draw every complete trial as a line over its values, and last over the metric.

    The metric colours the lines.
    """
    done = np.isfinite(metric.values)
    figure, axes = canvas(
        f"{done.sum()} complete trials and what they were trained with"
    )
    all_axes = [
        *coordinates,
        Coordinate(name=metric.title, values=metric.values, is_log=metric.is_log),
    ]
    heights = np.full((len(all_axes), len(done)), np.nan)
    for x, coordinate in enumerate(all_axes):
        low, high = _ends(coordinate, done)
        heights[x, done] = _heights(coordinate, coordinate.values[done], low, high)
        _draw_axis(axes, x, coordinate, low, high)
    norm = (LogNorm if metric.is_log else Normalize)(*_ends(all_axes[-1], done))
    colours = colormaps["viridis_r" if metric.sign > 0 else "viridis"]
    # The best ones last, so that no other line covers them; those without a value are
    # sorted behind them.
    order = np.argsort(metric.sign * metric.values)[: done.sum()]
    for trial in order:
        is_best = trial == order[-1]
        axes.plot(
            range(len(all_axes)), heights[:, trial], "-",
            color=COLOURS[1] if is_best else colours(norm(metric.values[trial])),
            lw=2.2 if is_best else 0.9, alpha=1 if is_best else 0.75,
            label=f"best: trial {trial}" if is_best else None,
        )  # fmt: skip
    axes.set_xlim(-0.15, len(all_axes) - 0.6)
    axes.set_ylim(-0.04, 1.04)
    axes.set_yticks([])
    axes.grid(visible=False)
    for side in axes.spines.values():
        side.set_visible(False)
    axes.set_xticks(range(len(all_axes)), [_broken(c.name) for c in all_axes])
    axes.tick_params(axis="x", labelsize=8, length=0)
    _move_left_edge(figure, axes, 0.35)
    _colour_bar(figure, axes, ScalarMappable(norm, colours), metric)
    legend(axes)
    return figure


def front(x: SweptMetric, y: SweptMetric, is_best: BoolArray) -> Figure:
    """Draw two metrics against each other, and the trials that no other one beats."""
    done = np.isfinite(x.values) & np.isfinite(y.values)
    figure, axes = canvas("trials that no other trial beats in both metrics")
    others = done & ~is_best
    axes.plot(
        x.values[others], y.values[others], "o", ms=4, color="0.6",
        label=f"{others.sum()} other complete trials",
    )  # fmt: skip
    chosen = np.flatnonzero(is_best)[np.argsort(x.values[is_best], kind="stable")]
    axes.plot(
        x.values[chosen], y.values[chosen], "o-", ms=5, lw=1, color=COLOURS[1],
        drawstyle="steps-post" if x.sign < 0 else "steps-pre",
        label=f"{len(chosen)} trials on the front, with their numbers",
    )  # fmt: skip
    for trial in chosen[:: -(-len(chosen) // MAX_NAMED)]:
        axes.annotate(
            str(trial), (x.values[trial], y.values[trial]), (4, 4),
            textcoords="offset points", fontsize=8, color=COLOURS[1],
        )  # fmt: skip
    better = {1: "higher is better", -1: "lower is better"}
    axes.set_xlabel(f"{readable(x.title)}, {better[x.sign]}")
    axes.set_ylabel(f"{readable(y.title)}, {better[y.sign]}", fontsize=9)
    if y.is_log:
        plain_log_scale(axes)
    if x.is_log:
        axes.set_xscale("log")
    axes.margins(0.06)
    legend(axes)
    return figure


def _ends(coordinate: Coordinate, done: BoolArray) -> tuple[float, float]:
    if coordinate.names:
        return 0.0, float(max(len(coordinate.names) - 1, 1))
    low, high = coordinate.values[done].min(), coordinate.values[done].max()
    return (low, high) if low < high else (low, low + (abs(low) or 1.0))


def _heights(coordinate: Coordinate, values: F64, low: float, high: float) -> F64:
    """Where values lie between the ends, 0 to 1; one name alone in the middle."""
    if len(coordinate.names) == 1:
        return np.full(len(values), 0.5)
    if coordinate.is_log:
        values, low, high = np.log10(values), log10(low), log10(high)
    return (values - low) / (high - low)


def _draw_axis(
    axes: Axes, x: int, coordinate: Coordinate, low: float, high: float
) -> None:
    axes.axvline(x, color="0.25", lw=0.8, zorder=3)
    if coordinate.names:
        at = np.arange(len(coordinate.names), dtype=np.float64)
        texts = [readable(name) for name in coordinate.names]
    else:
        at = np.linspace(low, high, TICKS)
        if coordinate.is_log:
            at = np.geomspace(low, high, TICKS)
        texts = [f"{v:.3g}" if abs(v) < 1000 else f"{v:,.0f}" for v in at]
    for y, text in zip(_heights(coordinate, at, low, high), texts, strict=True):
        axes.plot([x - 0.02, x + 0.02], [y, y], color="0.25", lw=0.8, zorder=3)
        axes.text(
            x + 0.04, y, text, fontsize=7, va="center", zorder=6,
            bbox={"facecolor": "white", "alpha": 0.8, "lw": 0, "pad": 0.8},
        )  # fmt: skip


def _colour_bar(
    figure: Figure, axes: Axes, colours: ScalarMappable, metric: SweptMetric
) -> None:
    left, bottom, width, height = axes.get_position().bounds
    axes.set_position((left, bottom, width * 0.9, height))
    place = figure.add_axes((left + width * 0.92, bottom, 0.015, height))
    bar = figure.colorbar(colours, cax=place)
    bar.set_label(readable(metric.title), fontsize=8)
    place.tick_params(labelsize=7)


def _move_left_edge(figure: Figure, axes: Axes, inches: float) -> None:
    """Leave so much room on the left."""
    left, bottom, width, height = axes.get_position().bounds
    new = inches / figure.get_figwidth()
    axes.set_position((new, bottom, width + left - new, height))


def _broken(key: str) -> str:
    """A key in lines, as long keys have dots or underscores."""
    text = readable(key)
    if len(text) > 12:
        for mark in (" ", ".", "_", "/"):
            middle = text.find(mark, len(text) // 3)
            if middle > 0:
                return f"{text[: middle + 1]}\n{text[middle + 1 :]}"
    return text
