"""Whether one network may take the place of another: figure by figure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnt import metrics
from nnt.evaluation.comparison import Comparison, NetworkResult
from nnt.fixedpoint import FixedPointNetworks
from nnt.judging import Outputs, predicted_outputs
from nnt.judging.outputs import MEASURED
from nnt.metrics import Decision, Predictions
from nnt.metrics.clusters import event_sums_of_squares
from nnt.types import F64, I64, BoolArray

BY_CLASS = "_by_class"
REJECTIONS = ("rejection_at_eff96", "rejection_at_eff98")
EFFICIENCY = 0.96
"""At which efficiencies in bins are compared, over all rows."""
BINS = (
    ("negative", "charge", -1.5, 0.0),
    ("positive", "charge", 0.0, 1.5),
    ("pt 0 to 0.5 GeV", "pt", 0.0, 0.5),
    ("pt 0.5 to 1 GeV", "pt", 0.5, 1.0),
    ("pt from 1 GeV", "pt", 1.0, math.inf),
    ("theta 10 to 50 deg", "theta", 10.0, 50.0),
    ("theta 50 to 90 deg", "theta", 50.0, 90.0),
    ("theta 90 to 130 deg", "theta", 90.0, 130.0),
    ("theta 130 to 170 deg", "theta", 130.0, 170.0),
)
"""Few and wide: every bin is one more figure in which a network may seem worse."""
FEWEST_ROWS = 25
"""Tracks from the collision point that a bin is compared from."""
FEWEST_TRACKS = 100
"""Of either kind, so that a share of them is known to 5 %."""
MAX_SATURATED = 1e-3
"""Share of outputs at the end of their word that is not counted as worse."""
SATURATED = "saturated outputs (z or theta)"
HARDWARE = ("multiplications", "weight_bits", "bit_operations")

Figure = tuple[str, Sequence[float | None], float | None]
"""Name, values of champion (if any) and challenger, error of their difference."""


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
    def is_share(self) -> bool:
        """Whether it is a share of rows."""
        return "efficiency" in self.name or "outputs" in self.name

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


@dataclass(frozen=True, slots=True)
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

    @property
    def words(self) -> str:
        """What it is, and why."""
        if self.passes:
            return (
                f"May become {self.over}: in the firmware's integers nowhere worse by "
                f"more than {self.sigma:g} standard errors."
            )
        return f"Must not become {self.over}: " + "; ".join(self.reasons)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "over": self.over,
            "sigma": self.sigma,
            "passes": self.passes,
            "reasons": list(self.reasons),
            "checks": [check.to_dict() for check in self.checks],
        }


def judge(
    comparison: Comparison,
    networks: Sequence[FixedPointNetworks],
    over: str,
    sigma: float,
) -> Verdict:
    """Judge the challenger, which is the last of the networks that are compared.

    The champion comes before it, if there is one. In no figure may the challenger be
    worse by more than `sigma` errors.
    """
    tracks, runs = comparison.rows.tracks, comparison.runs
    outputs = [predicted_outputs(one, tracks) for one in networks]
    suffix = BY_CLASS if all("nnt" in named for named in outputs) else ""
    rows = [metrics.predictions(tracks, named) for named in outputs]
    found = [metrics.all_decisions(row).get(("", suffix)) for row in rows]
    decisions = [] if None in found else [one for one in found if one is not None]
    at_end = [
        _saturated(named, one.node_bits, len(tracks))
        for named, one in zip(outputs, networks, strict=True)
    ]
    figures = [
        *_rejections(runs, suffix),
        *_efficiencies(rows[-1], decisions),
        (SATURATED, *_paired(at_end, tracks.event_index)),
        *_hardware(runs, networks),
    ]
    checks = [_check(sigma, *figure) for figure in figures]
    reasons = [
        f"{check.name}: {_percent(check.challenger)} in place of "
        f"{_percent(check.champion)}, worse by {-check.sigmas:.1f} standard errors"
        for check in checks
        if check.is_worse and check.sigmas is not None
    ]
    return Verdict(over, sigma, checks, [*_doubts(decisions), *reasons])


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.2f} %"


def _check(
    sigma: float, name: str, values: Sequence[float | None], error: float | None
) -> Check:
    """Compare values of champion and challenger, or keep that of the latter alone."""
    champion, challenger = values[-2] if len(values) > 1 else None, values[-1]
    if champion is None or challenger is None or error is None:
        return Check(name=name, champion=champion, challenger=challenger)
    direction, tolerance = (-1, MAX_SATURATED) if name == SATURATED else (1, 0.0)
    gain, sigmas = direction * (challenger - champion), 0.0
    if gain and math.isfinite(error):
        sigmas = gain / error if error > 0 else math.copysign(math.inf, gain)
    return Check(
        name=name,
        champion=champion,
        challenger=challenger,
        error=error,
        sigmas=sigmas,
        is_worse=sigmas < -sigma and -gain > tolerance,
        is_better=sigmas > sigma,
    )


def _rejections(networks: Sequence[NetworkResult], suffix: str) -> Iterator[Figure]:
    for rejection in REJECTIONS:
        name = f"{rejection}{suffix}"
        values = [network.figures["all"].get(name) for network in networks]
        difference = networks[-1].difference("all", name)
        label = f"rejection at {rejection[-2:]} % efficiency"
        label += " by class" if suffix else ""
        yield label, values, None if difference is None else difference.error


def _doubts(decisions: Sequence[Decision]) -> Iterator[str]:
    """Say why the rows cannot tell."""
    if not decisions:
        yield "no output that a trigger can cut on is known for all tracks"
        return
    n_signal, n_background = decisions[-1].signal.sum(), decisions[-1].background.sum()
    if min(n_signal, n_background) < FEWEST_TRACKS:
        yield (
            f"too few rows to tell: they hold {n_signal:,} tracks from the collision "
            f"point and {n_background:,} of background, and at least {FEWEST_TRACKS} "
            "of each are needed; name more files with --data"
        )


def _efficiencies(rows: Predictions, decisions: Sequence[Decision]) -> Iterator[Figure]:
    """Efficiency in bins, each network with its own cut over all rows."""
    if not decisions or not decisions[-1].signal.any():
        return
    signal = decisions[-1].signal
    near, passing = rows[signal], []
    for decision in decisions:
        distance = decision.distance_cm[signal]
        passing.append(distance < metrics.cut_at_efficiency_cm(distance, EFFICIENCY))
    for name, quantity, low, high in BINS:
        values = metrics.AXES[quantity].values(near)
        if values is None:
            continue
        inside = (values >= low) & (values < high)
        if inside.sum() >= FEWEST_ROWS:
            flags = [passed[inside] for passed in passing]
            yield f"efficiency, {name}", *_paired(flags, near.event[inside])


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


def _saturated(outputs: Outputs, node_bits: int, n_rows: int) -> BoolArray:
    """Rows whose z or theta is at the end of its word."""
    at_end = np.zeros(n_rows, dtype=np.bool_)
    for name in outputs.keys() & set(MEASURED):
        at_end |= np.abs(outputs[name]) >= 1 - 2.0**-node_bits
    return at_end


def _hardware(
    runs: Sequence[NetworkResult], networks: Sequence[FixedPointNetworks]
) -> Iterator[Figure]:
    """What the networks cost, all experts together; shown, not judged."""
    for name in HARDWARE:
        costs = [one.hardware[f"hardware/{name}"] for one in runs]
        yield f"hardware: {name.replace('_', ' ')}", costs, None
    largest = [max(k.largest_weight for k in one.forms.values()) for one in networks]
    yield "largest weight (below 64)", largest, None
