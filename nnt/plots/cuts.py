"""What a cut keeps and throws away, and what comes from far away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from matplotlib.figure import Figure

from nnt.metrics import (
    AXES,
    BACKGROUND_Z_CM,
    CUT_CM,
    FAR_Z_CM,
    FEED_EFFICIENCY,
    SIGNAL_Z_CM,
    Predictions,
    all_decisions,
    cut_at_efficiency_cm,
)
from nnt.metrics.decisions import first_cut, rank_at_efficiency
from nnt.plots.pieces import (
    MIN_TRACKS,
    SHARE,
    Line,
    Points,
    filled,
    plot_line,
    plot_points,
    set_axis,
    shares_in_bins,
)
from nnt.plots.registry import EVALUATION, EVERYWHERE, Curve, register
from nnt.plots.style import (
    canvas,
    canvas_of_rows,
    canvas_with_ratio,
    label_in_two_lines,
    legend,
)
from nnt.types import F64, I64, BoolArray

CUTS_CM = np.linspace(0, 60, 121)
DECISIONS = {"": "|z|", "_by_class": "class"}
"""Suffix of the metrics of a decision -> what is cut on."""
MARKERS = {"": "o", "_by_class": "s"}


_Shares = dict[str, tuple[Line, int]]
"""Efficiency and rejection, where there are tracks for them, and of how many."""


def _kept_and_rejected(predicted: Predictions, _: Predictions | None) -> _Shares | None:
    if not predicted.has_z:
        return None
    size, found = np.abs(predicted.z_reco_cm), {}
    kinds = {"efficiency": size < SIGNAL_Z_CM, "rejection": size > BACKGROUND_Z_CM}
    for name, kind in kinds.items():
        rows = np.flatnonzero(predicted.real & kind)
        if len(rows):
            found[name] = _shares_below(predicted, rows), len(rows)
    return found or None


def _shares_below(predicted: Predictions, rows: I64) -> Line:
    """Shares of some rows below each cut."""
    rows = rows[np.argsort(np.abs(predicted.z_cm[rows]), kind="stable")]
    size_cm = np.abs(predicted.z_cm[rows])

    def share(kept: BoolArray) -> F64:
        found = size_cm[kept]
        below: F64 = np.searchsorted(found, CUTS_CM, side="left") / max(len(found), 1)
        return below

    return Line.of(CUTS_CM, share, predicted.event[rows])


@register(
    "efficiency_and_rejection",
    curve=_kept_and_rejected,
    caption="Efficiency and rejection against the cut.",
)
def efficiency_and_rejection(curves: Sequence[Curve[_Shares]]) -> Figure:
    """Draw what the trigger keeps and throws away as its cut moves."""
    figure, axes = canvas("efficiency and rejection against the cut |z| < d")
    for curve in curves:
        for kind, (line, n_tracks) in curve.data.items():
            label = f"{kind}, {curve.label} ({n_tracks:,} tracks)"
            if kind == "rejection":
                line = replace(line, share=1 - line.share)
            style = "--" if kind == "rejection" else "-"
            plot_line(axes, line, curve.look, style, label)
    axes.axvline(CUT_CM, color="0.5", lw=0.8, label=f"d = {CUT_CM:g} cm")
    axes.set(xlim=(CUTS_CM[0], CUTS_CM[-1]), ylim=(0, 1.02))
    axes.set(xlabel="cut d (cm)", ylabel="share of tracks")
    legend(axes)
    return figure


_Feed = tuple[float, Line, Line]
"""The cut in cm, and the shares that pass from positive and from negative z."""


def _feed(predicted: Predictions, _: Predictions | None) -> _Feed | None:
    signal = predicted.real & (np.abs(predicted.z_reco_cm) < SIGNAL_Z_CM)
    if not predicted.has_z or not signal.any():
        return None
    cut_cm = cut_at_efficiency_cm(predicted.z_cm[signal], FEED_EFFICIENCY)
    down, up = (_shares_beyond(predicted, sign, cut_cm) for sign in (1, -1))
    return (cut_cm, down, up) if len(down.at) or len(up.at) else None


def _shares_beyond(predicted: Predictions, sign: int, cut_cm: float) -> Line:
    """Shares of the tracks from beyond each D that pass, where there are enough."""
    rows = np.flatnonzero(predicted.real & (sign * predicted.z_reco_cm > FAR_Z_CM[0]))
    rows = rows[np.argsort(-sign * predicted.z_reco_cm[rows], kind="stable")]
    far_cm = -sign * predicted.z_reco_cm[rows]
    passing = np.abs(predicted.z_cm[rows]) < cut_cm
    enough = np.searchsorted(far_cm, -FAR_Z_CM, side="left") >= MIN_TRACKS

    def share(kept: BoolArray) -> F64:
        n_beyond = np.searchsorted(far_cm[kept], -FAR_Z_CM[enough], side="left")
        total = np.append(0, np.cumsum(passing[kept]))
        result: F64 = total[n_beyond] / np.where(n_beyond > 0, n_beyond, np.nan)
        return result

    return Line.of(FAR_Z_CM[enough], share, predicted.event[rows])


@register(
    "feed_down",
    where=EVERYWHERE,
    curve=_feed,
    caption="Far tracks that pass at 96 % efficiency: from positive z (feed-down) and "
    "from negative z (feed-up).",
)
def feed_down(curves: Sequence[Curve[_Feed]]) -> Figure:
    """Draw feed-down and feed-up at the cut of 96 % efficiency."""
    figure, panels = canvas_of_rows(
        f"feed-down and feed-up at {FEED_EFFICIENCY * 100:.0f} % efficiency", (2.0, 2.0)
    )
    for curve in curves:
        cut_cm, *lines = curve.data
        label = curve.label and f"{curve.label} (cut {cut_cm:.1f} cm)"
        style = "o-" if curve.look.in_legend else "-"
        for axes, line in zip(panels, lines, strict=True):
            own = label if axes is panels[0] else None
            plot_line(axes, line, curve.look, style, own)
    sides = ("feed-down, z > D", "feed-up, z < -D")
    for axes, side in zip(panels, sides, strict=True):
        axes.set_ylim(0, 1.02)
        label_in_two_lines(axes, f"share that passes\n{side}")
    panels[1].set(xlim=(FAR_Z_CM[0] - 2, FAR_Z_CM[-1] + 2), xlabel="D (cm)")
    legend(panels[0])
    return figure


_Kept = dict[str, tuple[Points, float]]
"""By the suffix of each decision: shares that it keeps or rejects in bins; the cut in
cm, or on the class."""


def _kept(
    predicted: Predictions, _: Predictions | None, axis: str, *, rejected: bool = False
) -> _Kept | None:
    """Of signal alone what is kept, or of all tracks what is rejected."""
    at = AXES[axis].values(predicted)
    if at is None:
        return None
    found = {}
    for (prefix, suffix), decision in all_decisions(predicted).items():
        if prefix or not decision.signal.any():
            continue
        ordered = np.sort(decision.distance_cm[decision.signal])
        last = ordered[rank_at_efficiency(len(ordered), FEED_EFFICIENCY)]
        cut = float(first_cut(last))
        rows = predicted.real if rejected else decision.signal
        passing = decision.distance_cm[rows] < cut
        edges = AXES[axis].edges_for(int(rows.sum()))
        shown = ~passing if rejected else passing
        points = shares_in_bins(shown, decision.event[rows], at[rows], edges)
        found[suffix] = points, cut
    return found or None


def _draw_kept(
    curves: Sequence[Curve[_Kept]], axis: str, *, rejected: bool = False
) -> Figure:
    first, _ = next(iter(curves[0].data.values()))
    n_tracks = f"{first.n_tracks.sum():,}"
    at = f"at {FEED_EFFICIENCY * 100:.0f} % efficiency"
    figure, axes, below = canvas_with_ratio(
        f"rejection of {n_tracks} tracks {at}"
        if rejected
        else f"efficiency for {n_tracks} tracks from the collision point, {at}"
    )
    for curve in curves:
        for suffix, (points, cut) in curve.data.items():
            beyond = f"> {-cut:.3f}" if suffix else f"< {cut:.1f} cm"
            label = curve.label and f"{curve.label}, {DECISIONS[suffix]} {beyond}"
            marker = MARKERS[suffix]
            plot_points(axes, points, curve.look, label, limits=SHARE, marker=marker)
    filled(below, first.edges, first.n_tracks, "0.75")
    if not rejected:
        axes.axhline(FEED_EFFICIENCY, color="0.5", lw=0.8)
    axes.set(ylim=(None, 1.005), ylabel="share rejected" if rejected else "efficiency")
    below.set_ylabel("tracks")
    set_axis(below, axis)
    legend(axes)
    return figure


for _name in AXES:
    if _name != "z":
        register(
            f"efficiency_against_{_name}",
            where=EVALUATION,
            caption="Efficiency for tracks from the collision point against "
            f"{AXES[_name].label}.",
            curve=_kept,
            axis=_name,
        )(_draw_kept)
register(
    "rejection_against_z",
    where=EVALUATION,
    caption="Share of all tracks that is rejected at 96 % efficiency, against z.",
    curve=_kept,
    axis="z",
    rejected=True,
)(_draw_kept)
