"""Which rows are signal and which background, and how much each counts.

Rows between signal and background count for neither. Background that is made of other
tracks than signal can be told by its composition, by the charge above all; weights
that give both the same spectra take that away.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from nnt.types import F32, F64, I64, FloatArray

Quantities = Mapping[str, FloatArray]
BINS = 10
"""Of a quantity that is continuous, each with as many of the rows that count."""


def class_targets(
    z_cm: FloatArray,
    signal_cm: float,
    background_cm: float,
    fast: FloatArray | None = None,
) -> tuple[F32, F32]:
    """Tell signal from background by the z of the reconstructed track, shape (N,).

    Signal is ``|z| < signal_cm``, background ``|z| > background_cm``; for equal ones
    there is nothing between them. `fast` is whether the momentum suffices for the
    single-track trigger: a slow track is background, wherever it comes from.

    Returns
    -------
    targets : float32 array, shape (N,)
        1 for signal, -1 for all else.
    counts : float32 array, shape (N,)
        1, but 0 between signal and background, and where z is not a number.
    """
    distance = np.abs(z_cm)
    signal = distance < signal_cm
    between = signal_cm < background_cm
    background = (distance > background_cm) if between else (distance >= background_cm)
    if fast is not None:
        slow = ~np.asarray(fast, np.bool_) & np.isfinite(distance)
        signal &= ~slow
        background |= slow
    targets = np.where(signal, np.float32(1), np.float32(-1))
    return targets, (signal | background).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Balance:
    """Weights that give signal and background the same spectra, as found on some rows.

    Made from the rows to train on by `fit`, applied to any rows by `weights`.

    Notes
    -----
    The named quantities share one grid of bins: one for each value of the charge,
    `BINS` for pt and theta, bounded by quantiles of the rows that count. In each bin
    background is weighted to the sum of signal. Bins that lack either are left out, as
    nothing can be balanced there. The weights average 1 over all rows that `fit` was
    given, and half of their sum is signal: so the weighted loss is a mean, and that of
    a network which knows nothing is ln 2.
    """

    edges: Mapping[str, F64]
    """Inner edges of the bins by the name of the quantity."""
    table: F64
    """Weights of background (0) and signal (1) in every bin, shape (2, bins)."""

    @classmethod
    def fit(
        cls, targets: FloatArray, counts: FloatArray, quantities: Quantities
    ) -> Balance:
        """Find the weights for targets and counts of `class_targets`.

        Quantities have names, such as charge (-1 or 1), pt, theta; NaN counts as the
        lowest bin. Without any, only the sums of the weights are made equal.
        """
        used = np.asarray(counts) > 0
        edges = {n: _edges(np.asarray(q)[used]) for n, q in quantities.items()}
        n_bins = int(np.prod([len(e) + 1 for e in edges.values()], dtype=np.int64))
        bins = _bins(edges, quantities, len(used))
        signal = np.asarray(targets) > 0
        kinds = used & ~signal, used & signal
        counted = [np.bincount(bins[rows], minlength=n_bins) for rows in kinds]
        found = np.stack(counted).astype(np.float64)
        shared = (found > 0).all(axis=0)
        table = np.zeros(found.shape)
        table[1, shared] = 1
        table[0, shared] = found[1, shared] / found[0, shared]
        n_signal = found[1, shared].sum()
        if n_signal:
            table *= len(used) / (2 * n_signal)
        return cls(edges, table)

    def weights(
        self, targets: FloatArray, counts: FloatArray, quantities: Quantities
    ) -> F32:
        """Weight of each row, shape (N,) float32; arguments as in `fit`."""
        signal = (np.asarray(targets) > 0).astype(np.int64)
        bins = _bins(self.edges, quantities, len(signal))
        weights = self.table[signal, bins] * (np.asarray(counts) > 0)
        return weights.astype(np.float32)


def _edges(values: FloatArray) -> F64:
    """Inner edges: one bin for each of few values, or quantiles of many."""
    finite = np.asarray(values, np.float64)[np.isfinite(values)]
    distinct = np.unique(finite)
    if len(distinct) <= BINS:
        return distinct[1:]
    quantiles = np.quantile(finite, np.arange(1, BINS) / BINS, method="inverted_cdf")
    return np.unique(quantiles)


def _bins(edges: Mapping[str, F64], quantities: Quantities, n_rows: int) -> I64:
    """Number of each row's bin in the grid of all quantities."""
    bins = np.zeros(n_rows, np.int64)
    for name, inner in edges.items():
        values = np.nan_to_num(np.asarray(quantities[name], np.float64), nan=-np.inf)
        bins = bins * (len(inner) + 1) + np.searchsorted(inner, values, side="right")
    return bins


def spread_of_weights(weights: FloatArray) -> float:
    """Share of the rows that count which equal weights would need for the same errors.

    ``(sum w)^2 / (n sum w^2)`` over the n rows of positive weight: 1 if all are equal;
    0 without any.
    """
    w = np.asarray(weights, np.float64)
    w = w[w > 0]
    return float(w.sum() ** 2 / (len(w) * (w**2).sum())) if len(w) else 0.0
