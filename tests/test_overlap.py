"""Events that are in two splits are found, and chance is not taken for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nnt.config import load_config
from nnt.simulation import simulate
from nnt.tracks import Tracks, concatenate, rows_of_shared_events, write_tracks
from nnt.training.data import prepare

MakeTracks = Callable[..., Tracks]


@pytest.fixture(scope="module")
def tracks() -> Tracks:
    return simulate(3000, seed=1)


def test_events_are_found_whatever_rows_of_them_are_there(tracks: Tracks) -> None:
    own, other = tracks[::2], tracks[1::2]
    events = set(zip(*(other.ids[n].tolist() for n in ("Run", "Event")), strict=True))
    expected = [
        event in events
        for event in zip(*(own.ids[n].tolist() for n in ("Run", "Event")), strict=True)
    ]
    assert any(expected)
    assert rows_of_shared_events(own, other).tolist() == expected


def test_numbers_alone_are_no_events(tracks: Tracks) -> None:
    other = simulate(3000, seed=2)
    assert np.isin(tracks.ids["Event"], other.ids["Event"]).mean() > 0.8
    assert not rows_of_shared_events(tracks, other).any()


def test_rows_are_found_among_others_of_the_same_numbers(tracks: Tracks) -> None:
    other = concatenate([simulate(3000, seed=2), tracks[:100]])
    shared = rows_of_shared_events(tracks, other)
    assert shared[:100].all()
    assert shared.sum() == 100


@pytest.mark.parametrize("n_tracks", [True, False])
def test_rows_are_found_without_numbers_of_tracks(
    tracks: Tracks, n_tracks: bool
) -> None:
    own, other = tracks[:1500], tracks[1000:]
    if not n_tracks:
        own.ids["nTracks"][:] = 0
    shared = rows_of_shared_events(own, other)
    assert shared[1000:].all()
    assert not shared[:990].any()


def test_tables_without_rows_share_nothing(tracks: Tracks) -> None:
    assert not rows_of_shared_events(tracks, tracks[:0]).any()
    assert len(rows_of_shared_events(tracks[:0], tracks)) == 0


def test_a_training_reports_events_in_two_splits(
    make_tracks: MakeTracks, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table = make_tracks(300)
    parts = {"train": table[:200], "val": table[100:200], "test": table[150:]}
    files = {}
    for split, part in parts.items():
        write_tracks(part, tmp_path / f"{split}.txt")
        files[split] = [str(tmp_path / f"{split}.txt")]
    config = load_config(
        {"extends": "base", "epochs": 0, "plot_every": 0, "data": {"files": files}}
    )
    prepared = prepare(config)
    assert prepared.tags["data.shared.val"] == "1"
    share = rows_of_shared_events(parts["test"], parts["train"]).mean()
    assert 0.3 < share < 0.5
    assert prepared.tags["data.shared.test"] == f"{share:.3g}"
    assert "val: 100 % of its rows are of events that are in train" in caplog.text


def test_a_table_that_is_split_by_event_is_not_looked_into() -> None:
    simulated = {"simulate": {"tracks": 300}}
    prepared = prepare(load_config({"extends": "base", "data": simulated}))
    assert not any(name.startswith("data.shared") for name in prepared.tags)
