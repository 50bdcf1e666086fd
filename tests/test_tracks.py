"""Track files: every generation comes back, every bad row is named."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnt.errors import DataError
from nnt.tracks import (
    Tracks,
    cache,
    cache_dir,
    concatenate,
    read_tracks,
    split_by_event,
    split_like_basf2,
    summarise,
    text,
    write_shares,
    write_tracks,
)
from nnt.tracks.table import NEW_COLUMNS, NEW_RAW_COLUMNS

MakeTracks = Callable[..., Tracks]


def text_of(
    tracks: Tracks, *, drop: tuple[str, ...] = (), header: bool = True, end: str = "\t"
) -> str:
    """Slow plain writer."""
    columns = {k: v for k, v in tracks.columns().items() if k not in drop}
    lines = ["\t".join(columns), ""] if header else []
    rows = zip(*(values.tolist() for values in columns.values()), strict=True)
    lines += ["\t".join(map(str, row)) + end for row in rows]
    return "\n".join(lines) + "\n"


def assert_equal(found: Tracks, expected: Tracks) -> None:
    np.testing.assert_array_equal(found.ids, expected.ids)
    np.testing.assert_array_equal(found.inputs, expected.inputs)
    np.testing.assert_array_equal(found.targets, expected.targets)
    assert (found.reference is None) == (expected.reference is None)
    if expected.reference is not None:
        np.testing.assert_array_equal(found.reference, expected.reference)


def with_extras(tracks: Tracks, *names: str) -> Tracks:
    rng = np.random.default_rng(9)
    more = {n: rng.uniform(-1, 1, len(tracks)).astype(np.float32) for n in names}
    return Tracks(
        tracks.ids,
        tracks.inputs,
        tracks.targets,
        tracks.reference,
        {**tracks.extras, **more},
    )


PHYSICS = ("2DPhi", "3DTheta", "2DinvPt")


@pytest.mark.parametrize(
    ("extras", "n_columns"),
    [
        ((), 42),
        (("NewZ",), 43),
        (("NewZ", "NewTheta"), 44),
        (PHYSICS, 45),
        ((*PHYSICS, "NewZ"), 46),
        ((*PHYSICS, "NewZ", "NewTheta"), 47),
    ],
)
@pytest.mark.parametrize("end", ["\t", ""])
def test_generations_with_header(
    make_tracks: MakeTracks,
    tmp_path: Path,
    extras: tuple[str, ...],
    n_columns: int,
    end: str,
) -> None:
    tracks = with_extras(make_tracks(50), *extras)
    assert len(tracks.columns()) == n_columns
    path = tmp_path / "rows.txt"
    path.write_text(text_of(tracks, end=end))
    found = read_tracks(path)
    assert_equal(found, tracks)
    assert set(found.extras) == set(tracks.extras)
    for name, values in tracks.extras.items():
        np.testing.assert_array_equal(found.extras[name], values)


@pytest.mark.parametrize("end", ["\t", ""])
def test_generation_without_header(
    make_tracks: MakeTracks, tmp_path: Path, end: str
) -> None:
    tracks = make_tracks(50)
    drop = ("nTracks", "ScaleZ", "RawZ", "ScaleTheta", "RawTheta")
    path = tmp_path / "rows.txt"
    path.write_text(text_of(tracks, drop=drop, header=False, end=end))
    found = read_tracks(path)
    assert found.reference is None
    np.testing.assert_array_equal(found.inputs, tracks.inputs)
    np.testing.assert_array_equal(found.ids["Event"], tracks.ids["Event"])
    np.testing.assert_array_equal(found.expert, tracks.expert)
    assert not found.ids["nTracks"].any()


def test_zero_reference_is_none(make_tracks: MakeTracks, tmp_path: Path) -> None:
    plain = make_tracks(20)
    tracks = Tracks(plain.ids, plain.inputs, plain.targets)
    write_tracks(tracks, tmp_path / "a.gz")
    assert read_tracks(tmp_path / "a.gz").reference is None


@pytest.mark.parametrize("name", ["rows.gz", "rows.txt"])
@pytest.mark.parametrize("outputs", [("z",), ("z", "theta"), ("z", "nnt", "stt")])
def test_written_is_read_exactly(
    make_tracks: MakeTracks, tmp_path: Path, name: str, outputs: tuple[str, ...]
) -> None:
    tracks, rng = make_tracks(200), np.random.default_rng(4)
    new = {n: rng.uniform(-1, 1, 200).astype(np.float32) for n in outputs}
    whole = {n: rng.integers(-4096, 4097, 200) for n in outputs}
    write_tracks(tracks, tmp_path / name, new=new, new_raw=whole)
    found = read_tracks(tmp_path / name)
    assert_equal(found, tracks)
    for output in outputs:
        named = found.extras[NEW_COLUMNS[output]]
        np.testing.assert_array_equal(named, new[output])
        named = found.extras[NEW_RAW_COLUMNS[output]]
        np.testing.assert_array_equal(named, whole[output])
    assert len(found.extras) == len(tracks.extras) + 2 * len(outputs)


def test_writing_is_reproducible(make_tracks: MakeTracks, tmp_path: Path) -> None:
    for name in ("a.gz", "b.gz"):
        write_tracks(make_tracks(30), tmp_path / name)
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()
    assert sorted(p.name for p in tmp_path.glob("*.gz*")) == ["a.gz", "b.gz"]


def test_one_gzip_member_per_row(make_tracks: MakeTracks, tmp_path: Path) -> None:
    tracks = make_tracks(400)
    lines = text_of(tracks).encode().splitlines(keepends=True)
    path = tmp_path / "members.gz"
    path.write_bytes(b"".join(map(gzip.compress, lines)))
    assert_equal(read_tracks(path), tracks)


def test_windows_line_ends(make_tracks: MakeTracks, tmp_path: Path) -> None:
    path = tmp_path / "rows.txt"
    path.write_bytes(text_of(make_tracks(9)).replace("\n", "\r\n").encode())
    assert_equal(read_tracks(path), make_tracks(9))


def test_several_files(make_tracks: MakeTracks, tmp_path: Path) -> None:
    tables = [make_tracks(30, seed) for seed in range(3)]
    paths = [tmp_path / f"{i}.gz" for i in range(3)]
    for table, path in zip(tables, paths, strict=True):
        write_tracks(table, path)
    told: list[tuple[int, int]] = []
    found = read_tracks(paths, progress=lambda done, total: told.append((done, total)))
    assert_equal(found, concatenate(tables))
    size = sum(path.stat().st_size for path in paths)
    assert told[-1] == (size, size)


def put(tracks: Tracks, line: int, column: int, cell: str | None) -> str:
    """Text with one cell replaced, or taken out."""
    lines = text_of(tracks).split("\n")
    cells = lines[line - 1].split("\t")
    if cell is None:
        del cells[column]
    else:
        cells[column] = cell
    lines[line - 1] = "\t".join(cells)
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("column", "cell", "message"),
    [
        (9, None, "line 7: expected 42 columns, found 41"),
        (9, "0\t0", "line 7: expected 42 columns, found 43"),
        (9, "abc", "line 7, column SL0-relID: expected a number, found 'abc'"),
        (9, "nan", "line 7, column SL0-relID: "),
        (10, "inf", "line 7, column SL0-driftT: "),
        (11, "-1.001", r"line 7, column SL0-alpha: expected a number in \[-1, 1\]"),
        (36, "1.5", "line 7, column RecoZ: "),
        (37, "", "line 7, column RecoTheta: "),
        (38, "nan", "line 7, column ScaleZ: "),
        (6, "5", "line 7, column Expert: "),
        (6, "-1", "line 7, column Expert: "),
        (3, "1.5", "line 7, column Event: expected an integer, found '1.5'"),
        (7, "26", "line 7, column iNodes: "),
    ],
)
def test_bad_row_is_named(
    make_tracks: MakeTracks, tmp_path: Path, column: int, cell: str, message: str
) -> None:
    path = tmp_path / "rows.txt"
    path.write_text(put(make_tracks(20), 7, column, cell))
    with pytest.raises(DataError, match=message) as err:
        read_tracks(path)
    assert str(path) in str(err.value)
    assert "\n" not in str(err.value)


NUMBERS = st.one_of(
    st.floats(-1, 1).map(repr),
    st.floats(-1, 1, width=32).map(repr),
    st.floats(-1, 1).map("{:.6g}".format),
    st.floats(-1, 1).map("{:.17g}".format),
    st.floats(-1, 1).map("{:.12e}".format),
    st.decimals(-1, 1, places=18).map(str),
    st.integers(-(2**24), 2**24).map(lambda i: repr((2 * i + 1) / 2**26)),
    st.sampled_from(
        ["-0", "0.", ".5", "1E-05", "1e+0", "5e-324", "1" + "0" * 30 + "e-30"]
    ),
)
"""Every way to write a number, and those halfway between two of float32."""


@settings(max_examples=100)
@given(cells=st.lists(NUMBERS, min_size=27, max_size=27))
def test_every_number_is_the_nearest_float32(
    tmp_path_factory: pytest.TempPathFactory, cells: list[str]
) -> None:
    path = tmp_path_factory.getbasetemp() / "numbers.txt"
    path.write_text("\t".join(["1"] * 5 + ["0", "27", "2", *cells, "0", "0"]) + "\n")
    found = read_tracks(path, use_cache=False).inputs[0]
    expected = np.array([np.float32(float(cell)) for cell in cells])
    np.testing.assert_array_equal(found.view(np.uint32), expected.view(np.uint32))


def test_integers_of_64_bits(make_tracks: MakeTracks, tmp_path: Path) -> None:
    tracks = make_tracks(9)
    tracks.ids["Event"] = [0, 1, -1, 2**63 - 1, -(2**63), 10**17, 10**18, -(10**18), 7]
    write_tracks(tracks, tmp_path / "rows.txt")
    assert_equal(read_tracks(tmp_path / "rows.txt"), tracks)


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
    path.write_text(text_of(make_tracks(20)) + put(make_tracks(20), 7, 36, "1.5"))
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
    header, *lines = text_of(tracks, end="").split("\n")
    names = header.split("\t")
    raw = [names.index(name) for name in ("RawZ", "RawTheta")]
    for i, line in enumerate(lines[1:-1], 1):
        cells = line.split("\t")
        for column in raw:
            cells[column] = f"{int(cells[column]):f}"
        lines[i] = "\t".join(cells)
    path = tmp_path / "pred_data_random1.csv"
    path.write_text("\n".join(["       ".join(names), *lines]))
    found = read_tracks(path)
    assert_equal(found, tracks)
    for name in ("RawZ", "RawTheta", "NewZ"):
        np.testing.assert_array_equal(found.extras[name], tracks.extras[name])
    path.write_text(path.read_text().replace(".000000", ".500000", 1))
    with pytest.raises(DataError, match=r"line 3, column RawZ: expected an integer"):
        read_tracks(path)


def with_reference(tracks: Tracks, rows: slice, value: float) -> str:
    """Text in which some rows hold a number in place of each reference output."""
    names = list(tracks.columns())
    lines = text_of(tracks).split("\n")
    for i in range(2, 2 + len(tracks))[rows]:
        cells = lines[i].split("\t")
        for name in ("ScaleZ", "ScaleTheta"):
            cells[names.index(name)] = f"{value:g}"
        lines[i] = "\t".join(cells)
    return "\n".join(lines)


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


def test_the_first_bad_row_is_named(make_tracks: MakeTracks, tmp_path: Path) -> None:
    lines = text_of(make_tracks(40)).split("\n")
    lines[30] += "0"
    lines[20] = lines[20].replace("\t27\t", "\tx\t")
    lines[10] = lines[10].replace("\t27\t", "\t28\t")
    path = tmp_path / "rows.txt"
    for line, message in ((11, "27 inputs"), (21, "an integer"), (31, "42 columns")):
        path.write_text("\n".join(lines))
        with pytest.raises(DataError, match=rf"line {line}\b.*expected {message}"):
            read_tracks(path)
        del lines[line - 1]
        lines.insert(line - 1, "")


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


def test_bounds_are_allowed(make_tracks: MakeTracks, tmp_path: Path) -> None:
    path = tmp_path / "rows.txt"
    path.write_text(put(make_tracks(20), 7, 36, "-1"))
    assert read_tracks(path).targets[4, 0] == -1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"\n\n", "empty"),
        (gzip.compress(b"", mtime=0), "empty"),
        (b"\x89PNG\r\n\x1a\n\0\0\0", "binary"),
        (gzip.compress(bytes(range(256)), mtime=0), "binary"),
        (b"hello world\n1 2 3\n", "expected a header"),
        (b"1\t2\t3\n", "expected 37 columns"),
        (gzip.compress(b"1\t2\n" * 99, mtime=0)[:-9], "cut"),
        (gzip.compress(b"1\t2\n", mtime=0) + b"other than gzip", "other data"),
        (b"\x1f\x8b\x08\x00rubbish that is no gzip", "damaged"),
    ],
)
def test_not_a_track_file(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "file.gz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as err:
        read_tracks(path)
    assert str(path) in str(err.value)


def test_header_without_rows(make_tracks: MakeTracks, tmp_path: Path) -> None:
    path = tmp_path / "rows.txt"
    path.write_text(text_of(make_tracks(1)[:0]))
    with pytest.raises(DataError, match="expected rows after the header"):
        read_tracks(path)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "none.gz", tmp_path):
        with pytest.raises(DataError, match="cannot be read"):
            read_tracks(path)
    with pytest.raises(DataError, match="at least one"):
        read_tracks([])


def test_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "FREE_TEXT_BYTES", 1 << 20)
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(b"0\n" * (2 << 20)))
    with pytest.raises(DataError, match="expands to more than"):
        read_tracks(path)


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


def test_the_first_wrong_row_is_told_though_blocks_are_read_side_by_side(
    make_tracks: MakeTracks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = text_of(make_tracks(400)).split("\n")
    for number in (150, 250, 350):
        lines[number - 1] = lines[number - 1].replace("\t", "\tx", 1)
    path = tmp_path / "rows.txt"
    path.write_text("\n".join(lines))
    monkeypatch.setattr(text, "BLOCK_BYTES", 1 << 13)
    with pytest.raises(DataError, match="line 150, "):
        read_tracks(path)


@pytest.mark.parametrize("damage", ["cut", "gone", "rubbish", "list", "types"])
def test_damaged_cache_is_made_anew(
    make_tracks: MakeTracks, tmp_path: Path, damage: str
) -> None:
    path = tmp_path / "rows.gz"
    write_tracks(make_tracks(40), path)
    read_tracks(path)
    (place,) = (cache_dir() / "tracks").iterdir()
    inputs = place / "inputs.npy"
    if damage == "cut":
        inputs.write_bytes(inputs.read_bytes()[:-100])
    elif damage == "gone":
        inputs.unlink()
    elif damage == "rubbish":
        inputs.write_bytes(b"rubbish")
    elif damage == "list":
        (place / "whole.json").write_text("3")
    else:
        np.save(inputs, np.zeros((40, 26)))
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
    with pytest.raises(DataError, match="part 1"):
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


def test_digest_follows_the_content(make_tracks: MakeTracks) -> None:
    tracks = make_tracks(30)
    assert tracks.digest == make_tracks(30).digest
    assert len({tracks.digest, tracks[:29].digest, tracks[::-1].digest}) == 3


def test_frame_has_the_names_of_the_files(
    make_tracks: MakeTracks, tmp_path: Path
) -> None:
    tracks = make_tracks(30)
    frame = tracks.to_frame()
    write_tracks(tracks, tmp_path / "a.txt")
    header = (tmp_path / "a.txt").read_text().split("\n")[0]
    assert header.split("\t") == list(frame.columns)
    assert frame["Event"].tolist() == tracks.ids["Event"].tolist()


def test_real_sample(sample_file: Path) -> None:
    tracks = read_tracks(sample_file)
    assert len(tracks) == 3049
    assert set(tracks.expert.tolist()) == {0, 1, 2, 3, 4}
    assert tracks.reference is not None
    raw = tracks.extras["RawZ"] / 4096
    assert np.abs(tracks.reference[:, 0] - raw).max() < 2 / 4096
    plain = gzip.decompress(sample_file.read_bytes()).decode().split("\n")
    cells = plain[-2].split("\t")
    inputs = np.array(cells[9:36], dtype=np.float32)
    np.testing.assert_array_equal(tracks.inputs[-1], inputs)


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
    with pytest.raises(DataError, match=r"\.gz: no event is left"):
        write_shares(one_event, [tmp_path / "0.gz", tmp_path / "1.gz"], (0.5, 0.5))
    assert not list(tmp_path.glob("*.gz"))


def test_a_table_stored_in_parts_is_the_whole_one(make_tracks: MakeTracks) -> None:
    tracks = make_tracks(50)
    assert cache.store_parts(
        lambda: "parts", (tracks[i : i + 8] for i in range(0, 50, 8))
    )
    cache.store("whole", tracks)
    parts, whole = cache.load("parts"), cache.load("whole")
    assert parts is not None
    assert whole is not None
    assert parts.digest == whole.digest == tracks.digest
    np.testing.assert_array_equal(parts.extras["RawZ"], tracks.extras["RawZ"])
