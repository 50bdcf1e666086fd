"""Splits of a table by event: no event is ever in two parts."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from nnt.errors import DataError
from nnt.tracks.table import Tracks

__all__ = ["split_by_event", "split_like_basf2"]


def split_by_event(
    tracks: Tracks, fractions: Sequence[float], seed: int
) -> list[Tracks]:
    """Share the events of a table out at random, the same way every time.

    Parameters
    ----------
    tracks : Tracks
        The table.
    fractions : sequence of float
        Share of the events in each part; the sum is at most 1.
    seed : int
        Root of the random numbers.

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
                f"split: part {i} with share {fractions[i]} of {n_events} events is "
                "empty; give more data or another split"
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
