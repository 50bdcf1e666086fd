"""Width and bias of residuals, all together and in bins."""

from __future__ import annotations

import dataclasses
import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nnt.compiled import njit
from nnt.types import I16, I64, FloatArray

__all__ = [
    "BinnedResiduals",
    "bin_numbers",
    "half_width_68",
    "plain",
    "residuals_in_bins",
    "std",
    "std_with_error",
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


def std_with_error(values: FloatArray, cut: float = 0.0) -> tuple[float, float]:
    """Compute a standard deviation, trimmed or not, and its standard error.

    Parameters
    ----------
    values : float array, shape (N,)
        At least one; of any distribution.
    cut : float
        Share that is cut off on each side.

    Returns
    -------
    tuple of float
        As of `std` or `trimmed_std`, and its error.

    Notes
    -----
    The error is that of the influence function: what lies beyond a cut counts like
    the value at the cut (P. J. Huber and E. M. Ronchetti, "Robust Statistics", 2009,
    chapter 3). Without a cut, it is that of the fourth moment.
    """
    n, n_cut = len(values), int(len(values) * cut)
    inner = _inner(values, n_cut)
    width, mean = std(inner), float(np.mean(inner, dtype=np.float64))
    if not width > 0:
        return width, 0.0 if width == 0 else float("nan")
    squares = (inner.astype(np.float64) - mean) ** 2
    outer = [(float(end) - mean) ** 2 for end in (inner.min(), inner.max())]
    first = (squares.sum() + n_cut * sum(outer)) / n
    second = (squares @ squares + n_cut * sum(square**2 for square in outer)) / n
    spread = np.sqrt(max(second - first**2, 0.0) / n) / (1 - 2 * n_cut / n)
    return width, float(spread) / (2 * width)


@np.errstate(all="ignore")
def half_width_68(values: FloatArray) -> float:
    """Half the distance that holds the central 68.27 % of the values."""
    lower, upper = np.quantile(values, [0.15865, 0.84135])
    return float(upper - lower) / 2


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
        return {
            field.name: plain(getattr(self, field.name))
            for field in dataclasses.fields(self)
        }


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
    ordered = np.empty(int(ends[-1]), dtype=residual.dtype)
    _scatter(residual, bin_of, ends[:-1].copy(), ordered)
    table = np.full((5, n_bins), np.nan)
    for i, (start, end) in enumerate(itertools.pairwise(ends)):
        if end > start:
            values = ordered[start:end]
            table[0, i] = np.mean(values, dtype=np.float64)
            table[1:3, i] = std_with_error(values)
            table[3:, i] = std_with_error(values, TRIMMED)
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
    number = np.empty(len(at), dtype=np.int16)
    _find(at, np.asarray(edges, dtype=np.float64), number)
    return number


def _slopes(
    residual: FloatArray,
    at: FloatArray,
    bin_of: I16,
    edges: FloatArray,
    mean: FloatArray,
) -> tuple[FloatArray, FloatArray]:
    """Fit a straight line to the rows of each bin by least squares."""
    centres = (edges[:-1] + edges[1:]) / 2
    sums = np.zeros((len(centres), 6))
    # From the middle of the bin, so that no digits are lost.
    _add_moments(residual, at, bin_of, centres, np.nan_to_num(mean), sums)
    n, x, y, xx, xy, yy = sums.T
    with np.errstate(divide="ignore", invalid="ignore"):
        spread_x, spread_y = xx - x * x / n, yy - y * y / n
        slope = (xy - x * y / n) / spread_x
        # Bins where all rows are at one place, but for rounding, have no slope.
        slope[~(spread_x > 1e-9 * (n + xx))] = np.nan
        left = np.maximum(spread_y - slope**2 * spread_x, 0)
        error = np.sqrt(left / (n - 2) / spread_x)
    error[~(n > 2) | np.isnan(slope)] = np.nan
    return slope, error


@njit()
def _find(at: FloatArray, edges: FloatArray, number: I16) -> None:
    n_bins = len(edges) - 1
    for i in range(len(at)):
        value = at[i]
        lower, upper = 0, n_bins + 1  # edges up to the value: between these
        while lower < upper:
            middle = (lower + upper) // 2
            if edges[middle] <= value:
                lower = middle + 1
            else:
                upper = middle
        inside = 0 < lower <= n_bins
        number[i] = lower - 1 if inside else n_bins


@njit()
def _scatter(values: FloatArray, bin_of: I16, place: I64, ordered: FloatArray) -> None:
    for i in range(len(values)):
        number = bin_of[i]
        if number < len(place):
            ordered[place[number]] = values[i]
            place[number] += 1


@njit()
def _add_moments(
    residual: FloatArray,
    at: FloatArray,
    bin_of: I16,
    centre: FloatArray,
    mean: FloatArray,
    sums: FloatArray,
) -> None:
    for i in range(len(residual)):
        number = bin_of[i]
        if number < len(centre):
            x = float(at[i]) - centre[number]
            y = float(residual[i]) - mean[number]
            into = sums[number]
            into[0] += 1
            into[1] += x
            into[2] += y
            into[3] += x * x
            into[4] += x * y
            into[5] += y * y
