"""The decision of the trigger: what passes the cut on z.

A track *from the collision point* has |z_reco| < 1 cm; a *background* track has
|z_reco| > 20 cm. The trigger keeps tracks with |z| < d, d the cut.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from nnt.types import FloatArray

__all__ = [
    "BACKGROUND_Z_CM",
    "CUT_CM",
    "EFFICIENCIES",
    "FAR_Z_CM",
    "FEED_EFFICIENCY",
    "FEED_Z_CM",
    "SIGNAL_Z_CM",
    "area_of_sorted",
    "binomial_error",
    "cut_at_efficiency_cm",
    "first_cut",
    "rank_at_efficiency",
    "share_below",
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


@np.errstate(all="ignore")
def cut_at_efficiency_cm(z_signal_cm: FloatArray, efficiency: float) -> float:
    """Smallest cut that keeps this share of the tracks given."""
    size = np.abs(z_signal_cm)
    index = rank_at_efficiency(len(size), efficiency)
    return float(first_cut(np.partition(size, index)[index]))
