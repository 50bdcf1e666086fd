"""What a trigger decides on: single tracks, whole events, tracks with momentum.

All three come down to a distance that has to be below the cut d. Efficiency,
rejection and working points are then the same for each.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nnt.detector import STT_MOMENTUM_GEV
from nnt.metrics.momentum import momentum_gev
from nnt.metrics.prediction import Predictions
from nnt.metrics.trigger import (
    BACKGROUND_Z_CM,
    SIGNAL_Z_CM,
)
from nnt.types import I64, BoolArray, FloatArray

__all__ = [
    "STT_MOMENTUM_GEV",
    "Decision",
    "all_decisions",
    "class_decision",
    "decisions",
    "event_decision",
    "single_track_decision",
    "track_decision",
]


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
    fake: BoolArray | None = None
    """Shape (M,): fake tracks, which are neither; None without any."""

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
    found = {
        "": track_decision(predicted, z_cm),
        "event_": event_decision(predicted, z_cm),
    }
    if theta_deg is not None and predicted.pt_gev is not None:
        found["stt_"] = single_track_decision(
            predicted, z_cm, theta_deg, predicted.pt_gev
        )
    return found


def track_decision(predicted: Predictions, z_cm: FloatArray) -> Decision:
    """Keep or drop each track by its |z|."""
    signal, background = _kinds(predicted)
    return Decision(
        distance_cm=np.abs(z_cm),
        signal=signal,
        background=background,
        event=predicted.event,
        fake=predicted.fake,
    )


def _kinds(predicted: Predictions) -> tuple[BoolArray, BoolArray]:
    """Real tracks from the collision point, and those of background."""
    size, real = np.abs(predicted.z_reco_cm), predicted.real
    return real & (size < SIGNAL_Z_CM), real & (size > BACKGROUND_Z_CM)


def event_decision(predicted: Predictions, z_cm: FloatArray) -> Decision:
    """Keep an event if at least one of its tracks passes.

    An event is signal if at least one of its tracks comes from the collision
    point, and background if all of them are background or fakes; others
    count as neither.
    """
    # Events as they come; those without a row here are dropped again.
    n_events = int(predicted.event.max(initial=-1)) + 1
    signal_track, background_track = _kinds(predicted)
    unwanted = background_track | ~predicted.real
    nearest = np.full(n_events, np.inf, dtype=z_cm.dtype)
    # No cut keeps NaN, nor does it hide the other tracks of its event.
    np.fmin.at(nearest, predicted.event, np.abs(z_cm))
    present, signal, background = np.zeros((3, n_events), dtype=np.bool_)
    present[predicted.event] = True
    signal[predicted.event[signal_track]] = True
    background[:] = present
    background[predicted.event[~unwanted]] = False
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
    signal, background = _kinds(predicted)
    fast = momentum_gev(pt_gev, theta_deg) > STT_MOMENTUM_GEV
    truly_fast = momentum_gev(pt_gev, predicted.theta_reco_deg) > STT_MOMENTUM_GEV
    known = ~np.isnan(pt_gev)
    return Decision(
        distance_cm=np.where(fast, np.abs(z_cm), z_cm.dtype.type(np.inf)),
        signal=signal & truly_fast,
        background=background & known,
        event=predicted.event,
        fake=predicted.fake,
    )


def class_decision(
    predicted: Predictions, output: FloatArray, *, fast: bool
) -> Decision:
    """Keep tracks whose class output lies above a cut.

    Parameters
    ----------
    predicted : Predictions
        N rows.
    output : float array, shape (N,)
        Of the class; minus it stands for a distance, so that the cut is one as well.
    fast : bool
        Whether signal is asked to have a momentum above 0.7 GeV.
    """
    signal, background = _kinds(predicted)
    if fast and predicted.pt_gev is not None:
        momentum = momentum_gev(predicted.pt_gev, predicted.theta_reco_deg)
        signal &= momentum > STT_MOMENTUM_GEV
        background &= ~np.isnan(predicted.pt_gev)
    return Decision(
        distance_cm=-output,
        signal=signal,
        background=background,
        event=predicted.event,
        fake=predicted.fake,
    )


def all_decisions(predicted: Predictions) -> dict[tuple[str, str], Decision]:
    """All decisions that the outputs and the rows allow.

    Returns
    -------
    dict
        By prefix (``""``, ``"event_"``, ``"stt_"``) and suffix (``""`` for cuts on
        |z|, ``"_by_class"``) of their metrics.
    """
    found: dict[tuple[str, str], Decision] = {}
    if predicted.has_z:
        by_z = decisions(predicted, predicted.z_cm, predicted.theta_deg)
        found |= {(prefix, ""): decision for prefix, decision in by_z.items()}
    if predicted.nnt is not None:
        found["", "_by_class"] = class_decision(predicted, predicted.nnt, fast=False)
    if predicted.stt is not None:
        found["stt_", "_by_class"] = class_decision(predicted, predicted.stt, fast=True)
    return found
