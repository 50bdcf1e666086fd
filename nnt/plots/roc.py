"""What decisions reject at each efficiency, and what the output of a class means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
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
    SHARE,
    Line,
    Points,
    bin_edges,
    plot_line,
    plot_points,
    shares_in_bins,
    steps,
)
from nnt.plots.registry import EVALUATION, EVERYWHERE, Curve, register
from nnt.plots.style import canvas, canvas_with_ratio, legend
from nnt.types import F64, I64, BoolArray, FloatArray

CURVE_EFFICIENCIES = np.linspace(0.5, 1.0, 101)
LINES = {"": "-", "_by_class": "--"}
SIGNAL = {
    "": "tracks",
    "event_": "events",
    "stt_": f"tracks (p > {STT_MOMENTUM_GEV:g} GeV required)",
}
"""What decisions with these prefixes are of."""
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
    predicted: Predictions, _: Predictions | None, prefix: str, *, of_fakes: bool
) -> dict[str, _Rejection] | None:
    """Curves of the decisions by |z| and by class, by their suffixes."""
    found = {}
    for (of, suffix), decision in all_decisions(predicted).items():
        rejected = decision.fake if of_fakes else decision.background
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
    curves: Sequence[Curve[dict[str, _Rejection]]], prefix: str, *, of_fakes: bool
) -> Figure:
    data = next(iter(curves[0].data.values()))
    what, cut = "fakes" if of_fakes else "background", f"|z| > {BACKGROUND_Z_CM:g} cm"
    # Events of fakes alone are background, too.
    kind = "" if of_fakes else f", {cut} or fake" if prefix == "event_" else f", {cut}"
    figure, axes = canvas(
        f"{data.n_signal:,} signal {SIGNAL[prefix]}, |z| < {SIGNAL_Z_CM:g} cm, and "
        f"{data.n_background:,} {what}{kind}"
    )
    drawn = [(curve, *item) for curve in curves for item in curve.data.items()]
    by_class = any(suffix for _, suffix, _ in drawn)
    for curve, suffix, rejection in drawn:
        look, label = curve.look, curve.label
        if label is not None:
            label += f", by {DECISIONS[suffix]}" if by_class else ""
            label += f": area {rejection.area:.4f}"
            if FEED_EFFICIENCY in rejection.marked:
                at = rejection.marked.index(FEED_EFFICIENCY)
                share = rejection.at_marked[at]
                label += f", {share:.1%} at {FEED_EFFICIENCY * 100:.0f} %"
        plot_line(axes, rejection.line, look, LINES[suffix], label)
        if look.in_legend:
            axes.plot(
                rejection.marked, rejection.at_marked, "o", color=look.colour, ms=4
            )
    axes.set(xlim=(CURVE_EFFICIENCIES[0], 1), ylim=(0, 1.02))
    axes.set_xlabel("efficiency for signal from the collision point")
    axes.set_ylabel(f"rejection of {what}")
    marked = {point for _, _, data in drawn for point in data.marked}
    within = [f"{100 * p:.0f}" for p in EFFICIENCIES if p in marked]
    beyond = [f"{100 * p:.0f}" for p in EFFICIENCIES if p not in marked]
    points = [f"points: {', '.join(within)} % efficiency"] if within else []
    if beyond:
        points.append(f"{', '.join(beyond)} % efficiency is out of reach")
    legend(axes, title="; ".join(points))
    return figure


for _prefix, _where, _of in (
    ("", EVERYWHERE, ""),
    ("event_", EVALUATION, ", of events"),
    ("stt_", EVALUATION, ", of the single-track trigger"),
):
    register(
        f"{_prefix}rejection_against_efficiency",
        where=_where,
        caption="Background rejection against signal efficiency as the cut varies"
        f"{_of}.",
        curve=_rejections,
        fakes=True,
        prefix=_prefix,
        of_fakes=False,
    )(_draw)
register(
    "fake_rejection_against_efficiency",
    where=EVERYWHERE,
    caption="Rejection of fake tracks against signal efficiency as the cut varies.",
    curve=_rejections,
    fakes=True,
    prefix="",
    of_fakes=True,
)(_draw)


def _calibration(
    predicted: Predictions, _: Predictions | None
) -> dict[str, Points] | None:
    """Observed share of signal in bins of the probability, for each class."""
    found = {}
    for (prefix, suffix), decision in all_decisions(predicted).items():
        rows = decision.signal | decision.background
        if suffix and rows.any():
            # The activation of the output is 2 p - 1 of the probability p.
            probability = np.clip((1 - decision.distance_cm[rows]) / 2, 0, 1 - 1e-6)
            edges = bin_edges(0, 1, PROBABILITY_BINS, len(probability))
            passing, event = decision.signal[rows], decision.event[rows]
            shares = shares_in_bins(passing, event, probability, edges)
            found["stt" if prefix else "nnt"] = shares
    return found or None


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
            plot_points(axes, data, curve.look, label, limits=SHARE, marker=marker)
            line = "-" if name == "nnt" else "--"
            steps(below, data.edges, data.n_tracks, color=curve.look.colour, ls=line)
    axes.plot([0, 1], [0, 1], color="0.5", lw=0.8, ls="--")
    axes.set(ylim=(0, 1.02), ylabel="observed share of signal")
    below.set(xlim=(0, 1), ylim=(0, None))
    below.set(xlabel="predicted probability", ylabel="tracks")
    legend(axes)
    return figure
