"""Errors in closed form that take the tracks of one event as one draw.

Tracks of an event share its background and its event time, so that they are not
independent: what counts is how much the sum over an event varies. To first order
every figure here is a mean of contributions of rows (its influence function), whose
sums over events add up in squares. That agrees with drawing whole events anew
(`nnt.metrics.resampling`), and costs a pass over the rows.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from nnt.metrics.decisions import binomial_error
from nnt.metrics.residuals import TRIMMED, inner, std
from nnt.types import F64, I64, BoolArray, FloatArray

N_GROUPS = 50
"""Groups of events, each left out once; an error from 50 is itself known to 10 %."""


def rows_by_event(
    event: I64, bin_of: npt.NDArray[np.integer], n_bins: int
) -> tuple[I64, I64, I64]:
    """Put rows in order by bin, and in each bin by event.

    Parameters
    ----------
    event : int64 array, shape (N,)
        Dense number of the event of each row.
    bin_of : int array, shape (N,)
        Bin of each row; rows outside [0, n_bins) are left out.
    n_bins : int
        B, number of bins.

    Returns
    -------
    rows : int64 array, shape (n,)
        In this order.
    number : int64 array, shape (n,)
        Ascending: a number for each event of each bin, from 0.
    bins : int64 array, shape (E,)
        Bin of each number.
    """
    inside = np.flatnonzero((bin_of >= 0) & (bin_of < n_bins))
    # Files hold one event after the other: nothing is left to sort by then.
    rows = inside[np.argsort(event[inside], kind="stable")]
    bins = bin_of[rows].astype(np.int16 if n_bins < 2**15 else np.int64)
    order = np.argsort(bins, kind="stable")
    rows, bins = rows[order], bins[order]
    events = event[rows]
    is_new = (bins[1:] != bins[:-1]) | (events[1:] != events[:-1])
    is_first = np.append(True, is_new)[: len(rows)]
    return rows, np.cumsum(is_first) - 1, bins[is_first].astype(np.int64)


def event_sums_of_squares(
    values: FloatArray, event: I64, bin_of: npt.NDArray[np.integer], n_bins: int
) -> F64:
    """Add up the squares of what each event contributes to each bin, shape (B,).

    `values` are the contributions of the rows, shape (N,); `event`, `bin_of` and
    `n_bins` are as in `rows_by_event`.
    """
    rows, number, bins = rows_by_event(event, bin_of, n_bins)
    squares = np.bincount(number, values[rows]) ** 2
    return np.bincount(bins, squares, n_bins).astype(np.float64)


def share_errors(
    passing: BoolArray, event: I64, bin_of: npt.NDArray[np.integer], n_bins: int
) -> tuple[F64, F64, I64]:
    """Share of the rows that pass (a mask, shape (N,)), and its standard error.

    `event`, `bin_of` and `n_bins` are as in `rows_by_event`.

    Returns
    -------
    share, error : float64 array, shape (B,)
        NaN in bins without rows. Shares of 0 and 1, which say nothing about
        their spread, have binomial errors.
    n_rows : int64 array, shape (B,)
    """
    inside = (bin_of >= 0) & (bin_of < n_bins)
    kept = bin_of[inside].astype(np.int64)
    n_rows = np.bincount(kept, minlength=n_bins)
    filled = np.where(n_rows > 0, n_rows, np.nan)
    share = np.bincount(kept, passing[inside], n_bins) / filled
    off = np.zeros(len(passing))
    off[inside] = passing[inside] - share[kept]
    error = np.sqrt(event_sums_of_squares(off, event, bin_of, n_bins)) / filled
    certain = (share == 0) | (share == 1)
    error = np.where(certain, binomial_error(share, filled), error)
    return share, error, n_rows


def widths_with_errors(values: FloatArray, event: I64) -> tuple[F64, F64]:
    """Mean, std and trimmed std of rows, and their standard errors; shape (3,) each.

    `values` and dense numbers of their events have shape (N,).

    Notes
    -----
    The influence of a row on a second moment about the mean is its square; on a trimmed
    one, in the tails, that of the limit beyond which it lies (P. J. Huber, "Robust
    Statistics", 1981, section 3.3).
    """
    part = inner(values, int(len(values) * TRIMMED))
    mean, middle = (np.mean(own, dtype=np.float64) for own in (values, part))
    figures = np.array([mean, std(values), std(part)])
    off = values - mean
    clipped = np.clip(values, part.min(), part.max()) - middle
    squares = [off * off, clipped * clipped]
    n_rows = np.bincount(event)
    influences = [
        np.bincount(event, off),
        *(np.bincount(event, square) - square.mean() * n_rows for square in squares),
    ]
    # A width of 0 has no influences.
    by_width = np.where(figures == 0, 0, 0.5 / figures)
    by_width[0] = 1
    by_width[2] *= len(values) / len(part)
    # Without BLAS, whose threads would take longer to begin.
    sums = np.array([np.einsum("i,i", own, own) for own in influences])
    return figures, by_width * np.sqrt(sums) / len(values)


def paired_ratio(
    upper: npt.NDArray[np.integer],
    lower: npt.NDArray[np.integer],
    event: I64,
    n_bins: int,
) -> tuple[F64, F64]:
    """Ratio of two histograms of the same rows, and its standard error.

    What both put into the same bin drops out of the error. `upper` and `lower` are the
    bins of each row in the histogram above and in the one below, as `rows_by_event`
    takes them. Where the one below has no rows, both results, shape (B,), are NaN.
    """
    counts = [
        np.bincount(bins[(bins >= 0) & (bins < n_bins)], minlength=n_bins)
        for bins in (upper, lower)
    ]
    below = np.where(counts[1] > 0, counts[1], np.nan)
    ratio = counts[0] / below
    # Each row pulls its bin above up and, by the ratio there, its bin below down.
    inside = (lower >= 0) & (lower < n_bins)
    pull = np.zeros(len(lower))
    pull[inside] = -np.nan_to_num(ratio)[lower[inside]]
    squares = event_sums_of_squares(
        np.concatenate([np.ones(len(upper)), pull]),
        np.concatenate([event, event]),
        np.concatenate([upper, lower]),
        n_bins,
    )
    return ratio, np.sqrt(squares) / below


def event_jackknife(
    statistic: Callable[[BoolArray], F64], event: I64, n_groups: int = N_GROUPS
) -> F64:
    """Standard error of any smooth statistic, leaving out groups of events in turn.

    Parameters
    ----------
    statistic : callable
        Gives float64 values, shape (S,), of the rows that a mask of shape (N,) keeps.
    event : int64 array, shape (N,)
        Number of the event of each row.
    n_groups : int
        G; fewer where there are fewer events.

    Returns
    -------
    float64 array, shape (S,)
        NaN below two events.

    Notes
    -----
    The delete-a-group jackknife: J. Shao and D. Tu, "The Jackknife and Bootstrap",
    1995, section 2.3. Groups of many events make it right for quantiles, too.
    """
    events, number = np.unique(event, return_inverse=True)
    n_groups = min(n_groups, len(events))
    if n_groups < 2:
        return np.full_like(statistic(np.ones(len(event), dtype=np.bool_)), np.nan)
    # Neighbours in a file are alike: deal them out.
    group = number % n_groups
    values = np.array([statistic(group != left_out) for left_out in range(n_groups)])
    spread: F64 = np.var(values, axis=0)
    return np.sqrt((n_groups - 1) * spread)
