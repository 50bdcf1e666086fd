"""Outputs of a run are appended to track files, whose text stays."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from some_trainings import SMALL, invoke
from test_evaluation import MakeTracks

import nnt
from nnt.errors import DataError
from nnt.fixedpoint import FixedPointNetworks
from nnt.tracking import register
from nnt.tracks import write_tracks
from nnt.training import TrainingResult
from nnt.training.earlier_networks import initial_states, reference_networks

pytestmark = pytest.mark.usefixtures("trained_project")


def test_predict_appends_the_outputs_and_keeps_the_table(
    trained: TrainingResult, files: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "all.gz"
    words = [trained.run_id, *map(str, files), "-o", str(out)]
    assert invoke("predict", *words)["rows"] == {str(out): 400}
    before, after = nnt.read_tracks(files), nnt.read_tracks(out)
    assert after.digest == before.digest
    new = np.stack([after.extras["NewZ"], after.extras["NewTheta"]], axis=1)
    expected = nnt.load_networks(trained.run_id).predict(before)
    np.testing.assert_array_equal(new, expected)
    assert set(after.extras) == {*before.extras, "NewZ", "NewTheta"}


def test_predict_keeps_the_text_of_every_cell(
    trained: TrainingResult, files: list[Path], tmp_path: Path
) -> None:
    header, blank, *rows = gzip.decompress(files[0].read_bytes()).decode().splitlines()
    rows = [f"{row}1.50" for row in rows]
    lines = "".join(f"{line}\n" for line in (f"{header}\tWeather", blank, *rows))
    (tmp_path / "rows.txt").write_text(lines)
    out = tmp_path / "out.txt"
    nnt.predict(trained.run_id, tmp_path / "rows.txt", out)
    written = [line.rstrip("\t") for line in out.read_text().splitlines()]
    assert [line.rsplit("\t", 2)[0] for line in written[2:]] == rows
    assert written[0] == f"{header}\tWeather\tNewZ\tNewTheta"


def test_predict_into_a_directory_writes_a_file_each(
    trained: TrainingResult, files: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    assert nnt.predict(trained.run_id, files, out) == {
        out / file.name: 200 for file in files
    }
    # What was predicted before gives way to what is predicted now.
    again = nnt.predict(trained.run_id, out / files[0].name, tmp_path / "again.gz")
    assert again == {tmp_path / "again.gz": 200}
    once, twice = nnt.read_tracks(out / files[0].name), nnt.read_tracks(*again)
    np.testing.assert_array_equal(once.extras["NewZ"], twice.extras["NewZ"])


def test_predict_appends_the_integers_of_the_firmware(
    trained: TrainingResult, files: list[Path], tmp_path: Path
) -> None:
    out, again = tmp_path / "integers.gz", tmp_path / "floats.gz"
    words = [trained.run_id, *map(str, files), "-o", str(out), "--fixed-point"]
    invoke("predict", *words, "--precision", "12,8,8,9,6,8", "--saturate-13-bit")
    after, nets = nnt.read_tracks(out), nnt.load_networks(trained.run_id)
    fixed = FixedPointNetworks(nets, (12, 8, 8, 9, 6, 8), saturate_13_bit=True)
    expected = fixed.predict(nnt.read_tracks(files))
    for i, name in enumerate(("Z", "Theta")):
        np.testing.assert_array_equal(after.extras[f"New{name}"], expected[:, i])
        raw = after.extras[f"NewRaw{name}"]
        assert raw.dtype == np.int64
        np.testing.assert_array_equal(raw, expected[:, i] * 512)
    # Integers of an earlier prediction do not stay beside floats of a later one.
    nnt.predict(trained.run_id, out, again)
    assert set(nnt.read_tracks(again).extras) == {*after.extras} - {
        "NewRawZ", "NewRawTheta"
    }  # fmt: skip


def test_predict_never_replaces_unasked(
    trained: TrainingResult, files: list[Path], tmp_path: Path
) -> None:
    taken = tmp_path / "taken.gz"
    taken.write_text("mine")
    with pytest.raises(DataError, match="--overwrite"):
        nnt.predict(trained.run_id, files, taken)
    with pytest.raises(DataError, match="is also an input"):
        nnt.predict(trained.run_id, files, files[0], overwrite=True)
    with pytest.raises(DataError, match="no such directory"):
        nnt.predict(trained.run_id, files, tmp_path / "no" / "x.gz")
    assert taken.read_text() == "mine"
    nnt.predict(trained.run_id, files, taken, overwrite=True)
    assert len(nnt.read_tracks(taken)) == 400


def test_predict_tells_of_rows_that_nobody_serves(
    trained: TrainingResult, tmp_path: Path, make_tracks: MakeTracks
) -> None:
    write_tracks(make_tracks(50), tmp_path / "five.gz")
    with pytest.raises(DataError, match="expert 1 cannot be predicted"):
        nnt.predict(trained.run_id, tmp_path / "five.gz", tmp_path / "out.gz")
    assert not (tmp_path / "out.gz").exists()


def test_a_registered_name_stands_for_the_run_everywhere(
    trained: TrainingResult, files: list[Path], tmp_path: Path
) -> None:
    name, data = register(trained.run_id, "everywhere", "champion").uri, str(files[0])
    assert name == "models:/everywhere@champion"
    told = invoke("evaluate", name, "--data", data, "--fixed-point", "--no-log")
    assert told["run_id"] == trained.run_id
    told = invoke("compare", name, trained.run_id, "--data", data, "--no-log")
    # None: the network that ran when the data were taken.
    assert {row["run_id"] for row in told["runs"]} - {None} == {trained.run_id}
    invoke("predict", name, data, "-o", str(tmp_path / "predicted.gz"))
    predicted = nnt.read_tracks(tmp_path / "predicted.gz")
    nets = nnt.load_networks(name)
    np.testing.assert_array_equal(
        predicted.extras["NewZ"], nets.predict(predicted)[:, 0]
    )
    manifest = invoke("export", name, "--to", "onnx", "-o", str(tmp_path / "onnx"))
    assert manifest["run_id"] == trained.run_id
    keys = {"load_pre_trained_weights": name, "compare_to": name}
    config = nnt.load_config("finetune_quantized", overrides=SMALL | keys)
    for expert, state in initial_states(config).items():
        for key, value in nets.experts[expert].state.items():
            np.testing.assert_array_equal(state[key], value)
    reference = reference_networks(config)
    assert reference is not None
    np.testing.assert_array_equal(reference.predict(predicted), nets.predict(predicted))
    assert register(name, "again").run_id == trained.run_id
