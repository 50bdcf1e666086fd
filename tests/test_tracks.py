"""Track files: every generation comes back, every bad row is named."""

from __future__ import annotations

import dataclasses
import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnt.errors import DataError
from nnt.tracks import Tracks, concatenate, read_tracks, text, write_tracks
from nnt.tracks.table import NEW_COLUMNS, NEW_RAW_COLUMNS, OPTIONAL, REQUIRED

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


def assert_equal(found: Tracks, expected: Tracks, *, ids: bool = True) -> None:
    for name in (*(("ids",) if ids else ()), *REQUIRED[1:], *OPTIONAL):
        np.testing.assert_equal(getattr(found, name), getattr(expected, name))
    assert found.chain is expected.chain


def with_extras(tracks: Tracks, *names: str) -> Tracks:
    rng = np.random.default_rng(9)
    more = {n: rng.uniform(-1, 1, len(tracks)).astype(np.float32) for n in names}
    return dataclasses.replace(tracks, extras={**tracks.extras, **more})


PHYSICS = ("2DPhi", "3DTheta", "2DinvPt")


NEW = ("NewZ", "NewTheta")


@pytest.mark.parametrize(
    "extras", [(), NEW[:1], NEW, PHYSICS, (*PHYSICS, "NewZ"), (*PHYSICS, *NEW)]
)
@pytest.mark.parametrize("end", ["\t", ""])
def test_generations_with_header(
    make_tracks: MakeTracks, tmp_path: Path, extras: tuple[str, ...], end: str
) -> None:
    tracks = with_extras(make_tracks(50), *extras)
    assert len(tracks.columns()) == 42 + len(extras)
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


@pytest.mark.parametrize(
    "form",
    [
        lambda text: b"".join(map(gzip.compress, text.splitlines(keepends=True))),
        lambda text: text.replace(b"\n", b"\r\n"),
        lambda text: b"\xef\xbb\xbf" + text,
        lambda text: gzip.compress(b"\xef\xbb\xbf" + text),
    ],
    ids=["a member per row", "Windows", "byte order mark", "and zipped"],
)
def test_forms_of_the_same_text(
    make_tracks: MakeTracks, tmp_path: Path, form: Callable[[bytes], bytes]
) -> None:
    (tmp_path / "rows").write_bytes(form(text_of(make_tracks(400)).encode()))
    assert_equal(read_tracks(tmp_path / "rows"), make_tracks(400))


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


def put(text: str, line: int, column: int | str, cell: str | None) -> str:
    """Text with one cell replaced, or taken out; lines from 1, columns from 0."""
    lines = text.split("\n")
    cells = lines[line - 1].split("\t")
    if isinstance(column, str):
        column = lines[0].split("\t").index(column)
    cells[column : column + 1] = [] if cell is None else [cell]
    lines[line - 1] = "\t".join(cells)
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("column", "cell", "message"),
    [
        ("SL0-relID", None, ": expected 42 columns, found 41"),
        ("SL0-relID", "0\t0", ": expected 42 columns, found 43"),
        ("SL0-relID", "abc", "expected a number, found 'abc'"),
        ("SL0-relID", "nan", ""),
        ("SL0-relID", "1e400", ""),
        ("SL0-relID", "1_0", ""),
        ("SL0-driftT", "inf", ""),
        ("SL0-alpha", "-1.001", "expected a number in [-1, 1]"),
        ("RecoZ", "1.5", ""),
        ("RecoTheta", "", ""),
        ("ScaleZ", "nan", ""),
        ("Expert", "5", ""),
        ("Expert", "-1", ""),
        ("Event", "1.5", "expected an integer, found '1.5'"),
        ("Event", "9" * 20, ""),
        ("Event", "9" * 5000, ""),
        ("Event", "1_0", ""),
        ("Event", "+1", ""),
        ("iNodes", "26", ""),
    ],
)
def test_a_bad_row_is_named(
    make_tracks: MakeTracks, tmp_path: Path, column: str, cell: str, message: str
) -> None:
    path = tmp_path / "rows.txt"
    path.write_text(put(text_of(make_tracks(20)), 7, column, cell))
    with pytest.raises(DataError) as err:
        read_tracks(path)
    place = "" if message.startswith(":") else f", column {column}: "
    assert f"{path}, line 7{place}{message}" in str(err.value)
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


@pytest.mark.parametrize("block", [1 << 10, 1 << 21])
def test_the_first_bad_row_is_named(
    make_tracks: MakeTracks,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    block: int,
) -> None:
    """Blocks of text, of a few rows or of all, are parsed side by side."""
    monkeypatch.setattr(text, "BLOCK_BYTES", block)
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


def test_bounds_are_allowed(make_tracks: MakeTracks, tmp_path: Path) -> None:
    path = tmp_path / "rows.txt"
    path.write_text(put(text_of(make_tracks(20)), 7, "RecoZ", "-1"))
    assert read_tracks(path).targets[4, 0] == -1


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
