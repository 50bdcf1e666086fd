"""Width and bias of residuals, all together and in bins."""

from __future__ import annotations

import itertools
import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nnt.types import I16, I64, FloatArray

__all__ = [
    "BinnedResiduals",
    "bin_numbers",
    "half_width_68",
    "plain",
    "residuals_in_bins",
    "std",
    "trimmed_std",
]

TRIMMED = 0.05
"""Share of the residuals that is cut off on each side."""


@np.errstate(all="ignore")
def std(values: FloatArray) -> float:
    """Standard deviation; 0 for a single value."""
    return float(np.std(values, dtype=np.float64))


@np.errstate(all="ignore")
def trimmed_std(values: FloatArray, cut: float = TRIMMED) -> float:
    """Compute the standard deviation without the outer shares on either side.

    Parameters
    ----------
    values : float array, shape (N,)
        At least one.
    cut : float
        Share that is cut off on each side.
    """
    return std(_inner(values, int(len(values) * cut)))


def _inner(values: FloatArray, n_cut: int) -> FloatArray:
    """Values without the lowest and the highest `n_cut`, in no order."""
    if n_cut == 0:
        return values
    # One place at a time: numpy has vector instructions for that, but not for two.
    inner = np.partition(values, n_cut)[n_cut:]
    n_inner = len(values) - 2 * n_cut
    inner.partition(n_inner - 1)
    return inner[:n_inner]


def _power_sums(ordered: FloatArray) -> tuple[float, FloatArray]:
    """Mean, and running sums of the powers 1 to 4 of the distance to it."""
    mean = float(np.mean(ordered, dtype=np.float64))
    distance = ordered.astype(np.float64) - mean
    square = distance * distance
    powers = np.empty((4, len(ordered) + 1))
    powers[:, 0] = 0
    np.cumsum(distance, out=powers[0, 1:])
    np.cumsum(square, out=powers[1, 1:])
    np.cumsum(square * distance, out=powers[2, 1:])
    np.cumsum(square * square, out=powers[3, 1:])
    return mean, powers


def _std_with_error(
    ordered: FloatArray, sums: tuple[float, FloatArray], cut: float
) -> tuple[float, float]:
    """Standard deviation, trimmed or not, of values of any distribution, and its error.

    The error is that of the influence function: what lies beyond a cut counts like
    the value at the cut (P. J. Huber and E. M. Ronchetti, "Robust Statistics", 2009,
    chapter 3). Without a cut, it is that of the fourth moment.
    """
    n, n_cut = len(ordered), int(len(ordered) * cut)
    n_inner = n - 2 * n_cut
    width = std(ordered[n_cut : n - n_cut])
    if not width > 0:
        return width, 0.0 if width == 0 else float("nan")
    origin, powers = sums
    s1, s2, s3, s4 = powers[:, n - n_cut] - powers[:, n_cut]
    # About the mean of what is left, in place of the mean of all.
    m = s1 / n_inner
    second = s2 - m * s1
    fourth = s4 - 4 * m * s3 + 6 * m**2 * s2 - 3 * m**3 * s1
    ends = ordered[n_cut], ordered[n - n_cut - 1]
    outer = [(float(end) - origin - m) ** 2 for end in ends]
    first = (second + n_cut * sum(outer)) / n
    spread = (fourth + n_cut * sum(square**2 for square in outer)) / n - first**2
    error = np.sqrt(max(spread, 0.0) / n) / (n_inner / n) / (2 * width)
    return width, float(error)


@np.errstate(all="ignore")
def half_width_68(values: FloatArray) -> float:
    """Half the distance that holds the central 68.27 % of values in ascending order."""
    if np.isnan(values[-1]):
        return math.nan
    lower, upper = (_quantile(values, share) for share in (0.15865, 0.84135))
    return (upper - lower) / 2


def _quantile(ordered: FloatArray, share: float) -> float:
    place = share * (len(ordered) - 1)
    below = int(place)
    left, right = (
        float(ordered[below]),
        float(ordered[min(below + 1, len(ordered) - 1)]),
    )
    return left + (right - left) * (place - below)


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

    @property
    def centres(self) -> FloatArray:
        """Middle of each bin."""
        return (self.edges[:-1] + self.edges[1:]) / 2

    def to_dict(self) -> dict[str, list[float | None]]:
        """As plain JSON values, None for NaN."""
        return {name: plain(values) for name, values in asdict(self).items()}


@np.errstate(all="ignore")
def residuals_in_bins(
    residual: FloatArray, at: FloatArray, edges: npt.ArrayLike
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
    """
    edges = np.asarray(edges, dtype=np.float64)
    n_bins = len(edges) - 1
    bin_of = bin_numbers(at, edges)
    # Rows one bin after the other.
    n_tracks = np.bincount(bin_of, minlength=n_bins + 1)[:n_bins]
    ends = np.append(0, np.cumsum(n_tracks))
    ordered = residual[np.argsort(bin_of, kind="stable")]
    table = np.full((5, n_bins), np.nan)
    for i, (start, end) in enumerate(itertools.pairwise(ends)):
        if end > start:
            values = ordered[start:end]
            in_order = np.sort(values)
            sums = _power_sums(in_order)
            table[0, i] = sums[0]
            table[1:3, i] = _std_with_error(in_order, sums, 0.0)
            table[3:, i] = _std_with_error(in_order, sums, TRIMMED)
    slope, slope_error = _slopes(residual, at, bin_of, edges, table[0])
    root = np.sqrt(np.where(n_tracks > 0, n_tracks, np.nan))
    return BinnedResiduals(
        edges=edges,
        n_tracks=n_tracks,
        mean=table[0],
        mean_error=table[1] / root,
        std=table[1],
        std_error=table[2],
        trimmed_std=table[3],
        trimmed_std_error=table[4],
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
