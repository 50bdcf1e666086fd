"""What track tables hold, in fine bins, and what changed from one to another."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnt.compiled import njit
from nnt.detector import EXPERTS, N_INPUTS, N_SUPERLAYERS, theta_to_deg, z_to_cm
from nnt.metrics.momentum import pt_gev
from nnt.tracks import INPUT_COLUMNS, Tracks
from nnt.types import F32, I64

__all__ = ["Change", "Profile", "changes", "profiles"]


N_BINS = 4096
"""Fine enough that a distance between distributions does not see them."""
UNSIDED_BIN = N_BINS // 2
"""Where a drift time without a side lies: exactly 0."""
MIN_DISTANCE = 0.02
"""Below, a change is real with enough rows, but of no use to anybody."""
MAX_CHANCE = 0.01
"""Chance that one of all quantities is flagged where nothing has changed."""

RANGES = {
    "z (cm)": (-100.0, 100.0),
    "theta (deg)": (10.0, 170.0),
    "1/pt (1/GeV)": (0.0, 5.0),
    "z of the network that ran (cm)": (-100.0, 100.0),
    "theta of the network that ran (deg)": (10.0, 170.0),
}
"""What is looked at besides the inputs; values beyond count in the outer bins."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Profile:
    """Rows of one expert, or of all, as counts."""

    n_rows: int
    n_events: int
    n_hits: I64
    """Shape (9,): rows with a hit in each superlayer."""
    inputs: I64
    """Shape (27, 4096): rows in bins from -1 to 1, where there is a hit."""
    others: dict[str, I64]
    """Shape (4096,) each, by the names of `RANGES`, those that the table has."""


def profiles(tracks: Tracks) -> dict[str, Profile]:
    """Count a table, once.

    Returns
    -------
    dict
        ``all`` and each ``expert_k`` that has rows.
    """
    counts = np.zeros((len(EXPERTS), N_INPUTS, N_BINS), dtype=np.int64)
    hits = np.zeros((len(EXPERTS), N_SUPERLAYERS), dtype=np.int64)
    expert = np.ascontiguousarray(tracks.expert)
    _count_inputs(np.ascontiguousarray(tracks.inputs), expert, counts, hits)
    others = {
        name: _counts_by_expert(values, expert, RANGES[name])
        for name, values in _others(tracks).items()
    }
    event = tracks.event_index
    found = {
        "all": Profile(
            n_rows=len(tracks),
            n_events=int(event.max(initial=-1)) + 1,
            n_hits=hits.sum(axis=0),
            inputs=counts.sum(axis=0),
            others={name: by_expert.sum(axis=0) for name, by_expert in others.items()},
        )
    }
    for k in EXPERTS:
        mine = event[expert == k]
        if len(mine):
            found[f"expert_{k}"] = Profile(
                n_rows=len(mine),
                n_events=int(np.count_nonzero(np.bincount(mine))),
                n_hits=hits[k],
                inputs=counts[k],
                others={name: by_expert[k] for name, by_expert in others.items()},
            )
    return found


def _others(tracks: Tracks) -> dict[str, F32]:
    with np.errstate(divide="ignore"):
        values = [
            z_to_cm(tracks.targets[:, 0]),
            theta_to_deg(tracks.targets[:, 1]),
            1 / pt_gev(tracks),
        ]
    if tracks.reference is not None:
        values.append(z_to_cm(tracks.reference[:, 0]))
        values.append(theta_to_deg(tracks.reference[:, 1]))
    return dict(zip(RANGES, values, strict=False))


def _counts_by_expert(values: F32, expert: I64, limits: tuple[float, float]) -> I64:
    lower, upper = limits
    # NaN, where a row has no momentum, is left out.
    there = np.isfinite(values)
    scaled = (values[there] - lower) * (N_BINS / (upper - lower))
    number = np.clip(scaled, 0, N_BINS - 1).astype(np.int64) + expert[there] * N_BINS
    found = np.bincount(number, minlength=len(EXPERTS) * N_BINS)
    return found.reshape(len(EXPERTS), N_BINS)


