"""Residuals and efficiency against z, angles, momentum and number of tracks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nnt.metrics.prediction import Predictions
from nnt.metrics.residuals import BinnedResiduals, bin_numbers, residuals_in_bins
from nnt.metrics.trigger import (
    SIGNAL_Z_CM,
    Shares,
    binomial_error,
    cut_at_efficiency_cm,
)
from nnt.types import F64, BoolArray, FloatArray

__all__ = [
    "AXES",
    "Axis",
    "efficiency_in_bins",
    "in_bins",
    "share_in_bins",
    "values_at",
]


@dataclass(frozen=True, slots=True, eq=False)
class Axis:
    """A quantity that others are told against."""

    label: str
    edges: F64


AXES = {
    "z": Axis("z of the reconstruction (cm)", np.linspace(-100, 100, 41)),
    "theta": Axis("theta of the reconstruction (deg)", np.linspace(10, 170, 33)),
    "pt": Axis(
        "pt of the trigger's track (GeV)",
        np.array(
            [0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.85, 1, 1.25, 1.5, 2, 2.5, 3, 4, 6, 10]
        ),
    ),
    "phi": Axis("phi of the trigger's track (deg)", np.linspace(0, 360, 37)),
    "n_tracks": Axis("tracks of the event (10: and more)", np.arange(0.5, 11)),
}
"""By the name of the quantity."""


def values_at(predicted: Predictions) -> dict[str, FloatArray]:
    """Values of each of `AXES` that the rows have; shape (N,) each."""
    told: dict[str, FloatArray | None] = {
        "z": predicted.z_reco_cm,
        "theta": predicted.theta_reco_deg,
        "pt": predicted.pt_gev,
        "phi": predicted.phi_deg,
        "n_tracks": (
            None
            if predicted.n_tracks is None
            else np.minimum(predicted.n_tracks, 10).astype(np.float32)
        ),
    }
    return {name: values for name, values in told.items() if values is not None}


@np.errstate(all="ignore")
def in_bins(
    predicted: Predictions, z_cm: FloatArray, theta_deg: FloatArray | None
) -> dict[str, BinnedResiduals]:
    """Residuals of a network in bins of everything the rows have.

    Parameters
    ----------
    predicted : Predictions
        N rows.
    z_cm, theta_deg : float array, shape (N,)
        What the network says of them; theta None for a network of z only.

    Returns
    -------
    dict
        ``z_against_z``, ``theta_against_pt`` and so on.
    """
    residuals = {"z": z_cm - predicted.z_reco_cm}
    if theta_deg is not None:
        residuals["theta"] = theta_deg - predicted.theta_reco_deg
    return {
        f"{quantity}_against_{name}": residuals_in_bins(values, at, AXES[name].edges)
        for quantity, values in residuals.items()
        for name, at in values_at(predicted).items()
    }


@np.errstate(all="ignore")
def efficiency_in_bins(
    predicted: Predictions, z_cm: FloatArray, cut_cm: float | None = None
) -> dict[str, Shares]:
    """Efficiency for tracks from the collision point, in bins.

    Parameters
    ----------
    predicted : Predictions
        N rows.
    z_cm : float array, shape (N,)
        What a network says of them.
    cut_cm : float, optional
        Cut of the trigger; if not given, that of 96 % efficiency over all rows.

    Returns
    -------
    dict
        By the names of `AXES`, but for z; empty without signal.
    """
    signal = np.abs(predicted.z_reco_cm) < SIGNAL_Z_CM
    if not signal.any():
        return {}
    kept_cm = z_cm[signal]
    cut_cm = cut_at_efficiency_cm(kept_cm, 0.96) if cut_cm is None else cut_cm
    passing = np.abs(kept_cm) < cut_cm
    return {
        name: share_in_bins(passing, at[signal], AXES[name].edges)
        for name, at in values_at(predicted).items()
        if name != "z"
    }


def share_in_bins(passing: BoolArray, at: FloatArray, edges: npt.ArrayLike) -> Shares:
    """Share of rows that pass, in bins.

    Parameters
    ----------
    passing : bool array, shape (N,)
        What is counted.
    at : float array, shape (N,)
        What to bin in; values outside the edges are left out.
    edges : float array, shape (B + 1,)
        Increasing; a bin holds its lower edge.

    Returns
    -------
    Shares
        Shape (B,), told at the middle of the bins, with binomial errors.
    """
    edges = np.asarray(edges, dtype=np.float64)
    n_bins = len(edges) - 1
    number = bin_numbers(at, edges)
    n_tracks: npt.NDArray[Any] = np.bincount(number, minlength=n_bins + 1)[:n_bins]
    n_passing = np.bincount(number[passing], minlength=n_bins + 1)[:n_bins]
    share = n_passing / np.where(n_tracks > 0, n_tracks, np.nan)
    return Shares(
        at=(edges[:-1] + edges[1:]) / 2,
        share=share,
        error=np.where(n_tracks > 0, binomial_error(share, n_tracks), np.nan),
        n_tracks=n_tracks,
    )
