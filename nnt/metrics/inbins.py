"""Residuals and efficiency against z, angles, momentum and number of tracks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from operator import attrgetter

import numpy as np
import numpy.typing as npt

from nnt.metrics.clusters import rows_by_event, share_errors, widths_with_errors
from nnt.metrics.decisions import FEED_EFFICIENCY, SIGNAL_Z_CM, cut_at_efficiency_cm
from nnt.metrics.prediction import Predictions
from nnt.types import F64, I16, I64, FloatArray

ROWS_PER_BIN, FEWEST_BINS = 25, 4
"""Of the bins of an axis, on average, and at least."""
Z_EDGES_CM, THETA_EDGES_DEG = np.linspace(-100, 100, 41), np.linspace(10, 170, 33)
PHI_EDGES_DEG, N_EDGES = np.linspace(0, 360, 37), np.arange(0.5, 11)
CHARGE_EDGES = np.array([-1.5, 0, 1.5])
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

    @property
    def middles(self) -> F64:
        """Of the bins."""
        return (self.edges[:-1] + self.edges[1:]) / 2

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
    "z": Axis("z of the reconstruction", "cm", Z_EDGES_CM, attrgetter("z_reco_cm")),
    "theta": Axis(
        "theta of the reconstruction",
        "deg",
        THETA_EDGES_DEG,
        attrgetter("theta_reco_deg"),
    ),
    "pt": Axis("pT of the trigger track", "GeV", PT_EDGES_GEV, attrgetter("pt_gev")),
    "phi": Axis(
        "phi of the trigger track", "deg", PHI_EDGES_DEG, attrgetter("phi_deg")
    ),
    "charge": Axis("charge of the trigger track", "e", CHARGE_EDGES, _charge),
    "n_tracks": Axis(
        "tracks in the event (last bin: 10 or more)", "", N_EDGES, _n_tracks
    ),
}
"""By the name of the quantity: all that is known about it, in one place."""


class _Binned:
    """Arrays, one number for each bin."""

    __slots__: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, list[float | None]]:
        """As plain JSON values, None for NaN."""
        named = {name: getattr(self, name).tolist() for name in self.__slots__}
        return {
            name: [value if math.isfinite(value) else None for value in values]
            for name, values in named.items()
        }


@dataclass(frozen=True, slots=True, eq=False)
class BinnedResiduals(_Binned):
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
    [found] = _all_in_bins([residual], at, edges, event)
    return found


def _all_in_bins(
    residuals: Iterable[FloatArray], at: FloatArray, edges: npt.ArrayLike, event: I64
) -> list[BinnedResiduals]:
    """Summarise several residuals of the same rows, which are put in order once."""
    edges = np.asarray(edges, dtype=np.float64)
    n_bins = len(edges) - 1
    bin_of = bin_numbers(at, edges)
    rows, event, _ = rows_by_event(event, bin_of, n_bins)
    n_tracks = np.bincount(bin_of, minlength=n_bins)[:n_bins]
    return [_summary(own[rows], at[rows], edges, event, n_tracks) for own in residuals]


@np.errstate(all="ignore")
def _summary(
    residual: FloatArray, at: FloatArray, edges: F64, event: I64, n_tracks: I64
) -> BinnedResiduals:
    """Summarise residuals of rows in order by bin and event."""
    figures, errors = np.full((2, 3, len(n_tracks)), np.nan)
    products = np.zeros((5, len(n_tracks)))
    # From the middle of the bin, so that no digits are lost.
    middles = (edges[:-1] + edges[1:]) / 2
    starts = np.append(0, np.cumsum(n_tracks))
    for i in np.flatnonzero(n_tracks):
        rows = slice(starts[i], starts[i + 1])
        values = residual[rows]
        number = event[rows] - event[rows.start]
        figures[:, i], errors[:, i] = widths_with_errors(values, number)
        x, y = at[rows] - middles[i], values - figures[0, i]
        products[:2, i] = x.sum(), y.sum()
        products[2:, i] = [np.einsum("i,i", *p) for p in ((x, x), (x, y), (y, y))]
    slope, slope_error = _slopes(n_tracks, products)
    mean, std, trimmed = zip(figures, errors, strict=True)
    return BinnedResiduals(edges, n_tracks, *mean, *std, *trimmed, slope, slope_error)


def bin_numbers(at: FloatArray, edges: npt.ArrayLike) -> I16:
    """Bin of each value; values outside, NaN too, are in a bin behind the last.

    The edges increase; a bin holds its lower edge.
    """
    edges = np.asarray(edges, dtype=np.float64)
    n_bins = len(edges) - 1
    # Edges up to the value: none before the first bin, all behind the last.
    upto = np.searchsorted(edges, at, side="right").astype(np.int16)
    inside = (upto > 0) & (upto <= n_bins)
    return np.where(inside, upto - np.int16(1), np.int16(n_bins))


def _slopes(n: I64, products: F64) -> tuple[F64, F64]:
    """Straight lines by least squares, from sums of x, y, xx, xy and yy in each bin."""
    x, y, xx, xy, yy = products
    spread_x, spread_y = xx - x * x / n, yy - y * y / n
    slope = (xy - x * y / n) / spread_x
    # Bins where all rows are at one place, but for rounding, have no slope.
    slope[~(spread_x > 1e-9 * (n + xx))] = np.nan
    left = np.maximum(spread_y - slope**2 * spread_x, 0)
    error = np.sqrt(left / (n - 2) / spread_x)
    error[~(n > 2) | np.isnan(slope)] = np.nan
    return slope, error


def in_bins(predicted: Predictions) -> dict[str, BinnedResiduals]:
    """Residuals of a network that predicts z, in bins of everything the rows have.

    Named ``z_against_z``, ``theta_against_pt`` and so on.
    """
    residuals = {name: predicted.residual(name) for name in ("z", "theta")}
    there = {name: own for name, own in residuals.items() if own is not None}
    bins = {
        name: _all_in_bins(there.values(), at, axis.edges, predicted.event)
        for name, axis in AXES.items()
        if (at := axis.values(predicted)) is not None
    }
    return {
        f"{quantity}_against_{name}": own[i]
        for i, quantity in enumerate(there)
        for name, own in bins.items()
    }


@dataclass(frozen=True, slots=True, eq=False)
class Shares(_Binned):
    """Shares of tracks; shape (B,) each, NaN where there are no tracks."""

    at: FloatArray
    """Middle of each bin."""
    share: FloatArray
    error: FloatArray
    n_tracks: I64


@np.errstate(all="ignore")
def efficiency_in_bins(predicted: Predictions) -> dict[str, Shares]:
    """Efficiency for tracks from the collision point, in bins.

    The cut on |z|, which the network has to predict, is that of 96 % efficiency over
    all rows. By the names of `AXES`, but for z; empty without signal.
    """
    signal = np.abs(predicted.z_reco_cm) < SIGNAL_Z_CM
    if not signal.any():
        return {}
    kept_cm, event = predicted.z_cm[signal], predicted.event[signal]
    passing = np.abs(kept_cm) < cut_at_efficiency_cm(kept_cm, FEED_EFFICIENCY)
    found = {}
    for name, axis in AXES.items():
        if name != "z" and (at := axis.values(predicted)) is not None:
            bin_of, middle = bin_numbers(at[signal], axis.edges), axis.middles
            found[name] = Shares(
                middle, *share_errors(passing, event, bin_of, len(middle))
            )
    return found
