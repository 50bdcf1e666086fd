"""Standard errors of all metrics, from a bootstrap over events.

Tracks of one event share its background and its event time, so that whole events are
drawn (a block bootstrap: B. Efron and R. Tibshirani, "An Introduction to the
Bootstrap", 1993, chapter 8), in the form for large tables: each event gets a number of
copies from the Poisson distribution of mean 1 (N. Chamandy et al., "Estimating
Uncertainty for Massive Data Streams", 2012). The metrics of the copied rows come from
the functions that give the metrics themselves. Errors shrink with the root of the
number of events, so that a large table needs a part of its events only.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from math import exp, factorial

import numpy as np

from nnt.metrics.decisions import Sample, binomial_error, quantities
from nnt.metrics.metric import METRICS
from nnt.metrics.prediction import Predictions
from nnt.types import F64, I64, U8, FloatArray

N_REPLICAS = 100
"""An error from 100 replicas is itself known to 7 %."""
MAX_ROWS = 50_000
"""Rows, in whole events, that errors are taken from."""
SEED = 20

_SHARE = np.cumsum([exp(-1) / factorial(k) for k in range(10)])
_COPIES = np.searchsorted(_SHARE, (np.arange(2**16) + 0.5) / 2**16).astype(np.uint8)
"""Number of copies of an event, by 16 random bits."""


class EventDraws:
    """Copies of events, always the same for the same events.

    Parameters
    ----------
    event : int64 array, shape (N,)
        Dense number of the event of each row, from 0. Two networks on the same rows
        are compared with the same draws.
    n_replicas : int
        R, number of tables to draw.
    max_rows : int
        Of more rows, whole events are left out until about this many stay.
    """

    def __init__(
        self, event: I64, n_replicas: int = N_REPLICAS, max_rows: int = MAX_ROWS
    ) -> None:
        self.rows = np.arange(len(event))
        """Rows that are drawn from, shape (n,)."""
        if len(event) > max_rows:
            rng = np.random.default_rng(SEED)
            kept = rng.random(int(event.max()) + 1) < max_rows / len(event)
            self.rows = np.flatnonzero(kept[event])
        events, number = np.unique(event[self.rows], return_inverse=True)
        self.event: I64 = number
        """Dense number of the event of each of them, shape (n,)."""
        self.copies = np.array(
            [_copies(len(events), replica) for replica in range(n_replicas)]
        )
        """Copies of each of E events in each replica, uint8 of shape (R, E)."""
        self.scale = math.sqrt(len(self.rows) / max(len(event), 1))
        """Errors of all rows are smaller by this than those of the rows drawn from."""


def _copies(n_events: int, replica: int) -> U8:
    rng = np.random.Generator(np.random.SFC64([SEED, replica]))
    copies: U8 = _COPIES[rng.integers(0, 2**16, n_events, dtype=np.uint16)]
    return copies


@dataclass(frozen=True, kw_only=True, slots=True)
class Replicas:
    """Metrics of tables that were drawn anew from one table."""

    values: Mapping[str, F64]
    """Name to shape (R,); NaN in replicas where a metric does not exist."""
    scale: float = 1.0
    """What the spread is multiplied by: the rows drawn from may be a part of all."""

    def errors(self) -> dict[str, float]:
        """Standard error of each metric; NaN where fewer than two replicas have it."""
        return {k: self.scale * _spread(v) for k, v in self.values.items()}


def _spread(values: F64) -> float:
    there = values[np.isfinite(values)]
    return float(np.std(there, ddof=1)) if len(there) > 1 else float("nan")


@np.errstate(all="ignore")
def difference_errors(first: Replicas, second: Replicas) -> dict[str, float]:
    """Standard errors of differences between networks on the same draws.

    What the networks have in common, the draw of the tracks, drops out.
    """
    return {
        name: second.scale * _spread(values - first.values[name])
        for name, values in second.values.items()
        if name in first.values
    }


@np.errstate(all="ignore")
def ratio_error(first: Replicas, second: Replicas, name: str) -> float:
    """Standard error of a metric of the first over that of the second network."""
    if name not in first.values or name not in second.values:
        return math.nan
    return first.scale * _spread(first.values[name] / second.values[name])


@np.errstate(all="ignore")
def replicas(
    predicted: Predictions,
    losses: Mapping[str, FloatArray] | None = None,
    draws: EventDraws | None = None,
) -> Replicas:
    """Compute the metrics whose errors come from events, for tables drawn anew.

    Parameters
    ----------
    predicted : Predictions
        N rows.
    losses : mapping of str to float array, shape (N,), optional
        Losses of the rows, as `quantities` takes them.
    draws : EventDraws, optional
        Of these rows; made here if not given.
    """
    draws = draws or EventDraws(predicted.event)
    part = dataclasses.replace(predicted[draws.rows], event=draws.event)
    own_losses = {k: v[draws.rows] for k, v in (losses or {}).items()}
    ordered = {
        name: (values[order], event[order])
        for name, (values, event) in quantities(part, own_losses).items()
        for order in [np.argsort(values)]
    }
    chosen = {k: m for k, m in METRICS.items() if m.error == "events"}
    found = {name: np.full(len(draws.copies), np.nan) for name in chosen}
    for i, copies in enumerate(draws.copies):
        sample = Sample(
            int(copies[draws.event].sum()),
            {k: np.repeat(v, copies[event]) for k, (v, event) in ordered.items()},
        )
        for name, metric in chosen.items():
            value = metric.compute(metric.value, sample)
            if value is not None:
                found[name][i] = value
    there = {k: v for k, v in found.items() if np.isfinite(v).any()}
    return Replicas(values=there, scale=draws.scale)


@np.errstate(all="ignore")
def metric_errors(
    metrics: Mapping[str, float], sample: Sample, drawn: Replicas
) -> dict[str, float]:
    """Standard errors of the metrics of a network; those not known are left out.

    The metrics are those of `sample`; `drawn` is of the same rows.
    """
    from_events = drawn.errors()
    errors: dict[str, float] = {}
    for name, value in metrics.items():
        metric = METRICS[name]
        n_rows = sample.size(metric.share_of) if metric.share_of else 0
        error: float | None
        if callable(metric.error):
            error = metric.compute(metric.error, sample)
        elif n_rows and value in (0.0, 1.0):
            error = float(binomial_error(value, n_rows))
        else:
            error = from_events.get(name)
        if error is not None and math.isfinite(error):
            errors[name] = error
    return errors
