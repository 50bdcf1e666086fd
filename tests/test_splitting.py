"""Events are shared out whole, and those in two splits are found, not chance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from test_tracks import MakeTracks, assert_equal

from nnt.config import load_config
from nnt.errors import DataError
from nnt.simulation import simulate
from nnt.tracks import (
    Tracks,
    concatenate,
    read_tracks,
    rows_of_shared_events,
    split_by_event,
    split_like_basf2,
    write_shares,
    write_tracks,
)
from nnt.training.data import prepare


def events(tracks: Tracks) -> list[tuple[int, ...]]:
    names = ["Experiment", "Run", "Subrun", "Event"]
    return list(zip(*(tracks.ids[name].tolist() for name in names), strict=True))


def shuffled(tracks: Tracks) -> Tracks:
    return tracks[np.random.default_rng(5).permutation(len(tracks))]


def test_event_index_against_a_dict(make_tracks: MakeTracks) -> None:
    tracks = shuffled(make_tracks(500))
    seen: dict[tuple[int, ...], int] = {}
    expected = [seen.setdefault(event, len(seen)) for event in events(tracks)]
    assert tracks.event_index.tolist() == expected
    assert len(seen) < 500
    assert tracks[:0].event_index.shape == (0,)


def test_split_keeps_events_whole(make_tracks: MakeTracks) -> None:
    tracks = shuffled(make_tracks(1000))
    parts = split_by_event(tracks, (0.5, 0.3, 0.2), seed=1)
    sets = [set(events(part)) for part in parts]
    assert sum(map(len, sets)) == len(set.union(*sets)) == len(set(events(tracks)))
    assert sum(map(len, parts)) == 1000
    n_events = len(set(events(tracks)))
    for found, share in zip(sets, (0.5, 0.3, 0.2), strict=True):
        assert abs(len(found) - share * n_events) <= 1
    first, again, other = (
        split_by_event(tracks, (0.5, 0.5), seed)[0].digest for seed in (1, 1, 2)
    )
    assert first == again != other


def test_empty_part_is_refused(make_tracks: MakeTracks) -> None:
    with pytest.raises(DataError, match=r"share 2 of 2 \(0.001\)"):
        split_by_event(make_tracks(10), (0.99, 0.001), seed=1)


def test_split_like_basf2_against_a_counter(make_tracks: MakeTracks) -> None:
    tracks = make_tracks(900)
    streams: list[list[int]] = [[], [], [], []]
    count, last = -1, None
    for row, event in enumerate(events(tracks)):
        count += event != last
        last = event
        streams[0 if count % 100 == 0 else count % 3 + 1].append(row)
    parts = split_like_basf2(tracks)
    assert all(streams)
    for part, rows in zip(parts, streams, strict=True):
        assert_equal(part, tracks[np.array(rows)])


@pytest.mark.parametrize("shares", [(0.6, 0.2, 0.2), (0.1, 0.7, 0.2), (0.3, 0.3, 0.3)])
def test_write_shares_spreads_events_evenly(
    make_tracks: MakeTracks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    shares: tuple[float, ...],
) -> None:  # fmt: skip
    monkeypatch.setattr("nnt.tracks.writing.CHUNK", 77)
    tracks = make_tracks(1000)
    paths = [tmp_path / f"{i}.gz" for i in range(3)]
    seen: list[tuple[int, int]] = []
    rows = write_shares(tracks, paths, shares, progress=lambda *told: seen.append(told))
    assert seen[-1][0] == sum(rows)
    parts = [read_tracks(path) for path in paths]
    assert [len(part) for part in parts] == rows
    sets = [set(events(part)) for part in parts]
    n_events = len(set(events(tracks)))
    assert sum(map(len, sets)) == len(set.union(*sets))
    for found, share in zip(sets, shares, strict=True):
        assert abs(len(found) / n_events - share) < 0.02
    for part, found in zip(parts, sets, strict=True):
        mine = [event in found for event in events(tracks)]
        assert_equal(part, tracks[np.array(mine)])


def test_write_shares_refuses_a_file_without_rows(
    make_tracks: MakeTracks, tmp_path: Path
) -> None:
    one_event = make_tracks(10)
    one_event.ids["Event"] = 1
    with pytest.raises(DataError, match=r"\.gz: no events are left"):
        write_shares(one_event, [tmp_path / "0.gz", tmp_path / "1.gz"], (0.5, 0.5))
    assert not list(tmp_path.glob("*.gz"))


# Events of two splits


@pytest.fixture(scope="module")
def tracks() -> Tracks:
    return simulate(3000, seed=1)


def test_events_are_found_whatever_rows_of_them_are_there(tracks: Tracks) -> None:
    own, other = tracks[::2], tracks[1::2]
    there = set(events(other))
    expected = [event in there for event in events(own)]
    assert any(expected)
    assert rows_of_shared_events(own, other).tolist() == expected


@pytest.mark.parametrize("n_rows", [0, 100])
def test_rows_are_found_among_others_of_the_same_numbers(
    tracks: Tracks, n_rows: int
) -> None:
    others = simulate(3000, seed=2)
    assert np.isin(tracks.ids["Event"], others.ids["Event"]).mean() > 0.8
    shared = rows_of_shared_events(tracks, concatenate([others, tracks[:n_rows]]))
    assert shared[:n_rows].all()
    assert shared.sum() == n_rows


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
