"""Networks of the 3D Hough chain, from their rows to what is made of them."""

from __future__ import annotations

import dataclasses
import gzip
import math
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
from click.testing import CliRunner
from test_fixedpoint import slow_hough3d

import nnt
from nnt.cli import main
from nnt.errors import ConfigError
from nnt.export import export, load_source
from nnt.fixedpoint import FixedPointNetworks
from nnt.tracking import open_run
from nnt.tracks import class_conflicts, write_tracks
from nnt.training import TrainingResult
from nnt.training.data import load_splits

pytestmark = pytest.mark.usefixtures("shared_project")


def train(name: str, **more: Any) -> TrainingResult:
    small = {
        "data": {"simulate": {"tracks": 2000, "seed": 1}}, "hidden": [12, 8],
        "epochs": 3, "batch_size": 100, "plot_every": 0,
    }  # fmt: skip
    return nnt.train(nnt.load_config(name, {**small, **more}))


def test_predictions_of_command_and_model_are_those_of_the_network(
    tmp_path: Path,
) -> None:
    run_id = train("hough3d_126").run_id
    tracks = nnt.simulate(200, seed=2, chain="3dh", inputs=126)
    write_tracks(tracks, tmp_path / "tracks.gz")
    out = tmp_path / "predicted.gz"
    done = CliRunner().invoke(
        main, ["predict", run_id, str(tmp_path / "tracks.gz"), "-o", str(out)]
    )
    assert done.exit_code == 0, done.output
    written = nnt.read_tracks(out).extras
    model = mlflow.pyfunc.load_model(f"runs:/{run_id}/model")
    rows = tracks.to_frame().assign(Expert=0).astype(float).astype({"Expert": int})
    served = model.predict(rows[model.metadata.get_input_schema().input_names()])
    expected = nnt.load_networks(run_id).predict(tracks)
    for column, new, name in (
        (0, "NewZ", "z_scaled"), (1, "NewTheta", "theta_scaled"),
        (2, "NewNNT", "nnt"), (3, "NewSTT", "stt"),
    ):  # fmt: skip
        np.testing.assert_allclose(written[new], expected[:, column], atol=1e-6)
        np.testing.assert_allclose(served[name], expected[:, column], atol=1e-6)


@pytest.mark.parametrize("quantize", [None, {"largest_weight": 0.25}])
def test_integers_of_a_trained_network_are_those_of_slow_loops(
    quantize: dict[str, Any] | None, tmp_path: Path
) -> None:
    run_id = train("hough3d", learning_rate=0.02, quantize=quantize).run_id
    fixed = FixedPointNetworks(nnt.load_networks(run_id))
    layers, largest = fixed.forms[-1].layers, fixed.forms[-1].largest_weight
    assert (largest < 0.25) == (quantize is not None)
    tracks = nnt.simulate(12, seed=2, chain="3dh")
    expected = [slow_hough3d(row, layers)[0] for row in tracks.inputs]
    np.testing.assert_array_equal(fixed.predict(tracks) * 4096, expected)
    metrics = open_run(run_id).metrics
    bits = 17 - math.ceil(math.log2(largest))
    assert metrics["test_fixed_point/weight_fraction_bits"] == bits
    assert metrics["test_fixed_point/largest_weight"] == pytest.approx(largest)
    assert 0 <= metrics["test_fixed_point/wrapped_share"] < 1
    manifest = export(load_source(run_id), "3dh", tmp_path)
    for name, prefix in (("class_cuts", ""), ("stt_class_cuts", "stt_")):
        cut = metrics[f"test_fixed_point/{prefix}cut_at_eff96_by_class"]
        assert manifest[name]["96"] == {
            "output": cut, "integer": math.floor(cut * 4096), "kept": "larger"
        }  # fmt: skip
    with (tmp_path / "weights_3dh.dat").open() as text:
        assert text.readline().split() == ["27", "12", "8", "4"]


def test_rows_that_do_not_fit_together_are_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tracks = nnt.simulate(300, seed=1, chain="3dh", inputs=126)
    assert tracks.classes is not None
    classes = tracks.classes.copy()
    classes[40:47, 0] *= -1
    inputs = tracks.inputs.reshape(300, 9, 14).copy()
    inputs[50, :, 3:] = 0
    broken = dataclasses.replace(
        tracks, classes=classes, inputs=inputs.reshape(300, 126)
    )
    n_wrong = int(class_conflicts(broken).sum())
    assert n_wrong >= 7
    for split, rows in (("train", broken), ("val", tracks), ("test", tracks)):
        write_tracks(rows, tmp_path / f"{split}.gz")
    files = {s: [str(tmp_path / f"{s}.gz")] for s in ("train", "val", "test")}
    load_splits(nnt.load_config("hough3d_126", {"data": {"files": files}}))
    warned = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert len(warned) == 2
    assert warned[0].startswith(f"train: the classes of {n_wrong} of 300 rows do not")
    assert "row 41:" in warned[0]
    assert warned[1].startswith("train: 1 of 300 rows, first row 51, have a segment")


def hough3d_file(path: Path, n_inputs: int) -> Path:
    """Rows of the 3D Hough chain, with one more column."""
    write_tracks(nnt.simulate(1500, seed=1, chain="3dh", inputs=n_inputs), path)
    header, _, *rows = gzip.decompress(path.read_bytes()).decode().splitlines()
    text = "".join(f"{row}\t1.50\n" for row in rows)
    path.write_bytes(gzip.compress(f"{header}\tWeather\n\n{text}".encode()))
    return path


@pytest.mark.parametrize("n_inputs", [27, 126])
def test_networks_of_the_3d_hough_chain_train(tmp_path: Path, n_inputs: int) -> None:
    file = hough3d_file(tmp_path / "tracks.txt.gz", n_inputs)
    values: dict[str, Any] = {
        "chain": "3dh", "in_size": n_inputs, "experts": [-1], "act": "tanh",
        "hidden": [20, 20], "outputs": ["z", "theta", "nnt", "stt"], "batch_size": 64,
        "data": {"files": [str(file)], "split": [0.6, 0.2, 0.2]},
    }  # fmt: skip
    result = nnt.train({**values, "epochs": 4, "plot_every": 0})
    assert result.outcome == "FINISHED"
    networks = nnt.load_networks(result.run_id)
    assert networks.chain == "3dh"
    assert networks.predict(nnt.read_tracks(file)).shape == (1500, 4)
    child = open_run(result.experts[-1].run_id)
    losses = [value for _, _, value in child.history("val/loss")]
    assert losses[-1] < losses[0]
    before, after = lines_of(file), []
    for split in ("train", "val", "test"):
        place = f"predictions/{split}.csv.gz"
        after += lines_of(open_run(result.run_id).download(place, tmp_path))
    assert sorted(line.rsplit("\t", 4)[0] for line in after) == sorted(before)


def lines_of(path: Path) -> list[str]:
    """Rows, cell by cell as they were written."""
    return gzip.decompress(path.read_bytes()).decode().splitlines()[2:]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "chain: .*have 3dh; set chain: 3dh"),
        ({"chain": "3dh", "in_size": 126}, "in_size: .*have 27; set in_size: 27"),
    ],
)
def test_data_of_another_chain_are_refused(
    tmp_path: Path, values: dict[str, Any], words: str
) -> None:
    file = hough3d_file(tmp_path / "tracks.txt.gz", 27)
    data = {"files": [str(file)], "split": [0.6, 0.2, 0.2]}
    with pytest.raises(ConfigError, match=words):
        nnt.train({"experts": [-1], "data": data, **values})
