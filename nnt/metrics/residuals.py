"""Width and bias of residuals, all together and in bins."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nnt.metrics.prediction import Floats

__all__ = [
    "BinnedResiduals",
    "half_width_68",
    "residuals_in_bins",
    "std",
    "trimmed_std",
]

I64 = npt.NDArray[np.int64]


def std(values: Floats) -> float:
    """Standard deviation; 0 for a single value."""
    return float(np.std(values, dtype=np.float64))


def trimmed_std(values: Floats, cut: float = 0.05) -> float:
    """Compute the standard deviation without the outer shares on either side.

    Parameters
    ----------
    values : float array, shape (N,)
        At least one.
    cut : float
        Share that is cut off on each side.
    """
    n_cut = int(len(values) * cut)
    if n_cut == 0:
        return std(values)
    inner = np.partition(values, [n_cut, len(values) - n_cut - 1])
    return std(inner[n_cut : len(values) - n_cut])


def half_width_68(values: Floats) -> float:
    """Half the distance that holds the central 68.27 % of the values."""
    lower, upper = np.quantile(values, [0.15865, 0.84135])
    return float(upper - lower) / 2


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class BinnedResiduals:
    """Residuals in bins of another quantity; shape (B,) each, NaN in empty bins."""

    edges: Floats
    """Shape (B + 1,)."""
    n_tracks: I64
    mean: Floats
    mean_error: Floats
    """``std / sqrt(n)``."""
    std: Floats
    std_error: Floats
    """``std / sqrt(2 n)``, that of a normal distribution."""
    trimmed_std: Floats


def residuals_in_bins(
    residual: Floats, at: Floats, edges: npt.ArrayLike
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
    bin_of = np.searchsorted(edges, at, side="right") - 1
    order = np.argsort(bin_of, kind="stable")
    ends = np.searchsorted(bin_of[order], np.arange(n_bins + 1))
    table = np.full((3, n_bins), np.nan)
    for i, (start, end) in enumerate(itertools.pairwise(ends)):
        if end > start:
            values = residual[order[start:end]]
            mean = np.mean(values, dtype=np.float64)
            table[:, i] = mean, std(values), trimmed_std(values)
    n_tracks = np.diff(ends)
    root = np.sqrt(np.where(n_tracks > 0, n_tracks, np.nan))
    return BinnedResiduals(
        edges=edges,
        n_tracks=n_tracks,
        mean=table[0],
        mean_error=table[1] / root,
        std=table[1],
        std_error=table[1] / root / np.sqrt(2),
        trimmed_std=table[2],
    )
