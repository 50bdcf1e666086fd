"""Events: shared out so that none is in two parts, and those that two tables share."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from nnt.errors import DataError
from nnt.tracks.table import EVENT_COLUMNS, Tracks
from nnt.types import F32, I64, U64, BoolArray

MIX = np.uint64(0x9E3779B97F4A7C15)
SAME_SHARE = 0.95
"""Share of the events of one number that must agree for the number to be a name."""


def split_by_event(
    tracks: Tracks, fractions: Sequence[float], seed: int
) -> list[Tracks]:
    """Share the events of a table out at random, the same way every time.

    Each part gets its fraction of the events; the sum of them is at most 1.

    Raises
    ------
    DataError
        A part would be empty.
    """
    event = tracks.event_index
    n_events = int(event.max()) + 1 if len(event) else 0
    order = np.random.default_rng([seed, 0x5911]).permutation(n_events)
    rank = np.empty(n_events, dtype=np.int64)
    rank[order] = np.arange(n_events)
    edges = np.round(np.cumsum([0.0, *fractions]) * n_events).astype(np.int64)
    parts = []
    for i, (start, stop) in enumerate(itertools.pairwise(edges)):
        if start == stop:
            raise DataError(
                f"split: of {n_events:,} events, none is left for share {i + 1} of "
                f"{len(fractions)} ({fractions[i]}); give more data or another split"
            )
        parts.append(tracks[(rank[event] >= start) & (rank[event] < stop)])
    return parts


def split_like_basf2(tracks: Tracks) -> list[Tracks]:
    """Share events out as BASF2's steering does: streams 0 to 3.

    Every hundredth event goes to stream 0, the others in turn to 1, 2 and 3.

    Notes
    -----
    ``trg/cdc/scripts/neurotrigger.py`` of basf2 counts events as they come.
    """
    event = tracks.event_index
    stream = np.where(event % 100 == 0, 0, event % 3 + 1)
    return [tracks[stream == i] for i in range(4)]


def rows_of_shared_events(tracks: Tracks, other: Tracks) -> BoolArray:
    """Mark the rows of events that another table holds too, shape (N,).

    Experiment, run, subrun and event name an event in data, but simulations count
    from the same number each time. So the events of a number that both tables have
    are taken for the same only if nearly all of them have as many tracks in either,
    or row by row where a row is the same in both.
    """
    keys, other_keys = _event_keys(tracks), _event_keys(other)
    named, first = np.unique(other_keys, return_index=True)
    shared: BoolArray = np.isin(keys, named)
    if not shared.any():
        return shared
    n_tracks, other_n_tracks = tracks.ids["nTracks"], other.ids["nTracks"]
    if n_tracks.any() and other_n_tracks.any():
        place = first[np.searchsorted(named, keys[shared])]
        agree = other_n_tracks[place] == n_tracks[shared]
        if agree.mean() >= SAME_SHARE:
            return shared
    own = numbers_of_rows(tracks.inputs[shared], tracks.targets[shared])
    others = numbers_of_rows(other.inputs, other.targets)
    rows = np.unique(_mixed(other_keys ^ others.astype(np.uint64)))
    shared[shared] = np.isin(_mixed(keys[shared] ^ own.astype(np.uint64)), rows)
    return shared


def numbers_of_rows(inputs: F32, targets: F32) -> I64:
    """Number rows by content: the same in every file, hardly ever for another row."""
    columns = [*inputs.T, *targets.T]
    rng = np.random.default_rng(0)
    drawn = rng.integers(1, 2**63, (len(columns),), dtype=np.uint64)
    number: U64 = np.zeros(len(inputs), dtype=np.uint64)
    for column, factor in zip(columns, drawn, strict=True):
        word = (column + np.float32(0)).view(np.uint32)  # -0 is 0
        number += word * (2 * factor + 1)
    number ^= number >> np.uint64(32)
    number *= MIX
    return (number >> np.uint64(1)).astype(np.int64)


def _event_keys(tracks: Tracks) -> U64:
    key = np.zeros(len(tracks), dtype=np.uint64)
    for name in EVENT_COLUMNS:
        values: I64 = tracks.ids[name]
        key = _mixed(key ^ values.astype(np.uint64))
    return key


def _mixed(key: U64) -> U64:
    key = key * MIX
    mixed: U64 = key ^ (key >> np.uint64(29))
    return mixed
