"""Text of the 3D Hough chain: it comes back as it was, and wrong rows are named."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from test_tracks import MakeTracks, assert_equal, put, text_of

from nnt.cli import main
from nnt.detector import CLASSIC, HOUGH3D, N_SUPERLAYERS
from nnt.errors import DataError
from nnt.filters import parse
from nnt.simulation import simulate
from nnt.tracks import (
    Tracks,
    class_conflicts,
    concatenate,
    empty_patterns,
    make_ids,
    read_tracks,
    split_by_event,
    summarise,
    write_tracks,
)
from nnt.tracks.table import NEW_COLUMNS

SIZES = HOUGH3D.input_sizes


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


@pytest.mark.parametrize("n_inputs", SIZES)
def test_the_form_of_basf2_is_read_and_written(n_inputs: int, tmp_path: Path) -> None:
    tracks, k = make(50, n_inputs), n_inputs // N_SUPERLAYERS - 3
    names: list[str] = []
    for sl in range(N_SUPERLAYERS):
        names += [f"SL{sl}-relID", f"SL{sl}-driftT", f"SL{sl}-alpha"]
        names += [f"SL{sl}-extra_input{i}" for i in range(k)]
    names += ["RecoZ", "RecoTheta", "RecoNNTClassification", "RecoSTTClassification",
              "TrackType"]  # fmt: skip
    (tmp_path / "rows.txt").write_text(text_of(tracks, end=""))
    for use_cache in (False, True, True):
        found = read_tracks(tmp_path / "rows.txt", use_cache=use_cache)
        assert_equal(found, tracks, ids=False)
    write_tracks(tracks, tmp_path / "rows.txt")
    header, blank, *rows, end = (tmp_path / "rows.txt").read_text().split("\n")
    assert (header.split("\t"), blank, end) == (names, "", "")
    assert {row.count("\t") for row in rows} == {n_inputs + 4}
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
    assert_equal(found, tracks, ids=False)
    for name, values in new.items():
        np.testing.assert_array_equal(found.extras[NEW_COLUMNS[name]], values)
    assert read_tracks(path, use_cache=False).digest == found.digest


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
    path = tmp_path / "rows.txt"
    path.write_text(put(text_of(make(20, 126), end=""), 7, name, cell))
    with pytest.raises(DataError, match=f"line 7, column {name}: {message}"):
        read_tracks(path)


@pytest.mark.parametrize("drop", ["SL4-alpha", "TrackType", "RecoSTTClassification"])
@pytest.mark.parametrize("n_inputs", SIZES)
def test_a_missing_column_is_named(drop: str, n_inputs: int, tmp_path: Path) -> None:
    path = tmp_path / "rows.txt"
    path.write_text(text_of(make(20, n_inputs), drop=(drop,), end=""))
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


def test_classes_are_held_against_z() -> None:
    """Each row: |z| in cm, track type, NNT, STT; and whether they fit together."""
    cases = [
        (0.5, 0, 1, 1, True), (0.5, 0, 1, -1, True), (0.5, 0, -1, -1, False),
        (0.5, 0, -1, 1, False), (1.5, 1, -1, -1, True), (1.5, 1, 1, -1, False),
        (-1.5, 1, 1, 1, False), (1.0, 0, 1, 1, True), (1.0001, 1, -1, -1, True),
        (0.0, 2, -1, -1, True), (0.0, 3, 1, -1, False), (0.0, 4, 1, 1, True),
    ]  # fmt: skip
    z_cm, types, nnt, stt, fits = map(np.array, zip(*cases, strict=True))
    tracks = dataclasses.replace(
        make(len(cases), 27),
        targets=np.stack([z_cm / 100, z_cm], axis=1).astype(np.float32),
        classes=np.stack([nnt, stt], axis=1).astype(np.float32),
        track_type=types,
    )
    np.testing.assert_array_equal(class_conflicts(tracks), ~fits)
    wider = class_conflicts(tracks, signal_cm=2.0)
    assert wider[4]
    assert not wider[5]


def test_a_summary_counts_types_classes_and_patterns() -> None:
    tracks = make(300, 126)
    bits = tracks.inputs.reshape(300, N_SUPERLAYERS, 14)
    bits[:, :, 3] = 1
    bits[7:9, 4, 1:] = [0.5, *[0] * 12]
    bits[20, 2] = 0  # no segment, no pattern
    found = summarise(tracks)
    assert tracks.track_type is not None
    assert tracks.classes is not None
    assert [*found.rows_per_type] == [
        "real", "background", "fake_of_empty_event", "fake", "unknown"
    ]  # fmt: skip
    assert [*found.rows_per_type.values()] == np.bincount(tracks.track_type).tolist()
    assert found.rows_per_class["stt"] == (tracks.classes[:, 1] == 1).sum()
    assert (found.inputs, found.rows_per_expert) == (126, {})
    np.testing.assert_array_equal(np.flatnonzero(empty_patterns(tracks)), [7, 8])
    assert found.empty_patterns == 2
    assert not empty_patterns(make(5, 27)).any()
    assert not len(empty_patterns(tracks[:0]))


def test_types_and_classes_can_be_filtered() -> None:
    tracks = make(200, 27)
    assert tracks.track_type is not None
    kept = parse("RangeFilter('TrackType', 0, 1)")(tracks)
    np.testing.assert_array_equal(kept, tracks.track_type <= 1)
    assert tracks.classes is not None
    kept = parse("RangeFilter('RecoNNTClassification', 0, 1)")(tracks)
    np.testing.assert_array_equal(kept, tracks.classes[:, 0] == 1)


def test_files_are_described_compared_and_split(tmp_path: Path) -> None:
    files = []
    for seed in (1, 2):
        tracks = simulate(900, seed=seed, chain="3dh", inputs=126)
        assert tracks.track_type is not None
        kept = (tracks.track_type != 2) | (seed == 1)
        files.append(str(tmp_path / f"{seed}.gz"))
        write_tracks(tracks[kept], files[-1])
    plots = ["--plots", str(tmp_path / "plots")]
    options = [files[0], "--against", files[1], *plots, "--json"]
    done = CliRunner().invoke(main, ["data", "describe", *options])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["rows_per_type"]["fake_of_empty_event"] > 0
    assert told["class_conflicts"] == told["empty_patterns"] == 0
    changed = {c["quantity"] for c in told["against"]["changes"] if c["flagged"]}
    assert "rows of fake" in changed
    assert {Path(path).name for path in told["plots"]} >= {
        "inputs_all.png", "inputs_real.png", "inputs_fake.png", "z_background.png"
    }  # fmt: skip
    done = CliRunner().invoke(
        main, ["data", "split", files[0], "--to", str(tmp_path / "parts")]
    )
    assert done.exit_code == 0, done.output
    parts = [read_tracks(tmp_path / "parts" / f"random{i}.gz") for i in (1, 2, 3)]
    assert sum(len(part) for part in parts) == 900
    assert all(part.inputs.shape[1] == 126 for part in parts)


def test_only_files_of_one_kind_are_compared(tmp_path: Path) -> None:
    for n_inputs in SIZES:
        write_tracks(make(20, n_inputs), tmp_path / f"{n_inputs}.gz")
    files = [str(tmp_path / f"{n}.gz") for n in SIZES]
    done = CliRunner().invoke(
        main, ["data", "describe", files[0], "--against", files[1]]
    )
    assert done.exit_code == 1
    assert "tables of different chains or numbers of inputs" in done.stderr


def test_thirty_columns_are_no_file(tmp_path: Path) -> None:
    last = ("RecoSTTClassification", "TrackType")
    text = text_of(make(20, 27), drop=last, end="")
    (tmp_path / "rows.txt").write_text(text)
    with pytest.raises(DataError, match="missing: RecoSTTClassification, TrackType"):
        read_tracks(tmp_path / "rows.txt")
    (tmp_path / "rows.txt").write_text(
        text.replace("\n", "\t" + "\t".join(last) + "\n", 1)
    )
    with pytest.raises(DataError, match=r"line 3: expected 32 .* found 30"):
        read_tracks(tmp_path / "rows.txt")
