"""What decisions reject at each efficiency, and what the output of a class means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nnt.metrics import (
    BACKGROUND_Z_CM,
    EFFICIENCIES,
    FEED_EFFICIENCY,
    SIGNAL_Z_CM,
    STT_MOMENTUM_GEV,
    Decision,
    Predictions,
    all_decisions,
)
from nnt.metrics.decisions import area_of_sorted, rank_at_efficiency
from nnt.plots.cuts import DECISIONS
from nnt.plots.pieces import (
    Line,
    Points,
    bin_edges,
    plot_line,
    plot_points,
    shares_in_bins,
    steps,
)
from nnt.plots.registry import EVALUATION, EVERYWHERE, register
from nnt.plots.shown import Curve
from nnt.plots.style import canvas, canvas_with_ratio, legend
from nnt.types import F64, I64, BoolArray, FloatArray

CURVE_EFFICIENCIES = np.linspace(0.5, 1.0, 101)
LINES = {"": "-", "_by_class": "--"}
PROBABILITY_BINS = 40


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Rejection:
    line: Line
    marked: tuple[float, ...]
    """Working points within reach."""
    at_marked: F64
    area: float
    n_signal: int
    n_background: int


def _rejections(
    predicted: Predictions, _: Predictions | None, *, prefix: str, fakes: bool = False
) -> dict[str, _Rejection] | None:
    """Curves of the decisions by |z| and by class, by their suffixes."""
    found = {}
    for (of, suffix), decision in all_decisions(predicted).items():
        rejected = decision.fake if fakes else decision.background
        if of != prefix or rejected is None or not decision.signal.any():
            continue
        if rejected.any():
            found[suffix] = _rejection(decision, rejected)
    return found or None


def _rejection(decision: Decision, rejected: BoolArray) -> _Rejection:
    near, near_cm = _in_order(decision, decision.signal)
    far, far_cm = _in_order(decision, rejected)
    # Beyond lies what no cut keeps.
    reached = float(np.isfinite(near_cm).mean())
    at = CURVE_EFFICIENCIES[reached >= CURVE_EFFICIENCIES]
    marked = tuple(point for point in EFFICIENCIES if point <= reached)

    def rejection(kept: BoolArray) -> F64:
        return _rejected(near_cm[kept[near]], far_cm[kept[far]], at)

    return _Rejection(
        line=Line.of(at, rejection, decision.event),
        marked=marked,
        at_marked=_rejected(near_cm, far_cm, np.array(marked)),
        area=area_of_sorted(near_cm, far_cm),
        n_signal=len(near),
        n_background=len(far),
    )


def _in_order(decision: Decision, kind: BoolArray) -> tuple[I64, FloatArray]:
    """Rows of a kind, the nearest first, and how far out the trigger sees them."""
    rows = np.flatnonzero(kind)
    rows = rows[np.argsort(decision.distance_cm[rows], kind="stable")]
    return rows, decision.distance_cm[rows]


def _rejected(signal: FloatArray, background: FloatArray, at: F64) -> F64:
    """Share of the background beyond the cut of each efficiency; both in order."""
    if not len(signal) or not len(background):
        return np.full(len(at), np.nan)
    last = signal[rank_at_efficiency(len(signal), at)]
    passing = np.searchsorted(background, last, side="right")
    return np.where(np.isfinite(last), 1 - passing / len(background), np.nan)


def _draw(
    curves: Sequence[Curve[dict[str, _Rejection]]], *, what: str, fakes: bool = False
) -> Figure:
    data = next(iter(curves[0].data.values()))
    rejected = f"{data.n_background:,} " + (
        "fakes" if fakes else f"background, |z| > {BACKGROUND_Z_CM:g} cm"
    )
    figure, axes = canvas(
        f"{data.n_signal:,} signal {what}, |z| < {SIGNAL_Z_CM:g} cm, and {rejected}"
    )
    drawn = [(curve, *item) for curve in curves for item in curve.data.items()]
    by_class = any(suffix for _, suffix, _ in drawn)
    for curve, suffix, rejection in drawn:
        name = curve.label
        if name is not None and by_class:
            name = f"{name}, by {DECISIONS[suffix]}"
        _draw_one(axes, curve, rejection, LINES[suffix], name)
    axes.set_xlim(CURVE_EFFICIENCIES[0], 1)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("efficiency for signal from the collision point")
    axes.set_ylabel(f"rejection of {'fakes' if fakes else 'background'}")
    legend(axes, title=_points({p for _, _, data in drawn for p in data.marked}))
    return figure


def _points(marked: set[float]) -> str:
    """Which working points are drawn, and which no cut reaches."""
    parts = []
    for kind, points in (
        ("points: {} % efficiency", sorted(marked)),
        (
            "{} % efficiency is out of reach",
            [p for p in EFFICIENCIES if p not in marked],
        ),
    ):
        if points:
            parts.append(kind.format(", ".join(f"{100 * p:.0f}" for p in points)))
    return "; ".join(parts)


def _draw_one(
    axes: Axes,
    curve: Curve[dict[str, _Rejection]],
    data: _Rejection,
    line: str,
    name: str | None,
) -> None:
    look, label = curve.look, name
    if label is not None:
        label += f": area {data.area:.4f}"
        if FEED_EFFICIENCY in data.marked:
            share = data.at_marked[data.marked.index(FEED_EFFICIENCY)]
            label += f", {share:.1%} at {FEED_EFFICIENCY * 100:.0f} %"
    plot_line(axes, data.line, look, line, label)
    if look.in_legend:
        axes.plot(data.marked, data.at_marked, "o", color=look.colour, ms=4)


def _register() -> None:
    caption = "Background rejection against signal efficiency as the cut varies"
    for prefix, what, where, of in (
        ("", "tracks", EVERYWHERE, ""),
        ("event_", "events", (EVALUATION,), ", of events"),
        (
            "stt_", f"tracks (p > {STT_MOMENTUM_GEV:g} GeV required)",
            (EVALUATION,), ", of the single-track trigger",
        ),
    ):  # fmt: skip
        register(
            f"{prefix}rejection_against_efficiency",
            where=where,
            curve=partial(_rejections, prefix=prefix),
            caption=f"{caption}{of}.",
            fakes=True,
        )(partial(_draw, what=what))
    register(
        "fake_rejection_against_efficiency",
        where=EVERYWHERE,
        curve=partial(_rejections, prefix="", fakes=True),
        caption="Rejection of fake tracks against signal efficiency as the cut varies.",
        fakes=True,
    )(partial(_draw, what="tracks", fakes=True))


_register()


def _calibration(
    predicted: Predictions, _: Predictions | None
) -> dict[str, Points] | None:
    found = {}
    for (prefix, suffix), decision in all_decisions(predicted).items():
        rows = decision.signal | decision.background
        if suffix and rows.any():
            found["stt" if prefix else "nnt"] = _calibrated(decision, rows)
    return found or None


def _calibrated(decision: Decision, rows: BoolArray) -> Points:
    """Observed share of signal in bins of the probability that the output stands for.

    The activation of the output is 2 p - 1 of the probability p.
    """
    probability = np.clip((1 - decision.distance_cm[rows]) / 2, 0, 1 - 1e-6)
    edges = bin_edges(0, 1, PROBABILITY_BINS, len(probability))
    event = decision.event[rows]
    return shares_in_bins(decision.signal[rows], event, probability, edges)


@register(
    "calibration",
    where=EVERYWHERE,
    curve=_calibration,
    caption="Share of signal among signal and background, against the probability "
    "that a class predicts.",
)
def calibration(curves: Sequence[Curve[dict[str, Points]]]) -> Figure:
    """Draw how far the probability of a class is the share that is observed."""
    figure, axes, below = canvas_with_ratio(
        "predicted and observed share of signal among signal and background"
    )
    for curve in curves:
        for name, data in curve.data.items():
            label = curve.label and f"{curve.label}, {name}"
            marker = "o" if name == "nnt" else "s"
            plot_points(axes, data, curve.look, label, highest=1, marker=marker)
            line = "-" if name == "nnt" else "--"
            steps(below, data.edges, data.n_tracks, color=curve.look.colour, ls=line)
    axes.plot([0, 1], [0, 1], color="0.5", lw=0.8, ls="--")
    axes.set_ylim(0, 1.02)
    axes.set_ylabel("observed share of signal")
    below.set_ylim(bottom=0)
    below.set_ylabel("tracks")
    below.set_xlim(0, 1)
    below.set_xlabel("predicted probability")
    legend(axes)
    return figure
