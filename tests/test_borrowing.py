"""Tracks that experts borrow from expert 0."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from nnt.detector import EXPERT_MISSING_SUPERLAYER, superlayer_inputs
from nnt.tracks import Tracks
from nnt.training.rows import with_borrowed


@pytest.fixture
def tables(
    make_tracks: Callable[..., Tracks],
) -> Callable[[int], tuple[Tracks, Tracks]]:
    table = make_tracks(600)
    return lambda expert: (table[table.expert == expert], table[table.expert == 0])


@pytest.mark.parametrize("expert", [1, 2, 3, 4])
def test_borrowed_tracks_lack_the_superlayer_of_the_expert(
    tables: Callable[[int], tuple[Tracks, Tracks]], expert: int
) -> None:
    own, complete = tables(expert)
    joined = with_borrowed(own, complete, expert, 0.5, np.random.default_rng(1))
    superlayer = EXPERT_MISSING_SUPERLAYER[expert]
    assert superlayer is not None
    n_borrowed = round(0.5 * len(own))
    assert len(joined) == len(own) + n_borrowed
    assert not joined.inputs[:, superlayer_inputs(superlayer)].any()
    # What is left is that of different tracks of expert 0, with their targets.
    kept = np.ones(27, dtype=np.bool_)
    kept[superlayer_inputs(superlayer)] = False
    known = {
        (*row[kept].tolist(), *target.tolist())
        for row, target in zip(complete.inputs, complete.targets, strict=True)
    }
    found = {
        (*row[kept].tolist(), *target.tolist())
        for row, target in zip(
            joined.inputs[len(own) :], joined.targets[len(own) :], strict=True
        )
    }
    assert len(found) == n_borrowed
    assert found <= known


def test_the_tables_that_tracks_are_taken_from_stay_as_they_are(
    tables: Callable[[int], tuple[Tracks, Tracks]],
) -> None:
    own, complete = tables(3)
    before = own.inputs.copy(), complete.inputs.copy()
    with_borrowed(own, complete, 3, 10.0, np.random.default_rng(1))
    assert np.array_equal(own.inputs, before[0])
    assert np.array_equal(complete.inputs, before[1])


def test_no_track_is_borrowed_twice(
    tables: Callable[[int], tuple[Tracks, Tracks]],
) -> None:
    own, complete = tables(2)
    joined = with_borrowed(own, complete, 2, 1e6, np.random.default_rng(1))
    assert len(joined) == len(own) + len(complete)


@pytest.mark.parametrize(("expert", "share"), [(0, 4.0), (-1, 4.0), (2, 0.0)])
def test_who_borrows_nothing_keeps_its_own_table(
    tables: Callable[[int], tuple[Tracks, Tracks]], expert: int, share: float
) -> None:
    own, complete = tables(max(expert, 0))
    same = with_borrowed(own, complete, expert, share, np.random.default_rng(1))
    assert same is own
