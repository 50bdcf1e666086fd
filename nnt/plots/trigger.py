"""Plots of the decision that the trigger takes: rejection and feed-down."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nnt.metrics import (
    BACKGROUND_Z_CM,
    SIGNAL_Z_CM,
    STT_MOMENTUM_GEV,
    Decision,
    Predictions,
    binomial_error,
    cut_at_efficiency_cm,
    decisions,
    rejection_at_efficiency,
    roc_area,
    shares_beyond,
)
from nnt.plots.registry import register
from nnt.plots.series import MIN_TRACKS, Series, both
from nnt.plots.style import COLOURS, canvas

__all__: list[str] = []

EFFICIENCIES = np.linspace(0.5, 1.0, 251)
WORKING_POINTS = (0.95, 0.96, 0.98)
FEED_EFFICIENCY = 0.96
FAR_Z_CM = np.arange(15.0, 81.0, 5.0)
FEEDS = ((1, "feed-down, z > D", "o"), (-1, "feed-up, z < -D", "s"))


def _has_both_kinds(predicted: Predictions, prefix: str) -> bool:
    told = decisions(predicted, predicted.z_cm, predicted.theta_deg).get(prefix)
    return told is not None and bool(told.signal.any() and told.background.any())


def _has_both(predicted: Predictions) -> bool:
    size = np.abs(predicted.z_reco_cm)
    return bool((size < SIGNAL_Z_CM).any() and (size > BACKGROUND_Z_CM).any())


def _has_both_events(predicted: Predictions) -> bool:
    return _has_both_kinds(predicted, "event_")


def _has_both_stt(predicted: Predictions) -> bool:
    return _has_both_kinds(predicted, "stt_")


def _signal(predicted: Predictions) -> npt.NDArray[np.bool_]:
    signal: npt.NDArray[np.bool_] = np.abs(predicted.z_reco_cm) < SIGNAL_Z_CM
    return signal


def _has_signal(predicted: Predictions) -> bool:
    return bool(_signal(predicted).any())


@register("rejection_against_efficiency", when=_has_both)
def rejection_against_efficiency(predicted: Predictions) -> Figure:
    """Draw background rejection against signal efficiency as the cut moves."""
    return _rejection(predicted, "", "tracks")


@register("event_rejection_against_efficiency", when=_has_both_events, detail=True)
def event_rejection_against_efficiency(predicted: Predictions) -> Figure:
    """Draw the same of events, which one track that passes keeps."""
    return _rejection(predicted, "event_", "events")


@register("stt_rejection_against_efficiency", when=_has_both_stt, detail=True)
def stt_rejection_against_efficiency(predicted: Predictions) -> Figure:
    """Draw the same of the single-track trigger."""
    what = f"tracks, p > {STT_MOMENTUM_GEV:g} GeV asked for"
    return _rejection(predicted, "stt_", what)


def _rejection(predicted: Predictions, prefix: str, what: str) -> Figure:
    told = {
        one.name: (one, decisions(predicted, one.z_cm, one.theta_deg).get(prefix))
        for one in both(predicted)
    }
    first = decisions(predicted, predicted.z_cm, predicted.theta_deg)[prefix]
    figure, axes = canvas(
        f"{first.signal.sum():,} signal {what}, |z| < {SIGNAL_Z_CM:g} cm, "
        f"and {first.background.sum():,} background, > {BACKGROUND_Z_CM:g} cm"
    )
    axes.title.set_fontsize(10)
    for one, decision in told.values():
        if decision is not None:
            _draw_rejection(axes, one, decision)
    axes.set_xlim(EFFICIENCIES[0], 1)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("efficiency for signal from the collision point")
    axes.set_ylabel("rejection of background")
    axes.legend(title="points: 95, 96, 98 %", loc="lower left", fontsize=8)
    return figure


def _draw_rejection(axes: Axes, one: Series, decision: Decision) -> None:
    signal, background = np.sort(decision.signal_cm), np.sort(decision.background_cm)
    # Beyond lies what no cut keeps.
    reached = np.isfinite(signal).mean()
    at = EFFICIENCIES[reached >= EFFICIENCIES]
    rejection = rejection_at_efficiency(signal, background, at)
    error = binomial_error(rejection, len(background))
    marked = [point for point in WORKING_POINTS if point <= reached]
    points = rejection_at_efficiency(signal, background, marked)
    label = f"{one.name}: area {roc_area(signal, background):.4f}"
    if WORKING_POINTS[1] in marked:
        label += f", {points[1]:.1%} at 96 %"
    axes.plot(at, rejection, color=one.colour, label=label)
    axes.fill_between(
        at, rejection - error, rejection + error, color=one.colour, alpha=0.2, lw=0
    )
    axes.plot(marked, points, "o", color=one.colour, ms=4)


@register("feed_down", when=_has_signal)
def feed_down(predicted: Predictions) -> Figure:
    """Draw the share of far tracks that pass the cut of 96 % efficiency."""
    signal = _signal(predicted)
    figure, axes = canvas(
        f"far tracks that pass, at {FEED_EFFICIENCY * 100:.0f} % efficiency"
    )
    for one in both(predicted):
        name, z_cm = one.name, one.z_cm
        cut_cm = cut_at_efficiency_cm(z_cm[signal], FEED_EFFICIENCY)
        for sign, kind, marker in FEEDS:
            points = shares_beyond(sign * predicted.z_reco_cm, z_cm, cut_cm, FAR_Z_CM)
            told = points.n_tracks >= MIN_TRACKS
            if not told.any():
                continue
            axes.errorbar(
                points.at[told],
                points.share[told],
                yerr=points.error[told],
                fmt=marker,
                ls="-" if sign > 0 else "--",
                ms=4,
                capsize=2,
                color=COLOURS[name],
                label=f"{name}: {kind} (cut {cut_cm:.1f} cm)",
            )
    axes.set_xlim(FAR_Z_CM[0] - 2, FAR_Z_CM[-1] + 2)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("D (cm)")
    axes.set_ylabel("share of tracks beyond D that pass")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=7)
    return figure
