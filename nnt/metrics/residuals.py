"""Width and bias of residuals, and a normal distribution fitted to their core."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from nnt.types import F64, FloatArray

TRIMMED = 0.05
"""Share of the residuals that is cut off on each side."""

MIN_CORE_ROWS = 30
"""Rows in the core below which nothing is fitted."""
CORE = 1.5
"""Half the width of the core in standard deviations of the fit."""
REACH, BINS_PER_WIDTH = 4.0, 10
MAX_ROUNDS, MAX_STEPS, MAX_HALVINGS = 12, 60, 30
CONVERGED = 1e-10
"""Gain in likelihood, to first order, that another step is not worth."""
QUARTERS = (0.30854, 0.5, 0.69146)
"""A normal distribution has one standard deviation between the outer two."""


@np.errstate(all="ignore")
def std(values: FloatArray) -> float:
    """Standard deviation; 0 for a single value.

    It is that of `numpy.std`, which takes twice as long for the rows of an epoch.
    """
    far = values - np.add.reduce(values, dtype=np.float64) / len(values)
    return math.sqrt(np.add.reduce(np.multiply(far, far, out=far)) / len(values))


def trimmed_std(values: FloatArray, cut: float = TRIMMED) -> float:
    """Standard deviation without the share `cut` on either side; values of any order.

    Of a single value, it is 0.
    """
    return std(inner(values, int(len(values) * cut)))


def inner(values: FloatArray, n_cut: int) -> FloatArray:
    """Values without the lowest and the highest `n_cut`, in no order."""
    if n_cut == 0:
        return values
    # One place at a time: numpy has vector instructions for that, but not for two.
    kept = np.partition(values, n_cut)[n_cut:]
    n_kept = len(values) - 2 * n_cut
    kept.partition(n_kept - 1)
    return kept[:n_kept]


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
    above = min(below + 1, len(ordered) - 1)
    left, right = float(ordered[below]), float(ordered[above])
    return left + (right - left) * (place - below)


@dataclass(frozen=True, slots=True)
class CoreFit:
    """Normal distribution of the core, in the unit of the residuals."""

    mean: float
    mean_error: float
    std: float
    std_error: float
    share: float
    """Share of all rows that the fitted curve holds; the rest is in tails."""
    n_rows: int
    """Rows in the core."""


@np.errstate(all="ignore")
def core_fit(values: FloatArray) -> CoreFit | None:
    """Fit a normal distribution to the core of a distribution with tails.

    The core are the bins within 1.5 standard deviations of the mean, both taken
    from the fit itself, which is repeated until they stay. It begins with the
    median and the width of the central 38 %, which tails hardly move.

    Parameters
    ----------
    values : float array, shape (N,)
        In any unit.

    Returns
    -------
    CoreFit or None
        None where there is no core to fit: fewer than 30 rows in it, all values
        the same, or the fit finds no peak.

    Notes
    -----
    The fit maximises the Poisson likelihood of the counts (S. Baker and R. D.
    Cousins, Nucl. Instrum. Meth. 221 (1984) 437) by Fisher's scoring. Errors come
    from its curvature.
    """
    if len(values) < MIN_CORE_ROWS:
        return None
    lower, centre, upper = np.quantile(values, QUARTERS)
    width = float(upper - lower)
    if not width > 0 or not np.isfinite(width):
        return None
    n_bins = int(2 * REACH * BINS_PER_WIDTH)
    limits = (float(centre) - REACH * width, float(centre) + REACH * width)
    bins = np.linspace(*limits, n_bins + 1, dtype=values.dtype)
    # Too wide for the type of the values, or too narrow.
    if not np.isfinite(bins).all() or not (bins[:-1] < bins[1:]).all():
        return None
    counts, edges = np.histogram(values, n_bins, limits)
    return _repeated(
        counts.astype(np.float64), edges, float(centre), width, len(values)
    )


def _repeated(
    counts: F64, edges: F64, mean: float, std: float, n_all: int
) -> CoreFit | None:
    centres = (edges[:-1] + edges[1:]) / 2
    bin_width = float(edges[1] - edges[0])
    before: tuple[int, int] | None = None
    fit = None
    for _ in range(MAX_ROUNDS):
        inside = np.flatnonzero(np.abs(centres - mean) <= CORE * std)
        # Once the same bins come again, so would the same fit.
        if not len(inside) or (inside[0], inside[-1]) == before:
            break
        before = (int(inside[0]), int(inside[-1]))
        chosen = slice(inside[0], inside[-1] + 1)
        n_rows = int(counts[chosen].sum())
        if n_rows < MIN_CORE_ROWS or len(inside) < 4:
            return None
        window = edges[inside[0] : inside[-1] + 2]
        fit = _fit(counts[chosen], window, mean, std, n_all)
        if fit is None or not bin_width < 2 * fit.std < edges[-1] - edges[0]:
            return None
        mean, std = fit.mean, fit.std
    return fit


def _fit(
    counts: F64, edges: F64, mean: float, std: float, n_all: int
) -> CoreFit | None:
    # Imported here: scipy would delay the start of a training.
    from scipy.special import ndtr

    values = np.array([np.log(counts.sum() / (2 * ndtr(CORE) - 1)), mean, np.log(std)])
    model, slopes, deviance = _expected(values, edges, counts)
    for _ in range(MAX_STEPS):
        # Fisher's scoring: the curvature is that of the expected counts.
        pulls = slopes / model
        curvature, gradient = pulls @ slopes.T, pulls @ (counts - model)
        try:
            covariance = np.linalg.inv(curvature)
        except np.linalg.LinAlgError:
            return None
        step = covariance @ gradient
        if abs(step @ gradient) < CONVERGED:
            break
        for _ in range(MAX_HALVINGS):
            tried = _expected(values + step, edges, counts)
            if tried[2] < deviance:
                break
            step /= 2
        else:
            break  # no better but for rounding
        values = values + step
        model, slopes, deviance = tried
    else:
        return None
    errors = np.sqrt(np.maximum(np.diag(covariance), 0))
    fitted = float(np.exp(values[2]))
    return CoreFit(
        mean=float(values[1]),
        mean_error=float(errors[1]),
        std=fitted,
        std_error=float(errors[2]) * fitted,
        share=min(float(np.exp(values[0])) / n_all, 1.0),
        n_rows=int(counts.sum()),
    )


def _expected(values: F64, edges: F64, counts: F64) -> tuple[F64, F64, float]:
    """Counts that are expected, shape (B,), their slopes, (3, B), and the deviance.

    The parameters are the logarithm of the rows, the mean and the logarithm of the
    standard deviation; half the deviance is what the likelihood of Poisson lacks.
    """
    from scipy.special import ndtr, xlogy

    n_rows, width = np.exp(values[0]), np.exp(values[2])
    scaled = (edges - values[1]) / width
    density = n_rows / np.sqrt(2 * np.pi) * np.exp(-(scaled**2) / 2)
    model = np.maximum(n_rows * np.diff(ndtr(scaled)), 1e-9)
    by_mean, by_width = -np.diff(density) / width, -np.diff(density * scaled)
    deviance = 2 * np.sum(model - counts + xlogy(counts, counts / model))
    return model, np.array([model, by_mean, by_width]), float(deviance)
