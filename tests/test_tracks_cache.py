"""A table is cached as it was read, and made anew where that is damaged."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from test_tracks import PHYSICS, MakeTracks, assert_equal, text_of, with_extras

from nnt.errors import DataError
from nnt.tracks import cache, cache_dir, read_tracks, write_tracks


def test_a_file_that_grows_is_not_cached(
    make_tracks: MakeTracks, tmp_path: Path
) -> None:
    path = tmp_path / "rows.txt"
    path.write_text(text_of(make_tracks(40)))

    def grow(done: int, total: int) -> None:
        with path.open("a") as file:
            file.write("\n")

    with pytest.raises(DataError, match="written to while it was read"):
        read_tracks(path, progress=grow)
    assert_equal(read_tracks(path), make_tracks(40))


def test_cache_serves_the_same_bytes(make_tracks: MakeTracks, tmp_path: Path) -> None:
    path = tmp_path / "rows.gz"
    write_tracks(with_extras(make_tracks(40), *PHYSICS), path)
    first = read_tracks(path)
    second = read_tracks(path)
    assert isinstance(second.inputs, np.memmap)
    assert_equal(second, first)
    assert set(second.extras) == set(first.extras)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert [p.name.split("-")[0] for p in (cache_dir() / "tracks").iterdir()] == [
        digest
    ]


def test_cache_keeps_files_of_one_size_apart(
    make_tracks: MakeTracks, tmp_path: Path
) -> None:
    tracks = make_tracks(40)
    forth, back = tmp_path / "forth.txt", tmp_path / "back.txt"
    forth.write_text(text_of(tracks))
    back.write_text(text_of(tracks[::-1]))
    assert forth.stat().st_size == back.stat().st_size
    for _ in range(2):
        assert_equal(read_tracks(forth), tracks)
        assert_equal(read_tracks(back), tracks[::-1])


DAMAGES: dict[str, Callable[[Path], object]] = {
    "cut": lambda inputs: inputs.write_bytes(inputs.read_bytes()[:-100]),
    "gone": lambda inputs: inputs.unlink(),
    "rubbish": lambda inputs: inputs.write_bytes(b"rubbish"),
    "list": lambda inputs: inputs.with_name("whole.json").write_text("3"),
    "types": lambda inputs: np.save(inputs, np.zeros((40, 26))),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_cache_is_made_anew(
    make_tracks: MakeTracks, tmp_path: Path, damage: str
) -> None:
    path = tmp_path / "rows.gz"
    write_tracks(make_tracks(40), path)
    read_tracks(path)
    (place,) = (cache_dir() / "tracks").iterdir()
    DAMAGES[damage](place / "inputs.npy")
    assert_equal(read_tracks(path), make_tracks(40))
    assert isinstance(read_tracks(path).inputs, np.memmap)


def test_cache_that_cannot_be_written(
    make_tracks: MakeTracks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NNT_CACHE_DIR", str(tmp_path / "file"))
    write_tracks(make_tracks(10), tmp_path / "rows.gz")
    assert_equal(read_tracks(tmp_path / "rows.gz"), make_tracks(10))


def test_cache_is_not_used_where_told(make_tracks: MakeTracks, tmp_path: Path) -> None:
    write_tracks(make_tracks(10), tmp_path / "rows.gz")
    read_tracks(tmp_path / "rows.gz", use_cache=False)
    assert not cache_dir().exists()


def test_a_table_stored_in_parts_is_the_whole_one(make_tracks: MakeTracks) -> None:
    tracks = make_tracks(50)
    assert cache.store_parts(
        lambda: "parts", (tracks[i : i + 8] for i in range(0, 50, 8))
    )
    cache.store_parts(lambda: "whole", [tracks])
    parts, whole = cache.load("parts"), cache.load("whole")
    assert parts is not None
    assert whole is not None
    assert parts.digest == whole.digest == tracks.digest
    np.testing.assert_array_equal(parts.extras["RawZ"], tracks.extras["RawZ"])
