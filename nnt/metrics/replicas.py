"""Errors of all figures of a network, by drawing its events anew.

Each figure is computed once more for every replica, from counts in fine bins
instead of single rows: so ten million rows are visited a few times, and not a few
hundred times. Within a bin rows are taken as evenly spread, which moves a figure by
much less than its error.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nnt.metrics.bootstrap import Replicas
from nnt.metrics.decisions import Decision, decisions, event_decision
from nnt.metrics.draws import N_REPLICAS, EventDraws
from nnt.metrics.prediction import Predictions
from nnt.metrics.trigger import CUT_CM, EFFICIENCIES, FEED_Z_CM
from nnt.types import F64, I32, FloatArray

__all__ = ["figure_replicas"]


FEED_EFFICIENCY = 0.96


@dataclass(frozen=True, slots=True)
class _Bins:
    """Even bins, and one more for what lies beyond, or at infinity."""

    lower: float
    upper: float
    n: int

    def numbers(self, values: FloatArray, chosen: npt.NDArray[np.bool_] | None) -> I32:
        """Bin of each value; -1 where not chosen."""
        scaled = (values - values.dtype.type(self.lower)) / self.width
        beyond = np.nan_to_num(scaled, nan=self.n)
        number = np.clip(beyond, 0, self.n).astype(np.int32)
        if chosen is not None:
            number[~chosen] = -1
        return number

    @property
    def width(self) -> float:
        return (self.upper - self.lower) / self.n

    def fit_for(self, n_rows: int) -> _Bins:
        """Wider bins for few rows."""
        if n_rows >= FEW_ROWS:
            return self
        return _Bins(self.lower, self.upper, self.n // COARSER)


_RESIDUALS = {"z": _Bins(-200, 200, 8000), "theta": _Bins(-160, 160, 6400)}
_UNITS = {"z": "cm", "theta": "deg"}
_DISTANCE = _Bins(0, 120, 6000)
COARSER, FEW_ROWS = 4, 1_000_000
"""Tables with fewer rows have larger errors, which wider bins leave as they are."""


@np.errstate(all="ignore")
def figure_replicas(
    predicted: Predictions,
    z_cm: FloatArray,
    theta_deg: FloatArray | None,
    losses: Mapping[str, FloatArray] | None = None,
    n_replicas: int = N_REPLICAS,
) -> Replicas:
    """Compute the figures of a network for tables of events drawn anew.

    Parameters
    ----------
    predicted : Predictions
        N rows: the reconstruction, events and experts.
    z_cm, theta_deg : float array, shape (N,)
        What the network says of them; theta None for a network of z only.
    losses : mapping of str to float array, shape (N,), optional
        Further figures that are means over the rows, such as a loss.
    n_replicas : int
        R.

    Returns
    -------
    Replicas
        Of the names of `network_figures`, ``<scope>/<name>``: ``all`` and, where
        there are several, ``expert_k``. The counts of tracks, and the fits of the
        core, whose errors come with the fit, are left out.
    """
    experts = np.unique(predicted.expert)
    group = np.searchsorted(experts, predicted.expert).astype(np.int32)
    work = _Work(predicted, group, len(experts), n_replicas)
    parts: dict[int | None, dict[str, F64]] = {}
    for scope, figures in work.figures(z_cm, theta_deg, losses or {}):
        parts.setdefault(scope, {}).update(figures)
    values: dict[str, F64] = {}
    for scope, figures in parts.items():
        if scope is None or len(experts) > 1:
            name = "all" if scope is None else f"expert_{experts[scope]}"
            values |= {f"{name}/{key}": value for key, value in figures.items()}
    return Replicas(values=values)


Told = Iterator[tuple[int | None, dict[str, F64]]]
Counted = list[tuple[int | None, F64]]
_Key = tuple[_Bins, FloatArray, npt.NDArray[np.bool_] | None]


class _Work:
    """The rows and their draws; counts come apart by expert."""

    def __init__(
        self, predicted: Predictions, group: I32, n_groups: int, n_replicas: int
    ) -> None:
        self.predicted = predicted
        self.group = group
        self.n_groups = n_groups
        self.draws = EventDraws(predicted.event, n_replicas)
        n_rows = len(predicted)
        self.residual = {k: bins.fit_for(n_rows) for k, bins in _RESIDUALS.items()}
        self.distance = _DISTANCE.fit_for(n_rows)

    def figures(
        self,
        z_cm: FloatArray,
        theta_deg: FloatArray | None,
        losses: Mapping[str, FloatArray],
    ) -> Told:
        yield from self._means(losses)
        residuals = {"z": z_cm - self.predicted.z_reco_cm}
        if theta_deg is not None:
            residuals["theta"] = theta_deg - self.predicted.theta_reco_deg
        told = decisions(self.predicted, z_cm, theta_deg)
        counted = iter(
            self._counts(
                [(self.residual[name], v, None) for name, v in residuals.items()]
                + self._track_keys(told[""], z_cm)
                + (self._track_keys(told["stt_"], None) if "stt_" in told else [])
            )
        )
        for name in residuals:
            for scope, here in next(counted):
                yield scope, _residual_figures(name, self.residual[name], here)
        yield from self._tracks("", [next(counted) for _ in range(4)])
        if "stt_" in told:
            yield from self._tracks("stt_", [next(counted) for _ in range(2)])
        yield from self._events(z_cm)

    def _means(self, losses: Mapping[str, FloatArray]) -> Told:
        if not losses:
            return
        ones = np.ones(len(self.group), dtype=np.float32)
        columns = [ones, *losses.values()]
        n_rows, *sums = self.draws.sums(columns, self.group, self.n_groups)
        for name, total in zip(losses, sums, strict=True):
            for scope, index in self._scopes():
                mean = _ratio(total[index].sum(axis=0), n_rows[index].sum(axis=0))
                yield scope, {name: mean}

    def _track_keys(self, decision: Decision, z_cm: FloatArray | None) -> list[_Key]:
        chosen = [decision.signal, decision.background]
        if z_cm is not None:
            z_reco_cm = self.predicted.z_reco_cm
            chosen += [z_reco_cm > FEED_Z_CM, z_reco_cm < -FEED_Z_CM]
        return [(self.distance, decision.distance_cm, rows) for rows in chosen]

    def _tracks(self, prefix: str, counted: list[Counted]) -> Told:
        for parts in zip(*counted, strict=True):
            signal, background, *far = (counts for _, counts in parts)
            figures = _decision_figures(prefix, self.distance, signal, background)
            cut = _quantile_bin(signal, FEED_EFFICIENCY)
            for name, counts in zip(("feed_down", "feed_up"), far, strict=False):
                figures[f"{name}_at_eff96"] = _share_below(counts, cut)
            yield parts[0][0], figures

    def _events(self, z_cm: FloatArray) -> Told:
        """Events, over all experts, and among the tracks of each."""
        n_events = int(self.predicted.event.max(initial=-1)) + 1
        draws = EventDraws(np.arange(n_events), self.draws.n_replicas)
        bins, scopes, keys = self.distance, [], []
        for scope, _ in self._scopes():
            if scope is not None and self.n_groups == 1:
                continue
            mine = slice(None) if scope is None else self.group == scope
            decision = event_decision(self.predicted[mine], z_cm[mine])
            scopes.append(scope)
            for chosen in (decision.signal, decision.background):
                number = np.full(n_events, -1, dtype=np.int32)
                number[decision.event] = bins.numbers(decision.distance_cm, chosen)
                keys.append((number, bins.n + 1))
        counts = draws.counts(keys)
        for i, scope in enumerate(scopes):
            signal, background = counts[2 * i : 2 * i + 2]
            yield scope, _decision_figures("event_", bins, signal, background)

    def _scopes(self) -> Iterator[tuple[int | None, list[int]]]:
        yield None, list(range(self.n_groups))
        for i in range(self.n_groups):
            yield i, [i]

    def _counts(self, keys: list[_Key]) -> list[Counted]:
        """Counts of each quantity, by scope."""
        tasks = []
        for bins, values, chosen in keys:
            number = bins.numbers(values, chosen)
            # Groups one behind the other.
            number += np.where(number >= 0, self.group * np.int32(bins.n + 1), 0)
            tasks.append((number, self.n_groups * (bins.n + 1)))
        return [self._by_scope(counts) for counts in self.draws.counts(tasks)]

    def _by_scope(self, counts: F64) -> Counted:
        apart = counts.reshape(self.n_groups, -1, self.draws.n_replicas)
        told: Counted = [(None, apart.sum(axis=0))]
        return told + [(i, own) for i, own in enumerate(apart)]


def _ratio(part: F64, of: F64) -> F64:
    result = np.full_like(part, np.nan)
    np.divide(part, of, out=result, where=of > 0)
    return result


def _quantile_bin(counts: F64, share: float) -> F64:
    """Place of a quantile, in bins from the lower end; shape (R,)."""
    total = np.cumsum(counts, axis=0)
    return _place(total, share * total[-1])


def _place(total: F64, rank: F64) -> F64:
    """Where the running total reaches a rank, in bins; NaN without rows."""
    index = np.minimum((total < rank).sum(axis=0), len(total) - 1)
    replica = np.arange(total.shape[1])
    upto = total[index, replica]
    before = np.where(index > 0, total[index - 1, replica], 0.0)
    inside = _ratio(rank - before, upto - before)
    return np.where(total[-1] > 0, index + np.nan_to_num(inside), np.nan)


def _share_below(counts: F64, place: F64) -> F64:
    """Share of the rows below a place, in bins; shape (R,)."""
    total = np.cumsum(counts, axis=0)
    there = np.nan_to_num(place)
    index = np.clip(there.astype(np.int64), 0, len(total) - 1)
    replica = np.arange(total.shape[1])
    before = np.where(index > 0, total[index - 1, replica], 0.0)
    below = before + (there - index) * counts[index, replica]
    return np.where(np.isnan(place), np.nan, _ratio(below, total[-1]))


def _residual_figures(name: str, bins: _Bins, counts: F64) -> dict[str, F64]:
    unit = _UNITS[name]
    counts = counts[:-1]
    total = np.cumsum(counts, axis=0)
    mean, std = _mean_and_std(counts, bins)
    # As many rows as in the definition: whole ones, on either side.
    n_cut = np.floor(total[-1] * 0.05)
    inner = np.diff(
        np.clip(total, n_cut, total[-1] - n_cut), axis=0, prepend=n_cut[None]
    )
    quantiles = [_place(total, q * total[-1]) for q in (0.15865, 0.84135)]
    return {
        f"{name}_mean_{unit}": mean,
        f"{name}_std_{unit}": std,
        f"{name}_trimmed_std_{unit}": _mean_and_std(inner, bins)[1],
        f"{name}_half_width_68_{unit}": (quantiles[1] - quantiles[0]) * bins.width / 2,
    }


def _mean_and_std(counts: F64, bins: _Bins) -> tuple[F64, F64]:
    centres = bins.lower + bins.width * (np.arange(bins.n) + 0.5)
    n = counts.sum(axis=0)
    mean = _ratio(centres @ counts, n)
    square = _ratio(centres**2 @ counts, n)
    return mean, np.sqrt(np.maximum(square - mean**2, 0))


def _decision_figures(
    prefix: str, bins: _Bins, signal: F64, background: F64
) -> dict[str, F64]:
    at_cut = np.full(signal.shape[1], CUT_CM / bins.width)
    figures = {
        f"{prefix}efficiency_at_15cm": _share_below(signal, at_cut),
        f"{prefix}rejection_at_15cm": 1 - _share_below(background, at_cut),
        f"{prefix}roc_area": _area(signal, background),
    }
    for efficiency in EFFICIENCIES:
        cut = _quantile_bin(signal, efficiency)
        cut[cut > bins.n] = np.nan  # out of reach
        name = f"eff{efficiency * 100:.0f}"
        figures[f"{prefix}cut_cm_at_{name}"] = cut * bins.width
        figures[f"{prefix}rejection_at_{name}"] = 1 - _share_below(background, cut)
    return figures


def _area(signal: F64, background: F64) -> F64:
    """Share of pairs with the background further out; half for the same bin."""
    nearer = np.cumsum(signal, axis=0) - signal / 2
    pairs = (nearer * background).sum(axis=0)
    return _ratio(pairs, signal.sum(axis=0) * background.sum(axis=0))
