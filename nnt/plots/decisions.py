"""The decision that the trigger takes: what it keeps, and what it throws away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nnt.metrics import (
    AXES,
    BACKGROUND_Z_CM,
    CUT_CM,
    EFFICIENCIES,
    SIGNAL_Z_CM,
    STT_MOMENTUM_GEV,
    Decision,
    Predictions,
    cut_at_efficiency_cm,
    decisions,
    rejection_at_efficiency,
    roc_area,
)
from nnt.metrics.clusters import event_jackknife, share_errors
from nnt.metrics.residuals import bin_numbers
from nnt.plots.pieces import MIN_TRACKS, Points, plot_points, set_axis
from nnt.plots.registry import EVALUATION, EVERYWHERE, register
from nnt.plots.shown import Curve
from nnt.plots.style import (
    canvas,
    canvas_of_rows,
    canvas_with_ratio,
    label_in_two_lines,
    legend,
)
from nnt.types import F64, I64, BoolArray, FloatArray

__all__: list[str] = []

ROC_EFFICIENCIES = np.linspace(0.5, 1.0, 101)
FEED_EFFICIENCY = 0.96
CUTS_CM = np.linspace(0, 60, 121)
FAR_Z_CM = np.arange(15.0, 81.0, 5.0)
SIGNAL = f"|z| < {SIGNAL_Z_CM:g} cm"
BACKGROUND = f"|z| > {BACKGROUND_Z_CM:g} cm"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Rejection:
    efficiency: F64
    rejection: F64
    error: F64
    marked: tuple[float, ...]
    """Working points within reach."""
    at_marked: F64
    area: float
    n_signal: int
    n_background: int


def _rejection(
    predicted: Predictions, _: Predictions | None, *, prefix: str
) -> _Rejection | None:
    found = decisions(predicted, predicted.z_cm, predicted.theta_deg).get(prefix)
    if found is None or not (found.signal.any() and found.background.any()):
        return None
    return _rejection_of(found)


def _rejection_of(decision: Decision) -> _Rejection:
    signal, background = decision.signal_cm, decision.background_cm
    # Beyond lies what no cut keeps.
    reached = float(np.isfinite(signal).mean())
    at = ROC_EFFICIENCIES[reached >= ROC_EFFICIENCIES]
    marked = tuple(point for point in EFFICIENCIES if point <= reached)
    return _Rejection(
        efficiency=at,
        rejection=rejection_at_efficiency(signal, background, at),
        error=_rejection_error(decision, at),
        marked=marked,
        at_marked=rejection_at_efficiency(signal, background, marked),
        area=roc_area(signal, background),
        n_signal=len(signal),
        n_background=len(background),
    )


def _rejection_error(decision: Decision, at: F64) -> F64:
    """Error of the curve: events left out in turn, cut and background alike."""
    near, near_cm = _in_order(decision, decision.signal)
    far, far_cm = _in_order(decision, decision.background)

    def rejection(kept: BoolArray) -> F64:
        signal, background = near_cm[kept[near]], far_cm[kept[far]]
        if not len(signal) or not len(background):
            return np.full(len(at), np.nan)
        last = signal[np.maximum(np.ceil(at * len(signal)).astype(np.int64) - 1, 0)]
        passing = np.searchsorted(background, last, side="right")
        result: F64 = 1 - passing / len(background)
        return np.where(np.isfinite(last), result, np.nan)

    return event_jackknife(rejection, decision.event)


def _in_order(decision: Decision, kind: BoolArray) -> tuple[I64, FloatArray]:
    """Rows of a kind, the nearest first, and how far out the trigger sees them."""
    rows = np.flatnonzero(kind)
    rows = rows[np.argsort(decision.distance_cm[rows], kind="stable")]
    return rows, decision.distance_cm[rows]


def _draw_rejection(curves: Sequence[Curve[_Rejection]], *, what: str) -> Figure:
    own = curves[0].data
    figure, axes = canvas(
        f"{own.n_signal:,} signal {what}, {SIGNAL}, and {own.n_background:,} "
        f"background, {BACKGROUND}"
    )
    for curve in curves:
        _draw_one_rejection(axes, curve)
    axes.set_xlim(ROC_EFFICIENCIES[0], 1)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("efficiency for signal from the collision point")
    axes.set_ylabel("rejection of background")
    marked = sorted({point for curve in curves for point in curve.data.marked})
    points = ", ".join(f"{point * 100:.0f}" for point in marked)
    missing = [p for p in EFFICIENCIES if p not in marked]
    title = f"points: {points} % efficiency" if marked else ""
    if missing:
        out = ", ".join(f"{point * 100:.0f}" for point in missing)
        title += f"{'; ' if title else ''}{out} % efficiency is out of reach"
    legend(axes, title=title)
    return figure


def _draw_one_rejection(axes: Axes, curve: Curve[_Rejection]) -> None:
    own, look = curve.data, curve.look
    label = curve.label
    if label is not None:
        label += f": area {own.area:.4f}"
        if FEED_EFFICIENCY in own.marked:
            share = own.at_marked[own.marked.index(FEED_EFFICIENCY)]
            label += f", {share:.1%} at {FEED_EFFICIENCY * 100:.0f} %"
    axes.plot(
        own.efficiency, own.rejection, color=look.colour, lw=look.width,
        zorder=look.order, label=label,
    )  # fmt: skip
    if not look.in_legend:
        return
    low, high = own.rejection - own.error, own.rejection + own.error
    axes.fill_between(
        own.efficiency, np.maximum(low, 0), np.minimum(high, 1), color=look.colour,
        alpha=0.2, lw=0,
    )  # fmt: skip
    axes.plot(own.marked, own.at_marked, "o", color=look.colour, ms=4)


def _register_rejection() -> None:
    caption = "Background rejection against signal efficiency as the cut moves"
    for name, prefix, what, where, of in (
        ("", "", "tracks", EVERYWHERE, ""),
        ("event_", "event_", "events", (EVALUATION,), ", of events"),
        (
            "stt_", "stt_", f"tracks (p > {STT_MOMENTUM_GEV:g} GeV required)",
            (EVALUATION,), ", of the single-track trigger",
        ),
    ):  # fmt: skip
        register(
            f"{name}rejection_against_efficiency",
            where=where,
            curve=partial(_rejection, prefix=prefix),
            caption=f"{caption}{of}.",
        )(partial(_draw_rejection, what=what))


_register_rejection()


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Shares:
    """Shares of tracks against a cut, shape (C,) each, and how many there are."""

    share: F64
    error: F64
    n_tracks: int


def _kept_and_rejected(
    predicted: Predictions, _: Predictions | None
) -> dict[str, _Shares] | None:
    size = np.abs(predicted.z_reco_cm)
    found = {
        "efficiency": _shares_below(predicted, size < SIGNAL_Z_CM),
        "rejection": _shares_below(predicted, size > BACKGROUND_Z_CM),
    }
    return {kind: own for kind, own in found.items() if own is not None} or None


def _shares_below(predicted: Predictions, kind: BoolArray) -> _Shares | None:
    """Shares of the rows of a kind with |z| below each cut."""
    rows = np.flatnonzero(kind)
    if not len(rows):
        return None
    rows = rows[np.argsort(np.abs(predicted.z_cm[rows]), kind="stable")]
    size_cm, event = np.abs(predicted.z_cm[rows]), predicted.event[rows]

    def share(kept: BoolArray) -> F64:
        found = size_cm[kept]
        below: F64 = np.searchsorted(found, CUTS_CM, side="left") / max(len(found), 1)
        return below

    everything = share(np.ones(len(rows), dtype=np.bool_))
    return _Shares(
        share=everything, error=event_jackknife(share, event), n_tracks=len(rows)
    )


@register(
    "efficiency_and_rejection",
    curve=_kept_and_rejected,
    caption="Efficiency and rejection against the cut.",
)
def efficiency_and_rejection(curves: Sequence[Curve[dict[str, _Shares]]]) -> Figure:
    """Draw what the trigger keeps and throws away as its cut moves."""
    figure, axes = canvas("efficiency and rejection against the cut |z| < d")
    for curve in curves:
        for kind, own in curve.data.items():
            share = own.share if kind == "efficiency" else 1 - own.share
            line = "-" if kind == "efficiency" else "--"
            axes.plot(
                CUTS_CM, share, line, color=curve.look.colour,
                label=f"{kind}, {curve.label} ({own.n_tracks:,} tracks)",
            )  # fmt: skip
            low, high = share - own.error, share + own.error
            axes.fill_between(
                CUTS_CM, np.maximum(low, 0), np.minimum(high, 1),
                color=curve.look.colour, alpha=0.2, lw=0,
            )  # fmt: skip
    axes.axvline(CUT_CM, color="0.5", lw=0.8, label=f"d = {CUT_CM:g} cm")
    axes.set_xlim(CUTS_CM[0], CUTS_CM[-1])
    axes.set_xlabel("cut d (cm)")
    axes.set_ylabel("share of tracks")
    axes.set_ylim(0, 1.02)
    legend(axes)
    return figure


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Feed:
    cut_cm: float
    down: Points
    up: Points


def _feed(predicted: Predictions, _: Predictions | None) -> _Feed | None:
    signal = np.abs(predicted.z_reco_cm) < SIGNAL_Z_CM
    if not signal.any():
        return None
    cut_cm = cut_at_efficiency_cm(predicted.z_cm[signal], FEED_EFFICIENCY)
    sides = [_shares_beyond(predicted, sign, cut_cm) for sign in (1, -1)]
    if not any(np.isfinite(side.values).any() for side in sides):
        return None
    return _Feed(cut_cm=cut_cm, down=sides[0], up=sides[1])


def _shares_beyond(predicted: Predictions, sign: int, cut_cm: float) -> Points:
    """Shares of the tracks from beyond each D that pass."""
    rows = np.flatnonzero(sign * predicted.z_reco_cm > FAR_Z_CM[0])
    rows = rows[np.argsort(-sign * predicted.z_reco_cm[rows], kind="stable")]
    far_cm = -sign * predicted.z_reco_cm[rows]
    passing = np.abs(predicted.z_cm[rows]) < cut_cm

    def share(kept: BoolArray) -> F64:
        n_beyond = np.searchsorted(far_cm[kept], -FAR_Z_CM, side="left")
        total = np.append(0, np.cumsum(passing[kept]))
        result: F64 = total[n_beyond] / np.where(n_beyond > 0, n_beyond, np.nan)
        return result

    everything = share(np.ones(len(rows), dtype=np.bool_))
    n_beyond = np.searchsorted(far_cm, -FAR_Z_CM, side="left")
    return Points(
        edges=np.append(FAR_Z_CM, FAR_Z_CM[-1]),
        values=np.where(n_beyond >= MIN_TRACKS, everything, np.nan),
        errors=event_jackknife(share, predicted.event[rows]),
    )


@register(
    "feed_down",
    where=EVERYWHERE,
    curve=_feed,
    caption="Far tracks that pass at 96 % efficiency: from positive z (feed-down) and "
    "from negative z (feed-up).",
)
def feed_down(curves: Sequence[Curve[_Feed]]) -> Figure:
    """Draw the shares of far tracks that pass the cut of 96 % efficiency."""
    figure, panels = canvas_of_rows(
        f"feed-down and feed-up at {FEED_EFFICIENCY * 100:.0f} % efficiency", (2.0, 2.0)
    )
    sides = (("feed-down, z > D", "down"), ("feed-up, z < -D", "up"))
    for axes, (side, of) in zip(panels, sides, strict=True):
        for curve in curves:
            points: Points = getattr(curve.data, of)
            label = curve.label and f"{curve.label} (cut {curve.data.cut_cm:.1f} cm)"
            _draw_feed(axes, points, curve, label if axes is panels[0] else None)
        axes.set_ylim(0, 1.02)
        label_in_two_lines(axes, f"share that passes\n{side}")
    panels[1].set_xlim(FAR_Z_CM[0] - 2, FAR_Z_CM[-1] + 2)
    panels[1].set_xlabel("D (cm)")
    legend(panels[0])
    return figure


def _draw_feed(
    axes: Axes, points: Points, curve: Curve[_Feed], label: str | None
) -> None:
    there = np.isfinite(points.values)
    at, share = points.edges[:-1][there], points.values[there]
    error, look = points.errors[there], curve.look
    axes.plot(
        at, share, "-" if not look.in_legend else "o-", color=look.colour,
        lw=look.width, ms=3.2, zorder=look.order, label=label,
    )  # fmt: skip
    if look.in_legend:
        axes.fill_between(
            at, share - error, share + error, color=look.colour, alpha=0.15, lw=0
        )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Efficiency:
    points: Points
    n_tracks: F64
    cut_cm: float


def _efficiency(
    predicted: Predictions, _: Predictions | None, *, name: str
) -> _Efficiency | None:
    at = AXES[name].values(predicted)
    signal = np.abs(predicted.z_reco_cm) < SIGNAL_Z_CM
    if at is None or not signal.any():
        return None
    size_cm = np.abs(predicted.z_cm[signal])
    cut_cm = cut_at_efficiency_cm(size_cm, FEED_EFFICIENCY)
    edges = AXES[name].edges_for(int(signal.sum()))
    share, error, n_tracks = share_errors(
        size_cm < cut_cm,
        predicted.event[signal],
        bin_numbers(at[signal], edges),
        len(edges) - 1,
    )
    shown = np.where(n_tracks >= MIN_TRACKS, share, np.nan)
    return _Efficiency(
        points=Points(edges=edges, values=shown, errors=error),
        n_tracks=n_tracks.astype(np.float64),
        cut_cm=cut_cm,
    )


def _draw_efficiency(curves: Sequence[Curve[_Efficiency]], *, name: str) -> Figure:
    first = curves[0].data
    figure, axes, below = canvas_with_ratio(
        f"efficiency for {first.n_tracks.sum():,.0f} tracks from the collision point, "
        f"|z| < d of {FEED_EFFICIENCY * 100:.0f} %"
    )
    for curve in curves:
        label = curve.label and f"{curve.label}, d = {curve.data.cut_cm:.1f} cm"
        plot_points(axes, curve.data.points, curve.look, label, highest=1.0)
    below.stairs(first.n_tracks, first.points.edges, color="0.75", fill=True)
    axes.axhline(FEED_EFFICIENCY, color="0.5", lw=0.8)
    axes.set_ylim(top=1.005)
    axes.set_ylabel("efficiency")
    below.set_ylabel("tracks")
    set_axis(below, name)
    legend(axes)
    return figure


def _register_efficiencies() -> None:
    for name, axis in AXES.items():
        if name != "z":
            register(
                f"efficiency_against_{name}",
                where=EVALUATION,
                curve=partial(_efficiency, name=name),
                caption="Efficiency for tracks from the collision point against "
                f"{axis.label}.",
            )(partial(_draw_efficiency, name=name))


_register_efficiencies()
