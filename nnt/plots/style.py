"""One look for all figures: sizes, colours, places of titles and legends.

Everything has its place in inches, so that no text has to be measured to find it:
from the top the title, a line with what is shown, the legend, and the axes below.
So a legend never covers data.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import (
    FormatStrFormatter,
    LogLocator,
    MaxNLocator,
    MultipleLocator,
    NullFormatter,
    NullLocator,
)
from zlib_ng import zlib_ng

from nnt.plots.defaults import default_style
from nnt.plots.fast import FastAxes, FastCanvas

COLOURS = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D1F",
    "#000000",
)  # fmt: skip
"""From the palette of Okabe and Ito, which colour-blind readers can tell apart."""
RECONSTRUCTION, OTHERS = "#444444", "#BBBBBB"
NAME_CHARACTERS = 40

DPI = 110
WIDTH, LEFT, RIGHT, BOTTOM = 7.0, 0.88, 0.18, 0.55
"""Of a figure and its margins, in inches."""
TITLE, DESCRIPTION, TOP = 0.08, 0.31, 0.52
"""From the upper end to the title, to the line below it, and to what follows."""
LONG_TITLE = 75
"""Characters from which a title is in smaller print."""
MAX_TICKS = 6
GAP = 0.09
"""Between panels that share an axis."""

LEGEND_SIZE = 7
CHARACTER, LINE, HANDLE = 0.0545, 0.12, 0.42
"""Width and height of the text of a legend, and width of a handle, in inches."""


@dataclass(frozen=True, slots=True)
class Look:
    """How one network is drawn."""

    colour: str
    width: float = 1.3
    order: float = 3.0
    """Higher is drawn over lower."""
    in_legend: bool = True


def looks(names: Sequence[str], important: Sequence[str] = ()) -> dict[str, Look]:
    """Choose how networks are drawn: some in colour, the rest grey.

    Parameters
    ----------
    names : sequence of str
        All networks; the first always has a colour.
    important : sequence of str
        Which of the others get a colour first, where there are too many.
    """
    ranked = [*important, *(name for name in names if name not in important)]
    others = [name for name in ranked if name != names[0]]
    # In the order of the names, so that two networks look the same everywhere.
    chosen = set(others[: len(COLOURS) - 1])
    named = [names[0], *(name for name in names[1:] if name in chosen)]
    found = dict.fromkeys(names, Look(OTHERS, width=0.7, order=2.0, in_legend=False))
    return found | {
        name: Look(colour) for name, colour in zip(named, COLOURS, strict=False)
    }


def readable(name: str, most: int = NAME_CHARACTERS) -> str:
    """A name as plain text of a bounded length, whatever its characters."""
    text = "".join(c if c.isprintable() and ord(c) < 0x2500 else "?" for c in name)
    if len(text) > most:
        text = text[: most - 1] + "…"
    # A dollar begins mathematics, a leading underscore hides an entry.
    text = text.replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text if text.strip() else "?"


@default_style()
def canvas(title: str) -> tuple[Figure, Axes]:
    """Make a figure with one pair of axes; pyplot is not made for threads."""
    figure, (axes,) = canvas_of_rows(title, (3.9,))
    return figure, axes


def canvas_with_ratio(title: str) -> tuple[Figure, Axes, Axes]:
    """Make a figure with a second pair of axes below, over the same values."""
    figure, (axes, below) = canvas_of_rows(title, (3.225, 1.075))
    return figure, axes, below


@default_style()
def canvas_of_rows(title: str, heights: Sequence[float]) -> tuple[Figure, list[Axes]]:
    """Make a figure with axes one below the other, over the same values, in inches."""
    height = TOP + sum(heights) + GAP * (len(heights) - 1) + BOTTOM
    figure = _figure(title, WIDTH, height)
    panels: list[Axes] = []
    top, width = height - TOP, WIDTH - LEFT - RIGHT
    for inner in heights:
        axes = figure.add_axes(
            (LEFT / WIDTH, (top - inner) / height, width / WIDTH, inner / height),
            sharex=panels[0] if panels else None,
            axes_class=FastAxes,
        )
        # A title in a fixed place: else, ticks are measured to find it one.
        axes.set_title("", y=1.0)
        axes.grid(visible=True, alpha=0.25)
        axes.tick_params(labelsize=9)
        # Each tick costs as much as a histogram.
        axes.locator_params(nbins=MAX_TICKS)
        axes.yaxis.set_label_coords(-0.68 / width, 0.5)
        axes.xaxis.set_label_coords(0.5, -0.34 / inner)
        panels.append(axes)
        top -= inner + GAP
    for axes in panels[:-1]:
        axes.tick_params(labelbottom=False)
    return figure, panels


@default_style()
def canvas_of_panels(n: int, title: str) -> tuple[Figure, list[Axes]]:
    """Make a figure with n small panels in rows of three."""
    columns, rows = min(n, 3), math.ceil(n / 3)
    panel, gap = (3.0, 1.95), (0.75, 0.7)
    width = LEFT + columns * panel[0] + (columns - 1) * gap[0] + RIGHT
    height = TOP + 0.25 + rows * panel[1] + (rows - 1) * gap[1] + BOTTOM
    figure, panels = _figure(title, width, height), []
    for i in range(n):
        row, column = divmod(i, 3)
        left = LEFT + column * (panel[0] + gap[0])
        bottom = height - TOP - 0.25 - panel[1] - row * (panel[1] + gap[1])
        axes = figure.add_axes(
            (left / width, bottom / height, panel[0] / width, panel[1] / height)
        )
        axes.grid(visible=True, alpha=0.25)
        axes.tick_params(labelsize=8)
        panels.append(axes)
    return figure, panels


def _figure(title: str, width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), dpi=DPI)
    FastCanvas(figure)
    _set_title(figure, title)
    return figure


def _set_title(figure: Figure, title: str) -> None:
    size = 11 if len(title) < LONG_TITLE else 9
    figure.suptitle(title, y=1 - TITLE / figure.get_figheight(), fontsize=size)


def describe(figure: Figure, text: str) -> None:
    """Say what is shown, in small print below the title."""
    figure.text(
        0.5, 1 - DESCRIPTION / figure.get_figheight(), text, ha="center", va="top",
        fontsize=8, color="0.35", gid="description",
    )  # fmt: skip


def label_in_two_lines(axes: Axes, text: str) -> None:
    """Label the vertical axis of a low panel, which has short numbers."""
    axes.set_ylabel(text, fontsize=8)
    axes.yaxis.set_label_coords(-0.45 / (WIDTH - LEFT - RIGHT), 0.5)


def legend(axes: Axes, title: str | None = None) -> None:
    """Put a legend above the axes, in a figure made higher for it.

    Parameters
    ----------
    axes : Axes
        The uppermost of its figure; without labels, nothing is changed.
    title : str, optional
        Above the entries.
    """
    handles, labels = axes.get_legend_handles_labels()
    figure = axes.get_figure()
    if not labels or not isinstance(figure, Figure):
        return
    room = axes.get_position().width * figure.get_figwidth()
    widest = max(len(line) for label in labels for line in label.split("\n"))
    columns = int(room / (widest * CHARACTER + HANDLE))
    columns = min(max(columns, 1), len(labels))
    n_rows = math.ceil(len(labels) / columns)
    # A column is filled from above before the next.
    n_lines = max(
        sum(label.count("\n") + 1 for label in labels[i : i + n_rows])
        for i in range(0, len(labels), n_rows)
    )
    height = LINE * (n_lines + (title is not None)) + 0.05 * n_rows + 0.1
    add_room(figure, above=height)
    axes.legend(
        handles, labels, title=title, ncols=columns, loc="lower left",
        bbox_to_anchor=(0, 1), borderaxespad=0.25, frameon=False, alignment="left",
        fontsize=LEGEND_SIZE, title_fontsize=LEGEND_SIZE, columnspacing=1.0,
        handlelength=1.4,
    )  # fmt: skip


def add_room(figure: Figure, *, above: float = 0.0, below: float = 0.0) -> None:
    """Make a figure higher, with room above and below its axes."""
    before = figure.get_figheight()
    after = before + above + below
    for panel in figure.axes:
        left, bottom, width, height = panel.get_position().bounds
        panel.set_position(
            (left, (bottom * before + below) / after, width, height * before / after)
        )
    figure.set_figheight(after)
    _set_title(figure, figure.get_suptitle())


def log_counts(axes: Axes) -> None:
    """Let numbers of tracks go up by powers of ten, from below one."""
    axes.set_yscale("log")
    axes.set_ylim(bottom=0.5)
    # Ticks between the powers would cost more than the rest of the figure.
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(lambda value, _: _plain_number(value))


def colour_bar(axes: Axes, image: AxesImage, label: str) -> None:
    """Show on the right which numbers of tracks the colours of an image stand for."""
    left, bottom, width, height = axes.get_position().bounds
    axes.set_position((left, bottom, 0.88 * width, height))
    bar = image.figure.add_axes(
        (left + 0.9 * width, bottom, 0.03 * width, height), axes_class=FastAxes
    )
    low, high = (math.log10(end) for end in image.get_clim())
    bar.imshow(
        np.linspace(0, 1, 256)[:, None], cmap=image.get_cmap(), origin="lower",
        extent=(0, 1, low, high), aspect="auto",
    )  # fmt: skip
    bar.xaxis.set_major_locator(NullLocator())
    bar.yaxis.set_major_locator(MultipleLocator(1))
    bar.yaxis.set_major_formatter(lambda power, _: _plain_number(10**power))
    bar.tick_params(
        left=False, labelleft=False, right=True, labelright=True, labelsize=8
    )
    bar.yaxis.set_label_coords(2.9, 0.5)
    bar.set_ylabel(label, fontsize=9, va="top")


def _plain_number(value: float) -> str:
    # More digits would reach into the label of the axis.
    if value >= 1e6:
        return f"{value / 1e6:g} M"
    return f"{value / 1e3:g} k" if value >= 1e5 else f"{value:,.9g}"


def plain_log_scale(axes: Axes) -> None:
    """Make the vertical axis logarithmic with a few plain numbers."""
    axes.set_yscale("log")
    lower, upper = axes.get_ylim()
    wide = upper > 10 * lower
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)) if wide else MaxNLocator(5))
    axes.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def pixels(figure: Figure) -> npt.NDArray[np.uint8]:
    """Render a figure to an array of shape (height, width, 3)."""
    with default_style():
        canvas: Any = FastCanvas(figure)
        canvas.draw()
        rgba: npt.NDArray[np.uint8] = np.asarray(canvas.buffer_rgba())
    return rgba[:, :, :3].copy()


def png(figure: Figure) -> bytes:
    """Render a figure; ten times faster than through PIL, and no larger."""
    rgb = pixels(figure)
    height, width, _ = rgb.shape
    # A byte before each row says how it is filtered: not at all.
    rows = np.zeros((height, 1 + 3 * width), dtype=np.uint8)
    rows[:, 1:] = rgb.reshape(height, -1)
    head = struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0)
    parts = {b"IHDR": head, b"IDAT": zlib_ng.compress(rows.data, 2), b"IEND": b""}
    chunks = (
        struct.pack(">I", len(data)) + name + data
        + struct.pack(">I", zlib_ng.crc32(name + data))
        for name, data in parts.items()
    )  # fmt: skip
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)
