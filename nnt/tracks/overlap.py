"""Which rows of a table are of events that another table holds too."""

from __future__ import annotations

import numpy as np

from nnt.tracks.table import EVENT_COLUMNS, Tracks
from nnt.types import F32, I64, U64, BoolArray

__all__ = ["rows_of_shared_events"]

MIX = np.uint64(0x9E3779B97F4A7C15)
SAME_SHARE = 0.95
"""Share of the events of one number that must agree for the number to be a name."""


def rows_of_shared_events(tracks: Tracks, other: Tracks) -> BoolArray:
    """Mark the rows of events that another table holds too, shape (N,).

    Experiment, run, subrun and event name an event in data, but simulations count
    from the same number each time. So the events of a number that both tables have
    are taken for the same only if nearly all of them have as many tracks in either,
    or row by row where a row is the same in both.
    """
    own, theirs = _event_keys(tracks), _event_keys(other)
    named, first = np.unique(theirs, return_index=True)
    shared: BoolArray = np.isin(own, named)
    if not shared.any():
        return shared
    n_tracks, other_n_tracks = tracks.ids["nTracks"], other.ids["nTracks"]
    if n_tracks.any() and other_n_tracks.any():
        place = first[np.searchsorted(named, own[shared])]
        agree = other_n_tracks[place] == n_tracks[shared]
        if agree.mean() >= SAME_SHARE:
            return shared
    rows = np.unique(_row_keys(other))
    shared[shared] = np.isin(_row_keys(tracks[shared]), rows)
    return shared


def _event_keys(tracks: Tracks) -> U64:
    key = np.zeros(len(tracks), dtype=np.uint64)
    for name in EVENT_COLUMNS:
        values: I64 = tracks.ids[name]
        key = _mixed(key ^ values.astype(np.uint64))
    return key


def _row_keys(tracks: Tracks) -> U64:
    key = _event_keys(tracks)
    for columns in (tracks.inputs, tracks.targets):
        for column in columns.T:
            values: F32 = np.ascontiguousarray(column, dtype=np.float32) + np.float32(0)
            key = _mixed(key ^ values.view(np.uint32).astype(np.uint64))
    return key


def _mixed(key: U64) -> U64:
    key = key * MIX
    mixed: U64 = key ^ (key >> np.uint64(29))
    return mixed
