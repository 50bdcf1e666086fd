"""Background rejection against signal efficiency, as the cut of a decision moves."""

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
from nnt.metrics.clusters import event_jackknife
from nnt.metrics.decisions import area_of_sorted, rank_at_efficiency
from nnt.plots.registry import EVALUATION, EVERYWHERE, register
from nnt.plots.shown import Curve
from nnt.plots.style import canvas, legend
from nnt.types import F64, I64, BoolArray, FloatArray

__all__ = ["DECISIONS", "LINES"]

CURVE_EFFICIENCIES = np.linspace(0.5, 1.0, 101)
DECISIONS = {"": "|z|", "_by_class": "class"}
"""Suffix of the metrics of a decision -> what is cut on."""
LINES = {"": "-", "_by_class": "--"}


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

    def error_of(kept: BoolArray) -> F64:
        return _rejected(near_cm[kept[near]], far_cm[kept[far]], at)

    return _Rejection(
        efficiency=at,
        rejection=_rejected(near_cm, far_cm, at),
        error=event_jackknife(error_of, decision.event),
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
    axes.plot(
        data.efficiency, data.rejection, line, color=look.colour, lw=look.width,
        zorder=look.order, label=label,
    )  # fmt: skip
    if not look.in_legend:
        return
    low, high = data.rejection - data.error, data.rejection + data.error
    axes.fill_between(
        data.efficiency, np.maximum(low, 0), np.minimum(high, 1), color=look.colour,
        alpha=0.2, lw=0,
    )  # fmt: skip
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
