"""The model of a training on MLflow's pages: found by its metrics on a dataset."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.entities import LoggedModel
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import ENDPOINT_NOT_FOUND
from some_networks import expert

import nnt
from nnt.networks import write_weights
from nnt.tracking import MlflowTracker, Run, find_all_waiting, register, sync
from nnt.tracks import Tracks

DIGEST = "d" * 64
REJECTION = "test/rejection_at_eff96"


@pytest.fixture
def home(workplace: Path, empty_store: Path) -> Path:
    shutil.copyfile(empty_store, workplace / "mlflow.db")
    mlflow.set_tracking_uri(f"sqlite:///{workplace / 'mlflow.db'}")
    return workplace


@pytest.fixture
def example(make_tracks: Callable[..., Tracks]) -> Tracks:
    return make_tracks(20)


def log_networks(
    tracker: MlflowTracker, example: Tracks, rejection: float, name: str = "baseline_v2"
) -> Run:
    run = tracker.start_run(name, description="", tags={"nnt.kind": "training"})
    path = run.directory / "weights.json"
    write_weights(path, {0: expert(0)})
    run.log_file(path)
    run.log_model(path, example[:2], {"form": "27-81-2", "data.test": DIGEST})
    run.log_model_metrics({REJECTION: rejection}, 0, "test", DIGEST)
    run.log_metrics({"test/z_std_cm": 5.0}, 0)
    run.finish("FINISHED")
    return run


def best_first(client: MlflowClient, digest: str = DIGEST[:36]) -> list[LoggedModel]:
    order: dict[str, Any] = {
        "field_name": f"metrics.{REJECTION}",
        "ascending": False,
        "dataset_name": "test",
        "dataset_digest": digest,
    }
    return list(client.search_logged_models(["0"], order_by=[order]))


def model_of(run_id: str) -> LoggedModel:
    client = MlflowClient()
    outputs = client.get_run(run_id).outputs
    assert outputs is not None
    [output] = outputs.model_outputs
    return client.get_logged_model(output.model_id)


@pytest.fixture
def same_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write a few files in place of a whole model, which takes a second."""

    def save(folder: Path, weights: Path, example: Tracks, run_id: str) -> None:
        folder.mkdir()
        shutil.copyfile(weights, folder / "weights.json")
        (folder / "MLmodel").write_text(f"run_id: {run_id}\n")

    monkeypatch.setattr("nnt.tracking.run.save_model", save)


@pytest.mark.usefixtures("same_files")
def test_the_best_training_is_found_by_its_metric_on_a_dataset(
    home: Path, example: Tracks
) -> None:
    tracker = MlflowTracker()
    found = {r: log_networks(tracker, example, r).run_id for r in (0.61, 0.74, 0.68)}
    assert tracker.close() == 0
    models = best_first(MlflowClient())
    assert [m.source_run_id for m in models] == [found[r] for r in (0.74, 0.68, 0.61)]
    [metric] = models[0].metrics or []
    assert (metric.key, metric.value) == (REJECTION, 0.74)
    assert (metric.dataset_name, metric.dataset_digest) == ("test", DIGEST[:36])
    assert models[0].params == {"form": "27-81-2", "data.test": DIGEST}
    assert str(models[0].status) == "READY"
    run = MlflowClient().get_run(found[0.74])
    assert run.data.metrics == {REJECTION: 0.74, "test/z_std_cm": 5.0}


@pytest.mark.usefixtures("same_files")
@pytest.mark.parametrize("name", ["baseline_v3.1", "a/b:c%d'e\"f"])
def test_any_name_of_a_run_is_one_of_a_model(
    home: Path, example: Tracks, name: str
) -> None:
    tracker = MlflowTracker()
    run = log_networks(tracker, example, 0.7, name)
    assert tracker.close() == 0
    assert model_of(run.run_id).name == "".join(
        "_" if c in "/:.%'\"" else c for c in name
    )


@pytest.mark.usefixtures("same_files")
def test_what_is_delivered_twice_is_there_once(
    home: Path, example: Tracks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each answer of the store to a call about the model is lost once."""
    lost: set[str] = set()

    def forgetful(name: str) -> Callable[..., Any]:
        real = getattr(MlflowClient, name)

        def call(*args: Any, **more: Any) -> Any:
            found = real(*args, **more)
            if name not in lost:
                lost.add(name)
                raise MlflowException("the answer was lost")
            return found

        return call

    names = {"create_logged_model", "log_outputs", "finalize_logged_model", "log_batch"}
    monkeypatch.setattr("nnt.tracking.delivery.FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr("nnt.tracking.delivery.CLOSING_PAUSE_S", 0.01)
    for name in names:
        monkeypatch.setattr(MlflowClient, name, forgetful(name))
    tracker = MlflowTracker()
    run = log_networks(tracker, example, 0.7)
    assert tracker.close() == 0
    assert lost == names
    client = MlflowClient()
    assert len(client.search_logged_models(["0"])) == 1
    model = model_of(run.run_id)
    assert [m.value for m in model.metrics or []] == [0.7]
    assert len(client.get_metric_history(run.run_id, REJECTION)) == 1


@pytest.mark.usefixtures("same_files")
def test_an_offline_training_has_a_model_once_it_is_delivered(
    home: Path, example: Tracks
) -> None:
    tracker = MlflowTracker(offline=True)
    local = log_networks(tracker, example, 0.7).run_id
    tracker.close()
    [waiting] = find_all_waiting(home)
    done = sync(waiting)
    assert (done.n_left, done.n_refused) == (0, 0)
    assert model_of(done.created[local]).source_run_id == done.created[local]


@pytest.mark.usefixtures("same_files")
def test_a_server_without_models_costs_nothing_else(
    home: Path, example: Tracks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a server of MLflow 2 answers; the files are kept with the run."""

    def unknown(*_: Any, **__: Any) -> None:
        raise MlflowException("404", error_code=ENDPOINT_NOT_FOUND)

    monkeypatch.setattr(MlflowClient, "search_logged_models", unknown)
    tracker = MlflowTracker()
    run = log_networks(tracker, example, 0.7)
    assert tracker.close() == 1
    found = MlflowClient().get_run(run.run_id)
    assert found.data.metrics[REJECTION] == 0.7
    assert nnt.tracking.open_run(run.run_id).holds("model/MLmodel")
    assert found.info.status == "FINISHED"


@pytest.mark.usefixtures("same_files")
def test_the_registry_takes_the_model_and_old_runs_without_one(
    home: Path, example: Tracks
) -> None:
    tracker = MlflowTracker()
    run = log_networks(tracker, example, 0.7)
    old = tracker.start_run("old", description="", tags={})
    (old.directory / "model").mkdir()
    (old.directory / "model" / "MLmodel").write_text(f"run_id: {old.run_id}\n")
    old._add("folder", path=f"{old.run_id}/model", folder="model")
    assert tracker.close() == 0
    client = MlflowClient()
    model = model_of(run.run_id)
    for run_id, source in (
        (run.run_id, f"models:/{model.model_id}"),
        (old.run_id, f"mlruns/0/{old.run_id}/artifacts/model"),
    ):
        made = register(run_id, "nnt", "champion")
        version = client.get_model_version("nnt", str(made.version))
        assert (version.run_id, version.source) == (run_id, source)
        assert nnt.tracking.open_run("models:/nnt@champion").run_id == run_id
    # The page of the model shows under which name it is registered.
    registered = client.get_logged_model(model.model_id).tags["mlflow.modelVersions"]
    assert json.loads(registered) == [{"name": "nnt", "version": 1}]
