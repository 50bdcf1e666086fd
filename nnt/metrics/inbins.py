"""Residuals and efficiency against z, angles, momentum and number of tracks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nnt.metrics.prediction import Predictions
from nnt.metrics.residuals import (
    BinnedResiduals,
    bin_numbers,
    plain,
    residuals_in_bins,
)
from nnt.metrics.trigger import (
    FEED_EFFICIENCY,
    SIGNAL_Z_CM,
    binomial_error,
    cut_at_efficiency_cm,
)
from nnt.types import F64, BoolArray, FloatArray

__all__ = [
    "AXES",
    "Axis",
    "Shares",
    "efficiency_in_bins",
    "in_bins",
    "share_in_bins",
    "values_at",
]

ROWS_PER_BIN, FEWEST_BINS = 25, 4
"""Of the bins of an axis, on average, and at least."""
PT_EDGES_GEV = np.array(
    [0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.85, 1, 1.25, 1.5, 2, 2.5, 3, 4, 6, 10]
)


@dataclass(frozen=True, slots=True, eq=False)
class Axis:
    """A quantity that others are shown against."""

    label: str
    unit: str
    """Empty for a number."""
    edges: F64
    """Of its bins, for many rows."""
    values: Callable[[Predictions], FloatArray | None]
    """Its value in each row, shape (N,); None where the rows do not have it."""

    @property
    def title(self) -> str:
        """Label with unit."""
        return f"{self.label} ({self.unit})" if self.unit else self.label

    def edges_for(self, n_rows: int) -> F64:
        """Fewer and wider bins where there are few rows for them."""
        n_bins = len(self.edges) - 1
        widths = [k for k in range(1, n_bins + 1) if n_bins % k == 0]
        enough = (k for k in widths if n_rows * k >= ROWS_PER_BIN * n_bins)
        # A handful of bins shows more than a single one with a smaller error.
        most = max(k for k in widths if k == 1 or n_bins // k >= FEWEST_BINS)
        return self.edges[:: min(next(enough, most), most)]


def _n_tracks(predicted: Predictions) -> FloatArray | None:
    if predicted.n_tracks is None:
        return None
    return np.minimum(predicted.n_tracks, 10).astype(np.float32)


def _charge(predicted: Predictions) -> FloatArray | None:
    if predicted.charge is None:
        return None
    # In no bin where it is not known.
    return np.where(predicted.charge == 0, np.nan, predicted.charge)


AXES = {
    "z": Axis(
        "z of the reconstruction",
        "cm",
        np.linspace(-100, 100, 41),
        lambda predicted: predicted.z_reco_cm,
    ),
    "theta": Axis(
        "theta of the reconstruction",
        "deg",
        np.linspace(10, 170, 33),
        lambda predicted: predicted.theta_reco_deg,
    ),
    "pt": Axis("pT of the trigger track", "GeV", PT_EDGES_GEV, lambda p: p.pt_gev),
    "phi": Axis(
        "phi of the trigger track",
        "deg",
        np.linspace(0, 360, 37),
        lambda predicted: predicted.phi_deg,
    ),
    "charge": Axis(
        "charge of the trigger track", "e", np.array([-1.5, 0, 1.5]), _charge
    ),
    "n_tracks": Axis(
        "tracks in the event (last bin: 10 or more)", "", np.arange(0.5, 11), _n_tracks
    ),
}
"""By the name of the quantity: all that is known about it, in one place."""


def values_at(predicted: Predictions) -> dict[str, FloatArray]:
    """Values of each of `AXES` that the rows have; shape (N,) each."""
    values = {name: axis.values(predicted) for name, axis in AXES.items()}
    return {name: at for name, at in values.items() if at is not None}


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
        return {name: plain(values) for name, values in asdict(self).items()}


@np.errstate(all="ignore")
def efficiency_in_bins(predicted: Predictions, z_cm: FloatArray) -> dict[str, Shares]:
    """Efficiency for tracks from the collision point, in bins.

    The cut on |z| is that of 96 % efficiency over all rows.

    Parameters
    ----------
    predicted : Predictions
        N rows.
    z_cm : float array, shape (N,)
        What a network says of them.

    Returns
    -------
    dict
        By the names of `AXES`, but for z; empty without signal.
    """
    signal = np.abs(predicted.z_reco_cm) < SIGNAL_Z_CM
    if not signal.any():
        return {}
    kept_cm = z_cm[signal]
    passing = np.abs(kept_cm) < cut_at_efficiency_cm(kept_cm, FEED_EFFICIENCY)
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
        Shape (B,), at the middle of the bins, with binomial errors.
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
