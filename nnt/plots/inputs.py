"""The inputs and the targets of track tables, one over the other."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from nnt.detector import N_PATTERN_BITS, N_SUPERLAYERS
from nnt.metrics import Change, Profile
from nnt.metrics.periods import RANGES, UNSIDED_BIN
from nnt.plots.pieces import (
    MIN_TRACKS,
    Bars,
    Points,
    band,
    bin_edges,
    draw_histograms,
    steps,
)
from nnt.plots.studio import Drawing
from nnt.plots.style import COLOURS, DPI, Look, readable
from nnt.tracks import INPUT_COLUMNS
from nnt.types import F64, I64

KINDS = ("relID", "drift time", "crossing angle")
DRIFT_TIME = 1
INPUT_BINS = 64
"""Scaled inputs lie in [-1, 1]."""
PANEL_WIDTH, PANEL_HEIGHT = 2.15, 1.06
"""From panel to panel; a panel is 2 wide, as its values go, and 1 high."""
TARGET_BINS = 128
"""Both for many rows; each bin is made of whole fine bins."""
TARGETS = {"z": "z (cm)", "theta": "theta (deg)", "inverse_pt": "1/pt (1/GeV)"}


def drawings_of_profiles(
    tables: Mapping[str, Mapping[str, Profile]], changes: Sequence[Change] = ()
) -> list[Drawing]:
    """Prepare plots of inputs, z, theta and momentum, for each kind of rows.

    Parameters
    ----------
    tables : mapping
        Name to the profile of each kind of rows, one or two.
    changes : sequence of Change
        From the first to the second; inputs that are flagged are marked.
    """
    first, *others = tables.values()
    scopes = [scope for scope in first if all(scope in other for other in others)]
    has_experts = any(scope.startswith("expert_") for scope in scopes)
    drawings = []
    for scope in scopes:
        who = "all experts" if has_experts else f"{scope} tracks"
        if scope.startswith("expert_"):
            who = scope.replace("_", " ")
        marked = [c.quantity for c in changes if c.flagged and c.scope == scope]
        shown = {name: table[scope] for name, table in tables.items()}
        plot = partial(input_histograms, title=f"inputs, {who}", marked=marked)
        drawings.append(Drawing(f"inputs_{scope}", plot, shown))
        drawings += [
            Drawing(f"{name}_{scope}", partial(target_histogram, name=name), shown)
            for name in TARGETS
        ]
    return drawings


def input_histograms(
    tables: Mapping[str, Profile], title: str, marked: Collection[str] = ()
) -> Figure:
    """Draw every input where its superlayer has a hit, a panel each.

    Parameters
    ----------
    tables : mapping
        Name to rows, one or two; the second is scaled to the first.
    title : str
        Above all.
    marked : collection of str
        Names of inputs whose panels are marked, as those that differ.
    """
    figure = Figure(figsize=(11.0, 13.0), dpi=DPI)
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=12, y=0.985)
    # One pair of axes for all panels: 27 of their own would take seconds.
    axes = figure.add_axes((0.02, 0.045, 0.96, 0.895))
    for column, name in enumerate(INPUT_COLUMNS):
        _panel(axes, tables, column, is_marked=name in marked)
    first = next(iter(tables.values()))
    with_bits = all(table.bits is not None for table in tables.values())
    for sl in range(N_SUPERLAYERS if with_bits else 0):
        changed = any(name.startswith(f"SL{sl}-extra_input") for name in marked)
        _bits_panel(axes, tables, sl, is_marked=changed)
    for kind, name in enumerate(KINDS):
        # Crossing angles of the 3D Hough chain are not scaled.
        unit = "scaled" if first.limit == 1 or kind < 2 else "rad"
        values = {v: f"{v * first.limit:g}" for v in (-1, -0.5, 0, 0.5, 1)}
        _label(axes, kind, f"{name}, {unit}", values)
    if with_bits:
        places = {
            (2 * i + 1) / N_PATTERN_BITS - 1: f"{i}" for i in range(N_PATTERN_BITS)
        }
        _label(axes, len(KINDS), "wire of the hit pattern", places)
    axes.set_xlim(-1.1, (2 + with_bits) * PANEL_WIDTH + 1.1)
    axes.set_ylim(-0.27, N_SUPERLAYERS * PANEL_HEIGHT)
    axes.set_axis_off()
    labels = [
        f"{readable(name)}: {table.n_rows:,} tracks" for name, table in tables.items()
    ]
    if len(tables) > 1:
        labels[1] += ", scaled to the first"
    if marked:
        labels[-1] += "; changes in bold"
    handles = [axes.plot([], [], color=colour, lw=1.6)[0] for colour in COLOURS]
    figure.legend(
        handles[: len(labels)], labels, loc="upper center",
        bbox_to_anchor=(0.5, 0.975), ncols=2, fontsize=9, frameon=False,
    )  # fmt: skip
    return figure


def _panel(
    axes: Axes, tables: Mapping[str, Profile], column: int, *, is_marked: bool
) -> None:
    sl, kind = divmod(column, 3)
    middle, floor = kind * PANEL_WIDTH, (N_SUPERLAYERS - 1 - sl) * PANEL_HEIGHT
    edges = middle + np.linspace(-1, 1, _n_bins(INPUT_BINS, tables) + 1)
    notes, drawn, first = [], [], None
    for table in tables.values():
        fine, n_hits = table.inputs[column], int(table.n_hits[sl])
        note = f"hit in {n_hits / max(table.n_rows, 1):.0%}"
        if kind == DRIFT_TIME:
            # Without a side the drift time is 0: one bin would hide all others.
            fine = fine.copy()
            fine[UNSIDED_BIN] = 0
            note += f", side known {fine.sum() / max(n_hits, 1):.0%}"
        notes.append(note)
        counts = _coarser(fine, len(edges) - 1)
        first = counts if first is None else first
        drawn.append((counts, _scale(counts, first)))
    peak = max(float((counts * scale).max()) for counts, scale in drawn)
    top = max(peak, 1.0) * (1.25 + 0.12 * len(tables))
    for (counts, scale), colour in zip(drawn, COLOURS, strict=False):
        heights = floor + counts * scale / top
        band(axes, edges, heights, np.sqrt(counts) * scale / top, colour)
        steps(axes, edges, heights, color=colour, lw=1)
    notes.append(f"highest bin {peak:,.0f} tracks")
    _frame(axes, middle, floor, f"SL{sl} {KINDS[kind]}", notes, is_marked=is_marked)


def _bits_panel(
    axes: Axes, tables: Mapping[str, Profile], sl: int, *, is_marked: bool
) -> None:
    """Draw the share of the segments that have a signal on each of their wires."""
    middle, floor = len(KINDS) * PANEL_WIDTH, (N_SUPERLAYERS - 1 - sl) * PANEL_HEIGHT
    edges = middle + np.linspace(-1, 1, N_PATTERN_BITS + 1)
    for table, colour in zip(tables.values(), COLOURS, strict=False):
        if table.bits is not None:
            shares = table.bits[sl] / max(int(table.n_hits[sl]), 1)
            # A fifth of the panel is left for its name.
            heights = floor + 0.8 * shares
            steps(axes, edges, heights, color=colour, lw=1)
    name = f"SL{sl} wires with a signal, 0 to 1"
    axes.plot(
        [middle - 1, middle + 1], [floor + 0.8] * 2, color="0.9", lw=0.6, zorder=0
    )
    _frame(axes, middle, floor, name, [], is_marked=is_marked)


def _label(axes: Axes, kind: int, name: str, values: Mapping[float, str]) -> None:
    """Write below a column of panels what it shows, and values at their places."""
    middle = kind * PANEL_WIDTH
    axes.text(middle, -0.25, name, ha="center", fontsize=9)
    for place, value in values.items():
        axes.text(middle + place, -0.115, value, ha="center", fontsize=7)


def _frame(
    axes: Axes, middle: float, floor: float, name: str, notes: Sequence[str], *,
    is_marked: bool,
) -> None:  # fmt: skip
    left, right = middle - 1, middle + 1
    axes.plot(
        [left, right, right, left, left], [floor, floor, floor + 1, floor + 1, floor],
        color="black", lw=0.7,
    )  # fmt: skip
    for value in (-0.5, 0, 0.5):
        axes.plot(
            [middle + value] * 2, [floor, floor + 1], color="0.9", lw=0.6, zorder=0
        )
    axes.text(
        left + 0.04, floor + 0.96, name, va="top", fontsize=8,
        weight="bold" if is_marked else "normal",
        color="#B00020" if is_marked else "black",
    )  # fmt: skip
    axes.text(
        right - 0.03, floor + 0.96, "\n".join(notes), va="top", ha="right",
        fontsize=6.5, color="0.35",
    )  # fmt: skip


def _n_bins(most: int, tables: Mapping[str, Profile]) -> int:
    """Bins for the table with the fewest rows."""
    n_rows = min(table.n_rows for table in tables.values())
    return len(bin_edges(0, 1, most, n_rows)) - 1


def _coarser(fine: I64, n_bins: int) -> F64:
    counts: F64 = fine.reshape(n_bins, -1).sum(axis=1).astype(np.float64)
    return counts


def _scale(counts: F64, first: F64) -> float:
    both = counts.any() and first.any()
    return float(first.sum() / counts.sum()) if both else 1.0


def target_histogram(tables: Mapping[str, Profile], name: str) -> Figure:
    """Draw one quantity of all rows.

    Parameters
    ----------
    tables : mapping
        Name to rows, one or two; the second is scaled to the first.
    name : str
        ``z``, ``theta`` or ``inverse_pt``.
    """
    quantity = TARGETS[name]
    short, unit = quantity.rstrip(")").split(" (")
    of = "trigger track" if name == "inverse_pt" else "reconstruction"
    n_bins = _n_bins(TARGET_BINS, tables)
    edges = np.linspace(*RANGES[quantity], n_bins + 1)
    drawn: list[Bars] = []
    for colour, (table_name, table) in zip(COLOURS, tables.items(), strict=False):
        counts = _coarser(table.others[quantity], n_bins)
        label = f"{readable(table_name)}: {counts.sum():,.0f} tracks"
        if not drawn:
            drawn.append(Bars(Look(colour), label, counts))
            continue
        first = drawn[0].counts
        scale = _scale(counts, first)
        # Of other rows: errors of both.
        lower = np.where(first >= MIN_TRACKS, first, np.nan)
        share = counts / lower
        error = scale * np.sqrt(counts + share**2 * lower) / lower
        ratio = Points(edges, scale * share, error, counts.astype(np.int64))
        label += ", scaled to the first"
        drawn.append(Bars(Look(colour), label, counts, ratio, scale))
    return draw_histograms(
        f"{short} of the {of}",
        edges,
        drawn,
        quantity,
        f"tracks per {edges[1] - edges[0]:.2g} {unit}",
        over="the first",
        log=name == "z",
    )[0]
