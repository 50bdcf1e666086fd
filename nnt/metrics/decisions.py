"""What a trigger decides on: single tracks, whole events, tracks with momentum.

All three come down to a distance that has to be below the cut d. Efficiency,
rejection and working points are then the same for each.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nnt.metrics.momentum import momentum_gev
from nnt.metrics.prediction import Predictions
from nnt.metrics.trigger import (
    BACKGROUND_Z_CM,
    CUT_CM,
    EFFICIENCIES,
    SIGNAL_Z_CM,
    passing_share,
)
from nnt.types import I64, BoolArray, FloatArray

__all__ = [
    "STT_MOMENTUM_GEV",
    "Decision",
    "decision_figures",
    "decisions",
    "event_decision",
    "single_track_decision",
    "track_decision",
]


STT_MOMENTUM_GEV = 0.7
"""Least momentum of the single-track trigger (S. Baehr et al., arXiv:2402.14962)."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Decision:
    """What is to be kept and thrown away, and how far out the trigger sees it."""

    distance_cm: FloatArray
    """Shape (M,): kept where below the cut; infinite for what no cut keeps."""
    signal: BoolArray
    """Shape (M,): from the collision point."""
    background: BoolArray
    """Shape (M,)."""
    event: I64
    """Shape (M,): dense number of the event."""

    @property
    def signal_cm(self) -> FloatArray:
        """Distances of the signal."""
        return self.distance_cm[self.signal]

    @property
    def background_cm(self) -> FloatArray:
        """Distances of the background."""
        return self.distance_cm[self.background]


def decisions(
    predicted: Predictions, z_cm: FloatArray, theta_deg: FloatArray | None
) -> dict[str, Decision]:
    """All decisions that the rows allow, by the prefix of their figures.

    Parameters
    ----------
    predicted : Predictions
        The reconstruction, and the rows of each event.
    z_cm, theta_deg : float array, shape (N,)
        What a network says of them; theta None for a network of z only.

    Returns
    -------
    dict
        ``""`` for tracks, ``"event_"``, and ``"stt_"`` for the single-track trigger.
    """
    told = {
        "": track_decision(predicted, z_cm),
        "event_": event_decision(predicted, z_cm),
    }
    if theta_deg is not None and predicted.pt_gev is not None:
        told["stt_"] = single_track_decision(
            predicted, z_cm, theta_deg, predicted.pt_gev
        )
    return told


def track_decision(predicted: Predictions, z_cm: FloatArray) -> Decision:
    """Keep or drop each track by its |z|."""
    size = np.abs(predicted.z_reco_cm)
    return Decision(
        distance_cm=np.abs(z_cm),
        signal=size < SIGNAL_Z_CM,
        background=size > BACKGROUND_Z_CM,
        event=predicted.event,
    )


def event_decision(predicted: Predictions, z_cm: FloatArray) -> Decision:
    """Keep an event if at least one of its tracks passes.

    An event is signal if at least one of its tracks comes from the collision
    point, and background if all of them are background; others count as neither.
    """
    # Events as they come; those without a row here are dropped again.
    n_events = int(predicted.event.max(initial=-1)) + 1
    size = np.abs(predicted.z_reco_cm)
    nearest = np.full(n_events, np.inf, dtype=z_cm.dtype)
    # No cut keeps NaN, nor does it hide the other tracks of its event.
    np.fmin.at(nearest, predicted.event, np.abs(z_cm))
    present, signal, background = np.zeros((3, n_events), dtype=np.bool_)
    present[predicted.event] = True
    signal[predicted.event[size < SIGNAL_Z_CM]] = True
    background[:] = present
    background[predicted.event[~(size > BACKGROUND_Z_CM)]] = False
    return Decision(
        distance_cm=nearest[present],
        signal=signal[present],
        background=background[present],
        event=np.flatnonzero(present),
    )


def single_track_decision(
    predicted: Predictions, z_cm: FloatArray, theta_deg: FloatArray, pt_gev: FloatArray
) -> Decision:
    """Keep tracks that pass the cut on z with a momentum above 0.7 GeV.

    The trigger takes the momentum from the transverse momentum of its track and
    theta of the network. Signal are tracks from the collision point that have
    it with theta of the reconstruction; background is all background, of any
    momentum. So the efficiency may end below 1, where theta of the network is wrong.
    Tracks whose momentum is not known (NaN) are neither.
    """
    size = np.abs(predicted.z_reco_cm)
    fast = momentum_gev(pt_gev, theta_deg) > STT_MOMENTUM_GEV
    truly_fast = momentum_gev(pt_gev, predicted.theta_reco_deg) > STT_MOMENTUM_GEV
    known = ~np.isnan(pt_gev)
    return Decision(
        distance_cm=np.where(fast, np.abs(z_cm), z_cm.dtype.type(np.inf)),
        signal=(size < SIGNAL_Z_CM) & truly_fast,
        background=(size > BACKGROUND_Z_CM) & known,
        event=predicted.event,
    )


@np.errstate(all="ignore")
def decision_figures(prefix: str, decision: Decision) -> dict[str, float]:
    """Efficiency, rejection and working points; what cannot be told is left out.

    Parameters
    ----------
    prefix : str
        Before every name.
    decision : Decision
        What the figures are of.
    """
    signal, background = decision.signal_cm, decision.background_cm
    figures: dict[str, float] = {}
    if len(signal):
        figures[f"{prefix}efficiency_at_15cm"] = passing_share(signal, CUT_CM)
    if len(background):
        figures[f"{prefix}rejection_at_15cm"] = 1 - passing_share(background, CUT_CM)
    if not len(signal) or not len(background):
        return figures
    signal, background = np.sort(signal), np.sort(background)
    # Both in order: to look one up in the other is a walk.
    below = np.searchsorted(signal, background, side="left").mean()
    upto = np.searchsorted(signal, background, side="right").mean()
    figures[f"{prefix}roc_area"] = float(below + upto) / 2 / len(signal)
    index = np.ceil(np.multiply(EFFICIENCIES, len(signal))).astype(np.int64) - 1
    last_kept_cm = signal[np.maximum(index, 0)]
    passing = np.searchsorted(background, last_kept_cm, side="right")
    for efficiency, last_cm, n_passing in zip(
        EFFICIENCIES, last_kept_cm, passing, strict=True
    ):
        if np.isfinite(last_cm):
            name = f"eff{efficiency * 100:.0f}"
            cut_cm = np.nextafter(last_cm, np.float32(np.inf))
            figures[f"{prefix}cut_cm_at_{name}"] = float(cut_cm)
            figures[f"{prefix}rejection_at_{name}"] = float(
                1 - n_passing / len(background)
            )
    return figures
