"""Decisions by |z| and by class: where they keep tracks, and what a class means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nnt.metrics import (
    AXES,
    FEED_EFFICIENCY,
    Decision,
    Predictions,
    all_decisions,
)
from nnt.metrics.clusters import share_errors
from nnt.metrics.decisions import first_cut, rank_at_efficiency
from nnt.metrics.inbins import bin_numbers
from nnt.plots.pieces import MIN_TRACKS, Points, bin_edges, plot_points, set_axis
from nnt.plots.registry import EVALUATION, EVERYWHERE, register
from nnt.plots.roc import DECISIONS
from nnt.plots.shown import Curve
from nnt.plots.style import canvas_with_ratio, legend
from nnt.types import F64, BoolArray, FloatArray

__all__: list[str] = []

MARKERS = {"": "o", "_by_class": "s"}
PROBABILITY_BINS = 40


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Kept:
    """Shares of tracks that a decision keeps or rejects, in bins."""

    points: Points
    n_tracks: F64
    cut: float
    """On |z| in cm, or on the output of the class."""


def _kept(
    predicted: Predictions, _: Predictions | None, *, name: str, rejected: bool = False
) -> dict[str, _Kept] | None:
    """By the suffix of each decision; of signal alone, or of all tracks rejected."""
    at = AXES[name].values(predicted)
    if at is None:
        return None
    found = {
        suffix: _kept_by(decision, at, name, predicted.real if rejected else None)
        for (prefix, suffix), decision in all_decisions(predicted).items()
        if not prefix and decision.signal.any()
    }
    return found or None


def _kept_by(
    decision: Decision, at: FloatArray, name: str, every: BoolArray | None
) -> _Kept:
    ordered = np.sort(decision.distance_cm[decision.signal])
    cut = float(first_cut(ordered[rank_at_efficiency(len(ordered), FEED_EFFICIENCY)]))
    rows = decision.signal if every is None else every
    passing = decision.distance_cm[rows] < cut
    edges = AXES[name].edges_for(int(rows.sum()))
    share, error, n_tracks = share_errors(
        passing if every is None else ~passing,
        decision.event[rows],
        bin_numbers(at[rows], edges),
        len(edges) - 1,
    )
    shown = np.where(n_tracks >= MIN_TRACKS, share, np.nan)
    return _Kept(
        points=Points(edges=edges, values=shown, errors=error),
        n_tracks=n_tracks.astype(np.float64),
        cut=cut,
    )


def _draw_kept(
    curves: Sequence[Curve[dict[str, _Kept]]], *, name: str, rejected: bool = False
) -> Figure:
    first = next(iter(curves[0].data.values()))
    n_tracks = f"{first.n_tracks.sum():,.0f}"
    at = f"at {FEED_EFFICIENCY * 100:.0f} % efficiency"
    figure, axes, below = canvas_with_ratio(
        f"rejection of {n_tracks} tracks {at}"
        if rejected
        else f"efficiency for {n_tracks} tracks from the collision point, {at}"
    )
    for curve in curves:
        for suffix, data in curve.data.items():
            _plot_kept(axes, curve, suffix, data)
    below.stairs(first.n_tracks, first.points.edges, color="0.75", fill=True)
    if not rejected:
        axes.axhline(FEED_EFFICIENCY, color="0.5", lw=0.8)
    axes.set_ylim(top=1.005)
    axes.set_ylabel("share rejected" if rejected else "efficiency")
    below.set_ylabel("tracks")
    set_axis(below, name)
    legend(axes)
    return figure


def _plot_kept(
    axes: Axes, curve: Curve[dict[str, _Kept]], suffix: str, data: _Kept
) -> None:
    label = curve.label
    if label is not None:
        cut = f"> {-data.cut:.3f}" if suffix else f"< {data.cut:.1f} cm"
        label += f", {DECISIONS[suffix]} {cut}"
    plot_points(
        axes, data.points, curve.look, label, highest=1.0, marker=MARKERS[suffix]
    )


def _register() -> None:
    for name, axis in AXES.items():
        if name != "z":
            register(
                f"efficiency_against_{name}",
                where=EVALUATION,
                curve=partial(_kept, name=name),
                caption="Efficiency for tracks from the collision point against "
                f"{axis.label}.",
            )(partial(_draw_kept, name=name))
    register(
        "rejection_against_z",
        where=EVALUATION,
        curve=partial(_kept, name="z", rejected=True),
        caption="Share of all tracks that is rejected at 96 % efficiency, against z.",
    )(partial(_draw_kept, name="z", rejected=True))


_register()


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Calibration:
    points: Points
    n_tracks: F64


def _calibration(
    predicted: Predictions, _: Predictions | None
) -> dict[str, _Calibration] | None:
    found = {}
    for (prefix, suffix), decision in all_decisions(predicted).items():
        rows = decision.signal | decision.background
        if suffix and rows.any():
            found["stt" if prefix else "nnt"] = _calibrated(decision, rows)
    return found or None


def _calibrated(decision: Decision, rows: BoolArray) -> _Calibration:
    """Observed share of signal in bins of the probability that the output stands for.

    The activation of the output is 2 p - 1 of the probability p.
    """
    probability = np.clip((1 - decision.distance_cm[rows]) / 2, 0, 1 - 1e-6)
    edges = bin_edges(0, 1, PROBABILITY_BINS, len(probability))
    share, error, n_tracks = share_errors(
        decision.signal[rows],
        decision.event[rows],
        bin_numbers(probability, edges),
        len(edges) - 1,
    )
    shown = np.where(n_tracks >= MIN_TRACKS, share, np.nan)
    return _Calibration(
        points=Points(edges=edges, values=shown, errors=error),
        n_tracks=n_tracks.astype(np.float64),
    )


@register(
    "calibration",
    where=EVERYWHERE,
    curve=_calibration,
    caption="Share of signal among signal and background, against the probability "
    "that a class predicts.",
)
def calibration(curves: Sequence[Curve[dict[str, _Calibration]]]) -> Figure:
    """Draw how far the probability of a class is the share that is observed."""
    figure, axes, below = canvas_with_ratio(
        "predicted and observed share of signal among signal and background"
    )
    for curve in curves:
        for name, data in curve.data.items():
            label = curve.label and f"{curve.label}, {name}"
            marker = "o" if name == "nnt" else "s"
            plot_points(axes, data.points, curve.look, label, highest=1, marker=marker)
            below.stairs(
                data.n_tracks, data.points.edges, color=curve.look.colour,
                ls="-" if name == "nnt" else "--", baseline=None,
            )  # fmt: skip
    axes.plot([0, 1], [0, 1], color="0.5", lw=0.8, ls="--")
    axes.set_ylim(0, 1.02)
    axes.set_ylabel("observed share of signal")
    below.set_ylim(bottom=0)
    below.set_ylabel("tracks")
    below.set_xlim(0, 1)
    below.set_xlabel("predicted probability")
    legend(axes)
    return figure
