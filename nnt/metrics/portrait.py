"""A network in a few curves, small enough to keep those of many networks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nnt.metrics.prediction import Predictions
from nnt.metrics.residuals import BinnedResiduals, residuals_in_bins
from nnt.metrics.trigger import (
    BACKGROUND_Z_CM,
    SIGNAL_Z_CM,
    Shares,
    cut_at_efficiency_cm,
    rejection_at_efficiency,
    shares_beyond,
)
from nnt.types import F64, I64, FloatArray

__all__ = [
    "Z_EDGES_CM",
    "Z_RESIDUAL_EDGES_CM",
    "Portrait",
    "portrait",
    "reconstruction_counts",
]


Z_EDGES_CM = np.linspace(-100, 100, 101)
"""As in the quality monitoring of the trigger (``CDCTriggerNeuroDQMModule``)."""
Z_RESIDUAL_EDGES_CM = np.linspace(-60, 60, 61)
WIDTH_Z_EDGES_CM = np.linspace(-100, 100, 41)
THETA_EDGES_DEG = np.linspace(10, 170, 33)
FAR_Z_CM = np.arange(15.0, 81.0, 5.0)
EFFICIENCIES = np.linspace(0.5, 1.0, 251)
FEED_EFFICIENCY = 0.96


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Portrait:
    """What the plots of a comparison show of one network."""

    n_tracks: int
    z_counts: I64
    """Tracks in bins of `Z_EDGES_CM`, those beyond in the outer bins."""
    z_residual_counts: I64
    """Tracks in bins of `Z_RESIDUAL_EDGES_CM`."""
    z_residual_signal_counts: I64
    """The same of tracks from the collision point."""
    against_z: BinnedResiduals
    """z residual in bins of z."""
    against_theta: BinnedResiduals
    """z residual in bins of theta."""
    theta_against_theta: BinnedResiduals | None
    """theta residual in bins of theta; None for networks of z only."""
    efficiency: F64
    """Where `rejection` is told."""
    rejection: F64 | None
    """None without tracks of both kinds."""
    feed_down: Shares | None
    """Tracks beyond z = D that pass at 96 % efficiency; None without signal."""
    feed_up: Shares | None
    """The same of tracks below z = -D."""


@np.errstate(all="ignore")
def portrait(predicted: Predictions) -> Portrait:
    """Compute the curves of a network."""
    z_cm, z_reco_cm = predicted.z_cm, predicted.z_reco_cm
    residual_cm = z_cm - z_reco_cm
    signal = np.abs(z_reco_cm) < SIGNAL_Z_CM
    background = np.abs(z_reco_cm) > BACKGROUND_Z_CM
    theta_residual = None
    if predicted.theta_deg is not None:
        theta_residual = residuals_in_bins(
            predicted.theta_deg - predicted.theta_reco_deg,
            predicted.theta_reco_deg,
            THETA_EDGES_DEG,
        )
    rejection = None
    if signal.any() and background.any():
        near_cm, far_cm = z_cm[signal], z_cm[background]
        rejection = rejection_at_efficiency(near_cm, far_cm, EFFICIENCIES)
    feeds: list[Shares | None] = [None, None]
    if signal.any():
        cut_cm = cut_at_efficiency_cm(z_cm[signal], FEED_EFFICIENCY)
        feeds = [
            shares_beyond(sign * z_reco_cm, z_cm, cut_cm, FAR_Z_CM) for sign in (1, -1)
        ]
    return Portrait(
        n_tracks=len(predicted),
        z_counts=_clipped_counts(z_cm),
        z_residual_counts=_counts(residual_cm, Z_RESIDUAL_EDGES_CM),
        z_residual_signal_counts=_counts(residual_cm[signal], Z_RESIDUAL_EDGES_CM),
        against_z=residuals_in_bins(residual_cm, z_reco_cm, WIDTH_Z_EDGES_CM),
        against_theta=residuals_in_bins(
            residual_cm, predicted.theta_reco_deg, THETA_EDGES_DEG
        ),
        theta_against_theta=theta_residual,
        efficiency=EFFICIENCIES,
        rejection=rejection,
        feed_down=feeds[0],
        feed_up=feeds[1],
    )


def reconstruction_counts(predicted: Predictions) -> I64:
    """Reconstructed tracks in bins of `Z_EDGES_CM`."""
    return _clipped_counts(predicted.z_reco_cm)


def _clipped_counts(z_cm: FloatArray) -> I64:
    return _counts(np.clip(z_cm, Z_EDGES_CM[0], Z_EDGES_CM[-1]), Z_EDGES_CM)


def _counts(values: FloatArray, edges: F64) -> I64:
    # Even bins: several times faster than by their edges.
    found = np.histogram(values, len(edges) - 1, (edges[0], edges[-1]))
    return found[0].astype(np.int64)
