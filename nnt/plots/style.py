"""One look for all figures."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import (
    FormatStrFormatter,
    FuncFormatter,
    LogLocator,
    MaxNLocator,
    NullFormatter,
    NullLocator,
)

from nnt.metrics import std, trimmed_std
from nnt.plots.defaults import default_style

__all__ = [
    "COLOURS",
    "SERIES_COLOURS",
    "canvas",
    "canvas_of_panels",
    "canvas_with_ratio",
    "legend_numbers",
    "log_counts",
    "pixels",
    "plain_log_scale",
    "png",
    "ratio_panel",
    "tick_powers",
]

COLOURS = {
    "network": "#0072B2",
    "reference": "#D55E00",
    "reconstruction": "#444444",
    "bias": "#009E73",
}
"""From the palette of Okabe and Ito, which colour-blind readers can tell apart."""

SERIES_COLOURS = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D1F",
)  # fmt: skip
"""For networks side by side; after black, and most of them from the same palette."""

DPI = 110

MIN_RATIO_TRACKS = 5
RATIO_LIMIT = 2.5


@default_style()
def canvas(title: str) -> tuple[Figure, Axes]:
    """Make a figure with one pair of axes; pyplot is not made for threads."""
    # Fixed places: to find them, all texts would be measured several times.
    figure = Figure(figsize=(7.0, 5.0), dpi=DPI)
    figure.subplots_adjust(left=0.115, right=0.97, bottom=0.11, top=0.92)
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(title, y=1.0)
    axes.xaxis.set_label_coords(0.5, -0.075)
    axes.yaxis.set_label_coords(-0.095, 0.5)
    axes.grid(visible=True, alpha=0.25)
    return figure, axes


def log_counts(axes: Axes) -> None:
    """Let numbers of tracks go up by powers of ten, from below one."""
    axes.set_yscale("log")
    axes.set_ylim(bottom=0.5)
    tick_powers(axes.yaxis)


def tick_powers(axis: Axis) -> None:
    """Mark the powers of ten of a logarithmic axis, as plain numbers."""
    # Ticks between the powers would cost more than the rest of the figure.
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: _plain_number(value)))


def _plain_number(value: float) -> str:
    # More digits would reach into the label of the axis.
    if value >= 1e6:
        return f"{value / 1e6:g} M"
    return f"{value / 1e3:g} k" if value >= 1e5 else f"{value:,.9g}"


def pixels(figure: Figure) -> npt.NDArray[np.uint8]:
    """Render a figure to an array of shape (height, width, 3)."""
    buffer = io.BytesIO()
    with default_style():
        figure.savefig(buffer, format="rgba")
    width, height = figure.canvas.get_width_height()
    rgba = np.frombuffer(buffer.getvalue(), dtype=np.uint8)
    return rgba.reshape(height, width, 4)[:, :, :3].copy()


def png(figure: Figure) -> bytes:
    """Render a figure."""
    buffer = io.BytesIO()
    with default_style():
        figure.savefig(buffer, format="png", pil_kwargs={"compress_level": 1})
    return buffer.getvalue()


def legend_numbers(name: str, values: npt.NDArray[np.floating], unit: str) -> str:
    """Count, mean, standard deviation and trimmed one, for a legend."""
    if not len(values):
        return f"{name} (no tracks)"
    return (
        f"{name}: {len(values):,} tracks\n"
        f"mean {np.mean(values):.2f} {unit}, std {std(values):.2f} {unit}\n"
        f"std of central 90 %: {trimmed_std(values):.2f} {unit}"
    )


@default_style()
def canvas_with_ratio(
    title: str, height_ratio: float = 3.0
) -> tuple[Figure, Axes, Axes]:
    """Make a figure with a second pair of axes below, over the same values."""
    figure = Figure(figsize=(7.0, 5.6), dpi=DPI)
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(
        2, 1, height_ratios=(height_ratio, 1), hspace=0.06,
        left=0.115, right=0.97, bottom=0.1, top=0.93,
    )  # fmt: skip
    above = figure.add_subplot(grid[0])
    below = figure.add_subplot(grid[1], sharex=above)
    above.tick_params(labelbottom=False)
    above.set_title(title)
    for axes in (above, below):
        axes.grid(visible=True, alpha=0.25)
        axes.yaxis.set_label_coords(-0.095, 0.5)
    total = height_ratio + 1
    below.xaxis.set_label_coords(0.5, -0.075 * total)
    return figure, above, below


def ratio_panel(
    axes: Axes,
    edges: npt.NDArray[np.float64],
    counts: npt.NDArray[np.float64],
    of: npt.NDArray[np.float64],
    colour: str,
    scale: float = 1.0,
) -> None:
    """Draw one histogram, scaled, over another, with the errors of both counts.

    Bins where the lower has too few tracks stay empty.
    """
    enough = of >= MIN_RATIO_TRACKS
    lower = np.where(enough, of, np.nan)
    ratio = counts / lower
    error = scale * np.sqrt(counts + ratio**2 * lower) / lower
    ratio = scale * ratio
    centres = (edges[:-1] + edges[1:]) / 2
    axes.errorbar(
        centres[enough], ratio[enough], yerr=error[enough], fmt=".", ms=3, lw=0.8,
        color=colour,
    )  # fmt: skip
    axes.axhline(1, color="0.5", lw=0.8)
    axes.set_ylim(0, RATIO_LIMIT)


@default_style()
def canvas_of_panels(n: int, title: str) -> tuple[Figure, list[Axes]]:
    """Make a figure with n small panels in rows of three, and room for a legend."""
    columns = min(n, 3)
    rows = -(-n // 3)
    height = 0.9 + 2.6 * rows
    figure = Figure(figsize=(3.9 * columns + 0.6, height), dpi=DPI)
    FigureCanvasAgg(figure)
    figure.subplots_adjust(
        left=0.075, right=0.985, bottom=0.85 / height, top=1 - 0.55 / height,
        wspace=0.22, hspace=0.4,
    )  # fmt: skip
    figure.suptitle(title, fontsize=11)
    panels = [figure.add_subplot(rows, columns, i + 1) for i in range(n)]
    for axes in panels:
        axes.grid(visible=True, alpha=0.25)
        axes.tick_params(labelsize=8)
    return figure, panels


def plain_log_scale(axes: Axes) -> None:
    """Make the vertical axis logarithmic with a few plain numbers."""
    axes.set_yscale("log")
    lower, upper = axes.get_ylim()
    wide = upper > 10 * lower
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)) if wide else MaxNLocator(5))
    axes.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    axes.yaxis.set_minor_formatter(NullFormatter())
