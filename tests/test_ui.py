"""``nnt ui``: a real server on a real store."""

from __future__ import annotations

import base64
import contextlib
import json
import signal
import socket
import subprocess
import sys
import urllib.request
import zlib
from pathlib import Path

import pytest
from click.testing import CliRunner
from mlflow import MlflowClient

from nnt.cli import main
from nnt.tracking import MlflowTracker, default_uri
from nnt.tracking.experiments import add_views, newest_experiment, page_of_runs
from nnt.tracking.server import _page, _there

START_S = 120

pytestmark = pytest.mark.usefixtures("workplace")


def test_it_shows_the_runs_of_the_project_until_ctrl_c(
    project: Path,
    free_port: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Those of a server that somebody runs for others.
    monkeypatch.setenv("MLFLOW_STATIC_PREFIX", "/mlflow")
    monkeypatch.setenv("MLFLOW_GUNICORN_OPTS", "--timeout 60")
    tracker = MlflowTracker()
    run = tracker.start_run("baseline_v2", description="", tags={})
    run.finish("FINISHED")
    tracker.close()
    port = free_port
    server = subprocess.Popen(
        [sys.executable, "-m", "nnt", "ui", "--port", str(port)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert server.stdout is not None
        page = server.stdout.readline().strip()
        assert page == f"http://127.0.0.1:{port}/{page_of_runs(run.experiment_id)}"
        address = f"http://127.0.0.1:{port}/api/2.0/mlflow/runs/get?run_id={run.run_id}"
        with urllib.request.urlopen(address, timeout=START_S) as answer:
            found = json.load(answer)["run"]["info"]
        assert found["run_name"] == "baseline_v2"
    finally:
        server.send_signal(signal.SIGINT)
        _, said = server.communicate(timeout=START_S)
    assert server.returncode == 0, said
    assert said.splitlines()[-1] == "stopped"
    with contextlib.closing(socket.socket()) as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


def names_in_list(client: MlflowClient, experiment_id: str) -> list[str]:
    """Trainings in the order of the saved list."""
    tags = client.get_experiment(experiment_id).tags
    (saved,) = (v for k, v in tags.items() if "sharedViewState" in k)
    state = json.loads(saved)["state"].removeprefix("deflate;")
    view = json.loads(zlib.decompress(base64.b64decode(state)))
    assert view["orderByKey"] == view["selectedColumns"][0]
    found = client.search_runs(
        [experiment_id], view["searchFilter"], order_by=[f"{view['orderByKey']} DESC"]
    )
    return [own.info.run_name for own in found]


def test_its_list_shows_the_best_training_first(project: Path) -> None:
    tracker = MlflowTracker()
    for rejection, name in ((0.5, "worse"), (0.7, "best"), (0.6, "good")):
        run = tracker.start_run(name, description="", tags={"nnt.kind": "training"})
        run.log_metrics({"test/rejection_at_eff96": rejection}, 0)
        tracker.start_child(run, f"expert of {name}", {"nnt.kind": "expert"})
    tracker.start_run("contest", description="", tags={"nnt.kind": "comparison"})
    assert tracker.close() == 0
    client = MlflowClient(f"sqlite:///{project}/mlflow.db")
    assert names_in_list(client, run.experiment_id) == ["best", "good", "worse"]
    experiment = client.get_experiment(run.experiment_id)
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"


def test_a_directory_without_trainings_shows_an_empty_page_and_stays_empty(
    workplace: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with _there(default_uri()) as shown:
        assert _page(shown) == ""
    assert "there are no trainings" in caplog.text
    assert not list(workplace.iterdir())


def test_it_opens_the_experiment_of_the_newest_run(project: Path) -> None:
    tracker = MlflowTracker()
    tracker.start_run("older", description="", tags={})
    assert tracker.close() == 0
    client = MlflowClient(f"sqlite:///{project}/mlflow.db")
    other = client.create_experiment("by mlflow run")
    client.create_run(other, start_time=2**42)
    assert newest_experiment(client) == other
    client.set_experiment_tag(other, "mlflow.note.content", "mine")
    add_views(client, other)
    tags = client.get_experiment(other).tags
    assert tags["mlflow.note.content"] == "mine"
    assert "mlflow.sharedViewState.nnt-trainings" in tags


def test_its_list_prefers_the_class_where_there_is_one(project: Path) -> None:
    tracker = MlflowTracker()
    by_class = "test/rejection_at_eff96_by_class"
    for name, z, of_class in (("z", 0.6, None), ("a", 0.7, 0.71), ("b", 0.5, 0.72)):
        run = tracker.start_run(name, description="", tags={"nnt.kind": "training"})
        run.log_metrics({"test/rejection_at_eff96": z}, 0)
        if of_class is not None:
            run.log_metrics({by_class: of_class}, 0)
    assert tracker.close() == 0
    client = MlflowClient(f"sqlite:///{project}/mlflow.db")
    add_views(client, run.experiment_id)
    add_views(client, run.experiment_id)
    assert names_in_list(client, run.experiment_id) == ["b", "a", "z"]
    done = CliRunner().invoke(main, ["list", "--json"])
    trainings = json.loads(done.stdout)["trainings"]
    listed = {own["config"]: own["test_rejection"] for own in trainings}
    assert listed == {"z": 0.6, "a": 0.71, "b": 0.72}


def test_a_port_that_is_taken_is_told_before_anything_is_made(workplace: Path) -> None:
    with contextlib.closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = CliRunner().invoke(main, ["ui", "--port", port])
    assert done.exit_code == 1
    assert f"127.0.0.1:{port}: port already in use" in done.output
    assert "--port" in done.output
    assert not (workplace / "mlflow.db").exists()


def test_a_server_is_named_without_its_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:secret@tracking.example")
    done = CliRunner().invoke(main, ["ui"])
    assert done.exit_code == 0
    assert "https://***@tracking.example" in done.output
    assert "secret" not in done.output
