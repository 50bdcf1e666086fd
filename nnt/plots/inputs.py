"""The 27 inputs and the targets of track tables, one over the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from nnt.detector import N_SUPERLAYERS, theta_to_deg, z_to_cm
from nnt.plots.series import band, leave_room, name_lines, numbers, outline
from nnt.plots.style import DPI, canvas_with_ratio, log_counts, ratio_panel
from nnt.tracks import Tracks

__all__ = ["input_histograms", "target_histograms"]

F64 = npt.NDArray[np.float64]

KINDS = ("relID", "drift time", "crossing angle")
DRIFT_TIME = 1
INPUT_EDGES = np.linspace(-1, 1, 65)
"""Scaled inputs lie in [-1, 1]."""
Z_EDGES_CM = np.linspace(-100, 100, 101)
THETA_EDGES_DEG = np.linspace(10, 170, 81)
COLOURS = ("#0072B2", "#D55E00")


def input_histograms(
    tables: Mapping[str, Tracks], title: str, marked: Sequence[int] = ()
) -> Figure:
    """Draw every input where its superlayer has a hit, a panel each.

    Parameters
    ----------
    tables : mapping
        Name to rows; the second is scaled to the first.
    title : str
        Above all.
    marked : sequence of int
        Inputs whose panel is marked, as those that differ.
    """
    # Panels share one axis of values; few ticks, because 27 are drawn.
    figure = Figure(figsize=(11.0, 14.0), dpi=DPI)
    FigureCanvasAgg(figure)
    figure.subplots_adjust(
        left=0.055, right=0.985, bottom=0.04, top=0.925, wspace=0.16, hspace=0.12
    )
    figure.suptitle(title, fontsize=12, y=0.985)
    panels = figure.subplots(N_SUPERLAYERS, len(KINDS), sharex=True)
    for sl in range(N_SUPERLAYERS):
        for kind, name in enumerate(KINDS):
            axes, column = panels[sl, kind], 3 * sl + kind
            _panel(axes, tables, sl, column)
            axes.text(
                0.02, 0.93, f"SL{sl} {name}", transform=axes.transAxes, va="top",
                fontsize=8, weight="bold" if column in marked else "normal",
                color="#B00020" if column in marked else "black",
            )  # fmt: skip
    for kind, name in enumerate(KINDS):
        panels[-1, kind].set_xlabel(f"{name}, scaled", fontsize=9)
    for sl in range(N_SUPERLAYERS):
        panels[sl, 0].set_ylabel("tracks", fontsize=8)
    handles, labels = [], []
    for colour, (name, table) in zip(COLOURS, tables.items(), strict=False):
        handles.append(panels[0, 0].plot([], [], color=colour, lw=1.6)[0])
        labels.append(f"{name}: {len(table):,} tracks")
    if len(tables) > 1:
        labels[1] += ", scaled to the first"
    figure.legend(
        handles, labels, loc="upper center", bbox_to_anchor=(0.5, 0.97), ncols=2,
        fontsize=9, frameon=False,
    )  # fmt: skip
    return figure


def _panel(axes: Axes, tables: Mapping[str, Tracks], sl: int, column: int) -> None:
    first = None
    told = []
    for colour, table in zip(COLOURS, tables.values(), strict=False):
        hits = (table.inputs[:, 3 * sl : 3 * sl + 3] != 0).any(axis=1)
        values = table.inputs[hits, column]
        note = f"hit in {len(values) / max(len(table), 1):.0%}"
        if column % 3 == DRIFT_TIME:
            # Without a side the drift time is 0: one bin would hide all others.
            n_sided = np.count_nonzero(values)
            note += f", side known {n_sided / max(len(values), 1):.0%}"
            values = values[values != 0]
        told.append(note)
        counts = np.histogram(values, len(INPUT_EDGES) - 1, (-1.0, 1.0))[0]
        counts = counts.astype(np.float64)
        first = counts if first is None else first
        scale = first.sum() / counts.sum() if counts.sum() and first.sum() else 1.0
        band(axes, INPUT_EDGES, counts * scale, np.sqrt(counts) * scale, colour)
        axes.stairs(counts * scale, INPUT_EDGES, color=colour, lw=1, baseline=None)
    axes.text(
        0.98, 0.93, "\n".join(told), transform=axes.transAxes,
        va="top", ha="right", fontsize=7, color="0.35",
    )  # fmt: skip
    axes.set_xlim(-1, 1)
    axes.set_xticks([-1, -0.5, 0, 0.5, 1])
    axes.set_ylim(0, max(axes.get_ylim()[1], 1) * (1.2 + 0.1 * len(tables)))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=3, integer=True))
    axes.tick_params(labelsize=7)
    axes.grid(visible=True, alpha=0.25)


def target_histograms(tables: Mapping[str, Tracks]) -> dict[str, Figure]:
    """Draw z and theta of the reconstruction.

    Parameters
    ----------
    tables : mapping
        Name to rows, one or two; the second is scaled to the first.

    Returns
    -------
    dict
        ``z`` and ``theta``.
    """
    z = {name: z_to_cm(table.targets[:, 0]) for name, table in tables.items()}
    theta = {name: theta_to_deg(table.targets[:, 1]) for name, table in tables.items()}
    return {
        "z": _target(z, Z_EDGES_CM, "z of the reconstruction", "cm", log=True),
        "theta": _target(
            theta, THETA_EDGES_DEG, "theta of the reconstruction", "deg", log=False
        ),
    }


def _target(
    values: Mapping[str, npt.NDArray[np.floating]],
    edges: F64,
    title: str,
    unit: str,
    *,
    log: bool,
) -> Figure:
    figure, axes, ratio = canvas_with_ratio(title)
    limits = (edges[0], edges[-1])
    first: F64 | None = None
    for colour, (name, own) in zip(COLOURS, values.items(), strict=False):
        counts = np.histogram(own, len(edges) - 1, limits)[0].astype(np.float64)
        if first is None:
            first = counts
            outline(axes, edges, counts, colour, numbers(name, own, unit))
            continue
        scale = first.sum() / counts.sum() if counts.sum() and first.sum() else 1.0
        band(axes, edges, counts * scale, np.sqrt(counts) * scale, colour)
        axes.stairs(counts * scale, edges, color=colour, lw=1.2, baseline=None)
        label = numbers(name, own, unit) + "\nscaled to the first"
        axes.plot([], [], color=colour, lw=1.6, label=label)
        ratio_panel(ratio, edges, counts, first, colour, scale=scale)
    if len(values) < 2:
        ratio.remove()
        axes.tick_params(labelbottom=True)
        axes.set_position((0.115, 0.11, 0.855, 0.81))
        axes.xaxis.set_label_coords(0.5, -0.075)
        ratio = axes
    else:
        ratio.set_ylabel("over the first")
    if log:
        log_counts(axes)
    leave_room(axes, 0.25)
    axes.set_ylabel(f"tracks per {edges[1] - edges[0]:g} {unit}")
    ratio.set_xlabel(f"{title.split(' ')[0]} ({unit})")
    name_lines(axes, loc="upper left", ncols=2)
    return figure
