"""Files that were joined, of an older trainer, or without outputs of a reference."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from test_tracks import PHYSICS, MakeTracks, assert_equal, put, text_of, with_extras

from nnt.errors import DataError
from nnt.tracks import (
    Tracks,
    cache_dir,
    concatenate,
    read_tracks,
    summarise,
    text,
    write_tracks,
)


@pytest.mark.parametrize("block_bytes", [1500, 4001, 1 << 21])
@pytest.mark.parametrize("name", ["all.gz", "all.txt"])
def test_files_that_were_joined_are_read(
    make_tracks: MakeTracks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    name: str, block_bytes: int,
) -> None:  # fmt: skip
    monkeypatch.setattr(text, "BLOCK_BYTES", block_bytes)
    parts = [make_tracks(n, seed) for seed, n in enumerate((30, 1, 50))]
    joined = b""
    for part in (parts[0], parts[0][:0], *parts[1:]):
        content = text_of(part).encode()
        joined += gzip.compress(content) if name.endswith("gz") else content
    (tmp_path / name).write_bytes(joined)
    assert_equal(read_tracks(tmp_path / name), concatenate(parts))


def test_a_wrong_row_of_joined_files_is_named_by_its_line(
    make_tracks: MakeTracks, tmp_path: Path
) -> None:
    path = tmp_path / "all.txt"
    text = text_of(make_tracks(20))
    path.write_text(text + put(text, 7, "RecoZ", "1.5"))
    with pytest.raises(DataError, match="line 29, column RecoZ: expected a number in"):
        read_tracks(path)


def test_joined_files_of_other_columns_are_refused(
    make_tracks: MakeTracks, tmp_path: Path
) -> None:
    path = tmp_path / "all.txt"
    more = with_extras(make_tracks(20), *PHYSICS)
    path.write_text(text_of(make_tracks(20)) + text_of(more))
    with pytest.raises(DataError, match="line 23: found a second header, with other"):
        read_tracks(path)


def test_tables_of_the_older_trainer_are_read(
    make_tracks: MakeTracks, tmp_path: Path
) -> None:
    tracks = with_extras(make_tracks(40), "NewZ", "NewTheta")
    content = text_of(tracks, end="")
    for name in ("RawZ", "RawTheta"):
        for line, value in enumerate(tracks.extras[name].tolist(), 3):
            content = put(content, line, name, f"{value:f}")
    header, rest = content.split("\n", 1)
    path = tmp_path / "pred_data_random1.csv"
    path.write_text(header.replace("\t", "       ") + "\n" + rest)
    found = read_tracks(path)
    assert_equal(found, tracks)
    for name in ("RawZ", "RawTheta", "NewZ"):
        np.testing.assert_array_equal(found.extras[name], tracks.extras[name])
    path.write_text(path.read_text().replace(".000000", ".500000", 1))
    with pytest.raises(DataError, match=r"line 3, column RawZ: expected an integer"):
        read_tracks(path)


def with_reference(tracks: Tracks, rows: slice, value: float) -> str:
    """Text in which some rows hold a number in place of each reference output."""
    text = text_of(tracks)
    for line in range(3, 3 + len(tracks))[rows]:
        for name in ("ScaleZ", "ScaleTheta"):
            text = put(text, line, name, f"{value:g}")
    return text


@pytest.mark.parametrize("value", [-999, 999, -9999.0, 1.001, 0, 1e30])
@pytest.mark.parametrize("use_cache", [True, False])
def test_rows_without_a_reference_have_none_and_are_reported(
    make_tracks: MakeTracks, tmp_path: Path, caplog: pytest.LogCaptureFixture,
    value: float, use_cache: bool,
) -> None:  # fmt: skip
    tracks = make_tracks(40)
    path = tmp_path / "rows.txt"
    path.write_text(with_reference(tracks, slice(1, None, 2), value))
    for _ in range(2):
        caplog.clear()
        found = read_tracks(path, use_cache=use_cache)
        assert found.reference is not None
        assert tracks.reference is not None
        assert np.isnan(found.reference[1::2]).all()
        np.testing.assert_array_equal(found.reference[::2], tracks.reference[::2])
        assert found.whole_reference is None
        assert found[::2].whole_reference is not None
        assert "20 of 40 rows hold no output of the reference network" in caplog.text
    write_tracks(found, tmp_path / "again.txt")
    again = read_tracks(tmp_path / "again.txt")
    np.testing.assert_array_equal(again.reference, found.reference)
    assert summarise(found).reference_z_std_cm == pytest.approx(
        summarise(tracks[::2]).reference_z_std_cm
    )


def test_a_reference_in_no_row_is_none(
    make_tracks: MakeTracks, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "rows.txt"
    path.write_text(with_reference(make_tracks(40), slice(None), -999))
    assert read_tracks(path).reference is None
    assert "40 of 40 rows" in caplog.text


def test_one_reference_of_zeros_among_many_is_one(make_tracks: MakeTracks) -> None:
    tracks = make_tracks(2000)
    assert tracks.reference is not None
    tracks.reference[7] = 0
    path = Path(cache_dir().parent, "rows.txt")
    write_tracks(tracks, path)
    assert read_tracks(path).whole_reference is not None


@pytest.mark.parametrize("name", ["rows.gz", "rows.txt"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_rows_across_blocks_of_text(
    make_tracks: MakeTracks,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    end: str,
) -> None:
    tracks = make_tracks(200)
    content = text_of(tracks).replace("\n", end)
    path = tmp_path / name
    bad = content.replace("\t27\t", "\t26\t").encode()
    for n_bytes in (999, 1000, 1024, 4001):
        monkeypatch.setattr(text, "BLOCK_BYTES", n_bytes)
        packed = gzip.compress if name.endswith("gz") else bytes
        path.write_bytes(packed(content.removesuffix(end).encode()))
        assert_equal(read_tracks(path, use_cache=False), tracks)
        good = content.encode().split(end.encode())[:150]
        path.write_bytes(
            packed(end.encode().join([*good, bad.split(end.encode())[150]]))
        )
        with pytest.raises(DataError, match="line 151, column iNodes: expected 27"):
            read_tracks(path)
