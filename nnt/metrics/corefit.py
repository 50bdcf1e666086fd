"""A normal distribution fitted to the core of residuals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nnt.types import F64, FloatArray

__all__ = ["MIN_CORE_ROWS", "CoreFit", "core_fit"]


MIN_CORE_ROWS = 30
"""Rows in the core below which nothing is fitted."""
CORE = 1.5
"""Half the width of the core in standard deviations of the fit."""
REACH, BINS_PER_WIDTH = 4.0, 10
MAX_ROUNDS = 12
QUARTERS = (0.30854, 0.5, 0.69146)
"""A normal distribution has one standard deviation between the outer two."""


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
    The fit maximises the Poisson likelihood of the counts, as least squares of
    the signed roots of their deviance: S. Baker and R. D. Cousins, Nucl. Instrum.
    Meth. 221 (1984) 437. Errors come from its curvature.
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
    from scipy.optimize import least_squares
    from scipy.special import ndtr, xlogy

    def expected(parameters: F64) -> F64:
        scaled = (edges - parameters[1]) / np.exp(parameters[2])
        model: F64 = np.exp(parameters[0]) * np.diff(ndtr(scaled))
        return np.maximum(model, 1e-9)

    def signed_roots(parameters: F64) -> F64:
        model = expected(parameters)
        deviance = 2 * (model - counts + xlogy(counts, counts / model))
        roots: F64 = np.sign(model - counts) * np.sqrt(np.maximum(deviance, 0))
        return roots

    start = np.array([np.log(counts.sum() / (2 * ndtr(CORE) - 1)), mean, np.log(std)])
    found = least_squares(signed_roots, start, x_scale=(0.1, std, 0.1), max_nfev=60)
    if not found.success:
        return None
    try:
        covariance = np.linalg.inv(found.jac.T @ found.jac)
    except np.linalg.LinAlgError:
        return None
    errors = np.sqrt(np.maximum(np.diag(covariance), 0))
    fitted = float(np.exp(found.x[2]))
    return CoreFit(
        mean=float(found.x[1]),
        mean_error=float(errors[1]),
        std=fitted,
        std_error=float(errors[2]) * fitted,
        share=min(float(np.exp(found.x[0])) / n_all, 1.0),
        n_rows=int(counts.sum()),
    )
