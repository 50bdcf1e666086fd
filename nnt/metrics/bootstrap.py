"""Statistical errors of any figure, by drawing events anew.

Tracks of one event share its background and its event time, so that whole
events are drawn (a block bootstrap: B. Efron and R. Tibshirani, "An Introduction
to the Bootstrap", 1993, chapter 8).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Replicas", "bootstrap", "difference_errors", "resamples"]

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

N_REPLICAS = 100
"""An error from 100 replicas is itself known to 7 %."""
MAX_ROWS = 20_000
"""Rows of one replica; of a larger table, some events stand for all."""
SEED = 20


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Replicas:
    """Figures of tables that were drawn anew from one table."""

    values: Mapping[str, F64]
    """Name to shape (R,); NaN in replicas where a figure does not exist."""
    scale: float
    """Error of the whole table over that of a replica, at most 1."""

    def errors(self) -> dict[str, float]:
        """Standard error of each figure."""
        return {k: self.scale * _spread(v) for k, v in self.values.items()}


def _spread(values: F64) -> float:
    there = values[np.isfinite(values)]
    return float(np.std(there, ddof=1)) if len(there) > 1 else float("nan")


def resamples(
    event: I64, n_replicas: int = N_REPLICAS, max_rows: int = MAX_ROWS
) -> tuple[list[I64], float]:
    """Draw events anew, always in the same way for the same events.

    Parameters
    ----------
    event : int64 array, shape (N,)
        Dense number of the event of each row.
    n_replicas : int
        Number of tables to draw.
    max_rows : int
        About as many rows are drawn at most.

    Returns
    -------
    list of int64 arrays
        Rows of each replica.
    float
        What an error seen among the replicas is to be multiplied with: errors
        fall with the square root of the number of events.
    """
    rng = np.random.default_rng(SEED)
    order = np.argsort(event, kind="stable")
    n_rows = np.bincount(event)
    first = np.cumsum(n_rows) - n_rows
    present = np.flatnonzero(n_rows)
    n_drawn = max(1, min(len(present), len(present) * max_rows // max(len(event), 1)))
    rows = []
    chosen = rng.permutation(present)[:n_drawn]
    for _ in range(n_replicas):
        drawn = chosen[rng.integers(0, n_drawn, n_drawn)]
        size = n_rows[drawn]
        within = np.arange(size.sum()) - np.repeat(np.cumsum(size) - size, size)
        rows.append(order[np.repeat(first[drawn], size) + within])
    return rows, float(np.sqrt(n_drawn / max(len(present), 1)))


def bootstrap(
    statistic: Callable[[I64], Mapping[str, float]],
    drawn: tuple[list[I64], float],
) -> Replicas:
    """Compute figures of every replica.

    Parameters
    ----------
    statistic : callable
        Rows to named figures; one that cannot be computed is left out.
    drawn : tuple
        As `resamples` gives it. Two networks on the same rows are compared with
        the same draws.
    """
    rows, scale = drawn
    figures = [statistic(chosen) for chosen in rows]
    names = {name: None for told in figures for name in told}
    values = {
        name: np.array([told.get(name, np.nan) for told in figures]) for name in names
    }
    return Replicas(values=values, scale=scale)


def difference_errors(first: Replicas, second: Replicas) -> dict[str, float]:
    """Standard errors of differences between networks on the same draws.

    What the networks have in common, the draw of the tracks, drops out.
    """
    return {
        name: first.scale * _spread(values - first.values[name])
        for name, values in second.values.items()
        if name in first.values
    }
