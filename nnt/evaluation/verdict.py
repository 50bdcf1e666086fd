"""Whether one network may take the place of another: figure by figure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnt import metrics
from nnt.evaluation.comparing import Comparison
from nnt.fixedpoint import FixedPointNetworks
from nnt.judging import Outputs
from nnt.metrics import Decision, Predictions
from nnt.metrics.clusters import event_sums_of_squares
from nnt.tracks import Tracks
from nnt.types import F64, I64, BoolArray, FloatArray

__all__ = ["Check", "Contestant", "Verdict", "judge"]

REJECTIONS = ("rejection_at_eff96", "rejection_at_eff98")
EFFICIENCY = 0.96
"""At which efficiencies in bins are compared, over all rows."""
BINS: Mapping[str, tuple[tuple[float, float], ...]] = {
    "charge": ((-1.5, 0.0), (0.0, 1.5)),
    "pt": ((0.0, 0.5), (0.5, 1.0), (1.0, math.inf)),
    "theta": ((10.0, 50.0), (50.0, 90.0), (90.0, 130.0), (130.0, 170.0)),
}
"""Few and wide: every bin is one more figure in which a network may seem worse."""
FEWEST_ROWS = 25
"""Tracks from the collision point that a bin is compared from."""
FEWEST_TRACKS = 100
"""Of either kind, so that a share of them is known to 5 %."""
MAX_SATURATED = 1e-3
"""Share of outputs at the end of their word that is not counted as worse."""
HARDWARE = ("multiplications", "weight_bits", "bit_operations")
UNITS_OF_BINS = {"charge": "", "pt": " GeV", "theta": " deg"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One figure of both networks."""

    name: str
    champion: float | None
    """None where there is no champion yet, or it has no such figure."""
    challenger: float | None
    error: float | None = None
    """Standard error of the difference; what both share drops out."""
    sigmas: float | None = None
    """Difference over its error; negative where the challenger is worse. None for
    figures that are only shown."""
    is_worse: bool = False
    is_better: bool = False

    @property
    def difference(self) -> float | None:
        """Challenger minus champion."""
        if self.champion is None or self.challenger is None:
            return None
        return self.challenger - self.champion

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return values | {"difference": self.difference}


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """All figures, and why the alias does not move."""

    over: str
    """The alias."""
    sigma: float
    """Errors by which the challenger may be worse in any figure."""
    checks: Sequence[Check]
    reasons: Sequence[str]
    """Empty if the challenger passes."""

    @property
    def passes(self) -> bool:
        """Whether the alias may move."""
        return not self.reasons

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "over": self.over,
            "sigma": self.sigma,
            "passes": self.passes,
            "reasons": list(self.reasons),
            "checks": [check.to_dict() for check in self.checks],
        }


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Contestant:
    """A network in integers, with what it predicts for the rows."""

    networks: FixedPointNetworks
    outputs: Outputs


def judge(
    comparison: Comparison,
    tracks: Tracks,
    contestants: Sequence[Contestant],
    over: str,
    sigma: float,
) -> Verdict:
    """Compare the last contestant with the first, if there are two.

    Parameters
    ----------
    comparison : Comparison
        Of both in integers, in this order.
    tracks : Tracks
        Rows that judge.
    contestants : sequence of Contestant
        The champion, if there is one, and the challenger.
    over : str
        The alias.
    sigma : float
        Errors by which the challenger may be worse in any figure.
    """
    rows = [
        metrics.predictions(tracks, contestant.outputs) for contestant in contestants
    ]
    decisions = _decisions(rows, contestants)
    checks = [
        *_rejections(comparison, contestants, sigma),
        *_efficiencies(rows[-1], decisions, sigma),
        _saturation(tracks, contestants, sigma),
        *_hardware(contestants),
    ]
    reasons = [
        f"{check.name}: {_percent(check.challenger)} in place of "
        f"{_percent(check.champion)}, worse by {-check.sigmas:.1f} standard errors"
        for check in checks
        if check.is_worse and check.sigmas is not None
    ]
    doubts = _doubts(decisions)
    return Verdict(over=over, sigma=sigma, checks=checks, reasons=[*doubts, *reasons])


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.2f} %"


def _check(
    name: str,
    values: Sequence[float | None],
    error: float | None,
    sigma: float,
    direction: int = 1,
    tolerance: float = 0.0,
) -> Check:
    """Compare values of champion and challenger, or keep that of the latter alone."""
    *before, challenger = values
    champion = before[0] if before else None
    if champion is None or challenger is None or error is None:
        return Check(name=name, champion=champion, challenger=challenger)
    gain = direction * (challenger - champion)
    sigmas = gain / error if error > 0 else math.copysign(math.inf, gain) * (gain != 0)
    if gain == 0 or not math.isfinite(error):
        sigmas = 0.0
    return Check(
        name=name,
        champion=champion,
        challenger=challenger,
        error=error,
        sigmas=sigmas,
        is_worse=sigmas < -sigma and -gain > tolerance,
        is_better=sigmas > sigma,
    )


