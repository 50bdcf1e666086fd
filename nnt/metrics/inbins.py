"""Residuals and efficiency against z, angles, momentum and number of tracks."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nnt.metrics.clusters import (
    event_sums_of_squares,
    share_errors,
    widths_with_influences,
)
from nnt.metrics.decisions import FEED_EFFICIENCY, SIGNAL_Z_CM, cut_at_efficiency_cm
from nnt.metrics.prediction import Predictions
from nnt.types import F64, I16, I64, FloatArray

__all__ = [
    "AXES",
    "Axis",
    "BinnedResiduals",
    "Shares",
    "bin_numbers",
    "efficiency_in_bins",
    "in_bins",
    "residuals_in_bins",
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


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class BinnedResiduals:
    """Residuals in bins of another quantity; shape (B,) each, NaN in empty bins."""

    edges: FloatArray
    """Shape (B + 1,)."""
    n_tracks: I64
    mean: FloatArray
    mean_error: FloatArray
    """``std / sqrt(n)``."""
    std: FloatArray
    std_error: FloatArray
    """From the fourth moment, so that tails count."""
    trimmed_std: FloatArray
    trimmed_std_error: FloatArray
    slope: FloatArray
    """Rise of the residual with the quantity, a straight line in each bin.

    Of the z residual against z, -1 is a network that tells the same z for all
    tracks of the bin, 0 one that follows them."""
    slope_error: FloatArray
    """From the spread around the line; NaN below three tracks."""

    def to_dict(self) -> dict[str, list[float | None]]:
        """As plain JSON values, None for NaN."""
        return {name: plain(values) for name, values in asdict(self).items()}


@np.errstate(all="ignore")
def residuals_in_bins(
    residual: FloatArray, at: FloatArray, edges: npt.ArrayLike, event: I64
) -> BinnedResiduals:
    """Summarise residuals in bins.

    Parameters
    ----------
    residual : float array, shape (N,)
        In cm or degrees, as is the result.
    at : float array, shape (N,)
        What to bin in; values outside the edges are left out.
    edges : float array, shape (B + 1,)
        Increasing; a bin holds its lower edge.
    event : int64 array, shape (N,)
        Dense number of the event of each row, for the errors.
    """
    edges = np.asarray(edges, dtype=np.float64)
    n_bins = len(edges) - 1
    bin_of = bin_numbers(at, edges)
    n_tracks = np.bincount(bin_of, minlength=n_bins + 1)[:n_bins]
    # Rows one bin after the other.
    order = np.argsort(bin_of, kind="stable")
    figures = np.full((3, n_bins), np.nan)
    of_rows = np.zeros((3, len(residual)))
    for i, rows in enumerate(np.split(order, np.cumsum(n_tracks))[:n_bins]):
        if len(rows):
            figures[:, i], of_rows[:, rows] = widths_with_influences(residual[rows])
    squares = event_sums_of_squares(of_rows, event, bin_of, n_bins)
    errors = np.sqrt(squares) / np.where(n_tracks > 0, n_tracks, np.nan)
    slope, slope_error = _slopes(residual, at, bin_of, edges, figures[0])
    return BinnedResiduals(
        edges=edges,
        n_tracks=n_tracks,
        mean=figures[0],
        mean_error=errors[0],
        std=figures[1],
        std_error=errors[1],
        trimmed_std=figures[2],
        trimmed_std_error=errors[2],
        slope=slope,
        slope_error=slope_error,
    )


def plain(values: npt.NDArray[Any]) -> list[float | None]:
    """As plain JSON values, None for what is not finite."""
    return [value if math.isfinite(value) else None for value in values.tolist()]


def bin_numbers(at: FloatArray, edges: npt.ArrayLike) -> I16:
    """Bin of each value; values outside, NaN too, are in a bin behind the last.

    Parameters
    ----------
    at : float array, shape (N,)
        What to bin in.
    edges : float array, shape (B + 1,)
        Increasing; a bin holds its lower edge.

    Returns
    -------
    int16 array, shape (N,)
    """
    edges = np.asarray(edges, dtype=np.float64)
    n_bins = len(edges) - 1
    # Edges up to the value: none before the first bin, all behind the last.
    upto = np.searchsorted(edges, at, side="right").astype(np.int16)
    inside = (upto > 0) & (upto <= n_bins)
    return np.where(inside, upto - np.int16(1), np.int16(n_bins))


def _slopes(
    residual: FloatArray,
    at: FloatArray,
    bin_of: I16,
    edges: FloatArray,
    mean: FloatArray,
) -> tuple[FloatArray, FloatArray]:
    """Fit a straight line to the rows of each bin by least squares."""
    n_bins = len(edges) - 1
    # From the middle of the bin, so that no digits are lost.
    middle = np.append((edges[:-1] + edges[1:]) / 2, 0.0)
    from_x = at - middle[bin_of]
    from_y = residual - np.append(np.nan_to_num(mean), 0.0)[bin_of]
    products = (from_x, from_y, from_x**2, from_x * from_y, from_y**2)
    n = np.bincount(bin_of, minlength=n_bins + 1)[:n_bins].astype(np.float64)
    x, y, xx, xy, yy = (
        np.bincount(bin_of, weights, n_bins + 1)[:n_bins] for weights in products
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        spread_x, spread_y = xx - x * x / n, yy - y * y / n
        slope = (xy - x * y / n) / spread_x
        # Bins where all rows are at one place, but for rounding, have no slope.
        slope[~(spread_x > 1e-9 * (n + xx))] = np.nan
        left = np.maximum(spread_y - slope**2 * spread_x, 0)
        error = np.sqrt(left / (n - 2) / spread_x)
    error[~(n > 2) | np.isnan(slope)] = np.nan
    return slope, error


def in_bins(predicted: Predictions) -> dict[str, BinnedResiduals]:
    """Residuals of a network in bins of everything the rows have.

    Parameters
    ----------
    predicted : Predictions
        N rows of a network that predicts z.

    Returns
    -------
    dict
        ``z_against_z``, ``theta_against_pt`` and so on.
    """
    return {
        f"{quantity}_against_{name}": residuals_in_bins(
            residual, at, axis.edges, predicted.event
        )
        for quantity in ("z", "theta")
        if (residual := predicted.residual(quantity)) is not None
        for name, axis in AXES.items()
        if (at := axis.values(predicted)) is not None
    }


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Shares:
    """Shares of tracks; shape (B,) each, NaN where there are no tracks."""

    at: FloatArray
    """Middle of each bin."""
    share: FloatArray
    error: FloatArray
    n_tracks: I64

    def to_dict(self) -> dict[str, list[float | None]]:
        """As plain JSON values, None for NaN."""
        return {name: plain(values) for name, values in asdict(self).items()}


@np.errstate(all="ignore")
def efficiency_in_bins(predicted: Predictions) -> dict[str, Shares]:
    """Efficiency for tracks from the collision point, in bins.

    The cut on |z| is that of 96 % efficiency over all rows.

    Parameters
    ----------
    predicted : Predictions
        N rows of a network that predicts z.

    Returns
    -------
    dict
        By the names of `AXES`, but for z; empty without signal.
    """
    signal = np.abs(predicted.z_reco_cm) < SIGNAL_Z_CM
    if not signal.any():
        return {}
    kept_cm, event = predicted.z_cm[signal], predicted.event[signal]
    passing = np.abs(kept_cm) < cut_at_efficiency_cm(kept_cm, FEED_EFFICIENCY)
    found = {}
    for name, axis in AXES.items():
        if name != "z" and (at := axis.values(predicted)) is not None:
            share, error, n_tracks = share_errors(
                passing, event, bin_numbers(at[signal], axis.edges), len(axis.edges) - 1
            )
            middle = (axis.edges[:-1] + axis.edges[1:]) / 2
            found[name] = Shares(at=middle, share=share, error=error, n_tracks=n_tracks)
    return found
