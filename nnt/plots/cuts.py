"""What a cut on |z| keeps and throws away, and what comes from far away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nnt.metrics import (
    BACKGROUND_Z_CM,
    CUT_CM,
    FAR_Z_CM,
    FEED_EFFICIENCY,
    SIGNAL_Z_CM,
    Predictions,
    cut_at_efficiency_cm,
)
from nnt.metrics.clusters import event_jackknife
from nnt.plots.pieces import MIN_TRACKS, Points
from nnt.plots.registry import EVERYWHERE, register
from nnt.plots.shown import Curve
from nnt.plots.style import canvas, canvas_of_rows, label_in_two_lines, legend
from nnt.types import F64, BoolArray

__all__: list[str] = []

CUTS_CM = np.linspace(0, 60, 121)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Shares:
    """Shares of tracks against a cut, shape (C,) each, and how many there are."""

    share: F64
    error: F64
    n_tracks: int


def _has_z(predicted: Predictions) -> bool:
    return len(predicted) > 0 and predicted.has_z


def _kept_and_rejected(
    predicted: Predictions, _: Predictions | None
) -> dict[str, _Shares] | None:
    size = np.abs(predicted.z_reco_cm)
    found = {
        "efficiency": _shares_below(predicted, predicted.real & (size < SIGNAL_Z_CM)),
        "rejection": _shares_below(
            predicted, predicted.real & (size > BACKGROUND_Z_CM)
        ),
    }
    return {
        kind: shares for kind, shares in found.items() if shares is not None
    } or None


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
    when=_has_z,
    curve=_kept_and_rejected,
    caption="Efficiency and rejection against the cut.",
)
def efficiency_and_rejection(curves: Sequence[Curve[dict[str, _Shares]]]) -> Figure:
    """Draw what the trigger keeps and throws away as its cut moves."""
    figure, axes = canvas("efficiency and rejection against the cut |z| < d")
    for curve in curves:
        for kind, shares in curve.data.items():
            share = shares.share if kind == "efficiency" else 1 - shares.share
            line = "-" if kind == "efficiency" else "--"
            axes.plot(
                CUTS_CM, share, line, color=curve.look.colour,
                label=f"{kind}, {curve.label} ({shares.n_tracks:,} tracks)",
            )  # fmt: skip
            low, high = share - shares.error, share + shares.error
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
    signal = predicted.real & (np.abs(predicted.z_reco_cm) < SIGNAL_Z_CM)
    if not signal.any():
        return None
    cut_cm = cut_at_efficiency_cm(predicted.z_cm[signal], FEED_EFFICIENCY)
    sides = [_shares_beyond(predicted, sign, cut_cm) for sign in (1, -1)]
    if not any(np.isfinite(side.values).any() for side in sides):
        return None
    return _Feed(cut_cm=cut_cm, down=sides[0], up=sides[1])


def _shares_beyond(predicted: Predictions, sign: int, cut_cm: float) -> Points:
    """Shares of the tracks from beyond each D that pass."""
    rows = np.flatnonzero(predicted.real & (sign * predicted.z_reco_cm > FAR_Z_CM[0]))
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
    when=_has_z,
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
