"""Tracks that experts borrow from expert 0."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from nnt.detector import EXPERT_MISSING_SUPERLAYER, superlayer_inputs
from nnt.tracks import Tracks
from nnt.training.rows import with_borrowed

MakeTracks = Callable[..., Tracks]


def borrowed(
    make_tracks: MakeTracks, expert: int, share: float
) -> tuple[Tracks, Tracks, Tracks]:
    """Tracks of an expert, those of expert 0, and both as they are joined."""
    table = make_tracks(600)
    own, complete = table[table.expert == max(expert, 0)], table[table.expert == 0]
    before = own.inputs.copy(), complete.inputs.copy()
    joined = with_borrowed(own, complete, expert, share, np.random.default_rng(1))
    # The tables that tracks are taken from stay as they are.
    np.testing.assert_array_equal(own.inputs, before[0])
    np.testing.assert_array_equal(complete.inputs, before[1])
    return own, complete, joined


@pytest.mark.parametrize("expert", [1, 2, 3, 4])
def test_borrowed_tracks_lack_the_superlayer_of_the_expert(
    make_tracks: MakeTracks, expert: int
) -> None:
    own, complete, joined = borrowed(make_tracks, expert, 0.5)
    superlayer = EXPERT_MISSING_SUPERLAYER[expert]
    assert superlayer is not None
    n_borrowed = round(0.5 * len(own))
    assert len(joined) == len(own) + n_borrowed
    assert not joined.inputs[:, superlayer_inputs(superlayer)].any()
    # What is left is that of different tracks of expert 0, with their targets.
    kept = np.ones(27, dtype=np.bool_)
    kept[superlayer_inputs(superlayer)] = False

    def what_is_left(tracks: Tracks) -> set[tuple[float, ...]]:
        rows = np.concatenate([tracks.inputs[:, kept], tracks.targets], axis=1)
        return set(map(tuple, rows.tolist()))

    found = what_is_left(joined[len(own) :])
    assert len(found) == n_borrowed
    assert found <= what_is_left(complete)


def test_no_track_is_borrowed_twice(make_tracks: MakeTracks) -> None:
    own, complete, joined = borrowed(make_tracks, 2, 1e6)
    assert len(joined) == len(own) + len(complete)


@pytest.mark.parametrize(("expert", "share"), [(0, 4.0), (-1, 4.0), (2, 0.0)])
def test_who_borrows_nothing_keeps_its_own_table(
    make_tracks: MakeTracks, expert: int, share: float
) -> None:
    own, _, joined = borrowed(make_tracks, expert, share)
    assert joined is own
