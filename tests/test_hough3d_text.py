"""Text of the 3D Hough chain: it comes back as it was, and wrong rows are named."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnt.detector import CLASSIC, HOUGH3D, N_SUPERLAYERS
from nnt.errors import DataError
from nnt.tracks import (
    Tracks,
    concatenate,
    input_columns,
    make_ids,
    read_tracks,
    split_by_event,
    summarise,
    write_tracks,
)
from nnt.tracks.table import NEW_COLUMNS

MakeTracks = Callable[..., Tracks]
SIZES = HOUGH3D.input_sizes
ENDING = ("RecoZ", "RecoTheta", "RecoNNTClassification", "RecoSTTClassification",
          "TrackType")  # fmt: skip


def make(n_rows: int, n_inputs: int, seed: int = 0) -> Tracks:
    rng = np.random.default_rng(seed)
    inputs = rng.uniform(-1, 1, (n_rows, N_SUPERLAYERS, n_inputs // N_SUPERLAYERS))
    inputs[:, :, 2] *= np.pi / 2
    inputs[:, :, 0] *= 3
    inputs[:, :, 3:] = inputs[:, :, 3:] > 0
    inputs[rng.random((n_rows, N_SUPERLAYERS)) < 0.1] = 0
    return Tracks(
        ids=make_ids({"Experiment": [-1] * n_rows}, n_rows),
        inputs=inputs.reshape(n_rows, n_inputs).astype(np.float32),
        targets=rng.uniform(-1, 1, (n_rows, 2)).astype(np.float32),
        classes=rng.choice(np.array([-1, 1], np.float32), (n_rows, 2)),
        track_type=rng.integers(0, 5, n_rows),
    )


def assert_equal(found: Tracks, expected: Tracks) -> None:
    for name in ("inputs", "targets", "classes", "track_type"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    assert found.chain is HOUGH3D


def plain_text(tracks: Tracks) -> str:
    """Slow plain writer, in the form of BASF2."""
    k = tracks.inputs.shape[1] // N_SUPERLAYERS - 3
    names: list[str] = []
    for sl in range(N_SUPERLAYERS):
        names += [f"SL{sl}-relID", f"SL{sl}-driftT", f"SL{sl}-alpha"]
        names += [f"SL{sl}-extra_input{i}" for i in range(k)]
    lines = ["\t".join([*names, *ENDING]), ""]
    assert tracks.classes is not None
    assert tracks.track_type is not None
    for i in range(len(tracks)):
        row = [*tracks.inputs[i].tolist(), *tracks.targets[i].tolist()]
        row += [*map(int, tracks.classes[i]), int(tracks.track_type[i])]
        lines.append("\t".join(map(str, row)))
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("n_inputs", SIZES)
def test_the_form_of_basf2_is_read(n_inputs: int, tmp_path: Path) -> None:
    tracks = make(50, n_inputs)
    text = plain_text(tracks)
    assert len(text.split("\n")[0].split("\t")) == n_inputs + 5
    (tmp_path / "rows.txt").write_text(text)
    for use_cache in (False, True, True):
        assert_equal(read_tracks(tmp_path / "rows.txt", use_cache=use_cache), tracks)


@pytest.mark.parametrize("n_inputs", SIZES)
def test_the_form_of_basf2_is_written(n_inputs: int, tmp_path: Path) -> None:
    write_tracks(make(20, n_inputs), tmp_path / "rows.txt")
    header, blank, *rows = (tmp_path / "rows.txt").read_text().split("\n")
    assert header.split("\t") == [*input_columns(n_inputs), *ENDING]
    assert blank == ""
    assert all(len(row.split("\t")) == n_inputs + 5 for row in rows[:-1])
    assert not any(row.endswith("\t") for row in rows)


FLOATS = st.floats(-1, 1, width=32)


@settings(max_examples=30)
@given(data=st.data(), n_inputs=st.sampled_from(SIZES), ending=st.sampled_from("tg"))
def test_any_rows_come_back(
    data: st.DataObject, n_inputs: int, ending: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:  # fmt: skip
    path = tmp_path_factory.getbasetemp() / f"rows.{'txt' if ending == 't' else 'gz'}"
    tracks = make(data.draw(st.integers(1, 30)), n_inputs, data.draw(st.integers(0, 9)))
    for column in range(3):
        tracks.inputs[0, column] = data.draw(FLOATS)
    tracks.targets[0] = data.draw(FLOATS), data.draw(FLOATS)
    outputs = HOUGH3D.outputs[: data.draw(st.integers(1, 4))]
    new = {name: tracks.targets[:, i % 2] for i, name in enumerate(outputs)}
    write_tracks(tracks, path, new=new)
    found = read_tracks(path, use_cache=False)
    assert_equal(found, tracks)
    for name, values in new.items():
        np.testing.assert_array_equal(found.extras[NEW_COLUMNS[name]], values)
    again = read_tracks(path, use_cache=False)
    assert again.digest == found.digest


def test_a_row_is_an_event_known_by_its_content(tmp_path: Path) -> None:
    tracks = make(300, 27)
    for name, rows in (("a", slice(0, 200)), ("b", slice(100, 300))):
        write_tracks(tracks[rows], tmp_path / name)
    first, second = read_tracks(tmp_path / "a"), read_tracks(tmp_path / "b")
    assert not first.names_events
    assert first.event_index.tolist() == list(range(200))
    joined = concatenate([first, second])
    assert len(set(joined.event_index.tolist())) == 300
    parts = split_by_event(joined, (0.5, 0.5), 1)
    assert not {*parts[0].ids["Event"]} & {*parts[1].ids["Event"]}


def test_a_file_may_name_events(tmp_path: Path) -> None:
    ones = np.ones(40, dtype=np.int64)
    named = {"Experiment": 5 * ones, "Run": ones, "Event": np.arange(40) // 2}
    tracks = dataclasses.replace(make(40, 126), ids=make_ids(named, 40))
    write_tracks(tracks, tmp_path / "rows.gz")
    found = read_tracks(tmp_path / "rows.gz")
    assert_equal(found, tracks)
    assert found.names_events
    assert found.event_index.tolist() == [i // 2 for i in range(40)]


def test_a_summary_counts_missing_superlayers() -> None:
    for n_inputs in SIZES:
        tracks = make(200, n_inputs)
        tracks.inputs[:, : n_inputs // N_SUPERLAYERS] = 0
        assert summarise(tracks).missing_superlayer_share[0] == 1


@pytest.mark.parametrize(
    ("name", "cell", "message"),
    [
        ("RecoNNTClassification", "0.5", "expected a class -1 or 1, found '0.5'"),
        ("RecoSTTClassification", "0", "expected a class -1 or 1"),
        ("TrackType", "7", r"expected a track type 0 \.\. 4, found '7'"),
        ("TrackType", "0.5", "expected an integer"),
        ("SL3-extra_input4", "", "expected a number, found ''"),
        ("SL3-extra_input4", "2", "expected 0 or 1"),
        ("SL3-extra_input4", "0.5", "expected 0 or 1"),
        ("SL2-alpha", "1.6", "expected an angle in rad"),
        ("SL2-driftT", "-1.01", r"expected a number in \[-1, 1\]"),
        ("SL2-relID", "nan", "expected a finite number"),
        ("RecoZ", "1.5", r"expected a number in \[-1, 1\]"),
    ],
)
def test_a_wrong_row_is_named(
    name: str, cell: str, message: str, tmp_path: Path
) -> None:
    header, blank, *lines = plain_text(make(20, 126)).split("\n")
    cells = lines[4].split("\t")
    cells[header.split("\t").index(name)] = cell
    lines[4] = "\t".join(cells)
    path = tmp_path / "rows.txt"
    path.write_text("\n".join([header, blank, *lines]))
    with pytest.raises(DataError, match=f"line 7, column {name}: {message}"):
        read_tracks(path)


@pytest.mark.parametrize("drop", ["SL4-alpha", "TrackType", "RecoSTTClassification"])
@pytest.mark.parametrize("n_inputs", SIZES)
def test_a_missing_column_is_named(drop: str, n_inputs: int, tmp_path: Path) -> None:
    header, blank, *lines = plain_text(make(20, n_inputs)).split("\n")
    place = header.split("\t").index(drop)
    rows = [line.split("\t") for line in (header, *lines[:-1])]
    text = ["\t".join(row[:place] + row[place + 1 :]) for row in rows]
    path = tmp_path / "rows.txt"
    path.write_text("\n".join([text[0], blank, *text[1:]]))
    with pytest.raises(DataError, match=f"missing: {drop}$"):
        read_tracks(path)


def test_chains_are_not_mixed(make_tracks: MakeTracks, tmp_path: Path) -> None:
    write_tracks(make_tracks(20), tmp_path / "classic.gz")
    for n_inputs in SIZES:
        write_tracks(make(20, n_inputs), tmp_path / f"{n_inputs}.gz")
    assert read_tracks(tmp_path / "classic.gz").chain is CLASSIC
    for pair in (("classic", "27"), ("27", "126"), ("126", "classic")):
        with pytest.raises(DataError, match="cannot be joined; use files of one kind"):
            read_tracks([tmp_path / f"{name}.gz" for name in pair])
