"""The decision of the trigger: what passes the cut on z.

A track *from the collision point* has |z_reco| < 1 cm; a *background* track has
|z_reco| > 20 cm. The trigger keeps tracks with |z| < d, d the cut.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nnt.metrics.residuals import plain
from nnt.types import FloatArray

__all__ = [
    "BACKGROUND_Z_CM",
    "CUT_CM",
    "EFFICIENCIES",
    "FAR_Z_CM",
    "FEED_EFFICIENCY",
    "FEED_Z_CM",
    "SIGNAL_Z_CM",
    "Shares",
    "area_of_sorted",
    "binomial_error",
    "cut_at_efficiency_cm",
    "first_cut",
    "passing_share",
    "rank_at_efficiency",
    "rejection_at_efficiency",
    "roc_area",
    "share_below",
    "shares_beyond",
]

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

    Parameters
    ----------
    signal, background : float array, shape (N,) and (M,)
        How far out each is, in ascending order; at least one each.
    """
    # Both in order: to look one up in the other is a walk.
    below = np.searchsorted(signal, background, side="left").mean()
    upto = np.searchsorted(signal, background, side="right").mean()
    return float(below + upto) / 2 / len(signal)


def passing_share(z_cm: FloatArray, cut_cm: float) -> float:
    """Share of tracks with |z| below the cut."""
    return float(np.mean(np.abs(z_cm) < cut_cm))


@np.errstate(all="ignore")
def cut_at_efficiency_cm(z_signal_cm: FloatArray, efficiency: float) -> float:
    """Smallest cut that keeps this share of the tracks given."""
    size = np.abs(z_signal_cm)
    index = rank_at_efficiency(len(size), efficiency)
    return float(first_cut(np.partition(size, index)[index]))


@np.errstate(all="ignore")
def rejection_at_efficiency(
    z_signal_cm: FloatArray, z_background_cm: FloatArray, efficiencies: npt.ArrayLike
) -> npt.NDArray[np.float64]:
    """Share of the background thrown away by the cuts of these efficiencies.

    Parameters
    ----------
    z_signal_cm, z_background_cm : float array, shape (N,) and (M,)
        z that the network tells; at least one each.
    efficiencies : float array, shape (E,)
        As is the result.
    """
    signal, background = np.sort(np.abs(z_signal_cm)), np.sort(np.abs(z_background_cm))
    index = rank_at_efficiency(len(signal), efficiencies)
    # Tracks up to the last signal track that is kept pass with it.
    passing = np.searchsorted(background, signal[index], side="right")
    rejection: npt.NDArray[np.float64] = 1 - passing / len(background)
    return rejection


def roc_area(z_signal_cm: FloatArray, z_background_cm: FloatArray) -> float:
    """Probability that a background track lies further out than a signal track.

    Notes
    -----
    The Mann-Whitney statistic; ties count half.
    """
    return area_of_sorted(
        np.sort(np.abs(z_signal_cm)), np.sort(np.abs(z_background_cm))
    )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Shares:
    """Shares of tracks; shape (D,) each, NaN where there are no tracks."""

    at: FloatArray
    """What they are distinguished from."""
    share: FloatArray
    error: FloatArray
    n_tracks: npt.NDArray[np.int64]

    def to_dict(self) -> dict[str, list[float | None]]:
        """As plain JSON values, None for NaN."""
        return {
            field.name: plain(getattr(self, field.name))
            for field in dataclasses.fields(self)
        }


def shares_beyond(
    z_reco_cm: FloatArray, z_cm: FloatArray, cut_cm: float, far_cm: npt.ArrayLike
) -> Shares:
    """Tell feed-down: shares of the tracks from beyond D that pass the cut.

    Parameters
    ----------
    z_reco_cm : float array, shape (N,)
        Of the reconstruction; its negative for feed-up.
    z_cm : float array, shape (N,)
        Of the network.
    cut_cm : float
        Cut of the trigger.
    far_cm : float array, shape (D,)
        Values of D.
    """
    far = np.asarray(far_cm, dtype=np.float64)
    from_far = np.sort(z_reco_cm)
    passing = np.sort(z_reco_cm[np.abs(z_cm) < cut_cm])
    n_tracks = len(from_far) - np.searchsorted(from_far, far, side="right")
    n_passing = len(passing) - np.searchsorted(passing, far, side="right")
    share = n_passing / np.where(n_tracks > 0, n_tracks, np.nan)
    return Shares(
        at=far,
        share=share,
        error=np.where(n_tracks > 0, binomial_error(share, n_tracks), np.nan),
        n_tracks=n_tracks,
    )
