"""What a trigger decides on: single tracks, whole events, tracks with momentum.

All come down to a distance that has to be below the cut d: |z|, or minus the output of
a class. Efficiency, rejection and working points are then the same for each. A track
*from the collision point* has |z_reco| < 1 cm, a *background* track |z_reco| > 20 cm.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nnt.detector import STT_MOMENTUM_GEV
from nnt.metrics.prediction import Predictions, momentum_gev
from nnt.types import I64, BoolArray, FloatArray

SIGNAL_Z_CM = 1.0
BACKGROUND_Z_CM = 20.0
CUT_CM = 15.0
FEED_Z_CM = 30.0
EFFICIENCIES = (0.95, 0.96, 0.98)
FEED_EFFICIENCY = 0.96
"""Working point at which feed-down, feed-up and asymmetries are looked at."""
FAR_Z_CM = np.arange(15.0, 81.0, 5.0)
"""Distances from which tracks are counted as fed down or up."""


def binomial_error(share: npt.ArrayLike, n_tracks: npt.ArrayLike) -> FloatArray:
    """Standard error of a share of tracks, greater than 0 at shares 0 and 1 too.

    Notes
    -----
    Standard deviation of the posterior from a flat prior: T. Ullrich and Z. Xu,
    "Treatment of errors in efficiency calculations", physics/0701199.
    """
    n = np.asarray(n_tracks, dtype=np.float64)
    inner = (np.asarray(share, dtype=np.float64) * n + 1) / (n + 2)
    error: FloatArray = np.sqrt(inner * (1 - inner) / (n + 3))
    return error


def rank_at_efficiency(n_tracks: int, efficiency: npt.ArrayLike) -> Any:
    """Place, from 0, of the last of n ordered tracks that an efficiency keeps."""
    needed = np.ceil(np.asarray(efficiency) * n_tracks).astype(np.int64)
    return np.maximum(needed - 1, 0)


def first_cut(last_kept: npt.ArrayLike) -> FloatArray:
    """Smallest cut that keeps a track; the cut is strict, so it lies just above."""
    cut: FloatArray = np.nextafter(last_kept, np.float32(np.inf))
    return cut


def share_below(ordered: FloatArray, cut: float) -> float:
    """Share of values in ascending order that are below a cut."""
    return int(np.searchsorted(ordered, cut, side="left")) / len(ordered)


def area_of_sorted(signal: FloatArray, background: FloatArray) -> float:
    """Probability that background is further out than signal; ties count half.

    Both are in ascending order, and not empty.
    """
    # Both in order: to look one up in the other is a walk.
    below = np.searchsorted(signal, background, side="left").mean()
    upto = np.searchsorted(signal, background, side="right").mean()
    return float(below + upto) / 2 / len(signal)


@np.errstate(all="ignore")
def cut_at_efficiency_cm(z_signal_cm: FloatArray, efficiency: float) -> float:
    """Smallest cut that keeps this share of the tracks given."""
    size = np.abs(z_signal_cm)
    index = rank_at_efficiency(len(size), efficiency)
    return float(first_cut(np.partition(size, index)[index]))


@dataclass(frozen=True, slots=True, eq=False)
class Decision:
    """What is to be kept and thrown away, and how far out the trigger sees it."""

    distance_cm: FloatArray
    """Shape (M,): kept where below the cut; infinite for what no cut keeps. Of a class,
    minus its output."""
    signal: BoolArray
    """Shape (M,): from the collision point."""
    background: BoolArray
    """Shape (M,)."""
    event: I64
    """Shape (M,): dense number of the event."""
    fake: BoolArray | None = None
    """Shape (M,): fake tracks, which are neither; None without any."""


def all_decisions(predicted: Predictions) -> dict[tuple[str, str], Decision]:
    """All decisions that the outputs and the rows allow.

    The single-track trigger takes the momentum from the transverse momentum of its
    track and theta of the network. Its signal are tracks from the collision point that
    have it with theta of the reconstruction; background is all background, of any
    momentum. So the efficiency may end below 1, where theta of the network is wrong.
    Tracks whose momentum is not known (NaN) are neither.

    Returns
    -------
    dict
        By prefix (``""`` for tracks, ``"event_"``, ``"stt_"`` for the single-track
        trigger) and suffix (``""`` for cuts on |z|, ``"_by_class"``) of their metrics.
    """
    found: dict[tuple[str, str], Decision] = {}
    theta_deg, pt_gev = predicted.theta_deg, predicted.pt_gev
    if predicted.has_z:
        distance_cm = np.abs(predicted.z_cm)
        found["", ""] = _of_tracks(predicted, distance_cm)
        found["event_", ""] = _of_events(predicted, distance_cm)
        if theta_deg is not None and pt_gev is not None:
            fast = momentum_gev(pt_gev, theta_deg) > STT_MOMENTUM_GEV
            of_fast = np.where(fast, distance_cm, distance_cm.dtype.type(np.inf))
            found["stt_", ""] = _of_tracks(predicted, of_fast, fast=True)
    if predicted.nnt is not None:
        found["", "_by_class"] = _of_tracks(predicted, -predicted.nnt)
    if predicted.stt is not None:
        found["stt_", "_by_class"] = _of_tracks(predicted, -predicted.stt, fast=True)
    return found


def _of_tracks(
    predicted: Predictions, distance_cm: FloatArray, *, fast: bool = False
) -> Decision:
    """Keep or drop each track; of signal, a momentum may be required."""
    signal, background = _kinds(predicted)
    if fast and predicted.pt_gev is not None:
        momentum = momentum_gev(predicted.pt_gev, predicted.theta_reco_deg)
        signal &= momentum > STT_MOMENTUM_GEV
        background &= ~np.isnan(predicted.pt_gev)
    return Decision(distance_cm, signal, background, predicted.event, predicted.fake)


def _kinds(predicted: Predictions) -> tuple[BoolArray, BoolArray]:
    """Real tracks from the collision point, and those of background."""
    size, real = np.abs(predicted.z_reco_cm), predicted.real
    return real & (size < SIGNAL_Z_CM), real & (size > BACKGROUND_Z_CM)


def _of_events(predicted: Predictions, distance_cm: FloatArray) -> Decision:
    """Keep an event if at least one of its tracks passes.

    An event is signal if at least one of its tracks comes from the collision
    point, and background if all of them are background or fakes; others
    count as neither.
    """
    # Events as they come; those without a row here are dropped again.
    n_events = int(predicted.event.max(initial=-1)) + 1
    signal_track, background_track = _kinds(predicted)
    unwanted = background_track | ~predicted.real
    nearest = np.full(n_events, np.inf, dtype=distance_cm.dtype)
    # No cut keeps NaN, nor does it hide the other tracks of its event.
    np.fmin.at(nearest, predicted.event, distance_cm)
    present, signal, background = np.zeros((3, n_events), dtype=np.bool_)
    present[predicted.event] = True
    signal[predicted.event[signal_track]] = True
    background[:] = present
    background[predicted.event[~unwanted]] = False
    kinds = signal[present], background[present]
    return Decision(nearest[present], *kinds, np.flatnonzero(present))
