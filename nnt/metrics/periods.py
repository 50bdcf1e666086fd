"""What track tables hold, in fine bins, and what changed from one to another."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnt.compiled import njit
from nnt.detector import (
    CLASSIC,
    EXPERTS,
    N_INPUTS,
    N_SUPERLAYERS,
    theta_to_deg,
    z_to_cm,
)
from nnt.errors import DataError
from nnt.metrics.prediction import pt_gev
from nnt.tracks import INPUT_COLUMNS, Tracks
from nnt.tracks.table import INPUT_KINDS
from nnt.types import F32, I64, BoolArray

N_BINS = 4096
"""Fine enough that a distance between distributions does not see them."""
TYPE_GROUPS = {"real": [0], "background": [1], "fake": [2, 3], "unknown": [4]}
"""By which rows of the 3D Hough chain are separated."""
UNSIDED_BIN = N_BINS // 2
"""Where a drift time without a side lies: exactly 0."""
MIN_DISTANCE = 0.02
"""Below, a change is real with enough rows, but of no use to anybody."""
MAX_CHANCE = 0.01
"""Chance that one of all quantities is flagged where nothing has changed."""

Test = tuple[float, float, float, float]
"""Distance, chance, and what the first and the second table have, as in `Change`."""

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
    """Rows of one expert or type of tracks, or of all, as counts."""

    n_rows: int
    n_events: int
    n_hits: I64
    """Shape (9,): rows with a hit in each superlayer."""
    inputs: I64
    """Shape (27, 4096): rows in bins from -`limit` to `limit`, where there is a hit."""
    limit: float
    """1, or 2 in the 3D Hough chain, whose crossing angles are in rad."""
    bits: I64 | None
    """Shape (9, 11): rows in which each wire of a segment has a signal; None without
    hit patterns."""
    others: dict[str, I64]
    """Shape (4096,) each, by the names of `RANGES`, those that the table has."""


def profiles(tracks: Tracks) -> dict[str, Profile]:
    """Count a table, once.

    Returns
    -------
    dict
        ``all``, and each ``expert_k`` that has rows; in the 3D Hough chain each of
        ``real``, ``background``, ``fake`` and ``unknown`` that has.
    """
    kind = tracks.track_type
    if kind is None:
        groups = {f"expert_{k}": tracks.expert == k for k in EXPERTS}
    else:
        groups = {name: np.isin(kind, values) for name, values in TYPE_GROUPS.items()}
    event, others = tracks.event_index, _others(tracks)
    found = {"all": _profile(tracks, slice(None), event, others)}
    return found | {
        name: _profile(tracks, rows, event, others)
        for name, rows in groups.items()
        if rows.any()
    }


def _profile(
    tracks: Tracks, rows: BoolArray | slice, event: I64, others: dict[str, F32]
) -> Profile:
    inputs = np.ascontiguousarray(tracks.inputs[rows])
    limit = 1.0 if tracks.chain is CLASSIC else 2.0
    n_bits = inputs.shape[1] // N_SUPERLAYERS - len(INPUT_KINDS)
    counts = np.zeros((N_INPUTS, N_BINS), dtype=np.int64)
    bits = np.zeros((N_SUPERLAYERS, n_bits), dtype=np.int64)
    n_hits = np.zeros(N_SUPERLAYERS, dtype=np.int64)
    _count_inputs(inputs, limit, counts, bits, n_hits)
    return Profile(
        n_rows=len(inputs),
        n_events=int(np.count_nonzero(np.bincount(event[rows]))),
        n_hits=n_hits,
        inputs=counts,
        limit=limit,
        bits=bits if n_bits else None,
        others={k: _counts(own[rows], RANGES[k]) for k, own in others.items()},
    )


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


def _counts(values: F32, limits: tuple[float, float]) -> I64:
    lower, upper = limits
    # NaN, where a row has no momentum, is left out.
    scaled = (values[np.isfinite(values)] - lower) * (N_BINS / (upper - lower))
    number = np.clip(scaled, 0, N_BINS - 1).astype(np.int64)
    return np.bincount(number, minlength=N_BINS)


@njit()
def _count_inputs(inputs: F32, limit: float, counts: I64, bits: I64, hits: I64) -> None:
    n_bins, n_bits = counts.shape[1], bits.shape[1]
    for row in inputs:
        for sl in range(len(hits)):
            first = (3 + n_bits) * sl
            if row[first] == 0 and row[first + 1] == 0 and row[first + 2] == 0:
                continue
            hits[sl] += 1
            for kind in range(3):
                number = int((row[first + kind] / limit + 1) * (n_bins / 2))
                counts[3 * sl + kind, min(max(number, 0), n_bins - 1)] += 1
            for bit in range(n_bits):
                bits[sl, bit] += int(row[first + 3 + bit])


@dataclass(frozen=True, slots=True)
class Change:
    """One quantity of one expert in two tables."""

    scope: str
    """``all``, ``expert_k`` or a type of tracks."""
    quantity: str
    """Name of an input, ``hits in SLk``, ``rows`` or a name of `RANGES`."""
    distance: float
    """Of Kolmogorov and Smirnov: largest difference of the two running shares."""
    p_value: float
    """Chance of such a distance or a larger one, had nothing changed."""
    first: float
    """Mean of the first table; for hits and rows, their share."""
    second: float
    flagged: bool = False
    """Whether it is neither chance nor too small to matter."""

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return dataclasses.asdict(self)


def changes(first: dict[str, Profile], second: dict[str, Profile]) -> list[Change]:
    """Compare two tables, expert by expert, the most significant change first.

    Parameters
    ----------
    first, second : dict
        As `profiles` gives them; groups that either lacks are left out.

    Raises
    ------
    DataError
        They are of different chains, or have different inputs.

    Notes
    -----
    Probabilities follow from the asymptotic distribution of Kolmogorov and Smirnov,
    which for values in steps is on the safe side. As sizes of the samples it takes
    the events, not the rows: tracks of one event share its background. Flagged is a
    distance of at least 0.02 that would come with a chance of 1 % in any of the
    quantities, had nothing changed (after C. E. Bonferroni).
    """
    if _kind(first["all"]) != _kind(second["all"]):
        raise DataError(
            "tables of different chains or numbers of inputs cannot be compared; use "
            "files of one kind"
        )
    found: list[tuple[str, str, Test]] = []
    sizes = first["all"].n_events, second["all"].n_events
    for scope in [name for name in first if name != "all"]:
        share, other = (
            table[scope].n_rows / max(table["all"].n_rows, 1) if scope in table else 0.0
            for table in (first, second)
        )
        name = f"rows of {scope.replace('_', ' ')}"
        found.append(("all", name, _test_of_shares((share, other), sizes)))
    for scope in first:
        if scope in second:
            found += [(scope, *test) for test in _tests(first[scope], second[scope])]
    limit = MAX_CHANCE / max(len(found), 1)
    tested = [
        Change(
            scope, quantity, *test, flagged=test[1] < limit and test[0] >= MIN_DISTANCE
        )
        for scope, quantity, test in found
    ]
    return sorted(tested, key=lambda c: (not c.flagged, c.p_value, -c.distance))


def _kind(profile: Profile) -> tuple[float, bool]:
    return profile.limit, profile.bits is None


def _tests(first: Profile, second: Profile) -> Iterator[tuple[str, Test]]:
    """Compare every quantity of two groups."""
    both, sizes = (first, second), (first.n_events, second.n_events)
    for sl in range(N_SUPERLAYERS):
        hits = first.n_hits[sl] / first.n_rows, second.n_hits[sl] / second.n_rows
        yield f"hits in SL{sl}", _test_of_shares(hits, sizes)
    for column, name in enumerate(INPUT_COLUMNS):
        # Of the events, those where the superlayer has a hit.
        n, m = (
            max(1, round(p.n_events * p.n_hits[column // 3] / p.n_rows)) for p in both
        )
        limits = -first.limit, first.limit
        counts = first.inputs[column], second.inputs[column]
        yield from _test_of_counts(name, counts, (n, m), limits)
    if first.bits is not None and second.bits is not None:
        for sl, bit in np.ndindex(first.bits.shape):
            n, m = (max(int(p.n_hits[sl]), 1) for p in both)
            shares = int(first.bits[sl, bit]) / n, int(second.bits[sl, bit]) / m
            yield f"SL{sl}-extra_input{bit}", _test_of_shares(shares, (n, m))
    for name in first.others:
        if name in second.others:
            counts = first.others[name], second.others[name]
            yield from _test_of_counts(name, counts, sizes, RANGES[name])


def _test_of_counts(
    name: str,
    counts: tuple[I64, I64],
    sizes: tuple[int, int],
    limits: tuple[float, float],
) -> Iterator[tuple[str, Test]]:
    """Compare counts in fine bins, where both tables have any."""
    from scipy.special import kolmogorov  # scipy would delay other commands

    if not all(part.any() for part in counts):
        return
    a, b = (part / part.sum() for part in counts)
    distance = float(np.abs(np.cumsum(a) - np.cumsum(b)).max())
    centres = limits[0] + (limits[1] - limits[0]) * (np.arange(N_BINS) + 0.5) / N_BINS
    n, m = sizes
    p_value = float(kolmogorov(distance * math.sqrt(n * m / (n + m))))
    yield name, (distance, p_value, float(centres @ a), float(centres @ b))


def _test_of_shares(shares: tuple[float, float], sizes: tuple[int, int]) -> Test:
    n, m = sizes
    pooled = (shares[0] * n + shares[1] * m) / (n + m)
    error = math.sqrt(max(pooled * (1 - pooled), 0) * (1 / n + 1 / m))
    distance = abs(float(shares[0] - shares[1]))
    # Two sides of a normal distribution.
    p_value = math.erfc(distance / error / math.sqrt(2)) if error > 0 else 1.0
    return distance, p_value, float(shares[0]), float(shares[1])
