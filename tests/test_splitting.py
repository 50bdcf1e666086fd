"""Events are shared out whole, and tables written in shares."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from test_tracks import MakeTracks, assert_equal

from nnt.errors import DataError
from nnt.tracks import (
    Tracks,
    read_tracks,
    split_by_event,
    split_like_basf2,
    write_shares,
)


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


def test_split_repeats_and_follows_the_seed(make_tracks: MakeTracks) -> None:
    tracks = make_tracks(300)

    def first(seed: int) -> str:
        return split_by_event(tracks, (0.5, 0.5), seed)[0].digest

    assert first(1) == first(1)
    assert first(1) != first(2)


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
