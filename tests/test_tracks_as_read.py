"""Tables come out as they went in: every cell keeps its text."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_tracks import MakeTracks

from nnt.tracks import ID_COLUMNS, read_tracks, split_by_event, write_tracks
from nnt.tracks.table import INPUT_COLUMNS, REFERENCE_COLUMNS, TARGET_COLUMNS

UNKNOWN = "Temperature"
COLUMNS = (
    *ID_COLUMNS, "iNodes", "oNodes", *INPUT_COLUMNS, *TARGET_COLUMNS,
    *REFERENCE_COLUMNS, UNKNOWN,
)  # fmt: skip
FORMS = ("{!r}", "{:g}", "{:.17g}", "{:.3f}", "{:e}", "{:+.12f}", "{:.2E}")
NUMBER = st.builds(str.format, st.sampled_from(FORMS), st.floats(-1, 1))
WHOLE = st.builds(str.format, st.sampled_from(["{}", "{:03d}"]), st.integers(0, 2**62))


@dataclass(frozen=True)
class File:
    names: tuple[str, ...]
    rows: list[dict[str, str]]
    end: str
    zipped: bool
    is_joined: bool

    def write(self, path: Path) -> None:
        head = "\t".join(self.names) + self.end + self.end.lstrip("\t")
        rows = ["\t".join(r[n] for n in self.names) + self.end for r in self.rows]
        middle = len(rows) // 2 if self.is_joined else len(rows)
        again = head if self.is_joined else ""
        text = (head + "".join(rows[:middle]) + again + "".join(rows[middle:])).encode()
        path.write_bytes(gzip.compress(text) if self.zipped else text)


@st.composite
def rows(draw: st.DrawFn) -> dict[str, str]:
    row = {name: draw(WHOLE) for name in ID_COLUMNS} | {
        "Expert": str(draw(st.integers(0, 4))), "iNodes": "27", "oNodes": "2",
        UNKNOWN: draw(NUMBER), "NewZ": draw(NUMBER),
    }  # fmt: skip
    # A few drawn numbers at shifted places: a draw for each cell would be slow.
    drawn = draw(st.lists(NUMBER, min_size=3, max_size=7))
    floats = (*INPUT_COLUMNS, *TARGET_COLUMNS, *REFERENCE_COLUMNS)
    return row | {n: drawn[i % len(drawn)] for i, n in enumerate(floats)}


@st.composite
def files(draw: st.DrawFn) -> File:
    names = [*COLUMNS]
    if draw(st.booleans()):
        names.insert(draw(st.integers(0, len(names))), "NewZ")
    if draw(st.booleans()):
        names.reverse()
    return File(
        tuple(names),
        draw(st.lists(rows(), min_size=1, max_size=6)),
        draw(st.sampled_from(["\n", "\t\n", "\r\n", "\t\r\n"])),
        draw(st.booleans()),
        draw(st.booleans()),
    )


def cells_of(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    text = path.read_bytes()
    text = gzip.decompress(text) if path.suffix == ".gz" else text
    head, blank, *lines = text.decode().split("\n")
    assert (blank, lines.pop()) == ("", "")
    assert all(line.endswith("\t") for line in lines)
    names = head.split("\t")
    return names, [dict(zip(names, n[:-1].split("\t"), strict=True)) for n in lines]


@settings(max_examples=20)
@given(drawn=st.lists(files(), min_size=1, max_size=3), data=st.data())
def test_cells_keep_their_text(
    drawn: list[File], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("files")
    paths = [folder / f"{i}.txt" for i in range(len(drawn))]
    for file, path in zip(drawn, paths, strict=True):
        file.write(path)
    expected = [row for file in drawn for row in file.rows]
    chosen = np.array([data.draw(st.booleans()) for _ in expected])
    new = np.arange(chosen.sum(), dtype=np.float32)
    tracks = read_tracks(paths, use_cache=data.draw(st.booleans()))[chosen]
    target = folder / data.draw(st.sampled_from(["out.txt", "out.gz"]))
    write_tracks(tracks, target, new={"z": new}, as_read=True)
    names, found = cells_of(target)
    first = [name for name in drawn[0].names if name != "NewZ"]
    assert names == [*first, "NewZ"]
    kept = [row for row, is_kept in zip(expected, chosen, strict=True) if is_kept]
    assert len(found) == len(kept)
    for number, (row, was) in enumerate(zip(found, kept, strict=True)):
        assert float(row.pop("NewZ")) == number
        assert row == {name: was[name] for name in first}


def test_the_form_without_header_keeps_its_cells(
    make_tracks: MakeTracks, tmp_path: Path
) -> None:
    write_tracks(make_tracks(5), tmp_path / "full.txt")
    names, cells = cells_of(tmp_path / "full.txt")
    old = [n for n in names if n not in ("nTracks", *REFERENCE_COLUMNS)]
    old = [n for n in old if not n.startswith(("Raw", "2D", "3D"))]
    text = "".join("\t".join(row[n] for n in old) + "\n" for row in cells)
    (tmp_path / "old.txt").write_text(text)
    tracks = read_tracks(tmp_path / "old.txt")
    write_tracks(tracks, tmp_path / "new.txt", as_read=True)
    assert cells_of(tmp_path / "new.txt") == (
        old, [{n: row[n] for n in old} for row in cells],
    )  # fmt: skip


def test_parts_hold_every_line_once(make_tracks: MakeTracks, tmp_path: Path) -> None:
    write_tracks(make_tracks(40), tmp_path / "all.txt")
    tracks = read_tracks(tmp_path / "all.txt")
    lines = []
    for part in split_by_event(tracks, (0.5, 0.3, 0.2), seed=1):
        write_tracks(part, tmp_path / "part.txt", as_read=True)
        lines += (tmp_path / "part.txt").read_text().splitlines()[2:]
    whole = (tmp_path / "all.txt").read_text().splitlines()[2:]
    assert sorted(lines) == sorted(whole)


@pytest.mark.parametrize("trouble", ["gone", "changed", "turned"])
def test_numbers_are_written_where_the_lines_are_not_at_hand(
    make_tracks: MakeTracks,
    tmp_path: Path,
    trouble: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = tmp_path / "rows.txt"
    write_tracks(make_tracks(5), path)
    tracks = read_tracks(path)
    expected = tracks.digest
    if trouble == "gone":
        path.unlink()
    elif trouble == "changed":
        path.write_text(path.read_text() + path.read_text().splitlines()[-1] + "\n")
    else:
        tracks = tracks[np.arange(len(tracks))[::-1]]
        expected = tracks.digest
    write_tracks(tracks, tmp_path / "out.txt", as_read=True)
    assert read_tracks(tmp_path / "out.txt").digest == expected
    assert (str(path) in caplog.text) == (trouble != "turned")