def _rejections(
    comparison: Comparison, contestants: Sequence[Contestant], sigma: float
) -> Iterator[Check]:
    suffix = "_by_class" if _have_class(contestants) else ""
    networks = comparison.networks[: len(contestants)]
    for rejection in REJECTIONS:
        name = f"{rejection}{suffix}"
        values = [network.figures["all"].get(name) for network in networks]
        difference = comparison.difference(networks[-1], "all", name)
        error = None if difference is None else difference.error
        label = f"rejection at {rejection[-2:]} % efficiency"
        yield _check(f"{label} by class" if suffix else label, values, error, sigma)


def _have_class(contestants: Sequence[Contestant]) -> bool:
    return all("nnt" in contestant.outputs for contestant in contestants)


def _doubts(decisions: Sequence[Decision]) -> Iterator[str]:
    """Say why the rows cannot tell."""
    if not decisions:
        yield "no output that a trigger can cut on is known for all tracks"
        return
    counts = [
        int(kind.sum()) for kind in (decisions[-1].signal, decisions[-1].background)
    ]
    if min(counts) < FEWEST_TRACKS:
        yield (
            f"too few rows to tell: they hold {counts[0]:,} tracks from the collision "
            f"point and {counts[1]:,} of background, and at least {FEWEST_TRACKS} of "
            "each are needed; name more files with --data"
        )


def _decisions(
    rows: Sequence[Predictions], contestants: Sequence[Contestant]
) -> list[Decision]:
    """What each contestant decides by; empty if they do not decide by the same."""
    suffix = "_by_class" if _have_class(contestants) else ""
    found = [metrics.all_decisions(row).get(("", suffix)) for row in rows]
    there = [decision for decision in found if decision is not None]
    return there if len(there) == len(found) else []


def _efficiencies(
    rows: Predictions, decisions: Sequence[Decision], sigma: float
) -> Iterator[Check]:
    """Efficiency in bins, each network with its own cut over all rows."""
    if not decisions or not decisions[-1].signal.any():
        return
    signal = decisions[-1].signal
    passing = []
    for decision in decisions:
        distance = decision.distance_cm[signal]
        passing.append(distance < metrics.cut_at_efficiency_cm(distance, EFFICIENCY))
    event = rows.event[signal]
    for quantity, values in _quantities(rows[signal]).items():
        for low, high in BINS[quantity]:
            inside = (values >= low) & (values < high)
            if inside.sum() >= FEWEST_ROWS:
                name = f"efficiency, {_bin_name(quantity, low, high)}"
                shares, error = _paired(
                    [passed[inside] for passed in passing], event[inside]
                )
                yield _check(name, shares, error, sigma)


def _quantities(predicted: Predictions) -> dict[str, FloatArray]:
    at = {name: metrics.AXES[name].values(predicted) for name in BINS}
    return {name: values for name, values in at.items() if values is not None}


def _bin_name(quantity: str, low: float, high: float) -> str:
    if quantity == "charge":
        return "negative" if high == 0 else "positive"
    unit = UNITS_OF_BINS[quantity]
    if math.isinf(high):
        return f"{quantity} from {low:g}{unit}"
    return f"{quantity} {low:g} to {high:g}{unit}"


def _paired(flags: Sequence[BoolArray], event: I64) -> tuple[list[float], float | None]:
    """Shares of the same rows, and the error of their difference.

    The tracks of one event are one draw.
    """
    shares = [float(flag.mean()) for flag in flags]
    if len(flags) < 2:
        return shares, None
    change: F64 = flags[-1].astype(np.float64) - flags[0]
    change -= change.mean()
    one_bin = np.zeros(len(event), dtype=np.int64)
    squares = event_sums_of_squares(change, event, one_bin, 1)
    return shares, float(np.sqrt(squares[0])) / len(event)


def _saturation(
    tracks: Tracks, contestants: Sequence[Contestant], sigma: float
) -> Check:
    """Share of the rows whose z or theta is at the end of its word."""
    flags = []
    for contestant in contestants:
        end = 1 - 2.0**-contestant.networks.node_bits
        measured = [v for k, v in contestant.outputs.items() if k in ("z", "theta")]
        at_end = np.zeros(len(tracks), dtype=np.bool_)
        for values in measured:
            at_end |= np.abs(values) >= end
        flags.append(at_end)
    shares, error = _paired(flags, tracks.event_index)
    name = "saturated outputs (z or theta)"
    return _check(name, shares, error, sigma, -1, MAX_SATURATED)


def _hardware(contestants: Sequence[Contestant]) -> Iterator[Check]:
    """What the networks cost, all experts together; shown, not judged."""
    costs = [
        [dict(cost) for cost in contestant.networks.hardware_cost().values()]
        for contestant in contestants
    ]
    for name in HARDWARE:
        values = [
            float(sum(cost[f"hardware/{name}"] for cost in experts))
            for experts in costs
        ]
        yield _check(f"hardware: {name.replace('_', ' ')}", values, None, 0.0)
    largest = [
        max(form.largest_weight for form in contestant.networks.forms.values())
        for contestant in contestants
    ]
    yield _check("largest weight (below 64)", largest, None, 0.0)
