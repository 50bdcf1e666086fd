"""One look for all figures."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from nnt.metrics import std, trimmed_std

__all__ = [
    "COLOURS",
    "canvas",
    "legend_numbers",
    "log_counts",
    "pixels",
    "png",
    "tick_powers",
]

COLOURS = {
    "network": "#0072B2",
    "reference": "#D55E00",
    "reconstruction": "#444444",
    "bias": "#009E73",
}
"""From the palette of Okabe and Ito, which colour-blind readers can tell apart."""

DPI = 110


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
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.9g}"))


def pixels(figure: Figure) -> npt.NDArray[np.uint8]:
    """Render a figure to an array of shape (height, width, 3)."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="rgba")
    width, height = figure.canvas.get_width_height()
    rgba = np.frombuffer(buffer.getvalue(), dtype=np.uint8)
    return rgba.reshape(height, width, 4)[:, :, :3].copy()


def png(figure: Figure) -> bytes:
    """Render a figure."""
    buffer = io.BytesIO()
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