@njit()
def _count_inputs(inputs: F32, expert: I64, counts: I64, hits: I64) -> None:
    n_bins = counts.shape[2]
    for i in range(len(inputs)):
        row, into = inputs[i], counts[expert[i]]
        for sl in range(hits.shape[1]):
            if row[3 * sl] == 0 and row[3 * sl + 1] == 0 and row[3 * sl + 2] == 0:
                continue
            hits[expert[i], sl] += 1
            for column in range(3 * sl, 3 * sl + 3):
                number = int((row[column] + 1) * (n_bins / 2))
                into[column, min(max(number, 0), n_bins - 1)] += 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One quantity of one expert in two tables."""

    scope: str
    """``all`` or ``expert_k``."""
    quantity: str
    """Name of an input, ``hits in SLk``, ``rows`` or a name of `RANGES`."""
    distance: float
    """Of Kolmogorov and Smirnov: largest difference of the two running shares."""
    p_value: float
    """Chance of such a distance or a larger one, had nothing changed."""
    first: float
    """Mean of the first table; for hits and rows, their share."""
    second: float
    flagged: bool
    """Whether it is neither chance nor too small to matter."""

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return dataclasses.asdict(self)


def changes(first: dict[str, Profile], second: dict[str, Profile]) -> list[Change]:
    """Compare two tables, expert by expert, the most significant change first.

    Parameters
    ----------
    first, second : dict
        As `profiles` gives them; experts that either lacks are left out.

    Notes
    -----
    Probabilities follow from the asymptotic distribution of Kolmogorov and Smirnov,
    which for values in steps is on the safe side. As sizes of the samples it takes
    the events, not the rows: tracks of one event share its background. Flagged is a
    distance of at least 0.02 that would come with a chance of 1 % in any of the
    quantities, had nothing changed (after C. E. Bonferroni).
    """
    found = [_share_of_rows(first, second, scope) for scope in first if scope != "all"]
    for scope in first:
        if scope in second:
            found += _changes_of(scope, first[scope], second[scope])
    limit = MAX_CHANCE / max(len(found), 1)
    flagged = [
        dataclasses.replace(
            change, flagged=change.p_value < limit and change.distance >= MIN_DISTANCE
        )
        for change in found
    ]
    return sorted(flagged, key=lambda c: (not c.flagged, c.p_value, -c.distance))


def _share_of_rows(
    first: dict[str, Profile], second: dict[str, Profile], scope: str
) -> Change:
    n_second = second[scope].n_rows if scope in second else 0
    shares = (
        first[scope].n_rows / first["all"].n_rows,
        n_second / max(second["all"].n_rows, 1),
    )
    sizes = first["all"].n_events, second["all"].n_events
    return _change_of_share("all", f"rows of {scope.replace('_', ' ')}", shares, sizes)


def _changes_of(scope: str, first: Profile, second: Profile) -> list[Change]:
    found = []
    sizes = first.n_events, second.n_events
    for sl in range(N_SUPERLAYERS):
        shares = first.n_hits[sl] / first.n_rows, second.n_hits[sl] / second.n_rows
        found.append(_change_of_share(scope, f"hits in SL{sl}", shares, sizes))
    for column, name in enumerate(INPUT_COLUMNS):
        a, b = first.inputs[column], second.inputs[column]
        # Of the events, those where the superlayer has a hit.
        seen = [
            max(1, round(p.n_events * p.n_hits[column // 3] / p.n_rows))
            for p in (first, second)
        ]
        if a.any() and b.any():
            found.append(_change(scope, name, a, b, (seen[0], seen[1]), (-1.0, 1.0)))
    for name in first.others:
        if name in second.others:
            a, b = first.others[name], second.others[name]
            if a.any() and b.any():
                found.append(_change(scope, name, a, b, sizes, RANGES[name]))
    return found


def _change(
    scope: str,
    name: str,
    a: I64,
    b: I64,
    sizes: tuple[int, int],
    limits: tuple[float, float],
) -> Change:
    distance = float(np.abs(np.cumsum(a) / a.sum() - np.cumsum(b) / b.sum()).max())
    centres = limits[0] + (limits[1] - limits[0]) * (np.arange(N_BINS) + 0.5) / N_BINS
    return Change(
        scope=scope,
        quantity=name,
        distance=distance,
        p_value=_chance(distance, *sizes),
        first=float(centres @ a / a.sum()),
        second=float(centres @ b / b.sum()),
        flagged=False,
    )


def _change_of_share(
    scope: str, name: str, shares: tuple[float, float], sizes: tuple[int, int]
) -> Change:
    n, m = sizes
    pooled = (shares[0] * n + shares[1] * m) / (n + m)
    error = math.sqrt(max(pooled * (1 - pooled), 0) * (1 / n + 1 / m))
    distance = abs(shares[0] - shares[1])
    # Two sides of a normal distribution.
    p_value = math.erfc(distance / error / math.sqrt(2)) if error > 0 else 1.0
    return Change(
        scope=scope,
        quantity=name,
        distance=float(distance),
        p_value=p_value,
        first=float(shares[0]),
        second=float(shares[1]),
        flagged=False,
    )


def _chance(distance: float, n: int, m: int) -> float:
    from scipy.special import kolmogorov  # scipy would delay other commands

    return float(kolmogorov(distance * math.sqrt(n * m / (n + m))))
