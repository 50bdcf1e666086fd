"""Plots of the decision that the trigger takes: rejection and feed-down."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from nnt.metrics import (
    BACKGROUND_Z_CM,
    SIGNAL_Z_CM,
    Predictions,
    binomial_error,
    cut_at_efficiency_cm,
    rejection_at_efficiency,
    roc_area,
    shares_beyond,
)
from nnt.plots.registry import register
from nnt.plots.style import COLOURS, canvas

__all__: list[str] = []

Floats = npt.NDArray[np.floating]

EFFICIENCIES = np.linspace(0.5, 1.0, 251)
WORKING_POINTS = (0.95, 0.96, 0.98)
FEED_EFFICIENCY = 0.96
FAR_Z_CM = np.arange(15.0, 81.0, 5.0)
FEEDS = ((1, "feed-down, z > D", "o"), (-1, "feed-up, z < -D", "s"))
MIN_TRACKS = 5
"""Tracks below which a share tells nothing."""


def _series(predicted: Predictions) -> dict[str, Floats]:
    series: dict[str, Floats] = {"network": predicted.z_cm}
    if predicted.z_reference_cm is not None:
        series["reference"] = predicted.z_reference_cm
    return series


def _signal(predicted: Predictions) -> npt.NDArray[np.bool_]:
    signal: npt.NDArray[np.bool_] = np.abs(predicted.z_reco_cm) < SIGNAL_Z_CM
    return signal


def _background(predicted: Predictions) -> npt.NDArray[np.bool_]:
    far: npt.NDArray[np.bool_] = np.abs(predicted.z_reco_cm) > BACKGROUND_Z_CM
    return far


def _has_both(predicted: Predictions) -> bool:
    return bool(_signal(predicted).any() and _background(predicted).any())


def _has_signal(predicted: Predictions) -> bool:
    return bool(_signal(predicted).any())


@register("rejection_against_efficiency", when=_has_both)
def rejection_against_efficiency(predicted: Predictions) -> Figure:
    """Draw background rejection against signal efficiency as the cut moves."""
    signal, background = _signal(predicted), _background(predicted)
    figure, axes = canvas(
        f"{signal.sum():,} signal tracks (|z_reco| < {SIGNAL_Z_CM:g} cm), "
        f"{background.sum():,} background (> {BACKGROUND_Z_CM:g} cm)"
    )
    for name, z_cm in _series(predicted).items():
        rejection = rejection_at_efficiency(
            z_cm[signal], z_cm[background], EFFICIENCIES
        )
        points = rejection_at_efficiency(z_cm[signal], z_cm[background], WORKING_POINTS)
        error = binomial_error(rejection, background.sum())
        area = roc_area(z_cm[signal], z_cm[background])
        label = f"{name}: area {area:.4f}, {points[1]:.1%} at 96 %"
        axes.plot(EFFICIENCIES, rejection, color=COLOURS[name], label=label)
        axes.fill_between(
            EFFICIENCIES,
            rejection - error,
            rejection + error,
            color=COLOURS[name],
            alpha=0.2,
            lw=0,
        )
        axes.plot(WORKING_POINTS, points, "o", color=COLOURS[name], ms=4)
    axes.set_xlim(EFFICIENCIES[0], 1)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("efficiency for tracks from the collision point")
    axes.set_ylabel("rejection of background tracks")
    axes.legend(title="points: 95, 96, 98 %", loc="lower left")
    return figure


@register("feed_down", when=_has_signal)
def feed_down(predicted: Predictions) -> Figure:
    """Draw the share of far tracks that pass the cut of 96 % efficiency."""
    signal = _signal(predicted)
    figure, axes = canvas(f"far tracks that pass, at {FEED_EFFICIENCY:.0%} efficiency")
    for name, z_cm in _series(predicted).items():
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
