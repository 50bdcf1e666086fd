"""The MLflow model of a run: others predict with it what NNT predicts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import scoring_server
from some_networks import expert

from nnt.cli import main
from nnt.errors import TrackingError
from nnt.fixedpoint import FixedPointNetworks
from nnt.networks import (
    ExpertWeights,
    Networks,
    write_weights,
)
from nnt.tracking import MlflowTracker, open_run, register
from nnt.tracking.model import model_input, save_model
from nnt.tracks import Tracks

pytestmark = pytest.mark.usefixtures("shared_project")


def experts(out_size: int = 2) -> dict[int, ExpertWeights]:
    return {k: expert(k, out_size=out_size) for k in range(5)}


@pytest.fixture(scope="module")
def tracks(make_tracks: Callable[..., Tracks]) -> Tracks:
    return make_tracks(200)


@pytest.fixture(scope="module")
def run(shared_project: Path, tracks: Tracks) -> tuple[str, str]:
    return stored_run(tracks)


def stored_run(tracks: Tracks) -> tuple[str, str]:
    """A parent and a child as a training leaves them, as far as models go."""
    tracker = MlflowTracker()
    parent = tracker.start_run("baseline_v2", description="", tags={})
    child = tracker.start_child(parent, "expert_0", {})
    path = parent.directory / "weights.json"
    write_weights(path, experts())
    parent.log_file(path)
    parent.log_model(path, tracks[:5])
    child.finish("FINISHED")
    parent.finish("FINISHED")
    assert tracker.close() == 0
    return parent.run_id, child.run_id


def load(run_id: str) -> Any:
    """MLflow calls what a model answers one of many types; here it is a table."""
    return mlflow.pyfunc.load_model(f"runs:/{run_id}/model")


# MLflow gives it no types
invocations: Any = scoring_server.invocations


@pytest.mark.parametrize("precision", [(12, 8, 8, 12, 10, 10), (12, 8, 8, 10, 6, 8)])
def test_the_model_computes_in_fixed_point(
    tracks: Tracks, run: tuple[str, str], precision: tuple[int, ...]
) -> None:
    model = load(run[0])
    params = {"fixed_point": True, "precision": list(precision)}
    found = model.predict(model_input(tracks), params=params)
    expected = FixedPointNetworks(Networks(experts()), precision).predict(tracks)
    np.testing.assert_array_equal(found[["z_scaled", "theta_scaled"]], expected)


@pytest.mark.parametrize("fixed_point", [False, True])
def test_a_server_answers_requests_with_the_numbers_of_the_networks(
    tracks: Tracks, run: tuple[str, str], fixed_point: bool
) -> None:
    """What ``mlflow models serve`` does with the body of a request."""
    model, rows = load(run[0]), model_input(tracks)
    table = json.loads(rows.to_json(orient="split", index=False, double_precision=15))
    body = {"dataframe_split": table, "params": {"fixed_point": fixed_point}}
    answer = invocations(
        json.dumps(body), "application/json", model, model.metadata.get_input_schema()
    )
    assert answer.status == 200, answer.response
    found = json.loads(answer.response)["predictions"]
    nets = Networks(experts())
    expected = (FixedPointNetworks(nets) if fixed_point else nets).predict(tracks)
    scaled = [[row["z_scaled"], row["theta_scaled"]] for row in found]
    np.testing.assert_array_equal(np.asarray(scaled, np.float32), expected)


def test_integers_of_the_model_stay_in_their_word_on_demand(
    tracks: Tracks, tmp_path: Path
) -> None:
    large = experts()
    for own in large.values():
        own.state["net.2.bias"][:] = 50
    write_weights(tmp_path / "weights.json", large)
    save_model(tmp_path / "model", tmp_path / "weights.json", tracks[:5], "0" * 32)
    model: Any = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    for saturate, largest in ((False, 1.0), (True, 4095 / 4096)):
        params = {"fixed_point": True, "saturate_13_bit": saturate}
        found = model.predict(model_input(tracks), params=params)
        assert set(found["z_scaled"]) == {largest}


@pytest.mark.parametrize(
    ("out_size", "columns"),
    [
        (1, ["z_cm", "z_scaled"]),
        (2, ["z_cm", "z_scaled", "theta_deg", "theta_scaled"]),
        (4, ["z_cm", "z_scaled", "theta_deg", "theta_scaled", "nnt", "stt"]),
    ],
)
def test_the_model_predicts_as_the_networks_every_output(
    tracks: Tracks, tmp_path: Path, out_size: int, columns: list[str]
) -> None:
    nets = experts(out_size)
    write_weights(tmp_path / "weights.json", nets)
    save_model(tmp_path / "model", tmp_path / "weights.json", tracks[:5], "0" * 32)
    model: Any = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    found = model.predict(model_input(tracks))
    assert list(found) == columns
    assert model.metadata.get_output_schema().input_names() == columns
    scaled = Networks(nets).predict(tracks)
    np.testing.assert_array_equal(found["z_scaled"], scaled[:, 0])
    np.testing.assert_array_equal(found[columns[-1]], scaled[:, -1])
    if out_size == 2:
        z_cm, theta_deg = Networks(nets).predict_physical(tracks)
        np.testing.assert_array_equal(found["z_cm"], z_cm)
        np.testing.assert_array_equal(found["theta_deg"], theta_deg)


def test_rows_of_a_csv_file_are_taken_in_any_order_of_columns(
    tracks: Tracks, run: tuple[str, str], shared_project: Path
) -> None:
    model = load(run[0])
    tracks.to_frame().iloc[:, ::-1].to_csv(shared_project / "rows.csv", index=False)
    found = model.predict(pd.read_csv(shared_project / "rows.csv"))
    expected = Networks(experts()).predict(tracks)
    np.testing.assert_allclose(found["z_scaled"], expected[:, 0], atol=1e-6)


def test_what_the_model_cannot_take_is_named(
    tracks: Tracks, run: tuple[str, str]
) -> None:
    model, rows = load(run[0]), model_input(tracks)
    with pytest.raises(MlflowException, match="SL3-alpha"):
        model.predict(rows.drop(columns="SL3-alpha"))
    rows.loc[2, "SL0-relID"] = np.nan
    with pytest.raises(Exception, match="finite"):
        model.predict(rows)


def test_the_example_is_in_the_model(tracks: Tracks, run: tuple[str, str]) -> None:
    example = load(run[0]).input_example
    pd.testing.assert_frame_equal(example, model_input(tracks[:5]))


def model_folder(run_id: str, into: Path) -> Path:
    found = mlflow.artifacts.download_artifacts(
        f"runs:/{run_id}/model", dst_path=str(into)
    )
    return Path(found)


def test_nothing_is_pickled_and_the_code_is_there(
    run: tuple[str, str], tmp_path: Path
) -> None:
    folder = model_folder(run[0], tmp_path)
    names = {path.name for path in folder.rglob("*") if path.is_file()}
    assert {"MLmodel", "pyfunc_model.py", "weights.json"} <= names
    assert not [n for n in names if n.endswith((".pkl", ".pickle", ".pth", ".pt"))]
    assert (folder / "code" / "nnt" / "networks" / "predicting.py").is_file()
    required = (folder / "requirements.txt").read_text()
    assert "torch" not in required
    assert "+" not in required


def test_the_model_runs_with_its_own_code(
    tracks: Tracks, run: tuple[str, str], tmp_path: Path
) -> None:
    folder = model_folder(run[0], tmp_path)
    code = (
        "import sys, mlflow\n"
        "model = mlflow.pyfunc.load_model(sys.argv[1])\n"
        "found = model.predict(model.input_example)\n"
        "import nnt\n"
        "print(nnt.__file__)\n"
        "print(found['z_scaled'].to_list())\n"
    )
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-I", "-c", code, str(folder)],
        capture_output=True, text=True, check=False, env=environment, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    place, numbers = done.stdout.splitlines()[-2:]
    assert Path(place).is_relative_to(folder)
    expected = Networks(experts()).predict(tracks[:5])[:, 0]
    np.testing.assert_allclose(json.loads(numbers), expected, atol=1e-6)


def test_an_alias_stands_for_the_run_wherever_a_run_does(
    tracks: Tracks, run: tuple[str, str]
) -> None:
    first, second = run[0], stored_run(tracks)[0]
    made = register(first, "nnt", "champion")
    assert (made.version, made.uri) == (1, "models:/nnt@champion")
    assert open_run("models:/nnt@champion").run_id == first
    done = CliRunner().invoke(
        main, ["register", second, "nnt", "--alias", "champion", "--json"]
    )
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["version"] == 2
    assert open_run("models:/nnt@champion").run_id == second
    assert open_run("models:/nnt/1").run_id == first
    model = mlflow.pyfunc.load_model("models:/nnt@champion")
    assert model.metadata.run_id == second


def test_what_cannot_be_registered_is_told(run: tuple[str, str]) -> None:
    parent, child = run
    with pytest.raises(TrackingError, match=f"register its parent, {parent}"):
        register(child, "nnt")
    with pytest.raises(TrackingError, match="cannot be a name"):
        register(parent, "a/b")
    with pytest.raises(TrackingError, match="cannot be a name"):
        register(parent, "nnt", "x y")
    for reserved in ("latest", "Latest", "v1"):
        with pytest.raises(TrackingError, match="cannot be an alias"):
            register(parent, "made", reserved)
    with pytest.raises(TrackingError, match="models:/made@x: there is no such version"):
        open_run("models:/made@x")
    assert open_run(f" {parent}\n").run_id == parent
    tracker = MlflowTracker()
    empty = tracker.start_run("empty", description="", tags={})
    empty.finish("FAILED")
    tracker.close()
    with pytest.raises(TrackingError, match="holds no model"):
        register(empty.run_id, "nnt")
